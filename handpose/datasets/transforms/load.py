"""From files to images."""

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import BrokenFrames, DatasetError
from handpose.datasets.io.packed_frames import open_packed
from handpose.datasets.io.video_frames import is_frame_path, read_video_frames
from handpose.datasets.transforms.frame import common_size, warp_frames
from handpose.datasets.transforms.images import to_images
from handpose.geometry.camera import resize_affine
from handpose.geometry.warp import resize_image
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

Size = tuple[int, int]  # (width, height), pixels


@TRANSFORMS.register_module()
class LoadImages:
    """Reads the images that `meta['paths']` names: one path per frame, or a list of K paths per frame.

    A path `<video>#<frame>` names a frame of a video. An empty path is a view without an image in this frame, which is
    black; `meta` must state its size, if the view has no image in the whole clip.

    `images` are (T, K, 3, h, w) uint8 RGB afterwards. Views of different resolution are padded with black at the right
    and at the bottom to the largest width and height, which changes no pixel coordinate; `HandCrop` crops each of them
    to the same size, or `size` resizes them here.

    With `meta['packed']` the images come from that store of packed frames, in which their names are their paths
    relative to `meta['data_root']` (docs/data/packed_frames.md); with a store of resized images, intrinsics and 2D
    labels are resized too.

    Files must have the sizes that `meta` states: `image_sizes`, K (width, height), or `image_size` for all views. After
    loading, `meta['image_sizes']` are the original sizes of the views, and `meta['image_size']` is that of `images`.

    Args:
        size: (width, height) to which each view is resized, pixels; intrinsics, 2D joints and boxes follow. None means
            not resized.
    """

    def __init__(self, size: Size | None = None) -> None:
        self.size = None if size is None else (int(size[0]), int(size[1]))

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Loads the images of a clip.

        Args:
            sample: without images.
            rng: not used.

        Returns:
            The clip with `images`.

        Raises:
            BrokenFrames: files or packed frames that do not exist, are truncated, are not images, or are not of the
                size that `meta` states; or packed frames that fail their checksum.
            DatasetError: images of one camera differ in size, and `meta` states none; a store that cannot be read, or
                lacks frames.
            SequenceError: the images are resized and the clip lacks intrinsics.
        """
        paths = [[p] if isinstance(p, str) else list(p) for p in sample.meta['paths']]
        stated = _stated_sizes(sample.meta, len(paths[0]))
        stored, store = stated, None
        if sample.meta.get('packed') is not None:
            store = open_packed(sample.meta['packed'], sample.meta.get('data_root'))
            stated, stored = _packed_sizes(store, stated)
        images = _load(paths, stored, store)
        loaded = [_size_of_view(images, paths, k, stored[k]) for k in range(len(paths[0]))]
        original = [size or found for size, found in zip(stated, loaded, strict=True)]
        resized = loaded if self.size is None else [self.size] * len(loaded)
        size = common_size(resized)
        if resized != original:
            affine = torch.stack([resize_affine(old, new) for old, new in zip(original, resized, strict=True)])
            sample = warp_frames(sample, affine, size)
        images = {path: _pad(_resize(image, self.size), size) for path, image in images.items()}
        images[''] = np.zeros((size[1], size[0], 3), np.uint8)
        return sample.replace(
            images=to_images(np.stack([[images[path] for path in row] for row in paths])),
            meta={**sample.meta, 'image_size': size, 'image_sizes': original},
        )


def read_image(path: str, size: Size | None = None) -> NDArray:
    """Reads an image file.

    Args:
        path: the file.
        size: (width, height) that it must have, pixels; None means any.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        DatasetError: the file does not exist, is truncated, is not an image, or is not of this size.
    """
    return _decode(*next(read_files([path])), size)


def decode_image(data: bytes | memoryview, path: str) -> NDArray:
    """Decodes the content of an image file.

    Args:
        data: the content.
        path: name for the error message.

    Returns:
        (h, w, 3) uint8 BGR.

    Raises:
        DatasetError: the content is truncated or not an image.
    """
    encoded = np.frombuffer(data, np.uint8)
    # OpenCV fills the missing rows of a truncated JPEG with grey without a warning, so look for the end marker.
    complete = encoded[:2].tobytes() != b'\xff\xd8' or b'\xff\xd9' in encoded[-64:].tobytes()
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) and complete else None
    if image is None:
        raise DatasetError(f'image {path} is truncated or not an image ({len(data)} bytes); unpack the dataset again')
    return image


def read_files(paths: Iterable[str]) -> Iterator[tuple[str, bytes | None, DatasetError | None]]:
    """Reads files, as `PackedFrames.read` does.

    Args:
        paths: the files.

    Yields:
        (path, content, None), or (path, None, error).
    """
    for path in paths:
        data: bytes | None = None
        error: DatasetError | None = None
        try:
            with open(path, 'rb', buffering=0) as file:
                data = file.readall()
        except OSError as cause:
            error = DatasetError(f'image {path} cannot be read ({cause.strerror}); unpack the dataset again')
            error.__cause__ = cause
        yield path, data, error


def _stated_sizes(meta: dict[str, Any], views: int) -> list[Size | None]:
    """The size of each view's images as the reader states it."""
    sizes = meta.get('image_sizes') or [meta.get('image_size')] * views
    if len(sizes) != views:
        raise DatasetError(f"meta['image_sizes'] states {len(sizes)} sizes, but a frame has {views} images")
    return [None if size is None else (int(size[0]), int(size[1])) for size in sizes]


def _packed_sizes(store: Any, stated: list[Size | None]) -> tuple[list[Size | None], list[Size | None]]:
    """The sizes of each view before and after packing."""
    if store.image_changes is None or store.image_changes['size'] is None:
        return stated, stated
    (width, height), size = store.image_changes['source_size'], tuple(store.image_changes['size'])
    for found in stated:
        if found not in (None, (width, height)):
            raise DatasetError(
                f'{store.folder} was packed from images of {width}x{height}, but a camera of this clip is calibrated '
                f'for {found[0]}x{found[1]}'
            )
    return [(width, height)] * len(stated), [size] * len(stated)


def _load(paths: list[list[str]], sizes: list[Size | None], store: Any) -> dict[str, NDArray]:
    """{path: image (h, w, 3) RGB} of T x K paths, whose views must have these sizes."""
    # Frames repeated at the ends of a track are decoded once.
    size_of = {path: size for row in paths for path, size in zip(row, sizes, strict=True) if path}
    images, failed = {}, {}
    files = size_of
    if store is None:
        files = {path: size for path, size in size_of.items() if not is_frame_path(path)}
        for path, image, error in read_video_frames(size_of.keys() - files.keys()):
            try:
                images[path] = _checked(image, path, error, size_of[path])
            except DatasetError as broken:
                failed[path] = broken
    for path, data, error in read_files(files) if store is None else store.read(files):
        try:
            images[path] = _decode(path, data, error, size_of[path])
        except DatasetError as broken:
            failed[path] = broken
    wrong = {t: failed[path] for t, row in enumerate(paths) for path in row if path in failed}
    if wrong:
        more = f' (and {len(wrong) - 1} more frames of the clip)' if len(wrong) > 1 else ''
        raise BrokenFrames(f'{next(iter(wrong.values()))}{more}', wrong)
    return images


def _size_of_view(images: dict[str, NDArray], paths: list[list[str]], k: int, stated: Size | None) -> Size:
    """The size of a view's images; the stated one where it has none."""
    sizes = sorted({images[row[k]].shape[1::-1] for row in paths if row[k]})
    if not sizes and stated is not None:
        return stated
    if not sizes:
        raise DatasetError(
            f"view {k} of the clip has no image, and meta['image_sizes'] does not state its size: state it, or choose "
            'other views'
        )
    if len(sizes) > 1:
        found = ' and '.join(f'{width}x{height}' for width, height in sizes[:2])
        raise DatasetError(f'images of one camera must have one size in a clip, got {found} next to {paths[0][k]}')
    return sizes[0]


def _decode(path: str, data: bytes | None, error: DatasetError | None, size: Size | None) -> NDArray:
    """One frame as RGB (h, w, 3)."""
    if error is not None:
        raise error
    return cv2.cvtColor(_checked(decode_image(data, path), path, None, size), cv2.COLOR_BGR2RGB)


def _checked(image: NDArray | None, path: str, error: DatasetError | None, size: Size | None) -> NDArray:
    """The image, if it has the size of its camera."""
    if error is not None or image is None:
        raise error or DatasetError(f'image {path} cannot be read')
    if size is not None and image.shape[1::-1] != size:
        raise DatasetError(
            f'image {path} is {image.shape[1]}x{image.shape[0]}, but its camera is calibrated for {size[0]}x{size[1]}'
        )
    return image


def _resize(image: NDArray, size: Size | None) -> NDArray:
    return image if size in (None, image.shape[1::-1]) else resize_image(image, size)


def _pad(image: NDArray, size: Size) -> NDArray:
    """Adds black at the right and at the bottom."""
    right, bottom = size[0] - image.shape[1], size[1] - image.shape[0]
    if not right and not bottom:
        return image
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
