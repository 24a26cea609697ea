import numpy as np
import pytest
import torch

from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.objects.shapes import Ball, Box, ObjectBatch, Revolved, SceneObject, cylinder_profile


@pytest.mark.parametrize('class_id', sorted(CLASSES))
def test_mesh_lies_on_the_distance_and_faces_outward(class_id):
    item = make_object(class_id, np.random.default_rng(class_id))
    distances = []
    for shape in item.shapes:
        mesh = shape.mesh()
        on = ObjectBatch([SceneObject('shape', (shape,), 0.1, (0, 0, 0))])
        points = torch.from_numpy(mesh.vertices)[None]
        assert on.distance(points).abs().max() < 1e-6
        corners = mesh.vertices[mesh.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normal, axis=1)
        whole = area > 1e-12
        centres, normal = corners.mean(1)[whole], normal[whole] / area[whole, None]
        step = [on.distance(torch.from_numpy(centres + s * normal)[None]) for s in (0.002, -0.002)]
        assert (step[0] > step[1]).all()
        distances.append(on.distance(torch.from_numpy(centres)[None]).abs().max())
    assert max(distances) < 6e-4  # chords cut a little inside round sides
    assert item.mesh().vertices[:, 2].min() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('class_id', sorted(CLASSES))
def test_objects_are_their_own_mirror_image(class_id):
    item = make_object(class_id, np.random.default_rng(class_id))
    points = torch.from_numpy(np.random.default_rng(0).uniform(-0.1, 0.2, (500, 3)))
    torch.testing.assert_close(item.distance(points), item.distance(points * torch.tensor([-1, 1, 1])))


def cylinder_distance(p, radius, low, high):
    across, along = np.hypot(p[0], p[1]) - radius, max(low - p[2], p[2] - high)
    return min(max(across, along), 0) + np.hypot(max(across, 0), max(along, 0))


@pytest.mark.parametrize(
    ('shape', 'reference'),
    [
        (Ball(0.03), lambda p: np.linalg.norm(p - [0, 0, 0.03]) - 0.03),
        (Revolved(cylinder_profile(0.03, 0.0, 0.1, 1e-7)), lambda p: cylinder_distance(p, 0.03, 0.0, 0.1)),
        (
            Box((0.02, 0.03, 0.05), (0, 0, 0.05), 0.0),
            lambda p: (lambda q: np.linalg.norm(np.maximum(q, 0)) + min(q.max(), 0))(
                np.abs(p - [0, 0, 0.05]) - [0.02, 0.03, 0.05]
            ),
        ),
    ],
)
def test_distances_match_closed_forms(shape, reference):
    points = np.random.default_rng(1).uniform(-0.08, 0.14, (400, 3))
    item = SceneObject('shape', (shape,), 0.1, (0, 0, 0))
    found = item.distance(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(found, [reference(p) for p in points], atol=1e-6)


def test_batches_refuse_mixed_objects():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match='same shapes'):
        ObjectBatch([make_object(1, rng), make_object(2, rng)])
