"""Features files: what a backbone that no longer trains says of every image, so that what stands on it trains fast.

A `.npz` with `names` (N,), paths of images from the root of their dataset, `features` (N, C) float32, and `source`, a
description of the backbone. `handpose extract-features` makes one; `LoadFeatures` reads it.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_frames import name_under
from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz

KEYS = ('features', 'names', 'source')


class FrameFeatures(NamedTuple):
    """`features` (N, C) float32; `rows` {name: row}, names being paths from the root of the dataset."""

    features: np.ndarray
    rows: dict[str, int]
    source: str

    def of(self, paths: Iterable[str], root: str | Path, where: object) -> NDArray:
        """The features (T, C) of the images `paths` of a dataset in `root`.

        Raises:
            DatasetError: the file, `where`, lacks an image; names it.
        """
        names = image_names(paths, root)
        for name in names:
            if name not in self.rows:
                raise DatasetError(
                    f'{where} has no features of {name}; make the file again, with every split that is read'
                )
        return self.features[[self.rows[name] for name in names]]


def image_names(paths: Iterable[str], root: str | Path) -> list[str]:
    """What the images `paths` of a dataset in `root` are called in a features file.

    Raises:
        DatasetError: an image that does not lie in `root`.
    """
    root = os.path.abspath(root)
    return [name_under(root, path) for path in paths]


def save_features(path: str | Path, features: Mapping[str, ArrayLike], source: str) -> None:
    """Writes a features file, whole or not at all.

    Args:
        path: the file.
        features: {name of an image (`image_names`): (C,)}.
        source: description of the backbone.
    """
    arrays = {
        'names': np.array(list(features)),
        'features': np.stack([np.asarray(row, np.float32) for row in features.values()]),
        'source': np.array(source),
    }
    with atomic_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for allow_pickle


@functools.lru_cache(maxsize=4)
def load_features(path: str | Path) -> FrameFeatures:
    """Reads a features file; asked again, it gives the same `FrameFeatures`.

    Raises:
        DatasetError: no such file, no features file, or a damaged one.
    """
    if not Path(path).is_file():
        raise DatasetError(f'no features file {path}; make it with `handpose extract-features`')
    found = read_npz(path, KEYS, error=DatasetError, advice='make it again')
    if lacking := sorted(set(KEYS) - set(found)):
        raise DatasetError(f'{path} is no features file: it lacks {", ".join(map(repr, lacking))}')
    features, names, source = (found[key] for key in KEYS)
    if features.dtype.kind != 'f' or names.dtype.kind != 'U' or source.ndim:
        raise DatasetError(f'{path} must hold features of real numbers, names as text and one source; make it again')
    if features.ndim != 2 or names.shape != features.shape[:1] or not np.isfinite(features).all():
        raise DatasetError(
            f'{path} must hold finite features (N, C) and N names, got {features.shape} and {names.shape}; '
            'make it again'
        )
    return FrameFeatures(features, {name: row for row, name in enumerate(names.tolist())}, str(source))
