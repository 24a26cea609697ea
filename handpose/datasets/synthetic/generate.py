"""Makes the built-in data, sequence by sequence: in parallel, resumable, decided by a seed."""

import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import yaml

from handpose.datasets.synthetic.appearance import draw_look, draw_sensor
from handpose.datasets.synthetic.bodies import SceneBodies
from handpose.datasets.synthetic.dexycb_files import (
    camera_labels,
    sequence_poses,
    write_extrinsics,
    write_frame,
    write_hand_shape,
    write_intrinsics,
    write_npz,
    write_yaml,
)
from handpose.datasets.synthetic.grasps import MAX_GAP, MAX_PENETRATION, contact_of_scene
from handpose.datasets.synthetic.options import SEQUENCES_PER_BLOCK
from handpose.datasets.synthetic.render import CameraRenderer
from handpose.datasets.synthetic.scene import build_scene, draft_block, draw_intrinsics
from handpose.hands import ProceduralHand

VERSION = 1  # of the generator: raise it when the same options give other data
PARTIAL = '.partial'  # where unfinished sequences lie


class Summary(NamedTuple):
    """What a run made and how good the data is.

    `frames` camera frames written by this run; processor `seconds` spent, summed over processes, and of those the
    `render_seconds` without the search for grasps; of all holding frames in the data the shares whose fingertips touch
    within `MAX_GAP` and whose hand sinks in at most `MAX_PENETRATION`.
    """

    frames: int
    seconds: float
    render_seconds: float
    holding_frames: int
    touching_share: float
    clear_share: float


def write_dexycb(options, progress=None):
    """Writes the built-in data in DexYCB's structure; what an interrupted run with the same options left is kept.

    Args:
        options: SyntheticOptions.
        progress: called as progress(done sequences, all sequences) after every block, or None.

    Returns:
        Summary.

    Raises:
        ValueError: the root holds something else, or data made with other options.
    """
    root = Path(options.root)
    _claim_root(root, options)
    blocks = [(s, b) for s in range(options.subjects) for b in range(options.sequences // SEQUENCES_PER_BLOCK)]
    total = options.subjects * options.sequences
    missing = [block for block in blocks if not all(p.exists() for p in _block_folders(options, *block))]
    done = total - SEQUENCES_PER_BLOCK * len(missing)
    spent = np.zeros(3)
    for made in _run_all(options, missing):
        spent += made
        done += SEQUENCES_PER_BLOCK
        if progress:
            progress(done, total)
    shutil.rmtree(root / PARTIAL, ignore_errors=True)
    return _summarise(options, *spent)


def _claim_root(root, options):
    """Checks that the root is free or ours, and writes what names it."""
    record = root / 'generator.yml'
    ours = {'version': VERSION, 'options': options.content()}
    if record.exists():
        found = yaml.safe_load(record.read_text(encoding='utf-8'))
        if {k: found.get(k) for k in ours} != ours:
            raise ValueError(
                f'{root} holds built-in data made with other options: its generator.yml says {found.get("options")}, '
                f'version {found.get("version")}, and {ours["options"]}, version {VERSION}, was asked for. Delete the '
                'folder or choose another root'
            )
        return
    if root.exists() and any(root.iterdir()):
        raise ValueError(
            f'{root} is not empty and has no generator.yml, so it is not ours to fill: choose another root'
        )
    root.mkdir(parents=True, exist_ok=True)
    intrinsics = draw_intrinsics(options)
    for serial, matrix in zip(options.serials, intrinsics, strict=True):
        write_intrinsics(root, serial, matrix, (options.size, options.size))
    write_yaml(root / 'hand_model.yml', {'name': ProceduralHand().name})
    write_yaml(record, ours)


def _block_folders(options, subject, block):
    first = block * SEQUENCES_PER_BLOCK
    base = Path(options.root) / options.subject_name(subject)
    return [base / options.sequence_name(subject, s) for s in range(first, first + SEQUENCES_PER_BLOCK)]


def _run_all(options, blocks):
    """Yields (camera frames, seconds, render seconds) of every block, as they come."""
    workers = min(options.workers or os.cpu_count() or 1, len(blocks))
    jobs = [(options, *block) for block in blocks]
    if workers <= 1:
        yield from map(_write_block, jobs)
        return
    # Fresh processes: a forked child would inherit torch's thread pools in whatever state they are.
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(_write_block, jobs)


def _write_block(job):
    """Writes the missing sequences of one block: (camera frames, seconds, render seconds)."""
    options, subject, block = job
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        return _write_block_single_threaded(options, subject, block)
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def _write_block_single_threaded(options, subject, block):
    start, frames = time.process_time(), 0
    model = ProceduralHand()
    intrinsics = draw_intrinsics(options)
    drafts = draft_block(options, model, subject, block)
    drafted = time.process_time()
    for offset, (draft, folder) in enumerate(zip(drafts, _block_folders(options, subject, block), strict=True)):
        if not folder.exists():
            scene = build_scene(options, model, draft, intrinsics)
            seed = [options.seed, subject, block * SEQUENCES_PER_BLOCK + offset, 1]
            frames += _write_sequence(options, scene, folder, subject, seed, model)
    end = time.process_time()
    return frames, end - start, end - drafted


def _write_sequence(options, scene, folder, subject, seed, model):
    """Renders and writes one sequence next to its place and moves it there when it is whole."""
    root = Path(options.root)
    partial = root / PARTIAL / folder.parent.name / folder.name
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    side = ('left', 'right')[scene.side]
    calibration = f'{folder.name}_subject-{subject + 1:02d}_{side}'
    write_extrinsics(root, folder.name, options.serials, scene.extrinsics)
    write_hand_shape(root, calibration, scene.hand_shape)
    gap, penetration = contact_of_scene(scene, model)
    touching, clear = int((gap <= MAX_GAP).sum()), int((penetration <= MAX_PENETRATION).sum())
    write_yaml(partial / 'meta.yml', {
        'serials': list(options.serials), 'num_frames': options.frames, 'extrinsics': folder.name,
        'ycb_ids': [o.class_id for o in scene.objects], 'ycb_grasp_ind': 0, 'mano_sides': [side],
        'mano_calib': [calibration],
        'synthetic': {
            'grasp': scene.grasp.type_name, 'action': scene.action, 'object': scene.objects[0].kind,
            'holding_frames': len(gap), 'touching_frames': touching, 'clear_frames': clear,
        },
    })  # fmt: skip
    write_npz(partial / 'pose.npz', sequence_poses(scene))
    rng = np.random.default_rng(seed)
    look = draw_look(rng, scene.vertices.shape[1], len(scene.objects))
    bodies = SceneBodies(scene, look, model)
    for camera, serial in enumerate(options.serials):
        _write_camera(partial / serial, scene, bodies, look, camera, options.size, rng)
    folder.parent.mkdir(exist_ok=True)
    partial.rename(folder)
    return options.frames * options.cameras


def _write_camera(folder, scene, bodies, look, camera, size, rng):
    folder.mkdir()
    labels = camera_labels(scene, camera)
    for index, frame in enumerate(camera_frames(scene, bodies, look, camera, size, rng)):
        write_frame(folder, index, frame, {name: values[index] for name, values in labels.items()})


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


def _summarise(options, frames, seconds, render_seconds):
    counts = np.zeros(3, int)
    for meta in sorted(Path(options.root).glob('*-subject-*/*/meta.yml')):
        found = yaml.safe_load(meta.read_text(encoding='utf-8'))['synthetic']
        counts += [found['holding_frames'], found['touching_frames'], found['clear_frames']]
    holding = max(int(counts[0]), 1)
    summary = Summary(int(frames), seconds, render_seconds, int(counts[0]), counts[1] / holding, counts[2] / holding)
    write_yaml(Path(options.root) / 'generator.yml', {
        'version': VERSION, 'options': options.content(),
        'measured': {
            'holding_frames': summary.holding_frames,
            'fingertips_within_3_mm': round(float(summary.touching_share), 6),
            'penetration_below_2_mm': round(float(summary.clear_share), 6),
        },
    })  # fmt: skip
    return summary
