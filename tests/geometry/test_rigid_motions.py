"""Fits and chains of rigid transforms, against scipy and against each other."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.geometry import (
    accumulate_motions,
    apply_motions,
    compose_rigid,
    fit_rigid,
    invert_rigid,
    make_rigid,
    relative_motions,
    rigid_from_9d,
    rigid_to_9d,
    rotvec_to_rotmat,
    transform_points,
)


def random_rigid(*shape, seed=0, angle=3.0):
    generator = torch.Generator().manual_seed(seed)
    rotvec = angle * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    return make_rigid(rotvec_to_rotmat(rotvec), torch.randn(*shape, 3, generator=generator, dtype=torch.float64))


def test_fit_matches_scipy():
    rng = np.random.default_rng(0)
    source, noise = rng.normal(size=(5, 3)), 0.2 * rng.normal(size=(20, 5, 3))
    weights = rng.uniform(0.1, 1, (20, 5))
    target = transform_points(torch.from_numpy(source), random_rigid(20)) + torch.from_numpy(noise)
    fitted = fit_rigid(torch.from_numpy(source), target, torch.from_numpy(weights))
    for found, points, weight in zip(fitted.numpy(), target.numpy(), weights, strict=True):
        a, b = (x - np.average(x, axis=0, weights=weight) for x in (source, points))
        expected = Rotation.align_vectors(b, a, weights=weight)[0].as_matrix()
        np.testing.assert_allclose(found[:3, :3], expected, atol=1e-9)
        moved = np.average(points, axis=0, weights=weight) - expected @ np.average(source, axis=0, weights=weight)
        np.testing.assert_allclose(found[:3, 3], moved, atol=1e-9)


def test_fit_of_a_mirrored_set_is_still_a_rotation():
    source = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fitted = fit_rigid(source, source * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(torch.linalg.det(fitted[:3, :3]), torch.tensor(1.0, dtype=torch.float64))


def test_fit_ignores_points_without_weight_and_stays_finite_without_any():
    source = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    rigid = random_rigid().float()
    target = transform_points(source, rigid)
    target[4] = float('nan')
    weights = torch.tensor([True, True, True, True, False])
    torch.testing.assert_close(fit_rigid(source, target, weights), rigid, atol=1e-5, rtol=0)
    assert fit_rigid(source, target, torch.zeros(5, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize('frame', ['world', 'local'])
def test_accumulated_motions_lead_from_the_first_pose_to_every_other(frame):
    poses = random_rigid(3, 40)
    chain = accumulate_motions(relative_motions(poses, frame), frame)
    torch.testing.assert_close(apply_motions(chain, poses[:, 0], frame), poses[:, 1:], atol=1e-12, rtol=0)


def test_motions_in_the_world_put_the_newest_on_the_left_and_local_ones_the_oldest():
    first, second = random_rigid(2)
    both = torch.stack([first, second])
    torch.testing.assert_close(accumulate_motions(both, 'world')[-1], compose_rigid(second, first))
    torch.testing.assert_close(accumulate_motions(both, 'local')[-1], compose_rigid(first, second))


def test_local_motions_do_not_change_with_the_axes_and_those_in_the_world_do():
    poses, turn = random_rigid(5), random_rigid(seed=1)
    turned = compose_rigid(turn, poses)
    torch.testing.assert_close(relative_motions(turned, 'local'), relative_motions(poses, 'local'))
    expected = compose_rigid(compose_rigid(turn, relative_motions(poses, 'world')), invert_rigid(turn))
    torch.testing.assert_close(relative_motions(turned, 'world'), expected)


def test_nine_numbers_and_back():
    rigid = random_rigid(7)
    torch.testing.assert_close(rigid_from_9d(rigid_to_9d(rigid)), rigid)
    assert rigid_from_9d(torch.zeros(9)).isfinite().all()


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="'world' or 'local', got 'palm'"):
        relative_motions(random_rigid(3), 'palm')
