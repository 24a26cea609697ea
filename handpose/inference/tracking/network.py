"""Networks that OpenCV runs, from TensorFlow Lite files."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_OPENCV = 5


class NetworkError(ValueError):
    """A network file that cannot be used; the message names the file and says what to do."""


class ImageNetwork:
    """A network that takes one square RGB image with values from 0 to 1.

    Args:
        path: the .tflite file.
        size: side of the input image, pixels.
        outputs: {name: number of values} that the network must have.

    Raises:
        NetworkError: OpenCV is too old, or the file is missing, is no network that OpenCV can read, or has other
            outputs.
    """

    def __init__(self, path: str | Path, size: int, outputs: dict[str, int]) -> None:
        _check_opencv()
        self.path, self.size = Path(path), size
        self._names = list(outputs)
        if not self.path.is_file():
            raise NetworkError(f'there is no network file {path}; `handpose zoo get` downloads the networks')
        try:
            self._network = _read(str(path))
            found = {name: values.size for name, values in self.run(np.zeros((size, size, 3), np.uint8)).items()}
        except cv2.error as error:
            raise NetworkError(
                f'{path} is not the network that was expected: OpenCV cannot run it '
                f'({str(error.err).splitlines()[0]}); download it again with `handpose zoo get`'
            ) from error
        if found != outputs:
            raise NetworkError(f'{path} is not the network that was expected: its outputs are {found}, not {outputs}')

    def run(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Runs the network.

        Args:
            image: (size, size, 3) uint8 RGB.

        Returns:
            {output name: values}.
        """
        self._network.setInput(cv2.dnn.blobFromImage(image, 1 / 255))
        outputs = self._network.forward(self._names)
        return {name: np.asarray(values, np.float32) for name, values in zip(self._names, outputs, strict=True)}


def _check_opencv() -> None:
    """Refuses versions of OpenCV whose results differ from those of the published pipeline.

    From 4.10 to 4.14 they run MediaPipe's landmark network, but its joints are up to 3 pixels of the crop off; earlier
    versions do not run it.
    """
    if int(cv2.__version__.split('.')[0]) < MIN_OPENCV:
        raise NetworkError(
            f'OpenCV {cv2.__version__} is installed, and versions before {MIN_OPENCV} run the networks inaccurately or '
            f"not at all: pip install 'opencv-python>={MIN_OPENCV}'"
        )


def _read(path: str) -> cv2.dnn.Net:
    # The new engine of OpenCV 5 returns only the first output of these networks.
    return cv2.dnn.readNetFromTFLite(path, engine=cv2.dnn.ENGINE_CLASSIC)
