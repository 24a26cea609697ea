"""Writing images and contact sheets atomically."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from handpose.files.atomic import atomic_write
from handpose.visualization.draw import contact_sheet


def save_contact_sheet(path: str | Path, frames: Sequence[np.ndarray], columns: int) -> None:
    """Writes RGB frames as one image (.png or .jpg), `columns` in a row."""
    save_image(path, contact_sheet(frames, columns))


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Writes an RGB image to .png or .jpg atomically."""
    path = Path(path)
    if path.suffix not in ('.png', '.jpg'):
        raise ValueError(f'{path}: the name of an image must end in .png or .jpg')
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    atomic_write(path, encoded.tobytes())
