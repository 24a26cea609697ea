"""From a features file to the clip: what a backbone computed from its images, instead of the images."""

from pathlib import Path

import numpy as np
import torch

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.frame_features import load_features
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence


@TRANSFORMS.register_module()
class LoadFeatures:
    """Fills `features` (T, 1, C) float32 from a features file; no image is read.

    Args:
        path: file that `handpose extract-features` wrote.
        data_root: folder of the dataset, relative to which the file names its images.
    """

    def __init__(self, path: str | Path, data_root: str | Path) -> None:
        self.path, self.data_root = path, data_root

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Loads the features of a clip.

        Args:
            sample: with `meta['paths']`.
            rng: not used.

        Returns:
            The clip with `features`.

        Raises:
            DatasetError: see `load_features`; a clip of several cameras, or one with an image that the file lacks.
        """
        paths = sample.meta['paths']
        if not all(isinstance(path, str) for path in paths):
            raise DatasetError(f'{paths[0][0]}: features files are for clips of one camera, got {len(paths[0])}')
        found = load_features(str(self.path)).of(paths, self.data_root, self.path)
        return sample.replace(features=torch.from_numpy(found)[:, None])
