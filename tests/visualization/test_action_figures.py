import numpy as np
import pytest

from handpose.visualization.action_figures import attention_strip, confusion_matrix

BLUE = (8, 48, 107)  # the dark end of the colours


def orange_columns(picture):
    """Height in pixels of the orange in each column."""
    return (np.abs(picture.astype(int) - (232, 131, 58)).max(-1) < 4).sum(0)


@pytest.mark.parametrize('count', [1, 12, 45])
def test_a_confusion_matrix_grows_with_the_actions_that_are_used(count):
    names = [f'verb_{i} thing' for i in range(60)]
    labels = np.arange(count).repeat(3)
    right = confusion_matrix(labels, labels, names)
    wrong = confusion_matrix(labels, np.roll(labels, 3), names)
    assert right.dtype == np.uint8 and right.shape[-1] == 3
    assert min(right.shape[:2]) > 30 * count
    if count > 1:
        assert right.shape == wrong.shape and (right != wrong).any()


def test_a_confusion_matrix_is_darkest_where_all_are_right():
    labels = np.array([0, 0, 1, 1])
    shares = [confusion_matrix(labels, predicted, ['a', 'b']) for predicted in ([0, 0, 1, 1], [0, 1, 0, 1])]
    dark = [(picture.astype(int).sum(-1) < 300).sum() for picture in shares]
    assert dark[0] > 1.5 * dark[1]


def test_attention_is_drawn_under_its_frames():
    frames = [np.full((36, 64, 3), 10 * t, np.uint8) for t in range(20)]
    attention = np.zeros(20)
    attention[15] = 0.5
    columns = np.flatnonzero(orange_columns(attention_strip(frames, attention, list(range(300, 320)), 'title')) > 50)
    picture = attention_strip(frames, np.full(20, 0.05))
    whole = np.flatnonzero(orange_columns(picture) > 50)
    place = (columns - whole[0]) / (whole[-1] - whole[0])
    assert place.min() == pytest.approx(15 / 20, abs=0.005) and place.max() == pytest.approx(16 / 20, abs=0.005)
    # The strip above is as wide as the plot, and its first picture shows a frame of the first stretch.
    strip = picture[20:60, whole[0] + 5]
    assert (strip == 0).all(-1).any()


@pytest.mark.parametrize('frames', [1, 2, 40])
def test_videos_of_any_length(frames):
    pictures = [np.full((36, 64, 3), 90, np.uint8)] * frames
    assert attention_strip(pictures, np.full(frames, 1 / frames)).ndim == 3


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match='one finite weight a frame'):
        attention_strip([np.zeros((4, 4, 3), np.uint8)], [0.1, 0.2])
    with pytest.raises(ValueError, match='got the class 2 of 2 names'):
        confusion_matrix([0, 1], [0, 2], ['a', 'b'])
    with pytest.raises(ValueError, match=r'needs \(N,\) labels'):
        confusion_matrix([], [], ['a'])
