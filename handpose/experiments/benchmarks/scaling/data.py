"""What datasets, geometry and metrics do, against the number of frames, views and entries."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from handpose.datasets import ClipSampling, ForecastSegments
from handpose.datasets.dexycb import layout
from handpose.datasets.dexycb.index import open_index
from handpose.datasets.io.packed_format import RECORD, parse_table, table_bytes
from handpose.datasets.sampling import ActionClips, Sampling, Track
from handpose.evaluation import HandMeshMetric, HandPoseMetric
from handpose.experiments.benchmarks.case import Settings, Work
from handpose.experiments.benchmarks.cases.metrics import VERTICES, evaluation, pairs
from handpose.experiments.benchmarks.inputs import dexycb_root
from handpose.experiments.benchmarks.sweep_inputs import hand_batch
from handpose.experiments.benchmarks.sweeps import register_sweep
from handpose.geometry import projection_matrices, triangulate, triangulate_robust

CLIP_FRAMES, VIEWS, THRESHOLD = 64, 4, 10.0
NUM_FRAMES = (1024, 4096, 16384, 65536)
PAIRS = 'every pair of views proposes a point that all views judge'


def triangulating(frames: int, views: int, robust: bool) -> Work:
    """Work: 42 joints of every frame."""
    batch = hand_batch(1, frames, hands=2, views=views)
    points = batch.require('joints_2d')[0].flatten(2, 3)
    matrices = projection_matrices(batch.require('intrinsics')[0], batch.require('extrinsics')[0])
    if robust:
        return Work(lambda: triangulate_robust(points, matrices, threshold=THRESHOLD), 1)
    return Work(lambda: triangulate(points, matrices), 1)


def triangulation_of_frames(robust: bool) -> Callable[[Settings, int], Work]:
    """Function (settings, frames) -> Work."""
    return lambda settings, size: triangulating(size, VIEWS, robust)


def triangulation_of_views(robust: bool) -> Callable[[Settings, int], Work]:
    """Function (settings, views) -> Work."""
    return lambda settings, size: triangulating(CLIP_FRAMES, size, robust)


def packed_index(settings: Settings, size: int) -> Work:
    """Work: open the index of a packed store, in memory, and find a clip in it."""
    names = [f'video{number // 500:05d}/{number % 500:06d}.jpg' for number in range(size)]
    records = np.zeros(size, RECORD)
    records['size'] = 1
    header = {'root': '/nowhere', 'image_changes': None, 'shards': [{'file': 'frames-000000.bin', 'size': 1}]}
    data, wanted = table_bytes(header, records, names), names[:128]
    return Work(lambda: parse_table(data, 'a benchmark').find(wanted), 1)


def dexycb_index(settings: Settings, size: int) -> Work:
    """Work: open the index of a DexYCB folder of `size` sequences, all of them links to the built-in ones."""
    source = dexycb_root(settings, 64, 64).resolve()
    root = source.with_name(f'{source.name}_{size}_sequences')
    if not root.exists():
        _link_sequences(source, root, size)
    intrinsics = layout.read_intrinsics(root)
    return Work(lambda: open_index(root, intrinsics), 1)


def _link_sequences(source: Path, root: Path, count: int) -> None:
    (subject,) = layout.subject_folders(source)
    sequences = sorted(path for path in subject.iterdir() if path.is_dir() and not path.name.startswith('.'))
    (root / subject.name).mkdir(parents=True)
    os.symlink(source / 'calibration', root / 'calibration')
    for number in range(count):
        name = f'20200101_{number:06d}'
        os.symlink(sequences[number % len(sequences)], root / subject.name / name)


def sampling_of(sampling: Sampling) -> Callable[[Settings, int], Work]:
    """Function (settings, frames) -> Work: which frames every sample of one long track has."""

    def set_up(settings: Settings, size: int) -> Work:
        random = np.random.default_rng(0)
        annotated = random.random(size) < 0.99
        annotated[[0, -1]] = True
        track = Track('track', 'track', ('0',), 30.0, annotated)
        return Work(lambda: [sampling.frames(track, start, random) for start in sampling.starts(track).tolist()], 1)

    return set_up


def pose_metric(settings: Settings, size: int) -> Work:
    """Work: everything that HandPoseMetric reports about `size` poses."""
    samples = pairs(size // 64, 64)
    return Work(lambda: evaluation(HandPoseMetric, samples), 1)


def mesh_metric(settings: Settings, size: int) -> Work:
    """Work: everything that HandMeshMetric reports about `size` meshes."""
    samples = pairs(size // 8, 8, VERTICES)
    return Work(lambda: evaluation(HandMeshMetric, samples), 1)


def register_data() -> None:
    """Registers the sweeps of this file."""
    torch.manual_seed(0)
    frames, views = (64, 256, 1024, 4096), (2, 4, 8, 16)
    for system, robust, exponent, why in (
        ('Triangulation', False, 1.0, ''),
        ('Robust triangulation', True, 3.0, PAIRS),
    ):
        about = f'{system} of 42 joints, {{}} '
        register_sweep(system, 'frames', frames, triangulation_of_frames(robust), f'{about}frames, {VIEWS} views')
        of_views = triangulation_of_views(robust)
        register_sweep(system, 'views', views, of_views, f'{about}views, {CLIP_FRAMES} frames', exponent, why)
    entries = (4096, 16384, 65536, 262144)
    register_sweep('Packed store', 'index', entries, packed_index, 'Opening an index of {} frames')
    about = 'Opening the index of {} DexYCB sequences'
    register_sweep('DexYCB', 'index', (32, 64, 128, 256), dexycb_index, about)
    for name, sampling in SAMPLINGS.items():
        register_sweep(name, 'track', NUM_FRAMES, sampling_of(sampling), f'{name} of a track of {{}} frames')
    about = 'Everything that HandPoseMetric reports, {} poses'
    register_sweep('HandPoseMetric', 'poses', (512, 1024, 2048, 4096), pose_metric, about)
    about = 'Everything that HandMeshMetric reports, {} meshes'
    register_sweep('HandMeshMetric', 'poses', (16, 32, 64, 128), mesh_metric, about)


SAMPLINGS = {
    'Centred clips': ClipSampling(7, frame_step=10, clip_step=4, centred=True),
    'Clips': ClipSampling(16, clip_step=8),
    'Action clips': ActionClips(16, window=4, clip_step=2),
    'Forecast segments': ForecastSegments(),
}
register_data()
