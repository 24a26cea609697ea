"""A contact sheet of the built-in data: one image to judge a dataset by."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.files.reading import visible_paths


def contact_sheet(root: str | Path, path: str | Path, rows: int = 6, columns: int = 8, tile: int = 256) -> None:
    """Writes an image of sequences (rows, spread over the data) by time (columns); the camera changes along the row.

    Args:
        root: the data.
        path: the image to write (.png or .jpg).
        rows: sequences at most.
        columns: instants of each sequence.
        tile: width of a frame, pixels.

    Raises:
        FileNotFoundError: the root holds no sequence with images.
        OSError: the image cannot be written.
    """
    sequences = _sequences(Path(root))
    if not sequences:
        raise FileNotFoundError(
            f'{root} holds no sequence with images in the structure of DexYCB, HO3D, H2O, FPHA or AssemblyHands'
        )
    chosen = [sequences[i] for i in np.unique(np.linspace(0, len(sequences) - 1, rows).round().astype(int))]
    sheet = np.concatenate([_row(sequence, columns, tile) for sequence in chosen])
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f'{path}: OpenCV could not write the contact sheet')


def _sequences(root: Path) -> list[list[list[Path]]]:
    """The images of every sequence: for each of its cameras a sorted list of paths."""
    folders = [p.parent for p in visible_paths(root, '*-subject-*/*/meta.yml')]
    sequences = [[visible_paths(c, 'color_*.jpg') for c in visible_paths(f) if c.is_dir()] for f in folders]
    recordings: dict[str, list[list[Path]]] = {}  # HO3D's folders are a recording's name and the camera's digit
    for folder in sorted([*root.glob('train/*/rgb'), *root.glob('evaluation/*/rgb')]):
        recordings.setdefault(folder.parent.name[:-1], []).append(visible_paths(folder))
    videos = sorted([*root.glob('subject*/*/*/cam4/rgb'), *root.glob('Video_files/*/*/*/color')])
    headsets = [_longest([visible_paths(c) for c in visible_paths(folder)])
                for folder in sorted(root.glob('images/ego_images_rectified/*/*'))]  # fmt: skip
    return sequences + list(recordings.values()) + [[visible_paths(folder)] for folder in videos] + headsets


def _longest(cameras: list[list[Path]]) -> list[list[Path]]:
    """The cameras that have the most images: of a headset's, those that see the hands all the time."""
    most = max(map(len, cameras))
    return [paths for paths in cameras if len(paths) == most]


def _row(cameras: list[list[Path]], columns: int, tile: int) -> NDArray:
    frames = np.linspace(0.12, 0.9, columns) * (len(cameras[0]) - 1)
    tiles = []
    for column, frame in enumerate(frames.round().astype(int)):
        path = cameras[column * len(cameras) // columns][frame]
        image = cv2.imread(str(path))
        if image is None:
            raise OSError(f'{path} is no image that OpenCV can read')
        height = round(tile * image.shape[0] / image.shape[1])
        tiles.append(cv2.resize(image, (tile, height), interpolation=cv2.INTER_AREA))
    return np.concatenate(tiles, 1)
