import numpy as np
import pytest

from handpose.visualization import contact_sheet, draw_boxes, draw_mesh, draw_skeleton, put_label, side_by_side
from handpose.visualization.draw import BACKGROUND, FINGER_COLORS


def gray(height=200, width=300):
    return np.full((height, width, 3), 128, np.uint8)


def spread_joints():
    """Fingers as five vertical lines, all inside a 300 x 200 image."""
    joints = np.array([[50.0 + 50 * finger, 140 - 30 * k] for finger in range(5) for k in range(4)])
    return np.vstack([[[150.0, 185]], joints])


def test_skeleton_puts_each_finger_in_its_colour_and_leaves_the_image_alone():
    image, joints = gray(), spread_joints()
    drawn = draw_skeleton(image, joints)
    assert (image == 128).all()
    for j in range(1, 21):
        x, y = joints[j].astype(int)
        assert tuple(drawn[y, x]) == FINGER_COLORS[(j - 1) // 4]
        if (j - 1) % 4:  # halfway to the joint before it
            assert tuple(drawn[y + 15, x]) == FINGER_COLORS[(j - 1) // 4]
    assert tuple(draw_skeleton(image, joints, color=(1, 2, 3))[140, 100]) == (1, 2, 3)


@pytest.mark.parametrize('broken', [[np.nan, 5], [np.inf, 5], [1e9, 5], None])
def test_skeleton_skips_what_is_not_there(broken):
    joints, valid = spread_joints(), np.ones(21, bool)
    if broken is None:
        valid[4] = False
    else:
        joints[4] = broken
    drawn = draw_skeleton(gray(), joints, valid)
    assert (drawn[45:60, 45:55] == 128).all()  # neither the thumb's tip nor the bone to it
    assert tuple(drawn[80, 50]) == FINGER_COLORS[0]


def sphere(steps=24):
    """Vertices (V, 3) of a unit sphere and faces counter-clockwise seen from outside (x right, y down, z forward)."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, steps), np.linspace(0, 2 * np.pi, 2 * steps), indexing='ij')
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    i = np.arange(steps * 2 * steps).reshape(steps, -1)
    a, b, c, d = (x.ravel() for x in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    return points.reshape(-1, 3), np.vstack([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def test_mesh_covers_its_silhouette_and_is_lit_from_the_camera():
    points, faces = sphere()
    drawn = draw_mesh(gray(), points[:, :2] * 60 + [150, 100], points[:, 2] * 0.06 + 0.5, faces, (200, 100, 50))
    changed = (drawn != 128).any(-1)
    assert changed.sum() == pytest.approx(np.pi * 60**2, rel=0.03)
    assert not changed[:, :88].any() and not changed[:38].any()
    assert drawn[85, 140].sum() > 1.5 * drawn[140, 187].sum()
    back = draw_mesh(gray(), points[:, :2] * 60 + [150, 100], points[:, 2] * 0.06 + 0.5, faces[:, ::-1])
    assert (back == 128).mean() > 0.4  # reversed winding shows the inside: still a disc, drawn from the far half


def test_mesh_transparency_and_refusal():
    points, faces = sphere()
    flat, depth = points[:, :2] * 60 + [150, 100], points[:, 2] * 0.06 + 0.5
    assert (draw_mesh(gray(), flat, depth, faces, alpha=0) == 128).all()
    with pytest.raises(ValueError, match='NaN or infinite'):
        draw_mesh(gray(), flat * np.nan, depth, faces)


def test_boxes_and_labels_stay_inside():
    drawn = draw_boxes(gray(), [[20, 30, 120, 150], [np.nan] * 4, [-50, -50, 400, 400]], ['left', '', 'right'])
    assert (drawn[90, 20] == [255, 220, 60]).all() and (drawn[90, 70] == 128).all()
    far = put_label(gray(), 'a text much wider than the picture it is written on, so it must shrink', (9999, 9999))
    assert (far[-40:] != 128).any() and (far[:150] == 128).all()


def test_sheets_have_the_layout_they_say():
    images = [np.full((10, 20, 3), 10 * i, np.uint8) for i in range(1, 6)]
    sheet = contact_sheet(images, columns=3, pad=2)
    assert sheet.shape == (2 * 12 + 2, 3 * 22 + 2, 3)
    for i in range(5):
        y, x = 2 + 12 * (i // 3), 2 + 22 * (i % 3)
        assert (sheet[y : y + 10, x : x + 20] == 10 * (i + 1)).all()
    assert (sheet[14:, 46:] == BACKGROUND).all()
    assert side_by_side(images[:2], pad=2).shape == (14, 46, 3)
    with pytest.raises(ValueError, match='needs images'):
        contact_sheet([], 3)


@pytest.mark.parametrize('image', [np.zeros((5, 5, 3)), np.zeros((5, 5), np.uint8), np.zeros((3, 5, 5), np.uint8)])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r'\(h, w, 3\) uint8 RGB'):
        draw_boxes(image, np.zeros((0, 4)))
