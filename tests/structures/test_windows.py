import numpy as np
import pytest

from handpose.structures import centred_windows, interleaved_clips, strided_windows


@pytest.mark.parametrize('num_frames', [1, 2, 7, 8, 50, 73, 80])
@pytest.mark.parametrize(('window', 'gap'), [(1, 1), (7, 1), (7, 10), (16, 2), (128, 1)])
def test_strided_windows_predict_every_frame_once_in_windows_that_are_full(num_frames, window, gap):
    index, valid, predicted = strided_windows(num_frames, window, gap)
    assert index.shape == valid.shape == predicted.shape == (len(index), window)
    assert sorted(index[predicted].tolist()) == list(range(num_frames))
    assert not (predicted & ~valid).any()
    for row, mask in zip(index, valid, strict=True):
        length = len(range(row[0] % gap, num_frames, gap))  # of the phase
        count = mask.sum()
        assert count == min(window, length)
        assert mask[:count].all()  # padding comes last ...
        assert (np.diff(row[:count]) == gap).all()
        assert (row[count:] == row[count - 1]).all()  # ... and repeats the last frame


def test_a_track_of_80_frames_has_no_short_window():
    index, valid, predicted = strided_windows(80, 7, 10)  # 8 frames in each of 10 phases
    assert valid.all() and len(index) == 20
    assert index[0].tolist() == [0, 10, 20, 30, 40, 50, 60] and index[1].tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert index[0][predicted[0]].tolist() == [0, 10, 20, 30]
    assert index[1][predicted[1]].tolist() == [40, 50, 60, 70]


def test_strided_windows_keep_the_window_whose_centre_is_nearest():
    index, _, predicted = strided_windows(11, 5, 1)
    assert index[:, 0].tolist() == [0, 3, 6]
    assert [row[kept].tolist() for row, kept in zip(index, predicted, strict=True)] == [
        [0, 1, 2, 3],
        [4, 5, 6],
        [7, 8, 9, 10],
    ]


def test_strided_windows_begin_and_end_with_usable_frames():
    usable = [False, True, True, True, False, True, True, False]
    index, valid, predicted = strided_windows(8, 5, 1, usable)
    assert index.tolist() == [[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]
    assert valid.tolist() == [[True, True, True, False, True], [True, True, False, True, True]]
    assert index[predicted].tolist() == [1, 2, 3, 5, 6]
    none = strided_windows(3, 5, 1, [False] * 3)
    assert [part.shape for part in none] == [(0, 5)] * 3


def test_strided_windows_with_a_stride_hold_every_frame_in_all_windows_that_can():
    index, valid, predicted = strided_windows(20, 5, 2, clip_step=1)
    assert index[:6, 0].tolist() == [0, 2, 4, 6, 8, 10]  # of the first phase, 10 frames
    assert len(index) == 12 and valid.all()
    assert np.bincount(index.ravel()).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert sorted(index[predicted].tolist()) == list(range(20))
    assert strided_windows(9, 5, 1, clip_step=3)[0][:, 0].tolist() == [0, 3, 4]  # the last window ends with the track


def centred_window_by_hand(centre, num_frames, window, gap, usable):
    """The published rule, one frame at a time: walk outward; from the first unusable frame on, stay where you are."""
    frames, marks = {0: centre}, {0: True}
    for direction in (-1, 1):
        last, alive = centre, True
        for step in range(1, window // 2 + 1):
            frame = centre + direction * step * gap
            alive = alive and 0 <= frame < num_frames and usable[frame]
            last = frame if alive else last
            frames[direction * step], marks[direction * step] = last, alive
    order = sorted(frames)
    return [frames[k] for k in order], [marks[k] for k in order]


@pytest.mark.parametrize(('num_frames', 'window', 'gap'), [(1, 7, 10), (20, 3, 1), (30, 7, 2), (72, 7, 10)])
def test_centred_windows_follow_the_boundary_rule(num_frames, window, gap):
    usable = np.random.default_rng(0).uniform(size=num_frames) < 0.8
    usable[0] = True
    index, valid = centred_windows(num_frames, window, gap, usable)
    centres = np.flatnonzero(usable)
    assert index[:, window // 2].tolist() == centres.tolist()
    for row, mask, centre in zip(index, valid, centres, strict=True):
        assert (row.tolist(), mask.tolist()) == centred_window_by_hand(centre, num_frames, window, gap, usable)


@pytest.mark.parametrize(
    ('centre', 'usable', 'expected', 'marks'),
    [
        (0, '111111', [0, 0, 0, 1, 2], '00111'),
        (5, '111111', [3, 4, 5, 5, 5], '11100'),
        (2, '111011', [0, 1, 2, 2, 2], '11100'),  # frame 4 lies beyond the unusable 3: not used
        (2, '101111', [2, 2, 2, 3, 4], '00111'),
    ],
)
def test_centred_window_table(centre, usable, expected, marks):
    usable = [mark == '1' for mark in usable]
    index, valid = centred_windows(6, 5, 1, usable, centres=[centre])
    assert index[0].tolist() == expected
    assert valid[0].tolist() == [mark == '1' for mark in marks]


def test_a_centre_may_be_unusable_and_then_nothing_is_valid():
    index, valid = centred_windows(3, 3, 1, usable=[True, False, True], centres=[1])
    assert index.tolist() == [[1, 1, 1]]
    assert not valid.any()


@pytest.mark.parametrize(
    ('call', 'sentence'),
    [
        (lambda: centred_windows(10, 4, 1), 'odd number of frames, got 4'),
        (lambda: strided_windows(0, 7, 1), 'track_length must be at least 1, got 0'),
        (lambda: strided_windows(10, 7, 0), 'frame_step must be at least 1, got 0'),
        (lambda: strided_windows(10, 7, 1, clip_step=8), 'clip_step must be from 1 to the 7 frames of a window, got 8'),
        (lambda: interleaved_clips(10, 0, 2), 'num_frames must be at least 1, got 0'),
    ],
)
def test_impossible_windows_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    'centre, index, valid',
    [
        (4, [2, 2, 4, 4, 8], [False, True, True, False, True]),  # 0 and 6 cannot be used; 8 enters again
        (2, [2, 2, 2, 4, 4], [False, False, True, True, False]),
        (8, [4, 8, 8, 8, 8], [True, False, True, False, False]),
    ],
)
def test_resuming_windows_skip_only_what_cannot_be_used(centre, index, valid):
    usable = [False, True, True, True, True, True, False, True, True, False]
    found = centred_windows(10, 5, 2, usable, [centre], across_gaps=True)
    assert found[0].tolist() == [index] and found[1].tolist() == [valid]


@pytest.mark.parametrize('num_frames', [1, 2, 3, 31, 32, 33, 64, 65, 257])
@pytest.mark.parametrize(('clip', 'spacing'), [(1, 1), (16, 1), (16, 2), (128, 2), (5, 3)])
def test_interleaved_clips_hold_every_frame_exactly_once(num_frames, clip, spacing):
    """Against the published rule: a clip starts at each of the first `spacing` frames of a block of clip * spacing."""
    index, valid = interleaved_clips(num_frames, clip, spacing)
    assert sorted(index[valid].tolist()) == list(range(num_frames))
    starts = [frame for frame in range(num_frames) if frame % (clip * spacing) < spacing]
    expected = {}
    for start in starts:
        frames = [start + spacing * k for k in range(clip)]
        inside = [frame for frame in frames if frame < num_frames]
        expected[start] = (inside + inside[-1:] * (clip - len(inside)), len(inside))
    assert len(index) == len(starts)
    for row, mask in zip(index.tolist(), valid.tolist(), strict=True):
        frames, count = expected[row[0]]
        assert row == frames
        assert mask == [True] * count + [False] * (clip - count)


def test_interleaved_clips_are_full_until_the_last():
    index, valid = interleaved_clips(10, 3, 2)
    assert index.tolist() == [[0, 2, 4], [6, 8, 8], [1, 3, 5], [7, 9, 9]]
    assert valid.sum(1).tolist() == [3, 2, 3, 2]
