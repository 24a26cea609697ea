"""Sampled futures of a clip: a batch inside a clip, and inside a batch of clips."""

import pytest
import torch

from handpose.structures import HandSequence, SequenceError


def future_clip(value, frames=3):
    return HandSequence(
        meta={'sequence': f'future {value}'},
        frame='world',
        timestamps=torch.arange(frames, dtype=torch.float64) + value,
        joints_3d=torch.full((frames, 1, 21, 3), float(value)),
        joints_valid=torch.ones(frames, 1, 21, dtype=torch.bool),
    )


def clip_with_futures(first, count, frames=3):
    """A clip of five frames with `count` futures, whose joints are first, first + 1, ..."""
    future = HandSequence.stack([future_clip(first + s, frames) for s in range(count)]) if count else None
    return HandSequence(meta={'sequence': f'clip {first}'}, timestamps=torch.arange(5.0).double(), future=future)


def values(future):
    return [future.joints_3d[s, 0, 0, 0, 0].item() for s in range(len(future.meta))]


def test_a_batch_holds_the_futures_of_the_first_clip_first():
    batch = HandSequence.stack([clip_with_futures(0, 2), clip_with_futures(5, 2)]).validate()
    assert values(batch.future) == [0, 1, 5, 6]
    assert batch.future.joints_3d.shape == (4, 3, 1, 21, 3) and batch.future.frame == 'world'
    first, second = (clip.validate() for clip in batch.unstack())
    assert values(first.future) == [0, 1] and values(second.future) == [5, 6]
    assert second.future.meta[1] == {'sequence': 'future 6'} and second.future.future is None


def test_futures_of_different_length_are_padded():
    batch = HandSequence.stack([clip_with_futures(0, 2, frames=3), clip_with_futures(5, 2, frames=4)]).validate()
    assert batch.future.frame_valid.sum(1).tolist() == [3, 3, 4, 4]


def test_to_moves_them_and_select_frames_leaves_them():
    clip = clip_with_futures(0, 2)
    assert clip.to('meta').future.joints_3d.is_meta and not clip.future.joints_3d.is_meta
    assert clip.select_frames([0, 1]).future is clip.future


def test_what_cannot_be_a_future():
    clip = clip_with_futures(0, 2)
    for future in (future_clip(1), clip.future.replace(future=clip.future), HandSequence(meta=[], batched=True)):
        with pytest.raises(SequenceError, match="clip 0: 'future' must be a batch of S clips"):
            clip.replace(future=future).validate()
    broken = clip.future.replace(joints_valid=None)
    with pytest.raises(SequenceError, match=r"'future' is not valid: batch of future 0, future 1: .*joints_valid"):
        clip.replace(future=broken).validate()
    batch = HandSequence.stack([clip, clip_with_futures(5, 2)])
    with pytest.raises(SequenceError, match='for each of 2 clips'):
        batch.replace(future=HandSequence.stack([future_clip(s) for s in range(3)])).validate()


@pytest.mark.parametrize('count', [0, 3])
def test_all_clips_of_a_batch_have_as_many(count):
    with pytest.raises(SequenceError, match=r'clip .* has . futures and clip .* has .; give every sample'):
        HandSequence.stack([clip_with_futures(0, 2), clip_with_futures(5, count)])


def test_required_fields():
    clip = clip_with_futures(0, 1)
    assert clip.require('timestamps') is clip.timestamps
    with pytest.raises(SequenceError, match="clip 0 has no field 'images'"):
        clip.require('images')
