"""Taking the order of time away, to see what a network makes of it."""

import numpy as np

from handpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ShuffleFrames:
    """Puts the valid frames of a clip into a random order, labels and all; padding at the end stays there.

    Frames keep their own labels and their numbers in `meta['frame_indices']`, so errors of poses are still counted
    frame by frame; `timestamps` stay in ascending order.
    """

    def __call__(self, sample, rng):
        """Returns the shuffled sample."""
        order = np.arange(len(sample.frame_valid))
        places = sample.frame_valid.nonzero()[:, 0].numpy()
        order[places] = rng.permutation(places)
        return sample.select_frames(order).replace(timestamps=sample.timestamps)
