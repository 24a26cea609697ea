"""Figures of multi-view annotation: what is drawn where, and input that does not fit."""

import numpy as np
import pytest
import torch
from multi_view import HEIGHT, WIDTH, multi_view_batch

from handpose.geometry import projection_matrices
from handpose.visualization.action_figures import confusion_matrices, confusion_matrix
from handpose.visualization.draw import FINGER_COLORS
from handpose.visualization.round_figures import (
    draw_rounds,
    error_by_occlusion,
    error_by_round,
    error_by_views,
    refinement_rounds,
)

SIZE, PAD = 100, 4


@pytest.fixture
def scene():
    """Grey images of three views, the joints of two rounds, the projections, and the truth."""
    batch = multi_view_batch(clips=1, frames=1, cameras=3, hands=1)
    truth = batch.joints_3d[0, 0, 0].double()
    matrices = projection_matrices(batch.intrinsics[0, 0].double(), batch.extrinsics[0, 0].double())
    joints = torch.stack([truth + torch.tensor([0.03, 0, 0]), truth + torch.tensor([0, 0, 0.004])])
    return [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 3, joints.numpy(), matrices.numpy(), truth.numpy()


def cells_of(figure, rows, columns):
    """{(row, column): cell}, the captions above the first row left out."""
    top = figure.shape[0] - rows * (SIZE + PAD)
    return {
        (r, c): figure[top + r * (SIZE + PAD) :, PAD + c * (SIZE + PAD) :][:SIZE, :SIZE]
        for r in range(rows)
        for c in range(columns)
    }


def has_color(cell, color):
    return (np.abs(cell.astype(int) - color).sum(-1) < 40).any()


def test_rows_are_views_and_columns_are_rounds(scene):
    images, joints, matrices, truth = scene
    boxes = np.broadcast_to([10.0, 5, 80, 75], (2, 3, 4)).copy()
    boxes[1, 2] = 0  # the second round does not see the hand in the third view
    cells = cells_of(refinement_rounds(images, joints, matrices, truth=truth, boxes=boxes, size=SIZE), 3, 2)
    for place, cell in cells.items():
        assert cell.shape == (SIZE, SIZE, 3)
        assert any(has_color(cell, color) for color in FINGER_COLORS) == (place != (2, 1)) == (np.median(cell) == 90)
    local = np.append(joints[1, 8], 1) @ matrices[0].T  # the tip of the index finger in the first view, second round
    u, v = (local[:2] / local[2] - (10, 5)) * SIZE / 70
    plain = cells_of(refinement_rounds(images, joints, matrices, boxes=boxes, size=SIZE), 3, 2)
    assert has_color(plain[0, 1][round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3], FINGER_COLORS[1])
    white = [sum((np.array(cell) > 250).all(-1).sum() for (_, c), cell in cells.items() if c == r) for r in (0, 1)]
    assert min(white) > 20  # the truth


def test_without_boxes_all_rounds_show_the_same_crop(scene):
    images, joints, matrices, _ = scene
    images = [np.tile(np.arange(WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3)) for _ in images]
    cells = cells_of(refinement_rounds(images, joints, matrices, size=SIZE), 3, 2)
    for k in range(3):
        assert (cells[k, 0][-1] == cells[k, 1][-1]).all() and (cells[k, 0] != cells[k, 1]).any()


def test_rounds_of_a_batch_are_drawn_as_given():
    batch = multi_view_batch(clips=2, frames=2, cameras=3, hands=2)
    rounds = [batch.replace(joints_3d=batch.joints_3d + offset) for offset in (0.02, 0.005)]
    drawn = draw_rounds(batch, rounds, clip=1, frame=1, hand=1, views=[2, 0], size=SIZE)
    at = (1, 1)
    matrices = projection_matrices(batch.intrinsics[at].double(), batch.extrinsics[at].double())[[2, 0]]
    expected = refinement_rounds(
        [batch.images[at][k].permute(1, 2, 0).numpy() for k in (2, 0)],
        torch.stack([result.joints_3d[1, 1, 1].double() for result in rounds]).numpy(),
        matrices.numpy(),
        truth=batch.joints_3d[1, 1, 1].double().numpy(),
        boxes=torch.stack([result.boxes[at][[2, 0], 1] for result in rounds]).numpy(),
        size=SIZE,
    )
    np.testing.assert_array_equal(drawn, expected)
    unseen = batch.replace(boxes=torch.zeros_like(batch.boxes))
    with pytest.raises(ValueError, match='no camera sees hand 0 in frame 1 of clip 1'):
        draw_rounds(unseen, rounds, clip=1, frame=1)


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(joints=np.zeros((2, 20, 3))), r'joints must have shape \(2, 21, 3\) for 2 rounds and 3 views'),
        (dict(projections=np.zeros((2, 3, 4))), r'projections must have shape \(3, 3, 4\)'),
        (dict(truth=np.zeros((2, 21, 3))), r'truth must have shape \(21, 3\)'),
        (dict(boxes=np.zeros((3, 2, 4))), r'boxes must have shape \(2, 3, 4\)'),
        (dict(labels=['a']), 'expected 2 labels and 3 names'),
        (dict(images=[]), 'for 2 rounds and 0 views'),
    ],
)
def test_input_that_does_not_fit_is_an_error_message(scene, change, words):
    images, joints, matrices, _ = scene
    with pytest.raises(ValueError, match=words):
        refinement_rounds(**dict(images=images, joints=joints, projections=matrices) | change)


def test_plots_of_errors():
    pytest.importorskip('matplotlib')
    errors = {'triangulation': {2: [14.0, 15], 8: [6.0]}, 'R3': {2: [9.0, 9.5], 4: [5.0], 8: [4.0]}}
    for plot in (error_by_views, error_by_round):
        image = plot(errors)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.std() > 10
        with pytest.raises(ValueError, match='at least one'):
            plot({'triangulation': {}})
    with_gap = {'triangulation': {'0-25 %': [5.0, 6], 'over 25 %': []}, 'R3': {'0-25 %': [4.0], 'over 25 %': [9.0]}}
    assert error_by_occlusion(with_gap).std() > 10
    with pytest.raises(ValueError, match='at least one method'):
        error_by_occlusion({})


def test_confusion_matrices_stand_beside_the_numbers_of_the_verbs():
    pytest.importorskip('matplotlib')
    draw = np.random.default_rng(0)
    names = ['pick up', 'put down', 'screw']
    labels = draw.integers(0, 3, 60)
    predicted = {'true poses': labels, 'predicted poses': draw.integers(0, 3, 60)}
    image = confusion_matrices(labels, predicted, names)
    last = confusion_matrix(labels, predicted['predicted poses'], names, 'predicted poses')
    np.testing.assert_array_equal(image[: last.shape[0], -last.shape[1] :], last)
    with pytest.raises(ValueError, match='at least one source'):
        confusion_matrices(labels, {}, names)
