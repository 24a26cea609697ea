"""What the model of published weights sees of a video: the crop of a hand, or the whole image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.transforms import HandCrop
from handpose.geometry.warp import ImageWarp
from handpose.models import Reads
from handpose.registry import TRANSFORMS
from handpose.video import crop_square, letterbox

KNOWN_FIELDS = {'images', 'boxes', 'hand_side', 'hand_valid', 'frame_valid', 'intrinsics'}
LOAD, CROP, RESIZE = 'LoadImages', 'HandCrop', 'ResizeFrames'
MAX_CROP_SIZE = 2048  # pixels


class View(NamedTuple):
    """An image as the model sees it."""

    image: Tensor  # (1, 3, h, w) uint8
    warp: ImageWarp  # from the video to it


class ModelView:
    """Prepares images of a video as the test pipeline of the weights does.

    A model that reads `boxes` gets the crop of one hand, by the `HandCrop` of its test pipeline; without a box of an
    object, which no detector gives. Any other gets whole images of `reads.image_size`, with black borders where the
    video has another aspect ratio.

    Args:
        reads: of the estimator.
        header: of the published weights, see `read_header`.
        path: of the weights, for error messages.

    Raises:
        ValueError: the model reads what a video lacks, or its images are prepared in a way that is not known here.
    """

    def __init__(self, reads: Reads, header: Mapping[str, Any], path: Path) -> None:
        if unknown := sorted(set(reads.fields) - KNOWN_FIELDS):
            raise ValueError(f'{path}: the model reads {", ".join(unknown)}, which a video does not give')
        if 'images' not in reads.fields:
            raise ValueError(f'{path}: the model reads no images; to refine joints with it: --refine')
        self.crops = 'boxes' in reads.fields
        self._image_size = reads.image_size
        steps = _steps(header.get('test_pipeline'), path)
        known = {LOAD, CROP} if self.crops else {LOAD, RESIZE}
        if unknown := sorted(set(steps) - known):
            raise ValueError(
                f'{path}: images are prepared by {", ".join(unknown)} in its test pipeline, which is not known for '
                f'videos; known are {", ".join(sorted(known))}'
            )
        if not self.crops and reads.image_size is None:
            raise ValueError(f'{path}: the model reads whole images and does not state their size (reads.image_size)')
        self._crop = _hand_crop(steps, path) if self.crops else None

    def hand(self, image: NDArray, box: Tensor) -> View:
        """Crops one hand.

        Args:
            image: (h, w, 3) uint8 RGB.
            box: (4,) xyxy, around its joints, pixels.
        """
        assert self._crop is not None
        return _view(*crop_square(image, box, self._crop.size, self._crop.scale))

    def whole(self, image: NDArray) -> View:
        """Scales a whole image (h, w, 3) uint8 RGB to the size of the model's images."""
        assert self._image_size is not None
        return _view(*letterbox(image, self._image_size))


def _view(image: NDArray, warp: ImageWarp) -> View:
    return View(torch.from_numpy(image).permute(2, 0, 1)[None], warp)


def _steps(pipeline: Any, path: Path) -> dict[str, dict[str, Any]]:
    """The transforms of a test pipeline by name."""
    valid = isinstance(pipeline, list) and all(
        isinstance(step, dict) and isinstance(step.get('type'), str) for step in pipeline
    )
    if not valid:
        raise ValueError(
            f'{path} does not describe how images are prepared (test_pipeline); publish the weights again with a '
            f'config that has one'
        )
    return {step['type'].removeprefix('handpose.'): step for step in pipeline}


def _hand_crop(steps: Mapping[str, dict[str, Any]], path: Path) -> HandCrop:
    if CROP not in steps:
        raise ValueError(
            f'{path}: the model reads one hand in its box, but its test pipeline has no {CROP} ({", ".join(steps)})'
        )
    try:
        crop: HandCrop = TRANSFORMS.build({**steps[CROP], 'type': CROP})
    except TypeError as error:
        raise ValueError(f'{path}: {CROP} in its test pipeline cannot be used: {error}') from error
    size, scale = crop.size, crop.scale
    if type(size) is not int or not 1 <= size <= MAX_CROP_SIZE or type(scale) not in (int, float) or not 0 < scale < 10:
        raise ValueError(
            f'{path}: {CROP} in its test pipeline must have a size from 1 to {MAX_CROP_SIZE} pixels and a scale below '
            f'10, got {str(size)[:20]} and {str(scale)[:20]}'
        )
    return crop
