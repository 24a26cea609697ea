"""Makes the built-in data, sequence by sequence: in parallel, resumable, decided by a seed.

Which files it writes is the matter of a layout (`layout.py`); this file makes scenes and renders them, or
makes motion alone for the layouts that take no pictures.
"""

import shutil
import time
from typing import NamedTuple

import numpy as np

from handpose.hands import ProceduralHand
from handpose.synthesis.appearance import draw_look, draw_sensor
from handpose.synthesis.bodies import SceneBodies
from handpose.synthesis.dexycb_files import DexYCBLayout
from handpose.synthesis.grasps import MAX_GAP, MAX_PENETRATION, contact_of_scene
from handpose.synthesis.hanco_files import HanCoLayout
from handpose.synthesis.hand_motion import draw_motion
from handpose.synthesis.ho3d_files import HO3DLayout
from handpose.synthesis.interhand_files import InterHandLayout
from handpose.synthesis.jobs import claim_root, run_jobs, single_threaded
from handpose.synthesis.layout import PARTIAL, write_yaml
from handpose.synthesis.options import SEQUENCES_PER_BLOCK
from handpose.synthesis.reinterhand_files import ReInterHandLayout
from handpose.synthesis.render import CameraRenderer
from handpose.synthesis.scene import build_scene, draft_block, draw_intrinsics

VERSION = 1  # of the generator: raise it when the same options give other data
LAYOUTS = {
    'dexycb': DexYCBLayout,
    'ho3d': HO3DLayout,
    'interhand': InterHandLayout,
    'reinterhand': ReInterHandLayout,
    'hanco': HanCoLayout,
}


class Summary(NamedTuple):
    """What a run made and how good the data is.

    `frames` camera frames written by this run; processor `seconds` spent, summed over processes, and of those the
    `render_seconds` without the search for grasps; of all holding frames in the data the shares whose fingertips touch
    within `MAX_GAP` and whose hand sinks in at most `MAX_PENETRATION`. A layout without pictures has no holding frames.
    """

    frames: int
    seconds: float
    render_seconds: float
    holding_frames: int
    touching_share: float
    clear_share: float


def write_synthetic(options, progress=None):
    """Writes the built-in data in the layout of `options`; what an interrupted run with the same options left is kept.

    Args:
        options: SyntheticOptions.
        progress: called as progress(done sequences, all sequences) after every block, or None.

    Returns:
        Summary.

    Raises:
        ValueError: the root holds something else, or data made with other options.
    """
    layout = LAYOUTS[options.layout](options)
    claim_root(layout.root, {'version': VERSION, 'options': options.content()}, lambda: _begin(layout))
    blocks = [(s, b) for s in range(options.subjects) for b in range(options.sequences // SEQUENCES_PER_BLOCK)]
    total = options.subjects * options.sequences
    missing = [block for block in blocks if not all(layout.is_written(*place) for place in _places(*block))]
    done = total - SEQUENCES_PER_BLOCK * len(missing)
    spent = np.zeros(3)
    for made in run_jobs(_write_block, [(layout, *block) for block in missing], options.workers):
        spent += made
        done += SEQUENCES_PER_BLOCK
        if progress:
            progress(done, total)
    shutil.rmtree(layout.root / PARTIAL, ignore_errors=True)
    layout.finish()
    return _summarise(layout, *spent)


def _begin(layout):
    layout.begin(draw_intrinsics(layout.options))
    write_yaml(layout.root / 'hand_model.yml', {'name': ProceduralHand().name})


def _places(subject, block):
    """(subject, sequence) of the sequences of a block."""
    first = block * SEQUENCES_PER_BLOCK
    return [(subject, sequence) for sequence in range(first, first + SEQUENCES_PER_BLOCK)]


def _write_block(job):
    """Writes the missing sequences of one block: (camera frames, seconds, render seconds)."""
    with single_threaded():
        return _write_block_single_threaded(*job)


def _write_block_single_threaded(layout, subject, block):
    start, frames = time.process_time(), 0
    options, model = layout.options, ProceduralHand()
    intrinsics = draw_intrinsics(options)
    if not layout.takes_pictures:
        for place in _places(subject, block):
            if not layout.is_written(*place):
                motion = draw_motion(options, model, *place, layout.hands(place[1]), intrinsics)
                layout.write_motion(motion, *place)
                layout.move_to_place(*place)
                frames += options.frames * options.cameras
        return frames, time.process_time() - start, 0.0
    drafts = draft_block(options, model, subject, block)
    drafted = time.process_time()
    for draft, place in zip(drafts, _places(subject, block), strict=True):
        if not layout.is_written(*place):
            _write_sequence(layout, build_scene(options, model, draft, intrinsics, layout.side), place, model)
            frames += options.frames * options.cameras
    end = time.process_time()
    return frames, end - start, end - drafted


def _write_sequence(layout, scene, place, model):
    """Renders one sequence, lets the layout write it out of the way, and moves it to its place when it is whole."""
    gap, penetration = contact_of_scene(scene, model)
    facts = {
        'grasp': scene.grasp.type_name, 'action': scene.action, 'object': scene.objects[0].kind,
        'holding_frames': len(gap), 'touching_frames': int((gap <= MAX_GAP).sum()),
        'clear_frames': int((penetration <= MAX_PENETRATION).sum()),
    }  # fmt: skip
    layout.write_scene(scene, *place, facts)
    rng = np.random.default_rng([layout.options.seed, *place, 1])
    look = draw_look(rng, scene.vertices.shape[1], len(scene.objects))
    bodies = SceneBodies(scene, look, model)
    for camera in range(layout.options.cameras):
        frames = camera_frames(scene, bodies, look, camera, layout.options.size, rng)
        layout.write_camera(scene, *place, camera, frames)
    layout.move_to_place(*place)


def camera_frames(scene, bodies, look, camera, size, rng):
    """Yields the rendered `Frame`s of one camera."""
    renderer = CameraRenderer(
        scene.intrinsics[camera], scene.extrinsics[camera], (size, size), look, draw_sensor(rng), rng, bodies.still()
    )
    moving = scene.moving
    for index in range(len(scene.vertices)):
        arm, grasped = bodies.arm(index), bodies.grasped(index)
        resting, carried = ([], [grasped, arm]) if moving[index] else ([grasped], [arm])
        yield renderer.render(bodies.hand(index), resting, carried)


def _summarise(layout, frames, seconds, render_seconds):
    counts = np.zeros(3, int)
    for facts in layout.read_facts() if layout.takes_pictures else ():
        counts += [facts['holding_frames'], facts['touching_frames'], facts['clear_frames']]
    holding = max(int(counts[0]), 1)
    summary = Summary(int(frames), seconds, render_seconds, int(counts[0]), counts[1] / holding, counts[2] / holding)
    measured = {
        'holding_frames': summary.holding_frames,
        'fingertips_within_3_mm': round(float(summary.touching_share), 6),
        'penetration_below_2_mm': round(float(summary.clear_share), 6),
    }
    write_yaml(layout.root / 'generator.yml', {
        'version': VERSION, 'options': layout.options.content(),
        **({'measured': measured} if layout.takes_pictures else {}),
    })  # fmt: skip
    return summary
