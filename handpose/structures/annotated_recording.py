"""`AnnotatedRecording`: the hands of a recording by several calibrated cameras, and how well they fit the images.

Legend: T frames, K cameras, H hands (1, or 2 with left 0 and right 1), J = 21 joints of the common order, V vertices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.rigid import transform_points
from handpose.hands.joints import BONES
from handpose.structures.calibration import Calibration
from handpose.structures.prediction_checks import PredictionsError, sides_as_numbers
from handpose.structures.predictions import Predictions


class RecordingError(ValueError):
    """An annotated recording that cannot be used; the message says what was expected, what was found and where."""


ARRAYS: dict[str, tuple[tuple[str | int, ...], type[np.generic]]] = {
    'timestamps': (('T',), np.float64),
    'hand_side': (('H',), np.int64),
    'frame_indices': (('T', 'K'), np.int64),
    'joints_2d': (('T', 'K', 'H', 21, 2), np.float32),
    'joints_2d_valid': (('T', 'K', 'H'), np.bool_),
    'detection_confidence': (('T', 'K', 'H'), np.float32),
    'views_used': (('T', 'K', 'H', 21), np.bool_),
    'triangulated': (('T', 'H', 21, 3), np.float32),
    'triangulated_valid': (('T', 'H', 21), np.bool_),
    'joints_3d': (('T', 'H', 21, 3), np.float32),
    'joints_valid': (('T', 'H', 21), np.bool_),
}
"""The arrays of every recording, with their shapes and types."""
FITTED: dict[str, tuple[tuple[str | int, ...], type[np.generic]]] = {
    'hand_pose': (('T', 'H', 16, 3), np.float32),
    'hand_shape': (('H', 10), np.float32),
    'hand_transl': (('T', 'H', 3), np.float32),
    'hand_pose_valid': (('T', 'H'), np.bool_),
}
"""The arrays of a fitted hand model: all of them are there, or none."""
# What an array holds where its mask is False, whatever was given.
_MASKED: dict[str, tuple[str, float]] = {
    'joints_2d': ('joints_2d_valid', np.nan),
    'detection_confidence': ('joints_2d_valid', 0),
    'views_used': ('joints_2d_valid', False),
    'triangulated': ('triangulated_valid', np.nan),
    'joints_3d': ('joints_valid', np.nan),
    'hand_pose': ('hand_pose_valid', np.nan),
    'hand_transl': ('hand_pose_valid', np.nan),
}


@dataclass(eq=False)
class AnnotatedRecording:
    """The hands of a recording; the result of `handpose annotate`.

    Metres, pixels and seconds. The world is that of the calibration. Where a mask is False, floats are NaN (a
    confidence is 0) and masks are False, whatever was given.

    Args:
        calibration: the K cameras, none on a moving rig, with the sizes of the videos' images.
        videos: K paths of videos or folders of images, absolute or relative to the recording's file.
        timestamps: (T,) seconds, increasing.
        hand_side: (H,) 0 left, 1 right; two hands in this order.
        frame_indices: (T, K) number of the image in the camera's video; -1 where the camera has none.
        joints_2d: (T, K, H, 21, 2) detected joints, pixels of the camera's own images, lens distortion included.
        joints_2d_valid: (T, K, H) hands that were detected in a view.
        detection_confidence: (T, K, H) from 0 to 1.
        views_used: (T, K, H, 21) views that the triangulation of a joint used.
        triangulated: (T, H, 21, 3) joints as triangulated from the detections, world.
        triangulated_valid: (T, H, 21).
        joints_3d: (T, H, 21, 3) the result, world.
        joints_valid: (T, H, 21).
        method: text that says how `joints_3d` came about.
        hand_pose: (T, H, 16, 3) rotation vectors of a fitted hand model, or None; see docs/data/data_contract.md.
        hand_shape: (H, 10), or None.
        hand_transl: (T, H, 3) metres, world, or None.
        hand_pose_valid: (T, H), or None.
        hand_model: name of the fitted hand model; empty without one.
        notes: what is unusual or limited, one message each.

    Raises:
        RecordingError: names the field, what was expected and what was found.
    """

    calibration: Calibration
    videos: Sequence[str]
    timestamps: NDArray
    hand_side: NDArray
    frame_indices: NDArray
    joints_2d: NDArray
    joints_2d_valid: NDArray
    detection_confidence: NDArray
    views_used: NDArray
    triangulated: NDArray
    triangulated_valid: NDArray
    joints_3d: NDArray
    joints_valid: NDArray
    method: str
    hand_pose: NDArray | None = None
    hand_shape: NDArray | None = None
    hand_transl: NDArray | None = None
    hand_pose_valid: NDArray | None = None
    hand_model: str = ''
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.videos, self.notes = tuple(map(str, self.videos)), tuple(map(str, self.notes))
        try:
            self.hand_side = sides_as_numbers(self.hand_side)
        except PredictionsError as error:
            raise RecordingError(f'{error}') from error
        if len(self.hand_side) == 2 and self.hand_side[0] == 1:
            raise RecordingError('hand_side: two hands must be in the order left (0), right (1), got 1, 0')
        fitted = [name for name in FITTED if vars(self)[name] is not None]
        if fitted and (len(fitted) < len(FITTED) or not self.hand_model):
            raise RecordingError(
                f'a fitted hand model takes {", ".join(FITTED)} and the name hand_model, got only {", ".join(fitted)}'
            )
        for name, (shape, dtype) in {**ARRAYS, **{name: FITTED[name] for name in fitted}}.items():
            setattr(self, name, self._array(name, shape, dtype))
        self._check_values()
        for name, (mask, value) in _MASKED.items():
            array = vars(self)[name]
            if array is not None:
                valid = vars(self)[mask]
                valid = valid.reshape(*valid.shape, *[1] * (array.ndim - valid.ndim))
                setattr(self, name, np.where(valid, array, np.asarray(value, array.dtype)))

    def _array(self, name: str, shape: tuple[str | int, ...], dtype: type[np.generic]) -> NDArray:
        """The array of a field, with its shape checked and its type converted."""
        value = np.asarray(vars(self)[name])
        sizes = {'T': len(np.atleast_1d(self.timestamps)), 'K': len(self.calibration), 'H': len(self.hand_side)}
        wanted = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in shape)
        if value.shape != wanted:
            letters = ', '.join(map(str, shape))
            raise RecordingError(f'{name} must have the shape ({letters}) = {wanted}, got {value.shape}')
        kinds = 'b' if dtype is np.bool_ else 'iu' if dtype is np.int64 else 'fiu'
        if value.dtype.kind not in kinds:
            raise RecordingError(f'{name} must be an array of {dtype.__name__}, got {value.dtype}')
        return value.astype(dtype)

    def _check_values(self) -> None:
        if not len(self.timestamps):
            raise RecordingError('a recording needs at least one frame, this one has none')
        if not np.isfinite(self.timestamps).all() or (np.diff(self.timestamps) <= 0).any():
            raise RecordingError('timestamps must be finite and increasing')
        if len(self.videos) != len(self.calibration):
            raise RecordingError(
                f'videos must name one video for each of the {len(self.calibration)} cameras, got {len(self.videos)}'
            )
        moving = [camera.name for camera in self.calibration if camera.rig is not None]
        if moving:
            raise RecordingError(f'cameras on a moving rig cannot be part of a recording: {", ".join(moving)}')
        for name, (mask, _) in _MASKED.items():
            if vars(self)[name] is not None and not np.isfinite(vars(self)[name][vars(self)[mask]]).all():
                raise RecordingError(f'{name} must be finite where {mask} is True')
        if (self.joints_2d_valid & (self.frame_indices < 0)[..., None]).any():
            raise RecordingError('joints_2d_valid must be False where a camera has no image (frame_indices is -1)')

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def num_views(self) -> NDArray[np.int64]:
        """(T, H) cameras in which the hand was detected."""
        return self.joints_2d_valid.sum(1)

    def project(self, joints: NDArray) -> NDArray[np.float64]:
        """Projects points to the images of all cameras, lens distortion included.

        Args:
            joints: (T, H, N, 3) metres, world.

        Returns:
            (T, K, H, N, 2) pixels; NaN where a point is NaN.
        """
        points = torch.from_numpy(np.asarray(joints, np.float64))
        return torch.stack([camera.project(points) for camera in self.calibration], 1).numpy()

    def joints_in_view(self) -> NDArray[np.bool_]:
        """(T, K, H, 21) whether a valid joint of the result is in front of the camera and inside its image.

        Another hand or an object may hide it. False where the camera has no image.
        """
        points = torch.from_numpy(self.joints_3d.astype(np.float64))
        seen = torch.stack([camera.sees(points) for camera in self.calibration], 1).numpy()
        there = (self.frame_indices >= 0)[..., None, None]
        return np.asarray(seen & there & self.joints_valid[:, None])

    def reprojection_errors(self, joints: NDArray | None = None) -> NDArray[np.float64]:
        """Measures how far the projected joints are from the detections.

        Args:
            joints: (T, H, 21, 3) metres, world; None takes the result, `joints_3d`.

        Returns:
            (T, K, H, 21) pixels; NaN where a camera did not detect the hand, or a joint is not valid.
        """
        return np.linalg.norm(self.project(self.joints_3d if joints is None else joints) - self.joints_2d, axis=-1)

    def bone_lengths(self) -> NDArray[np.float64]:
        """(T, H, 20) metres, of `handpose.hands.joints.BONES`; NaN where a joint is not valid."""
        first, last = (list(ends) for ends in zip(*BONES, strict=True))
        bones = self.joints_3d[:, :, last].astype(np.float64) - self.joints_3d[:, :, first]
        return np.linalg.norm(bones, axis=-1)

    def bone_length_spread(self) -> NDArray[np.float64]:
        """(H, 20) standard deviation of each bone's length over its mean; NaN for bones of fewer than two frames."""
        lengths = self.bone_lengths()
        count = np.isfinite(lengths).sum(0)
        enough = np.where(count > 1, count, np.nan)
        mean = np.nansum(lengths, 0) / enough
        return np.sqrt(np.nansum((lengths - mean) ** 2, 0) / enough) / mean

    def to_predictions(self, camera: int = 0) -> Predictions:
        """Converts to predictions for one camera, the input of refiners, exports and views.

        Args:
            camera: number of the camera whose frame the joints get.

        Returns:
            All frames, in frame 'camera'. A hand is valid where its wrist is. Intrinsics are left out for a lens with
            distortion, which the predictions file cannot express.

        Raises:
            PredictionsError: the joints are not those of hands, such as in another unit.
        """
        calibration = self.calibration.cameras[camera]
        world = torch.from_numpy(self.joints_3d.astype(np.float64))
        joints_valid = self.joints_valid & self.joints_valid[..., :1]
        pinhole = calibration.model == 'pinhole' or not calibration.distortion.any()
        detected = self.joints_2d_valid[:, camera, :, None, None]
        projected = calibration.project(world).numpy()  # where the network did not detect the hand
        return Predictions(
            joints=transform_points(world, calibration.extrinsics).numpy(),
            valid=joints_valid[..., 0],
            timestamps=self.timestamps - self.timestamps[0],
            hand_side=self.hand_side,
            frame='camera',
            intrinsics=calibration.intrinsics.numpy() if pinhole else None,
            image_size=np.array(calibration.image_size),
            source=f'{self.method}; camera {calibration.name} of {len(self.calibration)}',
            joints_2d=np.where(detected, self.joints_2d[:, camera], projected),
            joints_valid=joints_valid,
        )

    def values(self) -> dict[str, Any]:
        """{name: value} of all fields that are not None."""
        return {item.name: vars(self)[item.name] for item in fields(self) if vars(self)[item.name] is not None}
