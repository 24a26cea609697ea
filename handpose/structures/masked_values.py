"""Numbers under False masks are no data, but a model must be able to compute with them. Legend: `SYMBOLS`."""

import math

import torch
from torch import Tensor

from handpose.structures.fields import SPECS, SequenceError, sample_name
from handpose.structures.sequence import HandSequence

Symbols = tuple[str | int, ...]
_CAMERAS = ('intrinsics', 'extrinsics')


def fill_masked_values(sequence: HandSequence) -> HandSequence:
    """Makes every number of a clip or a batch usable; estimators call it once, before anything else.

    Attention and sums multiply what a mask leaves out by zero, and zero times NaN is NaN. So NaN and infinity are
    replaced where the masks say that there is no data: by the identity in cameras, by the "unknown" value in fields
    that have one, by zero elsewhere. A camera that cannot be inverted (all zeros) counts as not finite. Finite numbers
    stay as they are. What is data:

    - in a field with a mask, the places where it is True in frames that are not padding; `hand_shape` wherever its
      hand has any such frame;
    - `boxes` and other fields of each hand without a mask, where `hand_valid` is True in frames that are not padding;
    - other fields of each frame, in frames that are not padding.

    `future` stays as it is.

    Args:
        sequence: a clip or a batch.

    Returns:
        A shallow copy; only the tensors with replaced numbers are new.

    Raises:
        SequenceError: data is NaN, infinite, or a camera that cannot be inverted; names the field, the sample and
            the first frame.
    """
    usable = {name: _usable(name, value) for name, value in sequence.present().items() if _is_checked(name, value)}
    if not usable or bool(torch.stack([ok.all() for ok in usable.values()]).all()):
        return sequence
    changes = {}
    for name, ok in usable.items():
        wrong = ~ok & _is_data(sequence, name)
        if wrong.any():
            raise SequenceError(_message(sequence, name, wrong))
        value = getattr(sequence, name)
        changes[name] = torch.where(ok, value, _neutral(name, value))
    return sequence.replace(**changes)


def _is_checked(name: str, value: Tensor) -> bool:
    return value.is_floating_point() and not value.is_meta and SPECS[name].shape[0] in ('T', 'H')


def _usable(name: str, value: Tensor) -> Tensor:
    """Where numbers can be computed with; a camera as a whole."""
    finite = value.isfinite()
    if name == 'intrinsics':
        a, b, c, d = (value[..., i, j] for i in range(2) for j in range(2))
        invertible = (a * d - b * c).abs() > 0
        return (finite.all(-1).all(-1) & invertible)[..., None, None].expand_as(value)
    if name == 'extrinsics':
        return finite.all(-1, keepdim=True).all(-2, keepdim=True).expand_as(value)
    unknown = SPECS[name].unknown
    return finite | value.isnan() if unknown is not None and math.isnan(unknown) else finite


def _neutral(name: str, value: Tensor) -> Tensor:
    if name in _CAMERAS:
        return torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)
    return value.new_tensor(SPECS[name].unknown or 0.0)


def _is_data(sequence: HandSequence, name: str) -> Tensor:
    """Where a field is data: bool that broadcasts to its shape."""
    spec, value = SPECS[name], getattr(sequence, name)
    mask_name = spec.mask or ('hand_valid' if 'H' in spec.shape else 'frame_valid')
    mask, symbols = getattr(sequence, mask_name), SPECS[mask_name].shape
    if mask is None:
        mask, symbols = sequence.frame_valid, ('T',)
    if mask is None:
        return torch.ones_like(value, dtype=torch.bool)
    if symbols != ('T',) and sequence.frame_valid is not None:
        mask = mask & _expand(sequence.frame_valid, ('T',), symbols, sequence.batched)
    if 'T' not in spec.shape:
        mask, symbols = mask.any(int(sequence.batched)), symbols[1:]
    return _expand(mask, symbols, spec.shape, sequence.batched)


def _expand(mask: Tensor, symbols: Symbols, target: Symbols, batched: bool) -> Tensor:
    """A mask over the axes `symbols`, with an axis of size 1 for each of the others in `target`."""
    for axis, symbol in enumerate(target):
        if axis >= len(symbols) or symbols[axis] != symbol:
            mask, symbols = mask.unsqueeze(axis + batched), (*symbols[:axis], symbol, *symbols[axis:])
    return mask


def _message(sequence: HandSequence, name: str, wrong: Tensor) -> str:
    position = wrong.nonzero()[0].tolist()
    meta = sequence.meta[position.pop(0)] if sequence.batched else sequence.meta
    axis = SPECS[name].shape[0]
    what = 'frame' if axis == 'T' else 'hand'
    found = 'NaN or infinite'
    if name == 'intrinsics':
        found += ', or a camera without focal length,'
    mask = SPECS[name].mask or ('hand_valid' if 'H' in SPECS[name].shape else 'frame_valid')
    return (
        f'{sample_name(meta)}: field {name!r} is {found} in {what} {position[0]} of the clip, where {mask!r} marks '
        f'data: correct the dataset, or set {mask!r} to False there'
    )
