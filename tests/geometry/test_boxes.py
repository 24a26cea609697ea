import pytest
import torch

from handpose.geometry import (
    box_iou,
    boxes_from_points,
    boxes_intersect,
    clip_boxes,
    scale_boxes,
    square_boxes,
    union_boxes,
)

BOX = torch.tensor([10.0, 20.0, 30.0, 60.0])


@pytest.mark.parametrize(
    ('found', 'expected'),
    [
        (scale_boxes(BOX, 2.0), [0.0, 0.0, 40.0, 80.0]),
        (scale_boxes(BOX, 1.0), [10.0, 20.0, 30.0, 60.0]),
        (square_boxes(BOX), [0.0, 20.0, 40.0, 60.0]),
        (clip_boxes(BOX, 25, 40), [10.0, 20.0, 24.5, 39.5]),
        (clip_boxes(BOX - 50, 25, 40), [-0.5, -0.5, -0.5, 10.0]),
        (union_boxes(BOX, torch.tensor([0.0, 30.0, 20.0, 70.0])), [0.0, 20.0, 30.0, 70.0]),
    ],
)
def test_box_table(found, expected):
    assert found.tolist() == expected


def test_boxes_from_points_looks_at_valid_points_only():
    points = torch.tensor([[[1.0, 5.0], [3.0, 2.0], [100.0, torch.nan]], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert boxes_from_points(points, valid).tolist() == [[1, 2, 3, 5], [0, 0, 0, 0]]
    assert boxes_from_points(points[1]).tolist() == [1, 1, 3, 3]


def test_scale_boxes_takes_a_factor_for_each_box():
    assert scale_boxes(BOX.expand(2, 4), torch.tensor([1.0, 2.0])).tolist() == [[10, 20, 30, 60], [0, 0, 40, 80]]


@pytest.mark.parametrize(
    ('other', 'intersect', 'iou'),
    [
        ([10.0, 20.0, 30.0, 60.0], True, 1.0),
        ([20.0, 40.0, 40.0, 80.0], True, 200 / 1400),
        ([30.0, 20.0, 40.0, 60.0], False, 0.0),  # touching edges
        ([50.0, 70.0, 60.0, 90.0], False, 0.0),  # apart in both axes: two negative overlaps are not an area
        ([15.0, 30.0, 15.0, 30.0], False, 0.0),  # a point
    ],
)
def test_pairs_of_boxes(other, intersect, iou):
    other = torch.tensor(other)
    assert bool(boxes_intersect(BOX, other)) == intersect
    assert float(box_iou(BOX, other)) == pytest.approx(iou)


def test_iou_of_two_empty_boxes_is_zero():
    empty = torch.zeros(4)
    assert float(box_iou(empty, empty)) == 0
