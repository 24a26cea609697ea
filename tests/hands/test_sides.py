import torch

from handpose.hands import SIDE_LABELS, ProceduralHand, Side, is_left, is_right


def test_labels_are_in_the_order_of_the_numbers():
    assert [SIDE_LABELS[side] for side in Side] == ['left', 'right'] and list(Side) == [0, 1]


def test_sides_make_tensors_and_masks():
    sides = torch.tensor([Side.LEFT, Side.RIGHT])
    assert sides.dtype == torch.int64 and is_left(sides).tolist() == [True, False] and is_right(sides)[1]
    assert torch.full((2,), Side.RIGHT).tolist() == [1, 1] and torch.tensor(Side.RIGHT).item() == 1
    assert torch.where(is_left(sides), Side.RIGHT, sides).tolist() == [1, 1]


def test_a_hand_model_compiles_with_sides():
    model = ProceduralHand()
    shape, sides = torch.zeros(2, 10), torch.tensor([Side.LEFT, Side.RIGHT])
    found = torch.compile(model.rest_joints, backend='eager', fullgraph=True)(shape, sides)
    torch.testing.assert_close(found, model.rest_joints(shape, sides))
