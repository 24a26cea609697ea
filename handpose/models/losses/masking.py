"""Differences and means that ignore what is invalid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from handpose.models.layers.checks import check_bool


def masked_difference(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """`prediction - target`, zero where invalid, float32 at least.

    An invalid target of NaN leaves value and gradient at zero, which multiplying by a mask would not.

    Args:
        prediction: any shape.
        target: the same shape.
        valid: bool, the leading axes of that shape; None means all.

    Returns:
        The same shape.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the shapes do not fit.
    """
    if prediction.shape != target.shape:
        raise ValueError(f'prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape')
    check_leading_axes(valid, prediction.shape)
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    difference = prediction.to(dtype) - target.to(dtype)
    if valid is None:
        return difference
    valid = valid.reshape(valid.shape + (1,) * (difference.ndim - valid.ndim))
    return torch.where(valid, difference, torch.zeros_like(difference))


def masked_mean(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of the valid values, 0 if there is none.

    Args:
        values: any shape, zero where invalid.
        valid: bool, the leading axes of that shape; None means all.

    Returns:
        A scalar.

    Raises:
        TypeError: the mask is not bool.
        ValueError: its shape does not fit.
    """
    if valid is None:
        return values.mean()
    check_leading_axes(valid, values.shape)
    per_entry = values.flatten(valid.ndim).mean(-1) if values.ndim > valid.ndim else values
    return per_entry.sum() / valid.sum().clamp_min(1)


def check_leading_axes(valid: Tensor | None, shape: Sequence[int]) -> None:
    """Checks that a mask is of dtype bool and has the leading axes of a shape.

    Args:
        valid: the mask; None passes.
        shape: of what is masked.

    Raises:
        TypeError: the mask is not bool.
        ValueError: its shape does not fit.
    """
    if valid is None:
        return
    check_bool('valid', valid)
    if tuple(valid.shape) != tuple(shape[: valid.ndim]):
        raise ValueError(f'valid must have the leading axes of {tuple(shape)}, got the shape {tuple(valid.shape)}')
