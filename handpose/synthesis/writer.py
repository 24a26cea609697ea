"""Writes built-in data, sequence by sequence: in parallel, resumable, decided by a seed."""

import shutil
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from handpose.files.yaml_files import read_yaml
from handpose.synthesis.layouts.assembly101 import Assembly101Layout
from handpose.synthesis.layouts.assemblyhands import AssemblyHandsLayout
from handpose.synthesis.layouts.base import RECORD, Layout
from handpose.synthesis.layouts.dexycb import DexYCBLayout
from handpose.synthesis.layouts.files import write_yaml
from handpose.synthesis.layouts.fpha import FPHALayout
from handpose.synthesis.layouts.h2o import H2OLayout
from handpose.synthesis.layouts.hanco import HanCoLayout
from handpose.synthesis.layouts.ho3d import HO3DLayout
from handpose.synthesis.layouts.interhand import InterHandLayout
from handpose.synthesis.layouts.recorded import RecordedLayout
from handpose.synthesis.layouts.reinterhand import ReInterHandLayout
from handpose.synthesis.options import DatasetOptions
from handpose.synthesis.processes import run_jobs, single_threaded
from handpose.synthesis.scenes.base import Job, SceneSource
from handpose.synthesis.scenes.egocentric import EgocentricScenes
from handpose.synthesis.scenes.grasping import GraspScenes
from handpose.synthesis.scenes.headset import HeadsetScenes
from handpose.synthesis.scenes.poses import PoseScenes
from handpose.synthesis.scenes.recorded import RecordedScenes
from handpose.synthesis.scenes.recordings import RecordingScenes

# Layout: its files, and where its scenes come from.
DATASETS: dict[str, tuple[Callable[[Any], Layout], Callable[[Any], SceneSource]]] = {
    'dexycb': (DexYCBLayout, GraspScenes),
    'ho3d': (HO3DLayout, GraspScenes),
    'interhand': (InterHandLayout, PoseScenes),
    'reinterhand': (ReInterHandLayout, PoseScenes),
    'hanco': (HanCoLayout, PoseScenes),
    'h2o': (H2OLayout, EgocentricScenes),
    'fpha': (FPHALayout, EgocentricScenes),
    'assembly101': (Assembly101Layout, RecordingScenes),
    'assemblyhands': (AssemblyHandsLayout, HeadsetScenes),
    'recorded': (RecordedLayout, RecordedScenes),
}


class Summary(NamedTuple):
    """What a run wrote, and how good the data is.

    Attributes:
        sequences: written by this run.
        frames: of all cameras, written by this run.
        seconds: of processor time, summed over processes.
        measured: quality of the whole dataset, as `generator.yml` has it; empty where nothing is measured.
        text: all of this in words.
    """

    sequences: int
    frames: int
    seconds: float
    measured: dict[str, float]
    text: str


def write_dataset(options: DatasetOptions, progress: Callable[[int, int], None] | None = None) -> Summary:
    """Writes built-in data; what an interrupted run with the same options left is kept.

    Args:
        options: of one of the kinds of built-in data, such as MultiViewOptions.
        progress: called as progress(sequences done, all sequences) at the start and after every job.

    Raises:
        ValueError: the root holds something else, or data made with other options.
    """
    open_dataset.cache_clear()  # a motion file may be another by now
    layout, scenes = open_dataset(options)
    claim_root(layout)
    total = len(layout.places)
    missing = [place for place in layout.places if not layout.is_written(*place)]
    jobs = [(options, job) for job in scenes.jobs(missing)]
    done, frames, seconds = total - len(missing), 0, 0.0
    if progress:
        progress(done, total)
    for sequences, made, spent in run_jobs(_write_job, jobs, options.workers):
        done, frames, seconds = done + sequences, frames + made, seconds + spent
        if progress:
            progress(done, total)
    shutil.rmtree(layout.partial, ignore_errors=True)
    layout.finish()
    measured = scenes.measure()
    write_yaml(layout.root / RECORD, {**layout.record(), **({'measured': measured} if measured else {})})
    text = [f'everything was in {layout.root} already']
    if missing:
        rate = frames / seconds
        text = [f'{layout.root}: wrote {len(missing)} sequences, {frames} frames, {rate:.0f} per second and core']
    if measured:
        text.append(scenes.describe(measured))
    return Summary(len(missing), frames, seconds, measured, '\n'.join(text))


@lru_cache(maxsize=1)
def open_dataset(options: DatasetOptions) -> tuple[Layout, SceneSource]:
    """The layout of options, and the source of its scenes; a process reads a motion file once, not once a sequence."""
    make_layout, make_scenes = DATASETS[options.layout]
    layout = make_layout(options)
    return layout, make_scenes(layout)


def _write_job(job: tuple[DatasetOptions, Job]) -> tuple[int, int, float]:
    """Writes the sequences of one job: their number, camera frames, and seconds of processor time."""
    start, frames = time.process_time(), 0
    with single_threaded():
        layout, scenes = open_dataset(job[0])
        for place, scene, render in scenes.make(job[1]):
            layout.write(scene, *place, render)
            layout.move_to_place(*place)
            frames += len(scene.joints) * max(1, len(scene.intrinsics))  # poses have no cameras
    return len(job[1]), frames, time.process_time() - start


def claim_root(layout: Layout) -> None:
    """Checks that the root is free, or was begun with the same options, and begins a free one.

    Args:
        layout: of the dataset.

    Raises:
        ValueError: the root holds something else, or data made with other options.
    """
    root, ours = layout.root, layout.record()
    record = root / RECORD
    if record.exists():
        found = read_yaml(record, advice='choose another root')
        if {k: found.get(k) for k in ours} != ours:
            raise ValueError(
                f'{root} holds built-in data made with other options: its {RECORD} says {found.get("options")}, '
                f'version {found.get("version")}, and {ours["options"]}, version {ours["version"]}, was asked for. '
                'Delete the folder or choose another root'
            )
        return
    if root.exists() and any(root.iterdir()):
        raise ValueError(f'{root} is not empty and has no {RECORD}, so it is not ours to fill: choose another root')
    root.mkdir(parents=True, exist_ok=True)
    layout.begin()
    write_yaml(record, ours)
