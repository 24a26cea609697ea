"""Every reader of files, with a small valid file of its own."""

import hashlib
import inspect
import json
from collections import namedtuple
from pathlib import Path

import assembly101_files
import cv2
import dexycb_files
import fpha_files
import h2o_files
import ho3d_files
import mano_files
import numpy as np
import safetensors.torch
import torch
import yaml
from annotated_recordings import make_recording
from assemblyhands_files import write_images

from handpose.cli import convert
from handpose.cli.errors import UserError
from handpose.datasets.assembly101 import layout as assembly101_layout
from handpose.datasets.assembly101.labels import listed_taxonomy
from handpose.datasets.assemblyhands import image_files as assemblyhands_files
from handpose.datasets.assemblyhands.layout import read_joints as read_assemblyhands_joints
from handpose.datasets.dexycb import layout as dexycb_layout
from handpose.datasets.dexycb.index import open_index
from handpose.datasets.fpha import layout as fpha_layout
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.h2o import layout as h2o_layout
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.hanco import layout as hanco_layout
from handpose.datasets.ho3d import layout as ho3d_layout
from handpose.datasets.interhand import layout as interhand_layout
from handpose.datasets.io.action_labels import read_taxonomy
from handpose.datasets.io.frame_features import load_features, save_features
from handpose.datasets.io.hand_models import read_hand_model_name
from handpose.datasets.io.packed_frames import PackedFrames
from handpose.datasets.io.packing import pack_frames
from handpose.datasets.motion.motion_file import read_motion
from handpose.datasets.reinterhand import layout as reinterhand_layout
from handpose.datasets.transforms.load import read_image
from handpose.evaluation.submissions.dexycb import read_dexycb_results
from handpose.evaluation.submissions.ho3d import read_ho3d_submission
from handpose.evaluation.summary import load_records
from handpose.experiments.ablation.table import read_table
from handpose.hands import ProceduralHand
from handpose.hands.mano_file import load_mano_file
from handpose.structures import Forecast, PredictionsError, load_forecast, load_predictions, save_forecast
from handpose.structures.recording_file import load_annotated_recording, save_annotated_recording
from handpose.structures.recording_marks import (
    RecordingMark,
    RecordingMarks,
    load_recording_marks,
    save_recording_marks,
)
from handpose.video import VideoReader, VideoWriter
from handpose.zoo.checkpoint_file import load_checkpoint_file
from handpose.zoo.load import FORMAT, FORMAT_VERSION, HEADER_FIELDS, HEADER_KEY, _read_published, read_header
from handpose.zoo.publish import read_metrics

# `files` may be damaged; `read()` gives values to compare; `checked`: the files carry checksums, so that values changed
# by damaged bytes are never accepted.
Target = namedtuple('Target', 'name files read checked', defaults=(False,))


def make_targets(root):
    """Writes the files below `root`; a list of `Target`."""
    datasets = (_dexycb, _ho3d, _h2o, _fpha, _hanco, _interhand, _reinterhand, _assembly101, _assemblyhands)
    makers = (*datasets, _own_files, _results, _weights, _pictures, _conversions, _videos)
    return [target for make in makers for target in make(root / make.__name__.strip('_'))]


def put(path, value):
    """Writes a value as JSON, YAML, text or bytes, by the ending of the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, bytes):
        path.write_bytes(value)
    elif path.suffix == '.json':
        path.write_text(json.dumps(value))
    else:
        path.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
    return path


def _dexycb(root):
    dexycb_files.write_root(root, sequences=1, frames=2)
    label = dexycb_files.label_file(root, 0)
    (folder,) = dexycb_layout.sequence_folders(root)
    intrinsics = dexycb_layout.read_intrinsics(root)
    calibration = root / 'calibration'
    open_index(root, intrinsics)
    index = root / '.handpose_index'
    names = put(root / 'sequence_names.txt', f'{folder[0].parent.name}/{folder[0].name}\n')
    mano = calibration / 'mano_right' / 'mano.yml'

    def labels_of_index():
        opened = open_index(root, intrinsics)
        return opened.status, [opened.track_labels(track).tobytes() for track in range(2)]

    yield Target('DexYCB label', [label], lambda: dexycb_layout.read_label(label, 5, 120.0), True)
    yield Target('DexYCB meta', [folder[0] / 'meta.yml'], lambda: dexycb_layout.read_sequence(*folder))
    files = sorted((calibration / 'intrinsics').iterdir())
    yield Target('DexYCB intrinsics', files, lambda: dexycb_layout.read_intrinsics(root))
    files = [calibration / 'extrinsics_a' / 'extrinsics.yml']
    yield Target('DexYCB extrinsics', files, lambda: dexycb_layout.read_extrinsics(root, 'a'))
    yield Target('DexYCB betas', [mano], lambda: dexycb_layout.read_betas(root, 'right'))
    yield Target('DexYCB sequence list', [names], lambda: dexycb_layout.read_sequence_list(root))
    yield Target('hand model name', [root / 'hand_model.yml'], lambda: read_hand_model_name(root))
    yield Target('DexYCB index', sorted(index.iterdir()), labels_of_index, True)


def _ho3d(root):
    ho3d_files.write_root(root, train=('ABF10',), evaluation=('SB11',), frames=2, truth=True)
    label = ho3d_files.label_file(root, 'ABF10', 0)
    calibration = root / 'calibration' / 'ABF1' / 'calibration'
    put(calibration / 'cam_orders.txt', '1\n0\n')
    for camera in range(2):
        put(calibration / f'trans_{camera}.txt', '1 0 0 0.1\n0 1 0 0.2\n0 0 1 0.3\n0 0 0 1\n')
    yield Target('HO3D pickle', [label], lambda: ho3d_layout.read_label(label, 'train', 'full').tobytes())
    yield Target('HO3D list', [root / 'train.txt'], lambda: ho3d_layout.read_list(root, 'train'))
    truth = root / 'evaluation_xyz.json'
    yield Target('HO3D truth', [truth], lambda: ho3d_layout.read_truth(truth, 2))
    files = sorted(calibration.iterdir())
    yield Target('HO3D calibration', files, lambda: ho3d_layout.read_calibration(root, 'ABF1'))


def _h2o(root):
    h2o_files.write_list(root / 'label_split' / 'action_train.txt', h2o_files.TRAIN)
    h2o_files.write_recording(root / 'r', (8, 6), 'rgb', '.png', (), 'hand_pose_MANO')
    path = root / 'label_split' / 'action_train.txt'
    yield Target('H2O list', [path], lambda: h2o_layout.read_segments(path, H2O_ACTIONS))
    for name, read in (('hand_pose', h2o_layout.read_joints), ('hand_pose_MANO', h2o_layout.read_mano)):
        file = root / 'r' / name / '000000.txt'
        yield Target(f'H2O {name}', [file], lambda read=read, file=file: read(file))
    file = root / 'r' / 'obj_pose' / '000000.txt'
    yield Target('H2O object', [file], lambda: h2o_layout.read_object(file, 8))
    yield Target('H2O camera', [root / 'r' / 'cam_intrinsics.txt'], lambda: h2o_layout.read_camera(root / 'r'))


def _fpha(root):
    fpha_files.write_root(root)
    path = root / 'Hand_pose_annotation_v1' / 'Subject_6/open_juice_bottle/2' / 'skeleton.txt'
    split = root / 'data_split_action_recognition.txt'
    yield Target('FPHA list', [split], lambda: fpha_layout.read_splits(root, FPHA_ACTIONS))
    yield Target('FPHA skeleton', [path], lambda: fpha_layout.read_skeleton(path))


MANO = {'pose': np.linspace(-1, 1, 48).tolist(), 'shape': [0.1] * 10, 'trans': [0.1, 0.2, 0.6]}


def _hanco(root):
    joints = ho3d_files.common(0).tolist()
    camera = {'K': [[[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]] * 2, 'M': [np.eye(4).tolist()] * 2}
    mano = dict(zip(('poses', 'shapes', 'global_t'), MANO.values(), strict=True))
    meta = put(root / 'meta.json', {'has_fit': [[True, True]], 'is_valid': [[True, False]]})
    files = [put(root / name / '0000' / '00000000.json', value)
             for name, value in (('xyz', joints), ('calib', camera), ('shape', mano))]  # fmt: skip
    yield Target('HanCo meta', [meta], lambda: hanco_layout.read_meta(root))
    yield Target('HanCo joints', files[:1], lambda: hanco_layout.read_joints(root, 0, [0]))
    yield Target('HanCo cameras', files[1:2], lambda: hanco_layout.read_cameras(root, 0, [0]))
    yield Target('HanCo MANO', files[2:], lambda: hanco_layout.read_mano(root, 0, [0], np.array([True])))


def _assembly101(root):
    joints = assembly101_files.true_joints(3)
    assembly101_files.write_root(root, assembly101_files.pose_list(joints))
    found = put(root / 'found' / 'poses.json', assembly101_files.pose_dict(joints))
    listed = next((root / 'poses@60fps').iterdir())
    for name, path in (('list', listed), ('dictionary', found)):
        yield Target(f'Assembly101 poses, {name}', [path], lambda path=path: _without_nan(path))
    segments, actions = (root / 'fine-grained-annotations' / name for name in ('train.csv', 'actions.csv'))
    yield Target('Assembly101 segments', [segments], lambda: assembly101_layout.read_segments(segments))
    yield Target('Assembly101 actions', [actions], lambda: listed_taxonomy(root))


def _assemblyhands(root):
    path = write_images(root)
    folder = root / 'annotations' / 'train'
    calibration = root / assemblyhands_files.EXO_VIDEOS / 'a' / 'calib.txt'
    readers = {
        'joints': (path['joint_3d'], lambda: read_assemblyhands_joints(path['joint_3d'])),
        'images': (path['ego_data'], lambda: assemblyhands_files.read_ego_images(path['ego_data'], root / 'images')),
        'headset': (path['ego_calib'], lambda: assemblyhands_files.read_ego_calibration(path['ego_calib'])),
        'calibration': (calibration, lambda: assemblyhands_files.read_exo_calibration(calibration)),
        'occlusion': (folder / 'occlusion.npz', lambda: _known(folder / 'occlusion.npz')),
    }
    for name, (file, read) in readers.items():
        yield Target(f'AssemblyHands {name}', [file], read)


def _known(path):
    """Occlusions that can be compared: NaN stands for unknown ones."""
    found = assemblyhands_files.read_occlusion(path)
    return {name: {view: np.nan_to_num(of, nan=-1) for view, of in hidden.views.items()}
            for name, hidden in found.items()}  # fmt: skip


def _without_nan(path):
    """Poses that can be compared: NaN stands for joints that are not there."""
    return [np.nan_to_num(array, nan=-1) for array in assembly101_layout.read_poses(path)]


def _interhand(root):
    points = [[10.0 * j, 20, 600] for j in range(42)]
    joints = {'0': {str(n): {'world_coord': points, 'joint_valid': [[1]] * 42, 'hand_type': 'interacting', 'seq': 's'}
                    for n in (3, 6)}}  # fmt: skip
    camera = {'0': {'campos': {'400': [0.0, 1, 2]}, 'camrot': {'400': np.eye(3).tolist()},
                    'focal': {'400': [900.0, 900]}, 'princpt': {'400': [200.0, 100]}}}  # fmt: skip
    data = {
        'images': [{'id': n, 'capture': 0, 'frame_idx': n, 'seq_name': 's', 'camera': '400'} for n in (3, 6)],
        'annotations': [{'id': n, 'image_id': n, 'joint_valid': [1] * 42} for n in (3, 6)],
    }
    values = {'joint_3d': joints, 'camera': camera, 'data': data, 'mano': {'0': {'3': {'left': MANO, 'right': None}}}}
    path = {name: put(root / f'{name}.json', value) for name, value in values.items()}
    frames = interhand_layout.read_joints(path['joint_3d'], None)
    readers = {
        'joint_3d': lambda: interhand_layout.read_joints(path['joint_3d'], lambda: {}),
        'camera': lambda: interhand_layout.read_cameras(path['camera']),
        'mano': lambda: interhand_layout.read_mano(path['mano'], frames),
        'data': lambda: interhand_layout.read_visible(path['data'], frames),
    }
    for name, read in readers.items():
        yield Target(f'InterHand {name}', [path[name]], read)
    yield Target('InterHand names', [path['data']], lambda: interhand_layout.read_sequence_names(path['data']))


def _reinterhand(root):
    points = [[10.0 * j, 20, 600] for j in range(24)]
    frame_list = put(root / 'frame_list.txt', 's 0\ns 3\n')
    camera = {'R': np.eye(3).tolist(), 't': [0.0, 1, 2], 'focal': [900.0, 900], 'princpt': [200.0, 100]}
    cameras = put(root / reinterhand_layout.CAMERAS, {'400': camera})
    fits = [put(root / 'orig_fits' / side / 'Keypoints' / 'keypoint-000000.json', points) for side in ('left', 'right')]
    mano = put(root / reinterhand_layout.MANO_FOLDER / '0_left.json', MANO)
    capture, frames = reinterhand_layout.read_capture(root, 'orig_fits'), np.array([0])
    yield Target('Re:InterHand list', [frame_list], lambda: reinterhand_layout.read_frame_list(root))
    yield Target('Re:InterHand cameras', [cameras], lambda: reinterhand_layout.read_cameras(root))
    yield Target('Re:InterHand joints', fits, lambda: reinterhand_layout.read_joints(capture, frames, 'orig_fits'))
    yield Target('Re:InterHand MANO', [mano], lambda: reinterhand_layout.read_mano(capture, frames))


def _own_files(root):
    root.mkdir()
    joints = np.stack([ho3d_files.common(t) for t in range(3)])[:, None].astype(np.float32)
    arrays = dict(joints=joints, valid=np.ones((3, 1), bool), timestamps=np.arange(3) / 30, hand_side=['right'],
                  frame='camera', unit='metre', joint_order='common', scale='relative', joints_2d=100 * joints[..., :2],
                  joints_valid=np.ones((3, 1, 21), bool), joints_inferred=np.zeros((3, 1, 21), bool),
                  boxes=np.tile([0.0, 0, 9, 9], (3, 1, 1)), track_ids=np.zeros((3, 1), int))  # fmt: skip
    np.savez(root / 'predictions.npz', **arrays)
    motion = dict(joints=joints[:, 0], frame_valid=np.ones(3, bool), sequence_names=['subject/a'],
                  sequence_lengths=[3], fps=30.0, hand_side=['right'])  # fmt: skip
    np.savez(root / 'motion.npz', **motion)
    features = root / 'features.npz'
    save_features(features, {'a.jpg': np.ones(4), 'b.jpg': np.zeros(4)}, 'x')
    actions = put(root / 'actions.yml', {'name': 'mine', 'first_number': 1, 'actions': ['pour milk', {'name': 'wave'}]})
    table = Path(__file__).parents[2] / 'docs' / 'ablations'
    table = put(root / 'table.yml', sorted(table.glob('*.yml'))[0].read_text())
    predictions = root / 'predictions.npz'
    forecast, observed = root / 'forecast.npz', load_predictions(predictions)
    future = np.broadcast_to(observed.joints[-1], (2, 4, 1, 21, 3))
    scores = {'pour': 0.5, 'wave': 0.25}
    given, times = np.ones(future.shape[:4], bool), 1 + np.arange(4) / 30
    save_forecast(forecast, Forecast(observed, future, given, times, seed=0, action_scores=scores))
    yield Target('forecast', [forecast], lambda: vars(load_forecast(forecast)))
    recording = root / 'recording.npz'
    save_annotated_recording(recording, make_recording(frames=3, cameras=2))
    yield Target('recording', [recording], lambda: load_annotated_recording(recording).values())
    marks = root / 'recording_marks.json'
    save_recording_marks(marks, RecordingMarks([RecordingMark(1, 2, ('cam0',), 'redo')]))
    yield Target('recording marks', [marks], lambda: vars(load_recording_marks(marks)))
    yield Target('predictions', [predictions], lambda: vars(load_predictions(predictions)))
    yield Target('motion file', [root / 'motion.npz'], lambda: vars(read_motion(root / 'motion.npz')))
    read = load_features.__wrapped__
    yield Target('features', [features], lambda: read(features))
    yield Target('list of actions', [actions], lambda: read_taxonomy(actions))
    yield Target('ablation table', [table], lambda: read_table(table))


def _results(root):
    points = [ho3d_files.joints(0).tolist()] * 2
    submission = put(root / 'pred.json', [points, points])
    rows = ''.join(','.join(map(str, [n, *np.arange(63.0)])) + '\n' for n in range(3))
    results = put(root / 'results.csv', rows)
    metrics = put(root / 'metrics.json', {'model': {'pa_mpjpe_mm': 5.5, 'x': float('nan')}})
    np.savez(root / 'records.npz', sequence=np.array(['a', 'b']), pa=np.array([1.5, 2]))
    yield Target('HO3D submission', [submission], lambda: read_ho3d_submission(submission))
    yield Target('DexYCB results', [results], lambda: read_dexycb_results(results))
    yield Target('metrics', [metrics], lambda: read_metrics(metrics))
    yield Target('records', [root / 'records.npz'], lambda: load_records(root / 'records.npz'))


def _weights(root):
    root.mkdir()
    mano_files.write_plain(root)
    small = {'state_dict': {'a': torch.arange(4.0)}, 'meta': {'iter': 3}}
    torch.save(small, root / 'iter_3.pth')
    pickle = root / 'MANO_RIGHT.pkl'
    header = dict.fromkeys(HEADER_FIELDS) | {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'model': {'type': 'HTT'},
    }
    data = safetensors.torch.save({'a': torch.arange(4.0)}, {HEADER_KEY: json.dumps(header)})
    weights = put(root / f'w-{hashlib.sha256(data).hexdigest()[:8]}.safetensors', data)
    yield Target('weights', [weights], lambda: _read_published(weights), True)
    yield Target('header of weights', [weights], lambda: read_header(weights))
    yield Target('checkpoint', [root / 'iter_3.pth'], lambda: load_checkpoint_file(root / 'iter_3.pth'))
    yield Target('MANO pickle', [pickle], lambda: load_mano_file(pickle))


def _pictures(root):
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    files = [put(root / 'images' / f'{n}.{kind}', cv2.imencode(f'.{kind}', image)[1].tobytes())
             for n, kind in enumerate(('png', 'jpg'))]  # fmt: skip
    pack_frames(root / 'store', root / 'images', [str(file) for file in files])
    stored = sorted(p for p in (root / 'store').iterdir() if p.suffix == '.bin')

    def frames():
        store = PackedFrames(root / 'store', root / 'images')
        found = [(str(path), data, error) for path, data, error in store.read([str(file) for file in files])]
        for _, _, error in found:
            if error is not None:
                raise error
        return [data for _, data, _ in found]

    yield Target('images', files, lambda: [read_image(file).shape for file in files])
    yield Target('packed store', stored, frames, True)


def _conversions(root):
    """What `handpose convert` turns into predictions; a message for the user counts as an error."""
    hand = ho3d_files.common(0)
    mediapipe = {'world_landmarks': [hand.tolist(), None, hand.tolist()], 'handedness': 'Right', 'fps': 30}
    detections = {'world_landmarks': [[hand.tolist()] * 2, [hand.tolist()], []],
                  'handedness': [['Right', 'Left'], ['Right'], []], 'fps': 30}  # fmt: skip
    hamer = dict(keypoints_3d=np.stack([hand - hand[0]] * 2), cam_t=np.full((2, 3), 20.0), is_right=np.ones(2),
                 frame_index=np.arange(2), image_size=np.array([640, 480]), fps=30.0)  # fmt: skip
    wilor = hamer | dict(boxes=np.tile([0.0, 0, 9, 9], (2, 1)))
    shown = mediapipe | {'landmarks': [(5 * hand[:, :2]).tolist(), None, (5 * hand[:, :2]).tolist()],
                         'image_size': [640, 480]}  # fmt: skip
    joints = dict(joints=hand[None], hand_side=['right'], joint_order='common', unit='metre', frame='camera', fps=30.0)
    mano = dict(hand_pose=np.zeros((2, 1, 16, 3)), hand_shape=np.zeros((1, 10)), hand_transl=np.full((2, 1, 3), 0.5),
                hand_side=['right'], fps=30.0)  # fmt: skip
    root.mkdir()
    np.savez(root / 'hamer.npz', **hamer)
    np.savez(root / 'mano.npz', **mano)
    np.savez(root / 'wilor.npz', **wilor)
    np.savez(root / 'joints.npz', **joints)
    files = {
        'mediapipe': put(root / 'mediapipe.json', mediapipe),
        'mediapipe detections': put(root / 'detections.json', detections),
        'mediapipe landmarks': put(root / 'landmarks.json', shown),
        'hamer': root / 'hamer.npz',
        'wilor': root / 'wilor.npz',
        'joints': root / 'joints.npz',
        'mano': root / 'mano.npz',
    }

    def converted(name, path):
        kind = name.split()[0]
        converter = convert.CONVERTERS[kind]
        try:
            given = convert.read_arrays(str(path), next(iter(inspect.signature(converter).parameters)), [])
            if kind == 'mano':
                given['hand_model'] = ProceduralHand()
            convert.check_lists(given, kind)
            convert.check_arguments(given, converter, kind)
            return vars(converter(**given))
        except (UserError, PredictionsError) as error:
            raise PredictionsError(f'{path}: {error}') from error  # the tool was given one file, and need not name it

    for name, path in files.items():
        yield Target(f'conversion of {name}', [path], lambda name=name, path=path: converted(name, path))


def _videos(root):
    root.mkdir()
    path = root / 'video.mp4'
    with VideoWriter(path, 10) as writer:
        for value in range(4):
            writer.write(np.full((32, 48, 3), 60 * value, np.uint8))
    yield Target('video', [path], lambda: [frame.image.shape for frame in VideoReader(path)])
