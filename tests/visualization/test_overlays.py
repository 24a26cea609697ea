import numpy as np
import pytest
import torch

from handpose.structures import HandSequence, SequenceError
from handpose.visualization import draw_clip
from handpose.visualization.draw import FINGER_COLORS

FACES = torch.tensor([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])  # a tetrahedron
THUMB_TIP = 4


def pair(frames=3, size=(120, 160), cameras=1):
    """A right hand spread in a plane facing the camera, and the same as its own prediction."""
    joints = torch.tensor(
        [[0.0, 0.08, 0.5]] + [[0.04 * (f - 2), 0.02 - 0.03 * k, 0.5] for f in range(5) for k in range(4)]
    )
    joints = joints.expand(frames, 1, 21, 3) + 0.01 * torch.arange(frames)[:, None, None, None]
    corners = torch.tensor([[0.0, 0, -0.03], [0.05, 0, 0.03], [-0.03, 0.04, 0.03], [-0.03, -0.04, 0.03]])
    shared = dict(
        meta=dict(sequence='s', cameras=['c'] * cameras, frame_indices=list(range(7, 7 + frames))),
        hand_side=torch.tensor([1]),
        joints_3d=joints,
        joints_valid=torch.ones(frames, 1, 21, dtype=torch.bool),
        vertices=joints[:, :, :1] + corners,
    )
    focal = torch.tensor([[200.0, 0, (size[1] - 1) / 2], [0, 200, (size[0] - 1) / 2], [0, 0, 1]])
    target = HandSequence(
        images=torch.full((frames, cameras, 3, *size), 90, dtype=torch.uint8),
        intrinsics=focal.expand(frames, cameras, 3, 3),
        frame_valid=torch.ones(frames, dtype=torch.bool),
        **shared,
    )
    return HandSequence(**shared), target


def at_wrist(prediction):
    wrist = prediction.joints_3d[:, :, :1]
    return prediction.replace(
        frame='wrist', joints_3d=prediction.joints_3d - wrist, vertices=prediction.vertices - wrist
    )


def pictures(frames, panels, panel=(240, 320)):
    """The panels of the first frame without their captions."""
    height, width = panel
    return [frames[0][-4 - height : -4, 4 + i * (width + 4) :][:, :width] for i in range(panels)]


def test_joints_are_drawn_where_the_camera_sees_them():
    prediction, target = pair()
    frames = draw_clip(prediction, target, panel_size=240)
    assert len(frames) == 3
    x, y = (200 * target.joints_3d[0, 0, THUMB_TIP, :2] / 0.5).numpy() + np.array([79.5, 59.5])
    column, row = round(2 * x + 0.5), round(2 * y + 0.5)  # pixel centres: (x + 1/2) * 2 - 1/2
    source, predicted, true = pictures(frames, 3)
    assert (source == 90).all()
    for picture in (predicted, true):
        assert tuple(picture[row, column]) == FINGER_COLORS[0]


def test_a_wrist_prediction_is_drawn_at_the_true_wrist_and_says_so():
    prediction, target = pair()
    in_camera = draw_clip(prediction, target, FACES, panel_size=240)
    in_wrist = draw_clip(at_wrist(prediction), target, FACES, panel_size=240)
    for one, other in zip(pictures(in_camera, 4), pictures(in_wrist, 4), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 0.5
    caption = np.s_[: -4 - 240, 328:]
    assert (in_camera[0][caption] != in_wrist[0][caption]).any()
    unknown = target.joints_valid.clone()
    unknown[:, :, 0] = False
    hidden = draw_clip(at_wrist(prediction), target.replace(joints_valid=unknown), FACES, panel_size=240)
    assert (pictures(hidden, 2)[1] == 90).all()


def test_meshes_of_left_hands_use_the_reversed_faces():
    prediction, target = pair(frames=1)
    flip = torch.tensor([-1.0, 1, 1])
    left = dict(hand_side=torch.tensor([0]), joints_3d=target.joints_3d * flip, vertices=target.vertices * flip)
    right = pictures(draw_clip(prediction, target, FACES, panel_size=240), 4)[3]
    mirrored = pictures(draw_clip(prediction.replace(**left), target.replace(**left), FACES, panel_size=240), 4)[3]
    assert (right != 90).sum() > 1000
    covered = [(picture != 90).any(-1) for picture in (right, mirrored[:, ::-1])]
    assert (covered[0] != covered[1]).mean() < 0.01


def test_padding_frames_are_left_out_and_extrinsics_are_used():
    prediction, target = pair(cameras=2)
    moved = torch.eye(4).expand(3, 2, 4, 4).clone()
    moved[:, 1, 0, 3] = 10.0  # far out of the second camera's view
    target = target.replace(extrinsics=moved, frame_valid=torch.tensor([True, True, False]))
    assert len(draw_clip(prediction, target)) == 2
    assert (pictures(draw_clip(prediction, target, panel_size=240), 3)[1] != 90).any()
    assert (pictures(draw_clip(prediction, target, camera=1, panel_size=240), 3)[1] == 90).all()


@pytest.mark.parametrize(
    'changes, sentence',
    [
        (dict(images=None, frame='wrist'), 'draw_clip needs images'),
        (dict(frame='wrist'), "a target in 'camera' or 'world'"),
        (dict(frame='world'), "got 'world' and 'camera'"),
    ],
)
def test_what_cannot_be_drawn_is_said(changes, sentence):
    prediction, target = pair()
    with pytest.raises(SequenceError, match=sentence):
        draw_clip(prediction, target.replace(**changes))
