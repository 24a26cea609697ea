import contextlib
import io
import json

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.export import ExportError, export, to_supervision
from handpose.hands import BONES, COMMON_JOINTS
from handpose.structures import Predictions

CAMERA = dict(intrinsics=[[300, 0, 160], [0, 300, 120], [0, 0, 1]], image_size=[320, 240])


def with_pixels(**changes):
    """Four frames of two hands with everything that a network gives."""
    generator = np.random.default_rng(0)
    whole = make_predictions(4, ('left', 'right'), missing=[2])
    values = dict(
        joints_2d=generator.uniform(20, 200, (4, 2, 21, 2)).astype(np.float32),
        confidence=generator.uniform(0.5, 1, (4, 2, 21)).astype(np.float32),
        boxes=np.tile(np.array([10.0, 20, 110, 220]), (4, 2, 1)),
        track_ids=np.tile([5, 9], (4, 1)),
        image_size=[320, 240],
        licence='CC-BY-4.0',
    )
    arrays = (whole.joints, whole.valid, whole.timestamps, whole.hand_side, 'camera')
    return Predictions(*arrays, **{**values, **changes})


def test_pycocotools_reads_it(tmp_path):
    coco_module = pytest.importorskip('pycocotools.coco', reason='the reference reader of COCO files')
    inferred = np.zeros((4, 2, 21), bool)
    inferred[:, :, 3] = True
    known = np.ones((4, 2, 21), bool)
    known[:, :, 7] = False
    predictions = with_pixels(joints_inferred=inferred, joints_valid=known)
    report = export(predictions, tmp_path / 'x.json')
    assert '4 images, 7 annotations' in report.notes[0]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO(str(tmp_path / 'x.json'))
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == ['left_hand', 'right_hand']
    category = coco.cats[2]
    assert category['keypoints'] == list(COMMON_JOINTS)
    assert [(a - 1, b - 1) for a, b in category['skeleton']] == list(BONES)
    assert len(coco.getImgIds()) == 4 and coco.imgs[3]['file_name'] == 'x_000003.jpg'
    assert [a['category_id'] for a in coco.loadAnns(coco.getAnnIds(imgIds=[2]))] == [2]
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[3], catIds=[2]))
    points = np.array(annotation['keypoints']).reshape(21, 3)
    expected = np.where(known[3, 1, :, None], predictions.joints_2d[3, 1], 0)
    np.testing.assert_allclose(points[:, :2], expected, atol=1e-3)
    assert points[3, 2] == 1 and points[7].tolist() == [0, 0, 0] and points[0, 2] == 2
    assert annotation['num_keypoints'] == 20 and annotation['track_id'] == 9
    assert annotation['bbox'] == [10, 20, 100, 200] and annotation['area'] == 20000
    assert annotation['score'] == pytest.approx(predictions.confidence[3, 1, known[3, 1]].mean())


def test_joints_are_projected_where_no_pixels_are_given(tmp_path):
    predictions = make_predictions(3, **CAMERA)
    report = export(predictions, tmp_path / 'x.json')
    assert 'projected with the intrinsics' in report.notes[1]
    document = json.loads((tmp_path / 'x.json').read_text())
    x, y, z = predictions.joints[1, 0, 5]
    found = document['annotations'][1]['keypoints'][15:18]
    np.testing.assert_allclose(found, [300 * x / z + 160, 300 * y / z + 120, 2], atol=2e-3)


@pytest.mark.parametrize(
    'predictions, words',
    [
        (lambda: make_predictions(2, frame='wrist'), 'needs 2D joints'),
        (lambda: make_predictions(2), 'needs 2D joints'),
        (lambda: with_pixels(image_size=None), 'need image_size'),
    ],
)
def test_what_a_coco_file_cannot_hold(tmp_path, predictions, words):
    with pytest.raises(ExportError, match=words):
        export(predictions(), tmp_path / 'x.json')
    assert not list(tmp_path.iterdir())


def test_supervision_draws_it():
    supervision = pytest.importorskip('supervision', reason='the library that draws them')
    skeletons = pytest.importorskip('supervision.key_points.skeletons')
    predictions = with_pixels()
    hands = to_supervision(predictions, 3)
    np.testing.assert_array_equal(hands.xy, predictions.joints_2d[3])
    assert hands.class_id.tolist() == [0, 1] and hands.data['hand_side'].tolist() == ['left', 'right']
    np.testing.assert_allclose(hands.keypoint_confidence, predictions.confidence[3])
    assert hands.data['tracker_id'].tolist() == [5, 9]
    assert len(to_supervision(predictions, 2)) == 1
    edges = skeletons.Skeleton.HAND.value
    ours = {(a + 1, b + 1) for a, b in BONES}
    fingers = {(a, b) for a, b in ours if a != 1}
    assert fingers <= set(edges)  # the joints have supervision's order: its palm has other edges
    blank = np.zeros((240, 320, 3), np.uint8)
    drawn = supervision.EdgeAnnotator(color=supervision.Color.RED, edges=edges).annotate(blank.copy(), hands)
    x, y = predictions.joints_2d[3, 1, 5:7].mean(0).round().astype(int)
    assert drawn.any() and drawn[y - 1 : y + 2, x - 1 : x + 2].any()
