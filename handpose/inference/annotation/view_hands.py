"""`ViewHands`: the hands that were detected in the images of several cameras, before it is known which belong together.

Legend: T frames, K cameras, N the most hands in one image, J = 21 joints of the common order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.inference.tracking.interfaces import NUM_JOINTS
from handpose.inference.tracking.records import TrackRecords


class ViewHandsError(ValueError):
    """Detections that cannot be used; the message says what was expected, what was found and where."""


_SHAPES: dict[str, tuple[tuple[str | int, ...], type[np.generic]]] = {
    'joints_2d': (('T', 'K', 'N', NUM_JOINTS, 2), np.float32),
    'valid': (('T', 'K', 'N'), np.bool_),
    'right': (('T', 'K', 'N'), np.float32),
    'presence': (('T', 'K', 'N'), np.float32),
    'track_ids': (('T', 'K', 'N'), np.int64),
    'image_valid': (('T', 'K'), np.bool_),
}


@dataclass(eq=False)
class ViewHands:
    """The detected hands of all cameras.

    Args:
        joints_2d: (T, K, N, J, 2) pixels of the camera's own images, lens distortion included; NaN where there is no
            detection, or where a detected hand lacks the joint.
        valid: (T, K, N) whether there is a detection.
        right: (T, K, N) from 0 to 1, how certain it is that the hand is a right one.
        presence: (T, K, N) from 0 to 1, how certain it is that there is a hand.
        track_ids: (T, K, N) number of the hand among those that were followed in the camera's video; -1 if unknown.
        image_valid: (T, K) whether the camera has an image.

    Raises:
        ViewHandsError: names the array, what was expected and what was found.
    """

    joints_2d: NDArray
    valid: NDArray
    right: NDArray
    presence: NDArray
    track_ids: NDArray
    image_valid: NDArray

    def __post_init__(self) -> None:
        if np.ndim(self.valid) != 3:
            raise ViewHandsError(f'valid must have the shape (T, K, N), got {np.shape(self.valid)}')
        sizes = dict(zip('TKN', np.shape(self.valid), strict=True))
        for name, (shape, dtype) in _SHAPES.items():
            value = np.asarray(vars(self)[name])
            wanted = tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            if value.shape != wanted:
                raise ViewHandsError(
                    f'{name} must have the shape ({", ".join(map(str, shape))}) = {wanted}, got {value.shape}'
                )
            if value.dtype.kind not in ('b' if dtype is np.bool_ else 'iuf'):
                raise ViewHandsError(f'{name} must be an array of {dtype.__name__}, got {value.dtype}')
            setattr(self, name, value.astype(dtype))
        if (self.valid & ~self.image_valid[..., None]).any():
            raise ViewHandsError('valid must be False where a camera has no image (image_valid is False)')
        # A hand without a single joint is no detection.
        self.valid = self.valid & np.isfinite(self.joints_2d).all(-1).any(-1)
        self.joints_2d = np.where(self.valid[..., None, None], self.joints_2d, np.float32(np.nan))
        self.right = np.where(self.valid, self.right, np.float32(0.5))
        self.presence = np.where(self.valid, self.presence, np.float32(0))
        self.track_ids = np.where(self.valid, self.track_ids, -1)
        for name in ('right', 'presence'):
            array = vars(self)[name]
            if not ((array >= 0) & (array <= 1)).all():
                raise ViewHandsError(f'{name} must be between 0 and 1 where valid is True')

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def num_cameras(self) -> int:
        """K."""
        return self.valid.shape[1]

    @classmethod
    def from_track_records(
        cls, records: Sequence[TrackRecords], frame_indices: NDArray[np.int64] | None = None
    ) -> 'ViewHands':
        """Collects the hands that a `Session` found in the video of each camera.

        Args:
            records: of the K cameras; image f of a camera's records is the image number f of its video.
            frame_indices: (T, K) number of the image that each camera shows in a frame, -1 where it has none. None
                means that all videos begin together and have one rate; T is the length of the longest.

        Returns:
            The detections. Images behind the end of a camera's records count as missing.

        Raises:
            ViewHandsError: no camera, or `frame_indices` is not (T, K) whole numbers from -1.
        """
        if not records:
            raise ViewHandsError('records of at least one camera are needed, got none')
        if frame_indices is None:
            counts = [len(one) for one in records]
            frames = np.arange(max(counts))[:, None]
            frame_indices = np.where(frames < counts, frames, -1)
        indices = np.asarray(frame_indices)
        if (
            indices.ndim != 2
            or indices.shape[1] != len(records)
            or indices.dtype.kind not in 'iu'
            or (indices < -1).any()
        ):
            raise ViewHandsError(
                f'frame_indices must be (T, {len(records)}) whole numbers from -1, got {indices.dtype} {indices.shape}'
            )
        most = max([1, *(int(np.bincount(one.frame).max()) for one in records if len(one.frame))])
        shape = *indices.shape, most
        arrays = dict(
            joints_2d=np.full((*shape, NUM_JOINTS, 2), np.nan, np.float32),
            valid=np.zeros(shape, bool),
            right=np.full(shape, 0.5, np.float32),
            presence=np.zeros(shape, np.float32),
            track_ids=np.full(shape, -1, np.int64),
            image_valid=(indices >= 0) & (indices < [len(one) for one in records]),
        )
        for k, one in enumerate(records):
            first, end = (np.searchsorted(one.frame, indices[:, k] + step) for step in (0, 1))
            for n in range(most):
                frame = np.flatnonzero(arrays['image_valid'][:, k] & (first + n < end))
                row = first[frame] + n
                arrays['valid'][frame, k, n] = one.joints_valid[row].any(-1)
                joints = np.where(one.joints_valid[row, :, None], one.joints_2d[row], np.nan)
                arrays['joints_2d'][frame, k, n] = joints
                arrays['right'][frame, k, n] = one.right[row]
                arrays['presence'][frame, k, n] = one.presence[row]
                arrays['track_ids'][frame, k, n] = one.track_id[row]
        return cls(**arrays)

    def save(self, path: str | Path) -> None:
        """Writes the detections to an .npz file, completely or not at all."""
        with atomic_file(path) as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> 'ViewHands':
        """Reads a file that `save` wrote.

        Args:
            path: the file.

        Returns:
            The detections.

        Raises:
            ViewHandsError: the file is damaged, or holds something else.
        """
        names = [item.name for item in fields(cls)]
        advice = 'delete it; the detections are then collected again'
        found = read_npz(path, names, error=ViewHandsError, advice=advice)
        if lacking := [name for name in names if name not in found]:
            raise ViewHandsError(f'{path} lacks {", ".join(lacking)}; {advice}')
        try:
            return cls(**found)
        except ViewHandsError as error:
            raise ViewHandsError(f'{path}: {error}; {advice}') from error
