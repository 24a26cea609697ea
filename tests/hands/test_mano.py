import numpy as np
import pytest
import torch
from mano_files import write_plain

from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.hands import linear_blend_skinning
from handpose.hands.mano import FINGERTIP_VERTICES, MANO, fix_left_shapedirs
from handpose.hands.mano_file import MANOFileError
from handpose.registry import HAND_MODELS


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('mano')
    return path, write_plain(path)


def reference(hand, pose, shape):
    """MANO from its paper, on our own skinning in double precision."""
    hand = {key: torch.tensor(np.asarray(value)) for key, value in hand.items() if not isinstance(value, str)}
    rotmats = rotvec_to_rotmat(pose)
    shaped = hand['v_template'] + torch.einsum('bk,vck->bvc', shape, hand['shapedirs'])
    joints = torch.einsum('jv,bvc->bjc', hand['J_regressor'], shaped)
    feature = (rotmats[:, 1:] - torch.eye(3)).flatten(1)
    posed = shaped + torch.einsum('bp,vcp->bvc', feature, hand['posedirs'])
    return *linear_blend_skinning(posed, joints, rotmats, hand['weights']), joints


def test_equals_the_shared_skinning_on_both_sides(folder):
    path, hands = folder
    model = MANO(path, left_shapedirs='original').double()
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(6, 16, 3, generator=generator, dtype=torch.float64)
    shape = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    transl = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    side = torch.tensor([0, 1, 1, 0, 1, 0])
    mesh = model(pose, shape, transl, side)
    native = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3]  # MANO's 16 among the common 21
    for i, s in enumerate(side.tolist()):
        vertices, joints, rest = reference(hands[s], pose[i : i + 1], shape[i : i + 1])
        torch.testing.assert_close(mesh.vertices[i], vertices[0] + transl[i], atol=1e-6, rtol=0)
        torch.testing.assert_close(mesh.joints[i, native], joints[0] + transl[i], atol=1e-6, rtol=0)
        wrist = model.rest_wrist(shape[i], side[i])
        torch.testing.assert_close(wrist, rest[0, 0], atol=1e-6, rtol=0)
        torch.testing.assert_close(mesh.joints[i, 0] - transl[i], wrist, atol=1e-6, rtol=0)
        tips = list(FINGERTIP_VERTICES['dexycb'][s])
        torch.testing.assert_close(mesh.joints[i, [4, 8, 12, 16, 20]], mesh.vertices[i, tips])


def test_the_mean_pose_is_given_not_added(folder):
    path, hands = folder
    model = HAND_MODELS.build({'type': 'MANO', 'model_path': str(path)})
    torch.testing.assert_close(model.pose_mean, torch.tensor(hands[1]['hands_mean']).float())
    torch.testing.assert_close(model.pose_mean_of(0), torch.tensor(hands[0]['hands_mean']).float())
    torch.testing.assert_close(model.pose_basis_of(0), torch.tensor(hands[0]['hands_components']).float())
    assert MANO(path, flat_hand_mean=True).pose_mean.abs().max() == 0
    rest = model(torch.zeros(16, 3), torch.zeros(10), torch.zeros(3), torch.tensor(1))
    torch.testing.assert_close(rest.vertices, torch.tensor(hands[1]['v_template']).float())


def test_left_shapedirs_options(folder):
    path, hands = folder
    right = hands[1]['shapedirs']
    mirrored = right * np.array([-1.0, 1.0, 1.0])[:, None]
    np.testing.assert_array_equal(fix_left_shapedirs(right, right), mirrored)  # the distributed files' slip
    np.testing.assert_array_equal(fix_left_shapedirs(mirrored, right), mirrored)  # already right
    fixed, original = (MANO(path, left_shapedirs=option) for option in ('fixed', 'original'))
    expected = fix_left_shapedirs(hands[0]['shapedirs'], right)
    np.testing.assert_allclose(fixed.left.shapedirs, expected, rtol=1e-6)
    np.testing.assert_allclose(original.left.shapedirs, hands[0]['shapedirs'], rtol=1e-6)


def test_nothing_of_the_licensed_files_is_saved_or_printed(folder, capsys):
    model = MANO(folder[0])
    assert model.state_dict() == {} and list(model.parameters()) == []
    assert capsys.readouterr().out == ''
    assert model.to('meta').left.v_template.is_meta  # and yet it moves with the module


def test_gradients_reach_pose_and_shape_of_both_sides(folder):
    model = MANO(folder[0])
    pose, shape = torch.zeros(2, 16, 3, requires_grad=True), torch.zeros(2, 10, requires_grad=True)
    model(pose, shape, torch.zeros(2, 3), torch.tensor([0, 1])).vertices.square().sum().backward()
    for gradient in (pose.grad, shape.grad):
        assert gradient.isfinite().all() and (gradient.flatten(1).norm(dim=1) > 0).all()


def test_options_are_checked(folder, tmp_path):
    with pytest.raises(ValueError, match='left_shapedirs'):
        MANO(folder[0], left_shapedirs='wrong')
    with pytest.raises(ValueError, match="Did you mean 'dexycb'"):
        MANO(folder[0], fingertip_vertices='dexicb')
    with pytest.raises(MANOFileError, match='does not exist'):
        MANO(tmp_path)
