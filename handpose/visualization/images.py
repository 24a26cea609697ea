"""Writing images and sheets of frames, whole or not at all."""

from pathlib import Path

import cv2

from handpose.files.atomic import atomic_write
from handpose.visualization.draw import contact_sheet


def save_contact_sheet(path, frames, columns):
    """Writes RGB frames as one image (.png or .jpg), `columns` in a row."""
    save_image(path, contact_sheet(frames, columns))


def save_image(path, image):
    """Writes an RGB image to .png or .jpg, whole or not at all."""
    path = Path(path)
    if path.suffix not in ('.png', '.jpg'):
        raise ValueError(f'{path}: a picture must end in .png or .jpg')
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    atomic_write(path, encoded.tobytes())
