"""From a features file to the clip: what a backbone said of its images, instead of the images."""

import torch

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.frame_features import load_features
from handpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFeatures:
    """Fills `features` (T, 1, C) float32 from a features file; no image is read.

    Args:
        path: file that `handpose extract-features` made.
        data_root: folder of the data set, from which the file names its images.

    Raises:
        DatasetError: see `load_features`; a clip of several cameras, or one with an image that the file lacks.
    """

    def __init__(self, path, data_root):
        self.path, self.data_root = path, data_root

    def __call__(self, sample, rng):
        """Returns the sample with `features`; draws nothing."""
        paths = sample.meta['paths']
        if not all(isinstance(path, str) for path in paths):
            raise DatasetError(f'{paths[0][0]}: features files are for clips of one camera, got {len(paths[0])}')
        found = load_features(str(self.path)).of(paths, self.data_root, self.path)
        return sample.replace(features=torch.from_numpy(found)[:, None])
