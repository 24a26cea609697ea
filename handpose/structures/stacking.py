"""Making a batch of clips that differ in length, hands or fields. Legend as in sequence.py."""

import torch

from handpose.structures.sequence import SPECS, HandSequence, SequenceError, sample_name


def stack(samples):
    """See `HandSequence.stack`."""
    if not samples:
        raise SequenceError('stack needs at least one sample, got an empty list')
    frames = {s.frame for s in samples}
    if len(frames) > 1:
        raise SequenceError(f'samples in different coordinate frames cannot be stacked: {sorted(frames)}')
    for sample in samples:
        sample._refuse_batch('stack')
    num_frames = max(_size(s, 'T') for s in samples)
    num_hands = max(_size(s, 'H') for s in samples)
    if any(_size(s, 'T') != num_frames or s.frame_valid is not None for s in samples):
        samples = [_with_frame_valid(s) for s in samples]
    names = [name for name in SPECS if any(getattr(s, name) is not None for s in samples)]
    if any(_size(s, 'H') not in (0, num_hands) for s in samples) and 'hand_valid' not in names:
        raise SequenceError('one- and two-hand data can share a batch only if hand_valid says which hands are there')
    columns = {name: _column(name, samples, num_frames, num_hands) for name in names}
    return HandSequence(meta=[s.meta for s in samples], frame=samples[0].frame, batched=True, **columns)


def _with_frame_valid(sample):
    """Writes out what an absent `frame_valid` means: no frame is padding."""
    if sample.frame_valid is not None:
        return sample
    device = next((value.device for value in sample.present().values()), None)
    return sample.replace(frame_valid=torch.ones(_size(sample, 'T'), dtype=torch.bool, device=device))


def _column(name, samples, num_frames, num_hands):
    padded = [_padded(s, name, samples, num_frames, num_hands) for s in samples]
    for value, sample in zip(padded, samples, strict=True):
        if value.shape != padded[0].shape:
            raise SequenceError(
                f'{name!r} is {tuple(value.shape)} in {sample_name(sample.meta)} but {tuple(padded[0].shape)} in '
                f'{sample_name(samples[0].meta)}; only T and H are padded: give all datasets of the mix the same '
                f'image size and number of cameras'
            )
    return torch.stack(padded)


def _size(sample, symbol):
    for name, value in sample.present().items():
        if symbol in SPECS[name].shape:
            return value.shape[SPECS[name].shape.index(symbol)]
    return 0


def _padded(sample, name, samples, num_frames, num_hands):
    value = getattr(sample, name)
    if value is None:
        value = _absent(sample, name, samples)
    if 'H' in SPECS[name].shape:
        value = _pad_hands(value, name, sample, num_hands)
    if SPECS[name].shape[:1] == ('T',):
        value = _pad_frames(value, name, num_frames)
    return value


def _absent(sample, name, samples):
    """The filling of a field that this sample lacks: shaped like another sample's, with this sample's T and H."""
    spec = SPECS[name]
    if spec.mask is None and spec.unknown is None and not _is_mask(name):
        raise SequenceError(
            f'{sample_name(sample.meta)} has no {name!r}, which other samples of the batch have; '
            f'give it in every dataset of the mix, or drop it from all'
        )
    if spec.mask and getattr(sample, spec.mask) is not None and getattr(sample, spec.mask).any():
        raise SequenceError(
            f'{sample_name(sample.meta)} has no {name!r}, yet its {spec.mask!r} is True in places, and other samples '
            f'of the batch have {name!r}: zeros would pass for data; give it, or drop it from all'
        )
    other = next(s for s in samples if getattr(s, name) is not None)
    own = {symbol: _size(sample, symbol) or _size(other, symbol) for symbol in ('T', 'H')}
    like = getattr(other, name)
    shape = [own.get(symbol, n) for symbol, n in zip(spec.shape, like.shape, strict=True)]
    return like.new_full(shape, spec.unknown or 0)


def _is_mask(name):
    return any(spec.mask == name for spec in SPECS.values())


def _pad_hands(value, name, sample, num_hands):
    axis = SPECS[name].shape.index('H')
    if value.shape[axis] == num_hands:
        return value
    # One-hand data beside two-hand data: the hand goes to the place of its side (left 0, right 1).
    if sample.hand_side is None:
        raise SequenceError(f'{sample_name(sample.meta)} has one hand but no hand_side: it cannot join two-hand data')
    if name == 'hand_side':
        return torch.arange(num_hands, device=value.device)
    shape = list(value.shape)
    shape[axis] = num_hands
    padded = value.new_full(shape, SPECS[name].unknown or 0)
    padded.select(axis, int(sample.hand_side[0])).copy_(value.select(axis, 0))
    return padded


def _pad_frames(value, name, num_frames):
    missing = num_frames - value.shape[0]
    if missing == 0:
        return value
    if value.dtype == torch.bool:
        tail = value.new_zeros((missing, *value.shape[1:]))
    else:
        tail = value[-1:].expand(missing, *value.shape[1:])
    return torch.cat([value, tail])
