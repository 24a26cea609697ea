"""Angles of hands that are built from angles: a palm in the plane z = 0 and fingers turned by scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.hands import COMMON_JOINTS, ProceduralHand
from handpose.hands.joint_angles import ANGLES, joint_angles

# A right hand seen on its back: fingers along y, the thumb's side along -x, the palm faces -z.
BASES = {'thumb': (-30, 20), 'index': (-25, 90), 'middle': (0, 95), 'ring': (20, 88), 'little': (38, 80)}


def build(angles):
    """(21, 3) of the named angles in degrees, in millimetres."""
    joints = np.zeros((21, 3))
    for number, (finger, base) in enumerate(BASES.items()):
        start = np.array([*base, 0.0])
        first = 4 * number + 1
        if finger == 'thumb':
            radial, palmar = (np.radians(angles.get(f'thumb_cmc_{n}_abduction', 0)) for n in ('radial', 'palmar'))
            direction = np.array([-np.sin(radial) * np.cos(palmar), np.cos(radial) * np.cos(palmar), -np.sin(palmar)])
            bends = [angles.get(f'thumb_{n}_flexion', 0) for n in ('mcp', 'ip')]
            hinge = np.cross(direction, (0.3, 0.2, 0.9))
            hinge /= np.linalg.norm(hinge)
        else:
            along = start / np.linalg.norm(start)
            hinge = np.cross(along, (0, 0, -1))
            # Abduction first, then flexion about the hinge that does not move with it, as the definition has it.
            flexion, abduction = (angles.get(f'{finger}_mcp_{n}', 0) for n in ('flexion', 'abduction'))
            direction = Rotation.from_rotvec(np.radians(abduction) * np.array([0, 0, 1.0])).apply(along)
            direction = Rotation.from_rotvec(np.radians(flexion) * hinge).apply(direction)
            bends = [angles.get(f'{finger}_{n}_flexion', 0) for n in ('pip', 'dip')]
            hinge = hinge - hinge @ direction * direction
            hinge /= np.linalg.norm(hinge)
        points = [start]
        for length, bend in zip((40, 25, 20), (0, *bends), strict=True):
            direction = Rotation.from_rotvec(np.radians(bend) * hinge).apply(direction)
            points.append(points[-1] + length * direction)
        joints[first : first + 4] = points
    return joints


CASES = [
    {},
    {'index_pip_flexion': 70, 'index_dip_flexion': 35},
    {'middle_mcp_flexion': 80, 'ring_mcp_flexion': -20, 'little_pip_flexion': -10},
    {'index_mcp_abduction': 15, 'little_mcp_abduction': -20, 'ring_mcp_abduction': 5, 'ring_pip_flexion': 90},
    {'index_mcp_flexion': 40, 'index_mcp_abduction': 10, 'index_pip_flexion': 50, 'index_dip_flexion': 20},
    {'thumb_cmc_radial_abduction': 40, 'thumb_cmc_palmar_abduction': 25, 'thumb_mcp_flexion': 30},
    {'thumb_ip_flexion': 60, 'thumb_cmc_palmar_abduction': -10},
]


@pytest.mark.parametrize('side', [0, 1])
@pytest.mark.parametrize('angles', CASES)
def test_known_angles(angles, side):
    joints = build(angles) * (1 if side else (-1, 1, 1))
    moved = Rotation.from_rotvec((0.4, -1.2, 0.7)).apply(joints) + (5, -300, 80)
    found = dict(zip(ANGLES, joint_angles(moved, side), strict=True))
    # Abduction is the angle out of the plane of flexion, which a following flexion about a fixed axis keeps.
    for name in ANGLES:
        assert found[name] == pytest.approx(angles.get(name, 0), abs=1e-6), name


def test_bending_a_model_changes_its_angle_as_much():
    model = ProceduralHand()
    for side in (0, 1):
        pose = torch.zeros(2, 16, 3)
        bend = torch.tensor([0, 0, np.radians(40)]).float()
        pose[1, 2] = (model.joint_axes[1] @ bend) * (1 if side else torch.tensor([1.0, -1.0, -1.0]))  # index PIP
        joints = model(pose, torch.zeros(10), torch.zeros(3), torch.tensor(side)).joints.numpy()
        change = np.diff(joint_angles(joints, side), axis=0)[0]
        expected = np.where([name == 'index_pip_flexion' for name in ANGLES], 40, 0)
        np.testing.assert_allclose(change, expected, atol=1.5)


def test_unknown_joints_leave_their_angles_unknown():
    joints = build({})
    joints[COMMON_JOINTS.index('index_pip')] = np.nan
    found = dict(zip(ANGLES, joint_angles(joints, 1), strict=True))
    assert all(np.isnan(found[name]) for name in ANGLES if name.startswith('index'))
    assert all(np.isfinite(found[name]) for name in ANGLES if not name.startswith('index'))
    joints = build({})
    joints[0] = np.nan
    assert np.isnan(joint_angles(joints, 1)[4:6]).all()
