"""From files to a training batch: reading, cropping and every augmentation, on one core."""

import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets import ClipSampling, DexYCB
from handpose.datasets.transforms import HandCrop
from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import PAPER, dexycb_root, load
from handpose.structures import HandSequence

SIZE = 256  # of the crops
CLIPS, FRAMES = 4, 7


def training_set(settings: Settings, width: int, height: int) -> DexYCB:
    """The built-in data as the paper's DexYCB config reads it, with all augmentations, each in every clip."""
    load_images, crop, *rest = load(PAPER, {'image_size': SIZE}).train_pipeline
    always = [dict(type=name, probability=1.0) for name in ('RandomOcclusion', 'MotionBlur')]
    rest = [step for step in rest if step['type'] not in ('RandomOcclusion', 'MotionBlur')]
    pipeline = [load_images, crop, *always, *rest]
    sampling = ClipSampling(FRAMES, centred=True)
    return DexYCB(dexycb_root(settings, width, height), sampling=sampling, pipeline=pipeline)


def full_clips(dataset: DexYCB) -> list[int]:
    """Indices of clips none of whose frames is padding, which would be decoded only once."""
    found = [i for i in range(len(dataset)) if dataset.read(i).frame_valid.all()]
    return [found[int(i)] for i in np.linspace(0, len(found) - 1, CLIPS)]


def batches(dataset: DexYCB) -> Work:
    """Work: load a batch of clips; every call is another epoch, so draws differ as in training."""
    indices, calls = full_clips(dataset), iter(range(10**9))

    def run() -> HandSequence:
        dataset.set_epoch(next(calls))
        return HandSequence.stack([dataset[i] for i in indices])

    return Work(run, CLIPS * FRAMES, lambda: shares(dataset, indices))


def shares(dataset: DexYCB, indices: Sequence[int]) -> dict[str, str]:
    """ms per frame of each step, from one more pass: what limits the pipeline."""
    spent: dict[str, float] = {}
    for index in indices:
        start = time.perf_counter()
        sample, random = dataset.read(index), np.random.default_rng(index)
        spent['labels'] = spent.get('labels', 0) + time.perf_counter() - start
        for transform in dataset.pipeline:
            name, start = type(transform).__name__, time.perf_counter()
            sample = transform(sample, random)
            spent[name] = spent.get(name, 0) + time.perf_counter() - start
    milliseconds = {name: 1000 * seconds / (len(indices) * FRAMES) for name, seconds in spent.items()}
    return {'ms per frame:': ', '.join(f'{name} {value:.2f}' for name, value in milliseconds.items())}


class FloatImages:
    """The same transforms in floats, as they are often written: the whole image is rotated, then cut and resized."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.crop = next(step for step in steps if isinstance(step, HandCrop))

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Crops and augments the images of a clip; labels move as in the library.

        Args:
            sample: the clip.
            rng: source of random draws.
        """
        assert sample.images is not None
        boxes, arrays = self.crop.squares(sample).numpy(), to_arrays(sample.images)
        moved = self.crop(sample.replace(images=None), rng)
        angle, kernel = rng.uniform(-180, 180), self._line(rng)
        noise, place = rng.random((8, 8, 3), np.float32), rng.integers(0, SIZE // 2, 2)
        factors, hue = rng.uniform(0.5, 1.5, 3).astype(np.float32), rng.uniform(-54, 54)
        mean = arrays.mean(dtype=np.float32) / 255
        cut = np.empty((*arrays.shape[:2], SIZE, SIZE, 3), np.uint8)
        for t, k in np.ndindex(arrays.shape[:2]):
            image: NDArray[Any] = self._cut(arrays[t, k].astype(np.float32) / 255, boxes[t, k], angle)
            x, y = place
            image[y : y + SIZE // 3, x : x + SIZE // 3] = cv2.resize(noise, (SIZE // 3, SIZE // 3))
            image = cv2.filter2D(cv2.GaussianBlur(image, (0, 0), 0.4), -1, kernel)
            image = np.clip(factors[0] * (mean + factors[1] * (image - mean)), 0, 1)
            colour = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            colour[..., 0] = (colour[..., 0] + hue) % 360
            colour[..., 1] = np.clip(colour[..., 1] * factors[2], 0, 1)
            cut[t, k] = (cv2.cvtColor(colour, cv2.COLOR_HSV2RGB) * 255).round()
        return moved.replace(images=to_images(cut))

    @staticmethod
    def _cut(image: NDArray[Any], box: NDArray[np.floating], angle: float) -> NDArray[Any]:
        size = image.shape[1::-1]
        centre = tuple(float(v) for v in (box[:2] + box[2:]) / 2)
        image = cv2.warpAffine(image, cv2.getRotationMatrix2D(centre, angle, 1.0), size)
        pad = int(np.ceil(box[2] - box[0]))
        image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        x1, y1, x2, y2 = (np.round(box).astype(int) + pad).clip(0)
        return cv2.resize(image[y1:y2, x1:x2], (SIZE, SIZE))

    @staticmethod
    def _line(rng: np.random.Generator) -> NDArray[np.float32]:
        kernel = np.zeros((11, 11), np.float32)
        end = 5 + 4 * np.array([np.cos(angle := rng.uniform(0, np.pi)), np.sin(angle)])
        cv2.line(kernel, (5, 5), tuple(int(v) for v in end.round()), 1.0)
        return kernel / kernel.sum()


def in_floats(settings: Settings, width: int, height: int) -> Work:
    dataset = training_set(settings, width, height)
    dataset.pipeline = [dataset.pipeline[0], FloatImages(dataset.pipeline)]
    return batches(dataset)


@case('frame', target=120)
def data_pipeline_256(settings: Settings) -> Work:
    """All augmentations, 256 x 256 crops from 256 x 256 images, with labels and stacking."""
    return batches(training_set(settings, 256, 256))


@data_pipeline_256.reference
def plain_256(settings: Settings) -> Work:
    """The whole image rotated, cut, resized and recoloured in float32."""
    return in_floats(settings, 256, 256)


@case('frame')
def data_pipeline_640x480(settings: Settings) -> Work:
    """All augmentations, 256 x 256 crops from 640 x 480 images, with labels and stacking."""
    return batches(training_set(settings, 640, 480))


@data_pipeline_640x480.reference
def plain_640x480(settings: Settings) -> Work:
    """The whole image rotated, cut, resized and recoloured in float32."""
    return in_floats(settings, 640, 480)
