"""Calibrated cameras: intrinsics, lens distortion and where each camera is.

Metres and pixels; camera axes are OpenCV's (x right, y down, z forward); pixel centres lie at integer coordinates.
`handpose.structures.read_calibration` reads them from files of several formats (docs/guides/calibration.md).
Legend: N points, V cameras, D distortion coefficients.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.geometry.distortion import NUM_COEFFICIENTS, distort_points, undistort_points
from handpose.geometry.rigid import invert_rigid, transform_points
from handpose.text import did_you_mean

LARGEST_SIZE = 1 << 16  # pixels along one side
_ROTATION_TOLERANCE = 1e-3  # of R R^T - I; explains rotations that a file holds with four digits
_ASPECT_TOLERANCE = 0.01
_SAME_RAY = 1e-3  # between a ray and what undistortion makes of its pixel, on the plane z = 1
_NEAREST_DEPTH = 1e-6  # metres


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says what was expected, what was found, where and what to do."""


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """One calibrated camera.

    Args:
        name: what the camera is called.
        image_size: (width, height) of its images, pixels.
        intrinsics: (3, 3) pixels, pixel centres at integers; kept as float64.
        model: lens model, a key of `handpose.geometry.distortion.NUM_COEFFICIENTS`: 'pinhole', 'radial_tangential'
            (OpenCV's) or 'fisheye' (OpenCV's, also with six radial and two tangential coefficients).
        distortion: (D,) coefficients of the model in OpenCV's order; none for 'pinhole'.
        extrinsics: (4, 4) world to camera, metres. The default is a camera at the world's origin.
        rig: None for a camera that is fixed in the world. Otherwise the name of the moving body, such as a headset,
            that the camera is mounted on; `extrinsics` then maps from the body's frame, which is not the world's.

    Raises:
        CalibrationError: names the field, what was expected and what was found.
    """

    name: str
    image_size: tuple[int, int]
    intrinsics: Tensor
    model: str = 'pinhole'
    distortion: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    extrinsics: Tensor = field(default_factory=lambda: torch.eye(4, dtype=torch.float64))
    rig: str | None = None

    def __post_init__(self) -> None:
        for key in ('intrinsics', 'distortion', 'extrinsics'):
            object.__setattr__(self, key, torch.as_tensor(getattr(self, key), dtype=torch.float64))
        if not self.name or not self.name.isprintable():
            raise CalibrationError(f'a camera needs a name of printable characters, got {self.name!r}')
        size = tuple(self.image_size)
        if len(size) != 2 or not all(isinstance(n, int) and 0 < n <= LARGEST_SIZE for n in size):
            raise CalibrationError(
                f'camera {self.name!r}: image_size must be (width, height), whole numbers from 1 to {LARGEST_SIZE}, '
                f'got {size}'
            )
        object.__setattr__(self, 'image_size', size)
        self._check_intrinsics()
        self._check_distortion()
        self._check_extrinsics()

    def _check_intrinsics(self) -> None:
        matrix = self.intrinsics
        found = matrix.tolist()
        if matrix.shape != (3, 3) or not matrix.isfinite().all():
            raise CalibrationError(f'camera {self.name!r}: intrinsics must be (3, 3) finite numbers, got {found}')
        last_row_is_right = torch.equal(matrix[2], matrix.new_tensor([0, 0, 1]))
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[1, 0] != 0 or not last_row_is_right:
            raise CalibrationError(
                f'camera {self.name!r}: intrinsics must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with positive '
                f'focal lengths, got {found}'
            )

    def _check_distortion(self) -> None:
        if self.model not in NUM_COEFFICIENTS:
            raise CalibrationError(
                f'camera {self.name!r}: model must be one of {", ".join(NUM_COEFFICIENTS)}, got {self.model!r}.'
                f'{did_you_mean(self.model, NUM_COEFFICIENTS)}'
            )
        numbers = NUM_COEFFICIENTS[self.model]
        if self.distortion.ndim != 1 or len(self.distortion) not in numbers or not self.distortion.isfinite().all():
            raise CalibrationError(
                f'camera {self.name!r}: distortion of model {self.model!r} must be '
                f'{" or ".join(map(str, numbers))} finite numbers, got {self.distortion.tolist()}'
            )

    def _check_extrinsics(self) -> None:
        matrix = self.extrinsics
        if matrix.shape != (4, 4) or not matrix.isfinite().all():
            raise CalibrationError(
                f'camera {self.name!r}: extrinsics must be (4, 4) finite numbers, got {matrix.tolist()}'
            )
        rotation = matrix[:3, :3]
        off = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max().item()
        if off > _ROTATION_TOLERANCE or torch.linalg.det(rotation) < 0:
            raise CalibrationError(
                f'camera {self.name!r}: the extrinsics must begin with a rotation, got {rotation.tolist()}, which '
                f'{"is scaled or sheared" if off > _ROTATION_TOLERANCE else "mirrors the world"}'
            )
        if not torch.equal(matrix[3], matrix.new_tensor([0, 0, 0, 1])):
            raise CalibrationError(
                f'camera {self.name!r}: the last row of the extrinsics must be 0 0 0 1, got {matrix[3].tolist()}'
            )

    @property
    def position(self) -> Tensor:
        """(3,) metres: where the camera is in the world, or in the frame of its rig."""
        return invert_rigid(self.extrinsics)[:3, 3]

    @property
    def projection(self) -> Tensor:
        """(3, 4) from the world to pixels of undistorted points: intrinsics times extrinsics, without distortion."""
        return self.intrinsics @ self.extrinsics[:3]

    def project(self, points: Tensor) -> Tensor:
        """Projects 3D points to the pixels of the camera's own images, distortion included.

        Args:
            points: (..., N, 3) metres, world, or the frame of the camera's rig.

        Returns:
            (..., N, 2) pixels. Points that the camera cannot see get pixels too: mask them with `sees`.
        """
        local = transform_points(points, self.extrinsics.to(points))
        depth = local[..., 2:]
        depth = torch.where(depth.abs() < _NEAREST_DEPTH, torch.full_like(depth, _NEAREST_DEPTH), depth)
        return self.distort(self._to_pixels(local[..., :2] / depth))

    def distort(self, points_2d: Tensor) -> Tensor:
        """Moves points of an undistorted image to where the camera's own image has them.

        Args:
            points_2d: (..., N, 2) pixels of a pinhole camera with the same intrinsics.

        Returns:
            (..., N, 2) pixels of the camera's images.
        """
        device = points_2d.device
        return distort_points(points_2d, self.intrinsics.to(device), self.model, self.distortion.to(device))

    def undistort(self, points_2d: Tensor) -> Tensor:
        """Moves points of the camera's own images to where a pinhole camera with the same intrinsics has them.

        Args:
            points_2d: (..., N, 2) pixels of the camera's images.

        Returns:
            (..., N, 2) pixels; what `projection` projects to. NaN where the lens moves no point to the pixel.
        """
        device = points_2d.device
        return undistort_points(points_2d, self.intrinsics.to(device), self.model, self.distortion.to(device))

    def sees(self, points: Tensor) -> Tensor:
        """Tells which points are in front of the camera and inside its image; nothing hides them.

        Args:
            points: (..., N, 3) metres, world, or the frame of the camera's rig.

        Returns:
            (..., N) bool. False too where a lens model that was fitted to the image folds a point from far outside
            of it back into it.
        """
        local = transform_points(points, self.extrinsics.to(points))
        uv = self.project(points)
        width, height = self.image_size
        inside = (uv >= -0.5).all(-1) & (uv[..., 0] <= width - 0.5) & (uv[..., 1] <= height - 0.5)
        seen = (local[..., 2] > _NEAREST_DEPTH) & inside
        back = self.undistort(uv)  # NaN for many points out of sight
        true = self._to_pixels(local[..., :2] / local[..., 2:].clamp_min(_NEAREST_DEPTH))
        focal = self.intrinsics.diagonal()[:2].to(points)
        return seen & (((back - true) / focal).norm(dim=-1) < _SAME_RAY)

    def resized(self, image_size: tuple[int, int]) -> 'CameraCalibration':
        """The calibration of the same camera's images at another resolution.

        Args:
            image_size: (width, height), of the same aspect ratio.

        Returns:
            The camera with its intrinsics scaled.

        Raises:
            CalibrationError: another aspect ratio, as of a cropped or a rotated video.
        """
        scale = [new / old for new, old in zip(image_size, self.image_size, strict=True)]
        if abs(scale[0] / scale[1] - 1) > _ASPECT_TOLERANCE:
            raise CalibrationError(
                f'camera {self.name!r} was calibrated with images of {self.image_size[0]}x{self.image_size[1]} pixels, '
                f'and these have {image_size[0]}x{image_size[1]}: another aspect ratio, which is a cropped or rotated '
                f'video, or another camera'
            )
        affine = resize_affine(self.image_size, image_size).to(torch.float64)
        return replace(self, image_size=image_size, intrinsics=transform_intrinsics(self.intrinsics, affine))

    def _to_pixels(self, points: Tensor) -> Tensor:
        """(..., 2) on the plane z = 1 to pixels, without distortion."""
        matrix = self.intrinsics.to(points)
        return points @ matrix[:2, :2].T + matrix[:2, 2]


@dataclass(frozen=True, eq=False)
class Calibration:
    """The cameras of a recording, in the order of the file.

    Args:
        cameras: at least one, with different names.

    Raises:
        CalibrationError: there is no camera, or two have the same name.
    """

    cameras: Sequence[CameraCalibration]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'cameras', tuple(self.cameras))
        if not self.cameras:
            raise CalibrationError('a calibration needs at least one camera')
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise CalibrationError(f'cameras must have different names, but there are several {", ".join(repeated)}')

    @property
    def names(self) -> list[str]:
        """The names of the cameras, in their order."""
        return [camera.name for camera in self.cameras]

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[CameraCalibration]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> CameraCalibration:
        if name not in self.names:
            raise CalibrationError(
                f'the calibration has no camera {name!r}, it has {", ".join(self.names)}.'
                f'{did_you_mean(name, self.names)}'
            )
        return self.cameras[self.names.index(name)]

    def select(self, names: Iterable[str]) -> 'Calibration':
        """Chooses cameras.

        Args:
            names: of the cameras, in the order wanted.

        Returns:
            These cameras alone.

        Raises:
            CalibrationError: an unknown name, or no name.
        """
        return Calibration([self[name] for name in names])

    def fixed(self) -> 'Calibration':
        """Chooses the cameras that are fixed in the world, without those of moving rigs such as headsets.

        Returns:
            These cameras alone.

        Raises:
            CalibrationError: there is none.
        """
        return Calibration([camera for camera in self.cameras if camera.rig is None])

    def projections(self) -> Tensor:
        """Computes the projection matrices of undistorted points, what `triangulate` takes.

        Returns:
            (V, 3, 4) float64 from the world to pixels; see `CameraCalibration.undistort`.

        Raises:
            CalibrationError: a camera belongs to a moving rig, so where it is in the world is not known.
        """
        moving = [f'{camera.name} ({camera.rig})' for camera in self.cameras if camera.rig is not None]
        if moving:
            raise CalibrationError(
                f'these cameras are mounted on a moving rig, so their place in the world is not known: '
                f'{", ".join(moving)}; take the others with fixed()'
            )
        return torch.stack([camera.projection for camera in self.cameras])
