"""Stacks the fields of clips that differ in length, hands or fields. The letters are those of fields.py."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.structures.fields import MASKS, SPECS, SequenceError


class NamedFields(NamedTuple):
    """The fields of one clip, and the clip's name for messages."""

    name: str
    values: dict[str, Tensor]

    def size(self, symbol: str) -> int:
        """The size of the axis `symbol`, or 0 where no field has it."""
        for name, value in self.values.items():
            if symbol in SPECS[name].shape:
                return value.shape[SPECS[name].shape.index(symbol)]
        return 0


def stack_fields(clips: Sequence[NamedFields]) -> dict[str, Tensor]:
    """Stacks the union of the clips' fields.

    A field that a clip lacks is filled where its mask or its "unknown" value can say so. T and H are padded with False
    in the masks; fields without a mask repeat their last frame.

    Args:
        clips: at least one.

    Returns:
        {name: tensor} with a leading axis of `len(clips)`.

    Raises:
        SequenceError: a field that cannot be filled or padded; names the clip and the field.
    """
    num_frames = max(clip.size('T') for clip in clips)
    num_hands = max(clip.size('H') for clip in clips)
    if any(clip.size('T') != num_frames or 'frame_valid' in clip.values for clip in clips):
        clips = [_with_frame_valid(clip) for clip in clips]
    names = [name for name in SPECS if any(name in clip.values for clip in clips)]
    if any(clip.size('H') not in (0, num_hands) for clip in clips) and 'hand_valid' not in names:
        raise SequenceError('one- and two-hand data can share a batch only if hand_valid says which hands are there')
    return {name: _stack_field(name, clips, num_frames, num_hands) for name in names}


def _with_frame_valid(clip: NamedFields) -> NamedFields:
    """Writes out what an absent `frame_valid` means: no frame is padding."""
    if 'frame_valid' in clip.values:
        return clip
    device = next((value.device for value in clip.values.values()), None)
    every_frame = torch.ones(clip.size('T'), dtype=torch.bool, device=device)
    return NamedFields(clip.name, {**clip.values, 'frame_valid': every_frame})


def _stack_field(name: str, clips: Sequence[NamedFields], num_frames: int, num_hands: int) -> Tensor:
    padded = [_pad_field(clip, name, clips, num_frames, num_hands) for clip in clips]
    for value, clip in zip(padded, clips, strict=True):
        if value.shape != padded[0].shape:
            raise SequenceError(
                f'{name!r} is {tuple(value.shape)} in {clip.name} but {tuple(padded[0].shape)} in {clips[0].name}; '
                f'only T and H are padded: give all datasets of the mix the same image size and number of cameras'
            )
    return torch.stack(padded)


def _pad_field(clip: NamedFields, name: str, clips: Sequence[NamedFields], num_frames: int, num_hands: int) -> Tensor:
    value = clip.values[name] if name in clip.values else _fill_absent(clip, name, clips)
    if 'H' in SPECS[name].shape:
        value = _pad_hands(value, name, clip, num_hands)
    if SPECS[name].shape[:1] == ('T',):
        value = _pad_frames(value, num_frames)
    return value


def _fill_absent(clip: NamedFields, name: str, clips: Sequence[NamedFields]) -> Tensor:
    """The filling of a field that this clip lacks: shaped like another clip's, with this clip's T and H."""
    spec = SPECS[name]
    if spec.mask is None and spec.unknown is None and name not in MASKS:
        raise SequenceError(
            f'{clip.name} has no {name!r}, which other samples of the batch have; '
            f'give it in every dataset of the mix, or drop it from all'
        )
    if spec.mask and spec.mask in clip.values and clip.values[spec.mask].any():
        raise SequenceError(
            f'{clip.name} has no {name!r}, yet its {spec.mask!r} is True in places, and other samples '
            f'of the batch have {name!r}: zeros would pass for data; give it, or drop it from all'
        )
    other = next(c for c in clips if name in c.values)
    like = other.values[name]
    sizes = {symbol: clip.size(symbol) or other.size(symbol) for symbol in ('T', 'H')}
    shape = [sizes.get(str(symbol), size) for symbol, size in zip(spec.shape, like.shape, strict=True)]
    return like.new_full(shape, spec.unknown or 0)


def _pad_hands(value: Tensor, name: str, clip: NamedFields, num_hands: int) -> Tensor:
    axis = SPECS[name].shape.index('H')
    if value.shape[axis] == num_hands:
        return value
    # One-hand data beside two-hand data: the hand moves to the index of its side (left 0, right 1).
    if 'hand_side' not in clip.values:
        raise SequenceError(f'{clip.name} has one hand but no hand_side: it cannot join two-hand data')
    if name == 'hand_side':
        return torch.arange(num_hands, device=value.device)
    shape = list(value.shape)
    shape[axis] = num_hands
    padded = value.new_full(shape, SPECS[name].unknown or 0)
    padded.select(axis, int(clip.values['hand_side'][0])).copy_(value.select(axis, 0))
    return padded


def _pad_frames(value: Tensor, num_frames: int) -> Tensor:
    missing = num_frames - value.shape[0]
    if missing == 0:
        return value
    if value.dtype == torch.bool:
        tail = value.new_zeros((missing, *value.shape[1:]))
    else:
        tail = value[-1:].expand(missing, *value.shape[1:])
    return torch.cat([value, tail])
