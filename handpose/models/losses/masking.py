"""Differences and means that never touch what is invalid."""

import torch


def masked_difference(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """`prediction - target`, zero where invalid, float32 at least.

    Even an invalid target of NaN leaves value and gradient at zero, which multiplying by a mask would not.

    Args:
        prediction, target: the same shape.
        valid: bool, the leading axes of that shape.

    Raises:
        ValueError: the shapes do not fit.
    """
    if prediction.shape != target.shape:
        raise ValueError(f'prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape')
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    difference = prediction.to(dtype) - target.to(dtype)
    if valid is None:
        return difference
    if valid.shape != prediction.shape[: valid.ndim]:
        raise ValueError(f'valid {tuple(valid.shape)} must be the leading axes of {tuple(prediction.shape)}')
    valid = valid.reshape(valid.shape + (1,) * (difference.ndim - valid.ndim))
    return torch.where(valid, difference, torch.zeros_like(difference))


def masked_mean(values: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of the values that are valid, 0 if none is.

    Args:
        values: any shape, zero where invalid.
        valid: bool, the leading axes of that shape.
    """
    if valid is None:
        return values.mean()
    per_entry = values.flatten(valid.ndim).mean(-1) if values.ndim > valid.ndim else values
    return per_entry.sum() / valid.sum().clamp_min(1)
