import csv

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.export import ExportError, export
from handpose.hands import COMMON_JOINTS
from handpose.hands.joint_angles import ANGLES


def rows(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_joints_and_angles(tmp_path):
    pixels = np.random.default_rng(0).uniform(0, 100, (5, 2, 21, 2)).astype(np.float32)
    tracks = np.array([[3, 8]] * 5)
    predictions = make_predictions(5, ('left', 'right'), missing=[2], joints_2d=pixels, track_ids=tracks)
    report = export(predictions, tmp_path / 'x.csv', unit='millimetre')
    assert [f.name for f in report.files] == ['x.csv', 'x_angles.csv']
    assert 'millimetres' in report.notes[0] and '1 of 10 rows have no hand' in report.notes[1]
    table = rows(report.files[0])
    assert len(table) == 10 and [row['hand'] for row in table[:2]] == ['left', 'right']
    row = table[7]
    assert (row['frame'], row['track'], row['scale']) == ('3', '8', 'metric')
    found = [float(row[f'{joint}_{axis}_mm']) for joint in COMMON_JOINTS for axis in 'xyz']
    np.testing.assert_allclose(found, 1000 * predictions.joints[3, 1].reshape(-1), rtol=1e-5)
    found = [float(row[f'{joint}_{axis}_px']) for joint in COMMON_JOINTS for axis in 'xy']
    np.testing.assert_allclose(found, pixels[3, 1].reshape(-1), rtol=1e-5)
    assert table[4]['wrist_x_mm'] == '' and table[4]['track'] == ''
    angles = rows(report.files[1])
    assert [name for name in angles[0] if name.endswith('_deg')] == [f'{name}_deg' for name in ANGLES]
    assert angles[4]['index_pip_flexion_deg'] == '' and float(angles[5]['index_pip_flexion_deg']) != 0


def test_the_scale_is_told(tmp_path):
    report = export(make_predictions(2, scale='relative'), tmp_path / 'x.csv')
    assert rows(report.files[0])[0]['scale'] == 'relative' and any('not metric' in note for note in report.notes)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(path='x.fbx'), r'must end in one of .*\.bvh'),
        (dict(path='x.csv', unit='inch'), 'unit must be one of metre'),
        (dict(path='x', target='robot'), 'the target of an export must be one of'),
    ],
)
def test_what_is_not_known(tmp_path, arguments, words):
    arguments['path'] = tmp_path / arguments['path']
    with pytest.raises(ExportError, match=words):
        export(make_predictions(2), **arguments)
    assert not list(tmp_path.iterdir())
