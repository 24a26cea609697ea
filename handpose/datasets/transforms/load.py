"""From files to images."""

import cv2
import numpy as np

from handpose.datasets.io.errors import BrokenFrames, DatasetError
from handpose.datasets.io.packed_frames import open_packed
from handpose.datasets.transforms.frame import ResizeFrames
from handpose.datasets.transforms.images import to_images
from handpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImages:
    """Reads the images that `meta['paths']` names: one path a frame, or a list of K paths a frame.

    Gives `images` (T, K, 3, h, w) uint8 RGB. With `meta['packed']` they come from that store of packed frames, in which
    they are called by their paths from `meta['data_root']` (docs/packed_frames.md); from a store of resized images,
    intrinsics and 2D labels are resized too.

    Raises (at a call):
        BrokenFrames: files or packed frames that are missing, truncated, not images, or not of `meta['image_size']`
            (w, h); or packed frames that fail their checksum.
        DatasetError: images of one clip differ in size and `meta` names none; a store that cannot be read, or lacks
            frames.
    """

    def __call__(self, sample, rng):
        """Returns the sample with `images`; `rng` is not used."""
        store = None
        if sample.meta.get('packed') is not None:
            store = open_packed(sample.meta['packed'], sample.meta.get('data_root'))
            sample = _resize_labels(sample, store)
        paths = [[p] if isinstance(p, str) else list(p) for p in sample.meta['paths']]
        # Frames repeated at the ends of a track are decoded once.
        once = dict.fromkeys(path for row in paths for path in row)
        loaded, failed = {}, {}
        for path, data, error in read_files(once) if store is None else store.read(once):
            try:
                loaded[path] = _decode(path, data, error, sample.meta.get('image_size'))
            except DatasetError as broken:
                failed[path] = broken
        wrong = {position: failed[path] for position, row in enumerate(paths) for path in row if path in failed}
        if wrong:
            more = f' (and {len(wrong) - 1} more frames of the clip)' if len(wrong) > 1 else ''
            raise BrokenFrames(f'{next(iter(wrong.values()))}{more}', wrong)
        if len({image.shape for image in loaded.values()}) > 1:
            raise DatasetError(f'images of one clip must have one size, but those beside {paths[0][0]} differ')
        return sample.replace(images=to_images(np.stack([[loaded[p] for p in row] for row in paths])))


def read_image(path, size=None):
    """Reads an RGB image (h, w, 3) uint8.

    Raises:
        DatasetError: the file is missing, truncated, not an image, or not of `size` (width, height).
    """
    return _decode(*next(read_files([path])), size)


def decode_image(data, path):
    """Decodes the bytes of an image file to BGR (h, w, 3) uint8.

    Raises:
        DatasetError: they are cut off or no image; `path` names them.
    """
    data = np.frombuffer(data, np.uint8)
    # OpenCV fills the missing rows of a truncated JPEG with grey and says nothing, so look for the end marker.
    whole = data[:2].tobytes() != b'\xff\xd8' or b'\xff\xd9' in data[-64:].tobytes()
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) and whole else None
    if image is None:
        raise DatasetError(f'image {path} is truncated or not an image ({len(data)} bytes); unpack the data set again')
    return image


def read_files(paths):
    """Gives (path, data, None), or (path, None, error), as `PackedFrames.read` does."""
    for path in paths:
        try:
            with open(path, 'rb', buffering=0) as file:
                data, error = file.readall(), None
        except OSError as trouble:
            data = None
            error = DatasetError(f'image {path} cannot be read ({trouble.strerror}); unpack the data set again')
            error.__cause__ = trouble
        yield path, data, error


def _decode(path, data, error, size):
    """One frame as RGB (h, w, 3), or what is wrong with it as a DatasetError."""
    if error is not None:
        raise error
    image = decode_image(data, path)
    if size is not None and image.shape[1::-1] != tuple(size):
        raise DatasetError(
            f'image {path} is {image.shape[1]}x{image.shape[0]}, but its camera is calibrated for {size[0]}x{size[1]}'
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _resize_labels(sample, store):
    """The sample, before its images are loaded, with the labels of the images as a store has them."""
    if store.image_changes is None or store.image_changes['size'] is None:
        return sample
    old = tuple(store.image_changes['source_size'])
    size = tuple(sample.meta.get('image_size') or old)
    if size != old:
        raise DatasetError(
            f'{store.folder} was packed from images of {old[0]}x{old[1]}, but the camera of this clip is calibrated '
            f'for {size[0]}x{size[1]}'
        )
    resize = ResizeFrames(store.image_changes['size'])
    return resize(sample.replace(meta={**sample.meta, 'image_size': old}), None)
