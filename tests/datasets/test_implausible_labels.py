"""Each reader refuses labels in another unit, and cameras that cannot be."""

import json
import shutil

import ho3d_files
import numpy as np
import pytest
from pose_layouts import change, write
from samplings import centred

from handpose.datasets import HO3D, DatasetError, HanCo, InterHand26M, ReInterHand

SMALL = dict(sequences=5, frames=24, cameras=1)
HALF_TURN = np.diag([-1.0, 1, -1])
PREFIX = 'annotations/{0}/InterHand2.6M_{0}_{1}.json'


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('roots')
    for layout in ('interhand', 'reinterhand', 'hanco'):
        write(folder / layout, layout, **SMALL)
    return folder


@pytest.fixture
def copy(roots, tmp_path):
    def make(layout):
        return shutil.copytree(roots / layout, tmp_path / 'copy', ignore=shutil.ignore_patterns('generator'))

    return make


def open_interhand(root):
    dataset = InterHand26M(root, 'train')
    return [dataset[i] for i in range(len(dataset))]


def open_reinterhand(root):
    dataset = ReInterHand(root, 'test')
    return [dataset[i] for i in range(len(dataset))]


def open_hanco(root):
    dataset = HanCo(root, 'train', train_sequences=6)
    return [dataset[i] for i in range(len(dataset))]


def scaled(factor, *keys):
    """Multiplies what lies under `keys` of every entry of a capture."""

    def edit(content):
        for entry in content.values():
            for key in keys:
                found = entry[key]
                entry[key] = (
                    {name: (factor * np.array(v)).tolist() for name, v in found.items()}
                    if isinstance(found, dict)
                    else (factor * np.array(found)).tolist()
                )

    return edit


def interhand_joints(factor):
    def edit(content):
        for frames in content.values():
            scaled(factor, 'world_coord')(frames)

    return edit


def first_joint(content):
    next(iter(next(iter(content.values())).values()))['world_coord'][5][0] = 1e20


def interhand_looking_away(content):
    """Half a turn about the cameras' y axis."""
    for capture in content.values():
        for name, turn in capture['camrot'].items():
            capture['camrot'][name] = (HALF_TURN @ turn).tolist()


def reinterhand_looking_away(content):
    """Half a turn about the cameras' y axis."""
    for camera in content.values():
        camera['R'] = (HALF_TURN @ camera['R']).tolist()
        camera['t'] = (HALF_TURN @ np.ravel(camera['t'])).tolist()


INTERHAND = {
    'joints in metres': ('joint_3d', interhand_joints(1e-3), 'must hold millimetres, the numbers look like metres'),
    'joints at 1e20': ('joint_3d', first_joint, 'm from the origin'),
    'focal 0': ('camera', scaled(0, 'focal'), 'focal lengths must be positive'),
    'negative focal': ('camera', scaled(-1, 'focal'), 'focal lengths must be positive'),
    'rotation scaled': ('camera', scaled(1.1, 'camrot'), 'hold no rotation'),
    'rotation mirrored': ('camera', scaled(-1, 'camrot'), 'mirror space'),
    'places in micrometres': ('camera', scaled(1000, 'campos'), 'm from the origin'),
    'looking away': ('camera', interhand_looking_away, 'hands are behind the camera.*are the extrinsics inverted'),
}


@pytest.mark.parametrize('case', INTERHAND)
def test_interhand(copy, case):
    file, edit, sentence = INTERHAND[case]
    root = copy('interhand')
    change(root / PREFIX.format('train', file), edit)
    with pytest.raises(DatasetError, match=rf'{file}\.json.*{sentence}'):
        open_interhand(root)


def test_interhand_sequences_of_another_rate(copy):
    root = copy('interhand')
    path = root / PREFIX.format('train', 'joint_3d')
    content = json.loads(path.read_text())
    names = sorted({entry['seq'] for entry in content['0'].values()})
    frames = {n: e for n, e in content['0'].items() if e['seq'] == names[0]}
    for number in frames:
        del content['0'][number]
        content['0'][str(1_000_000 + int(number) // 3)] = frames[number]  # from 30 to 90 a second
    path.write_text(json.dumps(content))
    dataset = InterHand26M(root, 'train', labels='joints_only')
    assert {dataset[i].meta['sequence'].split('/')[1] for i in range(len(dataset))} == set(names[1:])


REINTERHAND = {
    'focal 0': (scaled(0, 'focal'), 'focal lengths must be positive'),
    'rotation scaled': (scaled(1.1, 'R'), 'hold no rotation'),
    'rotation mirrored': (scaled(-1, 'R'), 'mirror space'),
    'translation in micrometres': (scaled(1000, 't'), 'm from the origin'),
    'looking away': (reinterhand_looking_away, 'hands are behind the camera'),
}


@pytest.mark.parametrize('case', REINTERHAND)
def test_reinterhand_cameras(copy, case):
    edit, sentence = REINTERHAND[case]
    root = copy('reinterhand')
    for path in root.glob('*/Mugsy_cameras/cam_params.json'):
        change(path, edit)
    with pytest.raises(DatasetError, match=rf'cam_params\.json.*{sentence}'):
        open_reinterhand(root)


def test_reinterhand_joints_in_metres(copy):
    root = copy('reinterhand')
    for path in root.glob('*/orig_fits/*/Keypoints/*.json'):
        path.write_text(json.dumps((np.array(json.loads(path.read_text())) / 1000).tolist()))
    with pytest.raises(DatasetError, match=r'orig_fits.* must hold millimetres, the numbers look like metres'):
        open_reinterhand(root)


def test_reinterhand_frame_list_that_ends_in_a_number(copy):
    root = copy('reinterhand')
    for path in root.glob('*/frame_list.txt'):
        path.write_text(path.read_text().rstrip()[:-1])
    with pytest.raises(DatasetError, match=r'frame_list\.txt ends in the middle of a number'):
        open_reinterhand(root)


def hanco_calibration(key, edit):
    def change_all(root):
        for path in root.glob('calib/*/*.json'):
            change(path, lambda c: c.update({key: [edit(np.array(m)).tolist() for m in c[key]]}))

    return change_all


def hanco_joints(edit):
    def change_all(root):
        for path in root.glob('xyz/*/*.json'):
            path.write_text(json.dumps(edit(np.array(json.loads(path.read_text()))).tolist()))

    return change_all


HANCO = {
    'joints in millimetres': (hanco_joints(lambda j: 1000 * j), 'must hold metres, the numbers look like millimetres'),
    'joints at 1e20': (hanco_joints(lambda j: np.where(np.arange(21)[:, None] == 5, 1e20, j)), 'm from the origin'),
    'focal 0': (hanco_calibration('K', lambda m: m * [[0.0], [1], [1]]), 'intrinsics must be|must be positive'),
    'negative focal': (hanco_calibration('K', lambda m: m * [[-1.0], [-1], [1]]), 'must be positive'),
    'scaled': (hanco_calibration('M', lambda m: np.diag([1.1, 1.1, 1.1, 1]) @ m), 'hold no rotation'),
    'mirrored': (hanco_calibration('M', lambda m: np.diag([-1.0, 1, 1, 1]) @ m), 'mirror space'),
    'transposed': (hanco_calibration('M', lambda m: m.T), r'end with the row \(0, 0, 0, 1\)'),
    'looking away': (hanco_calibration('M', lambda m: np.diag([-1.0, 1, -1, 1]) @ m), 'are behind the camera'),
}


@pytest.mark.parametrize('case', HANCO)
def test_hanco(copy, case):
    edit, sentence = HANCO[case]
    root = copy('hanco')
    edit(root)
    with pytest.raises(DatasetError, match=sentence):
        open_hanco(root)


HO3D_LABELS = {
    'joints in millimetres': (lambda v: 1000 * v['handJoints3D'], 'handJoints3D', 'look like millimetres'),
    'joints at 1e20': (lambda v: v['handJoints3D'] + 1e20, 'handJoints3D', 'handJoints3D: '),
    'focal 0': (lambda v: v['camMat'] * [[0.0], [1], [1]], 'camMat', 'intrinsics must be|must be positive'),
    'negative focal': (lambda v: v['camMat'] * [[-1.0], [-1], [1]], 'camMat', 'must be positive'),
    'betas 1e20': (lambda v: v['handBeta'] + 1e20, 'handBeta', 'betas'),
    'betas NaN': (lambda v: v['handBeta'] * np.nan, 'handBeta', 'NaN'),
    'translation in millimetres': (lambda v: 1000 * v['handTrans'], 'handTrans', 'translation'),
}


@pytest.mark.parametrize('case', HO3D_LABELS)
def test_ho3d(tmp_path, case):
    edit, key, sentence = HO3D_LABELS[case]
    root = ho3d_files.write_root(tmp_path, train=('SM2',), frames=3)
    values = ho3d_files.labels(1)
    ho3d_files.write_label(ho3d_files.label_file(root, 'SM2', 1), {**values, key: edit(values)})
    with pytest.raises(DatasetError, match=rf'meta/0001\.pkl.*({sentence})'):
        HO3D(root, sampling=centred(1, across_gaps=True))[1]
    assert HO3D(root, sampling=centred(1, across_gaps=True))[0].validate().hand_valid.all()
