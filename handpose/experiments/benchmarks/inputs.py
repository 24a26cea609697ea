"""What several cases read: a little built-in data, random batches, and training as the library does it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from mmengine.config import Config

from handpose.experiments.benchmarks.case import Settings
from handpose.files.reading import visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.hands import ProceduralHand
from handpose.structures import HandSequence
from handpose.synthesis import MultiViewOptions

PAPER, SMALL = 'deformer/dexycb', 'deformer/synthetic_paper'
PROCEDURAL = {'hand_model': dict(type='ProceduralHand', _delete_=True)}
SEQUENCES, FRAMES = 5, 24  # of the built-in data made for a benchmark: one subject, one camera


def load(config: str, options: Mapping[str, Any] | None = None) -> Config:
    """Loads a shipped config with the procedural hand.

    Args:
        config: its name.
        options: more options.
    """
    from handpose.engine import load_config

    return load_config(config, {**PROCEDURAL, **(options or {})})


def dexycb_root(settings: Settings, width: int, height: int) -> Path:
    """Finds the built-in data in the cache, or makes them.

    Args:
        settings: those of the case.
        width: of the images, pixels.
        height: of the images, at most the width.

    Returns:
        The folder, in DexYCB's layout.
    """
    from handpose.synthesis.layouts.dexycb import DexYCBLayout

    root = Path(settings.cache) / f'dexycb_{DexYCBLayout.version}_{width}x{height}'
    if root.exists():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        made = Path(folder) / 'made'
        _make_square(made, width)
        if height < width:
            _cut_to_height(made, width, height)
        os.replace(made, root)
    return root


def _make_square(root: Path, size: int) -> None:
    # In a process of its own: its memory is not the case's.
    options = {'subjects': 1, 'sequences': SEQUENCES, 'frames': FRAMES, 'cameras': 1, 'size': size, 'workers': 1}
    words = [word for name, value in options.items() for word in (f'--{name}', str(value))]
    command = [sys.executable, '-m', 'handpose', 'make-data', '--root', str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'the built-in data could not be made: {(done.stderr or done.stdout).strip()[-300:]}')


def _cut_to_height(root: Path, size: int, height: int) -> None:
    """Cuts the same rows off above and below in all images and labels, as a camera of another aspect ratio would."""
    top = (size - height) // 2
    for path in visible_paths(root / 'calibration' / 'intrinsics', f'*_{size}x{size}.yml'):
        found = read_yaml(path)
        found['color']['ppy'] -= top
        path.with_name(path.name.replace(f'{size}x{size}', f'{size}x{height}')).write_text(yaml.safe_dump(found))
        path.unlink()
    for path in root.glob('*/*/*/color_*.jpg'):
        image: Any = cv2.imread(str(path))
        cv2.imwrite(str(path), image[top : top + height], [cv2.IMWRITE_JPEG_QUALITY, 92])
    for path in root.glob('*/*/*/labels_*.npz'):
        with np.load(path) as stored:
            labels = dict(stored)
        labels['seg'] = labels['seg'][top : top + height]
        if not (labels['joint_3d'] == -1).all():
            labels['joint_2d'][..., 1] -= top
        np.savez_compressed(path, **labels)
    shutil.rmtree(root / '.handpose_index', ignore_errors=True)


def random_batch(clips: int, frames: int, size: int, device: str = 'cpu', seed: int = 0) -> HandSequence:
    """Makes a batch of noise with all labels.

    Args:
        clips: number of clips B.
        frames: number of frames T.
        size: width and height of the images, pixels.
        device: where the batch is.
        seed: of the random numbers.

    Returns:
        A (B, T, K=1, H=1, ...) batch.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(clips, *shape, generator=draw)

    ones = torch.ones(clips, frames, 1, dtype=torch.bool)
    box = torch.tensor([0.2, 0.2, 0.8, 0.8]) * size
    return HandSequence(
        meta=[
            {'sequence': f'random {i}', 'cameras': ['0'], 'frame_indices': list(range(frames))} for i in range(clips)
        ],
        batched=True,
        frame_valid=ones[..., 0].clone(),
        hand_side=torch.arange(clips)[:, None] % 2,
        hand_valid=ones.clone(),
        images=torch.randint(0, 256, (clips, frames, 1, 3, size, size), dtype=torch.uint8, generator=draw),
        boxes=box.expand(clips, frames, 1, 1, 4).clone(),
        joints_3d=normal(frames, 1, 21, 3) * 0.05,
        joints_valid=ones[..., None].repeat(1, 1, 1, 21),
        joints_2d=(normal(frames, 1, 1, 21, 2) * 0.1 + 0.5) * size,
        joints_2d_valid=ones[..., None, None].repeat(1, 1, 1, 1, 21),
        hand_pose=normal(frames, 1, 16, 3) * 0.3,
        hand_shape=normal(1, 10),
        hand_transl=normal(frames, 1, 3) * 0.1,
        hand_pose_valid=ones.clone(),
        occlusion=torch.full((clips, frames, 1, 1), 0.5),
    ).to(device)


def training_batches(
    config: Config,
    device: str,
    options: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    batch: HandSequence | None = None,
) -> Callable[[], dict[str, float]]:
    """Prepares training on one batch as the Runner's loop does it.

    Args:
        config: a config from `load`.
        device: where to train.
        options: `training` options on top of the config's.
        batch_size: number of clips; default the config's.
        batch: the batch; default noise of the config's size.

    Returns:
        A function that trains on the batch and returns the losses.
    """
    from mmengine.optim import build_optim_wrapper

    from handpose.engine.adapter import EstimatorAdapter
    from handpose.engine.training import optimizer_settings, prepare_estimator, training_options
    from handpose.registry import MODELS

    config.training = {**config.get('training', {}), **(options or {})}
    settings = training_options(config)
    estimator = MODELS.build(config.model)
    prepare_estimator(estimator, settings)
    model = EstimatorAdapter(estimator).to(device).train()
    optimizer = build_optim_wrapper(model, optimizer_settings(config.optim_wrapper, settings))
    optimizer.initialize_count_status(model, 0, 10**9)
    if batch is None:
        batch = random_batch(batch_size or config.batch_size, config.num_frames, config.image_size, device)
    data = {'batch': batch}

    def run() -> dict[str, float]:
        losses = model.train_step(data, optim_wrapper=optimizer)
        return {name: value.detach().item() for name, value in losses.items()}

    return run


def grasp_bodies(frames: int, size: int) -> Any:
    """Makes a scene of the built-in data: a hand takes an object.

    Args:
        frames: of the scene.
        size: side of the images of its camera, pixels.

    Returns:
        `SceneBodies`, for `rendered`.
    """
    from handpose.synthesis.layouts.dexycb import DexYCBLayout
    from handpose.synthesis.rendering.appearance import draw_look
    from handpose.synthesis.rendering.bodies import SceneBodies
    from handpose.synthesis.scenes.grasping import build_grasp_scene, draft_block

    options = MultiViewOptions('nowhere', subjects=1, sequences=5, frames=frames, cameras=1, size=size)
    model = ProceduralHand()
    scene = build_grasp_scene(DexYCBLayout(options), model, draft_block(options, model, 0, 0)[0])
    return SceneBodies(scene, draw_look(np.random.default_rng(0), model.num_vertices, len(scene.objects)), model)


def rendered(bodies: Any) -> Iterator[Any]:
    """Renders a scene.

    Args:
        bodies: of `grasp_bodies`.

    Yields:
        The frames (`rendering.drawing.Frame`).
    """
    from handpose.synthesis.rendering.still_camera import StillCameraRenderer

    yield from StillCameraRenderer(bodies, 0, np.random.default_rng(0)).frames()
