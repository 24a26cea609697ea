"""A contact sheet of data in DexYCB's structure: one picture to judge it by."""

from pathlib import Path

import cv2
import numpy as np


def contact_sheet(root, path, rows=6, columns=8, tile=256):
    """Writes a picture of sequences (rows, spread over the data) by time (columns); the camera changes along the row.

    Args:
        root: data in DexYCB's structure. path: the picture to write (.png or .jpg). tile: pixels per frame.

    Raises:
        FileNotFoundError: the root holds no sequence.
    """
    sequences = sorted(p.parent for p in Path(root).glob('*-subject-*/*/meta.yml'))
    if not sequences:
        raise FileNotFoundError(f'{root} holds no sequence (subject/sequence/meta.yml)')
    chosen = [sequences[i] for i in np.unique(np.linspace(0, len(sequences) - 1, rows).round().astype(int))]
    sheet = np.concatenate([_row(sequence, columns, tile) for sequence in chosen])
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f'{path}: OpenCV could not write the contact sheet')


def _row(sequence, columns, tile):
    cameras = sorted(p for p in sequence.iterdir() if p.is_dir())
    count = len(list(cameras[0].glob('color_*.jpg')))
    frames = np.linspace(0.12, 0.9, columns) * (count - 1)
    tiles = []
    for column, frame in enumerate(frames.round().astype(int)):
        camera = cameras[column * len(cameras) // columns]
        image = cv2.imread(str(camera / f'color_{frame:06d}.jpg'))
        tiles.append(cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA))
    return np.concatenate(tiles, 1)
