"""The renderer of the built-in data."""

import shutil
import tempfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import grasp_bodies, rendered
from handpose.geometry.raster import rasterize, rasterize_exact
from handpose.hands import ProceduralHand
from handpose.synthesis import MultiViewOptions, write_dataset

SIZE = 256


@case('frame')
def render_frames(settings: Settings) -> Work:
    """Rendering 256 x 256 frames of one scene: colour, depth, segmentation, occlusion; nothing written."""
    bodies = grasp_bodies(24, SIZE)
    return Work(lambda: sum(1 for _ in rendered(bodies)), 24)


@case('frame', when='full')
def built_in_data(settings: Settings) -> Work:
    """Making built-in data from nothing: search for grasps, motion, rendering and files (5 sequences, 1 camera)."""
    options: dict[str, Any] = dict(subjects=1, sequences=5, frames=60, cameras=1, size=SIZE, workers=1)

    def run() -> None:
        folder = tempfile.mkdtemp(prefix='benchmark_')
        try:
            write_dataset(MultiViewOptions(folder, **options))
        finally:
            shutil.rmtree(folder)

    return Work(run, options['sequences'] * options['frames'])


def hand_image() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """A posed hand that fills most of a image: vertices (V, 2), depth (V,), faces."""
    model = ProceduralHand()
    pose = 0.2 * torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    mesh = model(pose, torch.zeros(10), torch.tensor([0.0, 0.0, 0.6]), torch.tensor(1))
    vertices = mesh.vertices.double().numpy()
    flat = vertices[:, :2] / vertices[:, 2:]
    low, high = flat.min(0), flat.max(0)
    flat = (flat - (low + high) / 2) / (high - low).max() * 0.8 * SIZE + SIZE / 2
    return flat, vertices[:, 2], model.faces.numpy()


@case('hand')
def rasterize_hand(settings: Settings) -> Work:
    """Rasterising a hand mesh into 256 x 256 pixels with the painter's algorithm."""
    vertices, depth, faces = hand_image()
    return Work(lambda: rasterize(vertices, depth, faces, (SIZE, SIZE)), 1)


@rasterize_hand.reference
def z_buffer(settings: Settings) -> Work:
    """An exact z-buffer, face by face."""
    vertices, depth, faces = hand_image()
    return Work(lambda: rasterize_exact(vertices, depth, faces, (SIZE, SIZE)), 1)
