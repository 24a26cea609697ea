import numpy as np
import pytest

from handpose.geometry.raster import interpolate, rasterize, rasterize_exact, visible_faces

SIZE = (160, 120)


def torus(rows=40, columns=24, large=0.07, small=0.03):
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, rows + 1), np.linspace(0, 2 * np.pi, columns + 1), indexing='ij')
    ring = large + small * np.cos(v)
    vertices = np.stack([ring * np.cos(u), ring * np.sin(u), small * np.sin(v)], -1).reshape(-1, 3)
    index = np.arange(len(vertices)).reshape(rows + 1, columns + 1)
    a, b, c, d = (index[i : i + rows, j : j + columns].ravel() for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    return vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def seen(vertices, tilt, away=0.5, focal=250.0):
    cosine, sine = np.cos(tilt), np.sin(tilt)
    rotated = vertices @ np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]).T + (0, 0, away)
    return rotated[:, :2] / rotated[:, 2:] * focal + (79.5, 59.5), rotated[:, 2]


@pytest.mark.parametrize('tilt', [0.3, 0.9, 1.4])
def test_painter_agrees_with_the_exact_depth_buffer(tilt):
    vertices, faces = torus()
    uv, depth = seen(vertices, tilt)
    fast, exact = rasterize(uv, depth, faces, SIZE), rasterize_exact(uv, depth, faces, SIZE)
    a, b = fast.face_ids >= 0, exact.face_ids >= 0
    assert (a & b).sum() / (a | b).sum() > 0.95
    error = np.abs(fast.depth - exact.depth)[a & b]
    assert np.median(error) < 1e-4
    assert np.percentile(error, 95) < 2e-3
    assert (fast.depth > 0)[a].all() and (fast.depth == 0)[~a].all()


def test_exact_depth_of_a_plane_is_its_ray_intersection():
    corners = np.array([[-0.3, -0.3, 0.8], [0.3, 0.35, 1.2], [0.25, -0.3, 0.9]])
    uv = corners[:, :2] / corners[:, 2:] * 100 + (79.5, 59.5)
    exact = rasterize_exact(uv, corners[:, 2], np.array([[0, 1, 2]]), SIZE)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    rows, columns = np.nonzero(exact.face_ids == 0)
    assert len(rows) > 500
    rays = np.stack([(columns - 79.5) / 100, (rows - 59.5) / 100, np.ones(len(rows))], 1)
    np.testing.assert_allclose(exact.depth[rows, columns], normal @ corners[0] / (rays @ normal), rtol=1e-5)


def test_faces_that_turn_away_or_lie_outside_are_dropped():
    uv = np.array([[10.0, 10], [10, 50], [50, 10], [-90, 10], [-90, 50], [-50, 10]])
    depth = np.ones(6)
    faces = np.array([[0, 1, 2], [0, 2, 1], [3, 4, 5]])
    assert visible_faces(uv, depth, faces, SIZE).tolist() == [0]
    assert visible_faces(uv, -depth, faces, SIZE).tolist() == []


def test_nearer_face_wins_and_values_interpolate():
    uv = np.array([[20.0, 20], [20, 80], [80, 20]] * 2)
    depth = np.array([2.0] * 3 + [1.0] * 3)
    faces = np.array([[3, 4, 5], [0, 1, 2]])
    raster = rasterize(uv, depth, faces, SIZE)
    assert set(np.unique(raster.face_ids)) == {-1, 0}
    assert raster.depth.max() == pytest.approx(1.0)
    pixels = (np.array([20, 50]), np.array([50, 20]))
    values = interpolate(pixels, np.array([0, 0]), uv, uv.copy(), faces)
    np.testing.assert_allclose(values, [[50, 20], [20, 50]], atol=1e-4)
