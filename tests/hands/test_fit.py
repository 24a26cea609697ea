import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from handpose.hands import ProceduralHand, fit_hand
from handpose.hands import fit as fit_module

MODEL = ProceduralHand()
MIRROR = torch.tensor([-1.0, 1.0, 1.0])


def random_motion(frames, side, reach=0.8):
    """A hand that moves evenly between two random poses within `reach` of its limits: parameters and joints."""
    low, high = reach * MODEL.joint_limits.unbind(-1)[0], reach * MODEL.joint_limits.unbind(-1)[1]
    step = torch.linspace(0, 1, frames)[:, None, None]
    ends = low + (high - low) * torch.rand(2, 15, 3)
    fingers = (MODEL.joint_axes @ torch.lerp(ends[0], ends[1], step)[..., None])[..., 0]
    fingers = fingers * torch.tensor([1.0, 1.0, 1.0] if side else [1.0, -1.0, -1.0])
    wrist = torch.lerp(*torch.randn(2, 1, 3), step)
    shape = (0.8 * torch.randn(10)).clamp(-2, 2)
    transl = torch.randn(3) * 0.3 + step[:, 0] * torch.randn(3) * 0.2
    pose = torch.cat([wrist, fingers], 1)
    return pose, shape, transl, MODEL(pose, shape, transl, torch.tensor(side)).joints


def all_frames(joints):
    return torch.ones(len(joints), dtype=torch.bool)


@pytest.mark.parametrize('side', [0, 1])
def test_known_hands_are_recovered(side):
    """The model itself, given the fitted parameters, puts the joints where they were to less than half a millimetre."""
    for _ in range(3):
        *_, joints = random_motion(20, side)
        fit = fit_hand(MODEL, joints, all_frames(joints), side)
        again = MODEL(fit.hand_pose.float(), fit.hand_shape.float(), fit.hand_transl.float(), torch.tensor(side)).joints
        distance = (again - joints).norm(dim=-1)
        assert distance.max() < 0.5e-3
        assert (again - fit.joints).abs().max() < 1e-6
        assert (distance - fit.error).abs().max() < 1e-6


def test_a_mirrored_hand_is_fitted_by_the_mirrored_hand():
    *_, joints = random_motion(6, 1)
    joints = joints + 0.003 * torch.randn_like(joints)
    right = fit_hand(MODEL, joints, all_frames(joints), 1)
    left = fit_hand(MODEL, joints * MIRROR, all_frames(joints), 0)
    assert (left.joints - right.joints * MIRROR).abs().max() < 1e-9
    posed = MODEL(left.hand_pose.float(), left.hand_shape.float(), left.hand_transl.float(), torch.tensor(0)).joints
    assert (posed - left.joints).abs().max() < 1e-6


def test_derivatives_against_differences():
    skeleton = fit_module.Skeleton(MODEL)
    angles = 0.5 * torch.randn(3, 5, 3, 3, dtype=torch.float64)
    angles[0] = 0  # where the formulas have a limit
    rotation = torch.linalg.qr(torch.randn(3, 3, 3, dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    state = fit_module.SkeletonPose(rotation, torch.randn(3, 3).double(), angles, torch.randn(10).double())
    joints, carriers = skeleton.pose(state)
    moves = skeleton.derivatives(state, joints, carriers)
    for unknown in range(61):
        step = torch.zeros(2, 61, dtype=torch.float64)
        step[0, unknown], step[1, unknown] = 1e-6, -1e-6
        ahead, behind = (
            skeleton.pose(fit_module._add_step(state, s[:51].expand(3, 51), s[51:]))[0].flatten(1) for s in step
        )
        assert torch.allclose(moves[..., unknown], (ahead - behind) / 2e-6, atol=1e-8)


def test_the_optimum_is_scipys():
    """One frame of a hand that the model cannot make exactly: no better fit is found by another solver."""
    *_, joints = random_motion(1, 1, reach=0.3)
    joints = joints[0].double()
    joints[8:] = joints[8:] + 0.004 * torch.randn(13, 3)
    fit = fit_hand(MODEL, joints[None], torch.ones(1, dtype=torch.bool), 1)
    model, side = ProceduralHand().double(), torch.tensor(1)
    axes, low, high = model.joint_axes, *model.joint_limits.unbind(-1)

    def residuals(values):
        values = torch.from_numpy(values)
        angles = values[3:48].reshape(15, 3)
        pose = torch.cat([values[None, :3], (axes @ angles[..., None])[..., 0]])
        off = (model(pose, values[51:], values[48:51], side).joints - joints).flatten()
        beyond = angles - angles.clamp(low, high)
        unusual = values[51:] - values[51:].clamp(-fit_module.SHAPE_LIMIT, fit_module.SHAPE_LIMIT)
        pulls = (
            fit_module.REST_WEIGHT * angles, fit_module.LIMIT_WEIGHT * beyond, fit_module.SHAPE_WEIGHT * values[51:],
            fit_module.SHAPE_LIMIT_WEIGHT * unusual,
        )  # fmt: skip
        return torch.cat([off, *(pull.flatten() for pull in pulls)]).numpy()

    angles = torch.linalg.solve(axes, fit.hand_pose[0, 1:, :, None])[..., 0]
    found = torch.cat([fit.hand_pose[0, 0], angles.flatten(), fit.hand_transl[0], fit.hand_shape]).numpy()
    ours = np.square(residuals(found)).sum()
    best = least_squares(residuals, found + 0.01 * np.random.randn(61), max_nfev=40)
    assert fit.error.max() < fit_module.OUTLIER  # so that the loss is least squares
    assert ours <= 2 * best.cost * 1.001


def test_outliers_and_missing_frames_do_no_harm():
    *_, joints = random_motion(12, 1)
    valid = all_frames(joints)
    valid[3] = False
    spoilt = joints.clone()
    spoilt[3] = torch.nan
    spoilt[5, 8] += 0.1
    spoilt[7, 12] -= 0.1
    fit = fit_hand(MODEL, spoilt, valid, 1)
    error = (fit.joints - joints).norm(dim=-1)
    good = torch.ones(12, 21, dtype=torch.bool)
    good[3], good[5, 8], good[7, 12] = False, False, False
    assert error[good].max() < 0.01 and error[good].median() < 1e-3
    assert fit.error[3].isnan().all() and not fit.error[valid].isnan().any()
    assert not fit.hand_pose[3].any() and not fit.joints[3].any()


def test_missing_joints_do_not_count():
    """What is marked as missing may hold anything; the hand between the others is found."""
    for side in (0, 1):
        *_, joints = random_motion(12, side, reach=0.5)
        given = torch.rand(12, 21, generator=torch.Generator().manual_seed(side)) < 0.8
        given[:, 0] = True
        spoilt = joints.clone()
        spoilt[~given] = torch.nan
        fit = fit_hand(MODEL, spoilt, given, side)
        error = (fit.joints - joints).norm(dim=-1)
        assert error[given].median() < 1e-3 and error[~given].median() < 6e-3
        assert fit.error[~given].isnan().all()
        assert torch.allclose(fit.error[given], error[given].double(), atol=1e-6)
    complete = fit_hand(MODEL, joints, torch.ones(12, 21, dtype=torch.bool), 1)
    assert torch.equal(complete.joints, fit_hand(MODEL, joints, all_frames(joints), 1).joints)


def test_angles_and_shape_stay_human():
    """Joints of a hand that bends its fingers the wrong way, and of one with far too long fingers."""
    pose, shape, transl, _ = random_motion(4, 1)
    angles = torch.zeros(15, 3)
    angles[3:6, 2] = -0.9
    bent = torch.cat([pose[:, :1], (MODEL.joint_axes @ angles[..., None])[..., 0].expand(4, -1, -1)], 1)
    joints = MODEL(bent, shape, transl, torch.tensor(1)).joints
    fit = fit_hand(MODEL, joints, all_frames(joints), 1)
    found = torch.linalg.solve(MODEL.joint_axes.double(), fit.hand_pose[:, 1:, :, None])[..., 0]
    low, high = MODEL.joint_limits.double().unbind(-1)
    assert (found - found.clamp(low, high)).abs().max() < 0.5 < 0.7 < (angles - angles.clamp(low, high)).abs().max()
    long = torch.zeros(10)
    long[6:] = 9
    joints = MODEL(pose, long, transl, torch.tensor(1)).joints
    assert fit_hand(MODEL, joints, all_frames(joints), 1).hand_shape.abs().max() < 5


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'joints': torch.zeros(4, 20, 3)}, r'joints \(T, 21, 3\)'),
        ({'valid': torch.ones(4)}, 'torch.float32'),
        ({'valid': torch.zeros(4, dtype=torch.bool)}, 'no frame with a hand'),
        ({'joints': torch.full((4, 21, 3), torch.nan)}, 'NaN'),
        ({'valid': torch.arange(21).expand(4, 21) < 3}, 'needs 4 joints in each frame, and frame 0 has fewer'),
        ({'side': 2}, 'side must be 0'),
        ({'model': torch.nn.Identity()}, 'ProceduralHand, got a Identity'),
    ],
)
def test_bad_input(changes, sentence):
    values = {'model': MODEL, 'joints': torch.rand(4, 21, 3), 'valid': torch.ones(4, dtype=torch.bool), 'side': 1}
    with pytest.raises(ValueError, match=sentence):
        fit_hand(**{**values, **changes})
