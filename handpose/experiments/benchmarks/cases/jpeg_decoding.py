"""JPEG decoding: OpenCV as the library uses it against simplejpeg, alone and in the whole data pipeline.

Both are built on libjpeg-turbo and give the same pixels, which the tests check. 'Reduced' images have half the width
and height and are decoded from half the frequencies. simplejpeg's faster, less exact options are not used.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets.transforms import load
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.cases.data_pipeline import batches, training_set

SIZES = ((256, 256), (640, 480), (1920, 1080))
IMAGES = 8
Decoder = Callable[[bytes], NDArray[Any]]


def jpegs(size: tuple[int, int]) -> list[bytes]:
    """Smooth images with a camera's noise, about as many bytes as photographs."""
    draw, found = np.random.default_rng(0), []
    for _ in range(IMAGES):
        smooth = cv2.resize(draw.integers(0, 256, (12, 16, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
        image = (smooth + draw.normal(0, 2, smooth.shape)).clip(0, 255).astype(np.uint8)
        found.append(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    return found


def opencv_decoder(size: tuple[int, int], reduced: bool) -> Decoder:
    if not reduced:
        return lambda data: cv2.cvtColor(load.decode_image(data, 'an image'), cv2.COLOR_BGR2RGB)
    flag = cv2.IMREAD_REDUCED_COLOR_2
    return lambda data: cv2.cvtColor(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flag)), cv2.COLOR_BGR2RGB)


def simplejpeg_decoder(size: tuple[int, int], reduced: bool) -> Decoder:
    from simplejpeg import decode_jpeg

    if not reduced:
        return decode_jpeg
    width, height = size
    return lambda data: decode_jpeg(data, min_height=height // 2, min_width=width // 2)


def decoding(size: tuple[int, int], reduced: bool, make: Callable[[tuple[int, int], bool], Decoder]) -> Work:
    images, decode = jpegs(size), make(size, reduced)
    return Work(lambda: [decode(data) for data in images], len(images))


def pipeline(settings: Settings, width: int, height: int, simple: bool) -> Work:
    """The whole pipeline of `data_pipeline.py`, with the one decoder or the other."""
    work = batches(training_set(settings, width, height))
    if not simple:
        return work
    from simplejpeg import decode_jpeg

    def run() -> Any:
        with patch.object(load, '_decode', lambda path, data, error, size: decode_jpeg(data)):
            return work.run()

    return Work(run, work.count, work.notes)


def register(size: tuple[int, int], reduced: bool) -> None:
    """Registers simplejpeg as a case, and OpenCV as its reference."""
    name = f'{size[0]}x{size[1]}' + '_reduced' * reduced
    about = f'simplejpeg, JPEGs of {size[0]}x{size[1]}' + ', decoded at half the size' * reduced
    made = case('image', when='asked', name=f'decode_jpeg_{name}', about=about, packages=('simplejpeg',))(
        lambda settings: decoding(size, reduced, simplejpeg_decoder)
    )

    @made.reference
    def opencv(settings: Settings) -> Work:
        """OpenCV, colours put in order."""
        return decoding(size, reduced, opencv_decoder)


def register_pipeline(width: int, height: int) -> None:
    """Registers the data pipeline with simplejpeg, and with OpenCV as its reference."""
    name, about = f'jpeg_pipeline_{width}x{height}', f'The data pipeline with simplejpeg, {width}x{height} images'
    made = case('frame', when='asked', name=name, about=about, packages=('simplejpeg',))(
        lambda settings: pipeline(settings, width, height, True)
    )

    @made.reference
    def opencv_pipeline(settings: Settings) -> Work:
        """With OpenCV."""
        return pipeline(settings, width, height, False)


for size in SIZES:
    for reduced in (False, True):
        register(size, reduced)
for width, height in ((256, 256), (640, 480)):
    register_pipeline(width, height)
