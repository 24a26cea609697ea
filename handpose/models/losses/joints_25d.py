"""Losses of 2.5D joints as heatmaps and as distributions.

Legend: N crops, H hands, J = 21 joints, M of them valid, X Y Z cells across, down and in depth. Positions are (x, y, z)
in [0, 1]; cell i of n lies at (i + 0.5) / n.
"""

import torch
from torch import Tensor, nn

from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.models.losses.masking import masked_mean
from handpose.registry import MODELS


def inside_unit_cube(positions: Tensor, valid: Tensor) -> Tensor:
    """Which coordinates have a cell.

    Args:
        positions: (..., 3).
        valid: (..., 3) bool.

    Returns:
        (..., 3) bool: valid, and from 0 to 1.
    """
    return valid & (positions >= 0) & (positions <= 1)  # False for NaN


@MODELS.register_module()
class GaussianHeatmapLoss(nn.Module):
    """Mean squared difference between volumes and Gaussians around the joints (InterHand2.6M's InterNet).

    A joint counts if all of its coordinates are known and inside. The published code adds zeros for the joints of the
    other hand to the mean, which halves it; here the mean is over the joints that count.

    Args:
        sigma: of the Gaussian, cells.
        peak: its largest value.
        loss_weight: factor of the result.
    """

    def __init__(self, sigma: float = 2.5, peak: float = 255.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.sigma, self.peak, self.loss_weight = sigma, peak, loss_weight

    def forward(self, maps: tuple[Tensor, ...], positions: Tensor, valid: Tensor) -> Tensor:
        """Compares volumes with joints.

        Args:
            maps: one volume (N, H, J, Z, Y, X).
            positions: (N, H, J, 3).
            valid: (N, H, J, 3) bool.

        Returns:
            A scalar, the mean over the cells of the joints that count; 0 if there is none.

        Raises:
            ValueError: maps that are no volume.
        """
        if len(maps) != 1 or maps[0].ndim != 6:
            raise ValueError(
                f'GaussianHeatmapLoss compares volumes (N, H, J, Z, Y, X), got {[tuple(m.shape) for m in maps]}: use '
                f'it with Heatmap25DHead'
            )
        counts = inside_unit_cube(positions, valid).all(-1)  # (N, H, J)
        with without_autocast(maps[0]):
            volume, targets = at_least_float32(maps[0][counts]), positions[counts]  # (M, Z, Y, X) and (M, 3)
            x, y, z = (self._line(targets[:, axis], volume.shape[-1 - axis]) for axis in range(3))
            gaussian = self.peak * z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]
            return self.loss_weight * (volume - gaussian).square().sum() / max(1, volume.numel())

    def _line(self, positions: Tensor, count: int) -> Tensor:
        """Gaussians (M, count) along one axis, 1 at positions (M,)."""
        cells = torch.arange(count, dtype=positions.dtype, device=positions.device) + 0.5
        return (-0.5 * ((cells - positions[:, None] * count) / self.sigma).square()).exp()


@MODELS.register_module()
class CoordinateDistributionLoss(nn.Module):
    """Cross entropy of distributions with triangles around the true coordinates, see `triangle_labels`.

    Every coordinate counts for itself: a joint whose depth is not known still says where it is in the crop.

    Args:
        radius: cells from the top of a triangle to its ends; 1 spreads a coordinate over the two nearest cells.
        loss_weight: factor of the result.

    Raises:
        ValueError: a radius below 1.
    """

    def __init__(self, radius: int = 4, loss_weight: float = 1.0) -> None:
        super().__init__()
        if radius < 1:
            raise ValueError(f'radius must be at least 1 cell, got {radius}')
        self.radius, self.loss_weight = radius, loss_weight

    def forward(self, maps: tuple[Tensor, ...], positions: Tensor, valid: Tensor) -> Tensor:
        """Compares distributions with coordinates.

        Args:
            maps: three lines of logits (N, H, J, X), (N, H, J, Y) and (N, H, J, Z).
            positions: (N, H, J, 3).
            valid: (N, H, J, 3) bool.

        Returns:
            A scalar, the sum over x, y and z of the means over the joints that count; 0 if there is none.

        Raises:
            ValueError: maps that are no lines.
        """
        if len(maps) != 3 or any(line.ndim != 4 for line in maps):
            raise ValueError(
                f'CoordinateDistributionLoss compares three lines (N, H, J, cells), got '
                f'{[tuple(m.shape) for m in maps]}: use it with Distribution25DHead'
            )
        counts = inside_unit_cube(positions, valid)
        total = positions.new_zeros(())
        for axis, line in enumerate(maps):
            with without_autocast(line):
                known = counts[..., axis]
                labels = triangle_labels(torch.where(known, positions[..., axis], 0.5), line.shape[-1], self.radius)
                error = -(labels * at_least_float32(line).log_softmax(-1)).sum(-1)
                total = total + masked_mean(torch.where(known, error, torch.zeros_like(error)), known)
        return self.loss_weight * total


def triangle_labels(positions: Tensor, count: int, radius: int) -> Tensor:
    """Distributions over cells that are triangles around positions, and whose means are exactly these positions.

    A triangle whose ends are a whole number of cells from its top has its top as its mean, wherever that lies between
    cells. One that a border would cut is narrower, down to the two nearest cells, so that its mean stays exact up to
    the centre of the outermost cell; a Gaussian that a border cuts has a mean that is too far inside.

    Args:
        positions: (...) in [0, 1].
        count: number of cells.
        radius: cells from the top to the ends, where the borders leave room.

    Returns:
        (..., count), sums are 1. The mean is that of positions between the centres of the outermost cells; what is
        nearer to a border is taken to the outermost cell.
    """
    top = (positions * count - 0.5).clamp(0, count - 1)[..., None]  # in cells from the first one
    room = torch.minimum(top, count - 1 - top).floor() + 1
    reach = room.clamp(1, radius)
    cells = torch.arange(count, dtype=top.dtype, device=top.device)
    return (1 - (cells - top).abs() / reach).clamp_min(0) / reach


@MODELS.register_module()
class HandIdentityLoss(nn.Module):
    """Cross entropy of the hands that crops show, with the logits of either kind of `HandIdentityHead`.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, shown: Tensor) -> Tensor:
        """Compares N crops.

        Args:
            logits: (N, 3) of left, right and both, or (N, 2) of left and right.
            shown: (N, 2) bool, whether the left and the right hand are there; a crop without a hand does not count.

        Returns:
            A scalar, the mean over crops (and, of two logits, over hands).

        Raises:
            ValueError: neither two nor three logits.
        """
        if logits.shape[-1] not in (2, 3):
            raise ValueError(f'expected the logits of 2 or 3 classes, got {logits.shape[-1]}')
        known = shown.any(-1)
        with without_autocast(logits):
            logits = at_least_float32(logits)
            if logits.shape[-1] == 3:
                target = torch.where(shown.all(-1), 2, shown[:, 1].long())
                error = nn.functional.cross_entropy(logits, target, reduction='none')
            else:
                error = nn.functional.binary_cross_entropy_with_logits(
                    logits, shown.to(logits.dtype), reduction='none'
                ).mean(-1)
            return self.loss_weight * masked_mean(torch.where(known, error, torch.zeros_like(error)), known)
