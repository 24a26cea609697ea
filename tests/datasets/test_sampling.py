"""Which frames each sampling takes, against plain loops and by hand."""

import numpy as np
import pytest

from handpose.datasets import ActionClips, ClipSampling, DatasetError, ForecastSegments, Track, Tracks
from handpose.datasets.sampling import build_sampling

RNG = np.random.default_rng(0)


def make_track(annotated, readable=None, span=None):
    mask = np.array([mark == 'x' for mark in annotated])
    shown = None if readable is None else np.array([mark == 'x' for mark in readable])
    return Track('t', 't', ('0',), 30.0, mask, shown, span)


def samples(sampling, track):
    """[(frames, which are no padding)] of a track."""
    cut = [sampling.frames(track, int(start), RNG) for start in sampling.starts(track)]
    return [(frames.tolist(), ''.join('.x'[int(v)] for v in valid)) for frames, valid in cut]


def test_tracks_are_read_from_the_first_annotated_frame_to_the_last():
    track = make_track('..x.xx..', 'xxx.xxxx')
    assert samples(Tracks(), track) == [([2, 4, 5], 'xxx')] and Tracks().sample_name(track, 2) == 't'
    assert samples(Tracks(), make_track('....')) == []
    assert samples(Tracks(), make_track('..x.', span=(0, 4))) == [([0, 1, 2, 3], 'xxxx')]


def test_clips_cover_a_track():
    assert samples(ClipSampling(3, clip_step=2), make_track('.xxxxxx')) == [
        ([1, 2, 3], 'xxx'), ([3, 4, 5], 'xxx'), ([4, 5, 6], 'xxx')]  # fmt: skip
    assert samples(ClipSampling(3, 2, 2), make_track('xxxxxx')) == [([0, 2, 4], 'xxx'), ([1, 3, 5], 'xxx')]
    assert samples(ClipSampling(4, 2), make_track('xxxx')) == [([0, 2, 2, 2], 'xx..')]
    assert samples(ClipSampling(2, clip_step=2), make_track('x....x')) == [([0, 1], 'xx'), ([4, 5], 'xx')]


@pytest.mark.parametrize('seed', range(20))
def test_every_annotated_frame_is_in_a_clip(seed):
    draw = np.random.default_rng(seed)
    track = make_track(''.join(draw.choice(['x', '.'], draw.integers(1, 40))))
    num_frames = int(draw.integers(1, 8))
    clips = samples(ClipSampling(num_frames, clip_step=int(draw.integers(1, num_frames + 1))), track)
    assert set(np.flatnonzero(track.annotated)) <= {frame for frames, _ in clips for frame in frames}
    assert all(track.annotated[frames].any() for frames, _ in clips)


def test_centred_clips_repeat_the_last_annotated_frame():
    track = make_track('xx.xx')
    assert samples(ClipSampling(3, centred=True), track) == [
        ([0, 0, 1], '.xx'), ([0, 1, 1], 'xx.'), ([3, 3, 4], '.xx'), ([3, 4, 4], 'xx.')]  # fmt: skip
    across = samples(ClipSampling(5, centred=True, across_gaps=True), track)
    assert across[0] == ([0, 0, 0, 1, 1], '..xx.') and across[1] == ([0, 0, 1, 1, 3], '.xx.x')
    assert ClipSampling(3, centred=True).starts(make_track('xx.xx', 'x..xx')).tolist() == [0, 3, 4]


def test_clip_step_counts_frames_whatever_the_sampling():
    track = make_track('xxxxx..xxxx')
    assert ClipSampling(3, clip_step=3).starts(track).tolist() == [0, 3, 6, 8]
    assert ClipSampling(3, clip_step=3, centred=True).starts(track).tolist() == [0, 3, 7, 10]
    assert ActionClips(4, 1, clip_step=3, window=2).starts(make_track('x' * 9)).tolist() == [0, 4, 8]


def test_action_clips_start_in_the_window_of_their_block():
    """By a plain loop: every frame whose position in its block of T * step frames is below window * step."""
    track = make_track('x' * 21)
    expected = [start for start in range(21) if start % 8 < 4]
    assert ActionClips(4, 2, window=2).starts(track).tolist() == expected
    assert samples(ActionClips(4, 2, window=2), track)[-1] == ([19, 19, 19, 19], 'x...')
    drawn = ActionClips(4, 2, window=2, random_start=True)
    assert drawn.starts(track).tolist() == [0, 8, 16]
    first = {drawn.frames(track, 8, np.random.default_rng(seed))[0][0] for seed in range(50)}
    assert first == {8, 9, 10, 11}
    assert {drawn.frames(track, 20, np.random.default_rng(s))[0][0] for s in range(5)} == {20}  # the video ends


def test_built_from_a_config_and_compared_by_value():
    config = dict(type='ClipSampling', num_frames=7, frame_step=10, centred=True)
    assert build_sampling(config) == ClipSampling(7, 10, centred=True) != ClipSampling(7, 9, centred=True)
    tracks = Tracks()
    assert build_sampling(tracks) is tracks
    with pytest.raises(TypeError, match=r"no argument 'frame_gap' .*Did you mean 'frame_step'"):
        build_sampling(dict(type='ClipSampling', num_frames=7, frame_gap=10))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ClipSampling(0), 'num_frames must be a whole number of at least 1, got 0'),
        (lambda: ClipSampling(3, 1.5), 'frame_step must be a whole number of at least 1, got 1.5'),
        (lambda: ClipSampling(3, 1, 0), 'clip_step must be a whole number of at least 1, got 0'),
        (lambda: ClipSampling(4, centred=True), 'a centred clip needs an odd num_frames, got 4'),
        (lambda: ClipSampling(3, across_gaps=True), 'give centred=True too'),
        (lambda: ClipSampling(3, 2, 7), r'clip_step must be at most num_frames \* frame_step = 6, .*got 7'),
        (lambda: ActionClips(16, window=17), 'window must be at most num_frames = 16, got 17'),
        (lambda: ActionClips(16, window=0), 'window must be a whole number of at least 1'),
        (lambda: build_sampling('Tracks'), "got 'Tracks'"),
    ],
)
def test_numbers_that_make_no_clip(make, message):
    with pytest.raises(DatasetError, match=message):
        make()


@pytest.mark.parametrize(
    'sampling',
    [ClipSampling(4, clip_step=2), ClipSampling(3, centred=True), ActionClips(4), ForecastSegments(2, 4)],
    ids=lambda sampling: type(sampling).__name__,
)
@pytest.mark.parametrize('readable', [None, 'x' * 200])
def test_a_track_is_gone_through_once_not_for_every_sample(monkeypatch, sampling, readable):
    """Else an epoch is quadratic in the length of the track."""
    calls, plain = [], np.flatnonzero
    monkeypatch.setattr(np, 'flatnonzero', lambda mask: calls.append(len(mask)) or plain(mask))
    track = make_track('x' * 200, readable)
    usable = track.usable
    assert len(samples(sampling, track)) > 20
    assert len(calls) <= 2 and track.usable is usable
