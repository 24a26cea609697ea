"""Images as OpenCV wants them, height x width x 3, without a copy."""

import torch


def to_arrays(images):
    """Returns images (T, K, 3, h, w) uint8 as a numpy array (T, K, h, w, 3), sharing memory."""
    return images.permute(0, 1, 3, 4, 2).numpy()


def to_images(arrays):
    """Undoes `to_arrays`."""
    return torch.from_numpy(arrays).permute(0, 1, 4, 2, 3)


def map_images(sample, function):
    """Returns the sample with `function` (h, w, 3) -> (h, w, 3) applied to each image; without images, the sample."""
    if sample.images is None:
        return sample
    arrays = to_arrays(sample.images)
    changed = arrays.copy()
    for place in range(changed.shape[0] * changed.shape[1]):
        t, k = divmod(place, changed.shape[1])
        changed[t, k] = function(arrays[t, k])
    return sample.replace(images=to_images(changed))
