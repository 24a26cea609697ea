"""Checks tensors against the declarations of `SPECS`."""

from torch import Tensor

from handpose.structures.fields import SPECS, SequenceError


def check_fields(values: dict[str, Tensor], *, batched: bool, where: str) -> dict[str, int]:
    """Checks types, shapes, masks and finiteness of the fields of a clip or a batch.

    Args:
        values: {name: tensor}, names from `SPECS`.
        batched: whether every field has a leading B.
        where: names the sample in messages.

    Returns:
        The sizes found, {symbol: number}.

    Raises:
        SequenceError: names the sample, the field, and what was expected and found.
    """
    sizes: dict[str, int] = {}
    for name, value in values.items():
        _check_shape(name, value, sizes, batched, where)
    for name, value in values.items():
        mask = SPECS[name].mask
        if mask and mask not in values:
            raise SequenceError(f'{where}: field {name!r} is given without its mask {mask!r}')
        if value.is_floating_point() and not value.is_meta and not _is_finite(name, values):
            raise SequenceError(f'{where}: field {name!r} is NaN or infinite where marked valid')
    return sizes


def _check_shape(name: str, value: Tensor, sizes: dict[str, int], batched: bool, where: str) -> None:
    spec = SPECS[name]
    symbols = ('B', *spec.shape) if batched else spec.shape
    if not isinstance(value, Tensor) or value.dtype != spec.dtype:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise SequenceError(f'{where}: field {name!r} must be a {spec.dtype} tensor, got {got}')
    fits = value.ndim == len(symbols) and all(
        size == (symbol if isinstance(symbol, int) else sizes.setdefault(symbol, size))
        for size, symbol in zip(value.shape, symbols, strict=True)
    )
    if not fits:
        known = ', '.join(f'{symbol}={size}' for symbol, size in sizes.items())
        expected = '(' + ', '.join(map(str, symbols)) + ')'
        raise SequenceError(
            f'{where}: field {name!r} must have shape {expected} with {known}, got {tuple(value.shape)}'
        )


def _is_finite(name: str, values: dict[str, Tensor]) -> bool:
    """Whether a field is finite wherever it holds data."""
    spec, value = SPECS[name], values[name]
    if spec.unknown is not None and spec.unknown != spec.unknown:
        return not value.isinf().any()
    finite = value.isfinite()
    if spec.mask is None:
        return bool(finite.all())
    mask = values[spec.mask]
    if name == 'hand_shape':  # one for all frames: data if any of them is
        return bool(finite.all(-1)[mask.any(-2)].all())
    return bool(finite.flatten(mask.ndim).all(-1)[mask].all() if value.ndim > mask.ndim else finite[mask].all())
