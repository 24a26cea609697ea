"""Random temporal order, to measure what a model gains from the order of frames."""

import numpy as np

from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence


@TRANSFORMS.register_module()
class ShuffleFrames:
    """Shuffles the valid frames of a clip together with their labels; padding at the end is not moved.

    Frames keep their own labels and their indices in `meta['frame_indices']`, so pose errors are still counted per
    frame; `timestamps` stay in ascending order.
    """

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Shuffles a clip.

        Args:
            sample: with `frame_valid`.
            rng: source of the random order.

        Returns:
            The shuffled clip.
        """
        order = np.arange(len(sample.frame_valid))
        valid = sample.frame_valid.nonzero()[:, 0].numpy()
        order[valid] = rng.permutation(valid)
        return sample.select_frames(order).replace(timestamps=sample.timestamps)
