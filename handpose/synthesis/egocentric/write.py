"""Makes the egocentric data, video by video: in parallel, resumable, decided by a seed."""

import shutil
import time
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from handpose.hands import ProceduralHand
from handpose.synthesis.egocentric.fpha_files import FPHAVideos
from handpose.synthesis.egocentric.h2o_files import H2OVideos
from handpose.synthesis.egocentric.people import draw_person
from handpose.synthesis.egocentric.picture import Painter
from handpose.synthesis.egocentric.scene import build_scene
from handpose.synthesis.jobs import claim_root, run_jobs, single_threaded
from handpose.synthesis.layout import PARTIAL

VERSION = 1  # of the generator: raise it when the same options give other data
LAYOUTS = {'h2o': H2OVideos, 'fpha': FPHAVideos}


class EgocentricSummary(NamedTuple):
    """What a run made: `videos` and `frames` written, `seconds` of processor time, summed over processes."""

    videos: int
    frames: int
    seconds: float


def write_egocentric(options, progress=None):
    """Writes the egocentric data; what an interrupted run with the same options left is kept.

    Args:
        options: EgocentricOptions.
        progress: called as progress(done videos, all videos) after every video, or None.

    Returns:
        EgocentricSummary.

    Raises:
        ValueError: the root holds something else, or data made with other options.
    """
    layout = LAYOUTS[options.layout](options)
    claim_root(layout.root, {'version': VERSION, 'options': options.content()}, layout.begin)
    places = layout.places
    missing = [place for place in places if not layout.is_written(*place)]
    frames, seconds = 0, 0.0
    for done, made in enumerate(run_jobs(_write_video, [(layout, *place) for place in missing], options.workers), 1):
        frames, seconds = frames + made[0], seconds + made[1]
        if progress:
            progress(len(places) - len(missing) + done, len(places))
    shutil.rmtree(layout.root / PARTIAL, ignore_errors=True)
    layout.finish()
    return EgocentricSummary(len(missing), frames, seconds)


@lru_cache(maxsize=1)
def _hand_model():
    return ProceduralHand()


def _write_video(job):
    """Writes one video: (frames, seconds)."""
    start, (layout, subject, video) = time.process_time(), job
    options, plan = layout.options, layout.plan(subject, video)
    with single_threaded():
        scene = build_scene(options.seed, subject, video, plan, _hand_model(), layout.intrinsics(), options.size)
        rng = np.random.default_rng([options.seed, 74, subject, video])
        painter = Painter(scene, draw_person(options.seed, subject), _hand_model(), options.size, rng)
        pictures = (painter.frame(index)[0] for index in range(plan.total))
        layout.write_video(scene, plan, pictures, subject, video)
        layout.move_to_place(subject, video)
    return plan.total, time.process_time() - start
