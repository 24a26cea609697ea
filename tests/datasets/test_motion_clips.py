import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from motions import NAMES, WITHOUT_SURROUNDINGS, make_motion

from handpose.datasets import ClipSampling, MotionClips
from handpose.datasets.base import DatasetError
from handpose.datasets.motion.motion_file import read_motion, write_motion
from handpose.hands import ProceduralHand
from handpose.synthesis.recordings.fitting import fit_motion

ROOT = Path(__file__).parents[2]


def write(tmp_path, sequences=(0, 3, 4, 9), fit=False, **changes):
    motion = make_motion(sequences=sequences, frames=8, **changes)
    motion = fit_motion(motion)[0] if fit else motion
    write_motion(tmp_path / 'motion.npz', motion)
    return motion, tmp_path / 'motion.npz'


def test_tracks_are_what_each_camera_saw(tmp_path):
    motion, path = write(tmp_path)
    dataset = MotionClips(path, setup='all', labels='joints_only')
    assert len(dataset) == 4 * 2
    for index in range(len(dataset)):
        clip = dataset[index].validate()
        sequence, camera = divmod(index, 2)
        frames = motion.frames_of(sequence)
        valid = motion.frame_valid[frames]
        world = np.concatenate([motion.joints[frames][valid], np.ones((valid.sum(), 21, 1))], -1)
        wanted = (world @ motion.camera_extrinsics[sequence, camera].T)[..., :3]
        np.testing.assert_allclose(clip.joints_3d[:, 0][valid], wanted, atol=1e-6)
        assert clip.hand_valid[:, 0].tolist() == valid.tolist() and not clip.joints_3d[~valid].any()
        assert clip.meta['sequence'] == NAMES[(0, 3, 4, 9)[sequence]] and clip.meta['fps'] == 30
        assert clip.meta['cameras'] == [motion.camera_serials[camera]] and clip.meta['hand_model'] is None
        assert clip.meta['frame_indices'] == list(range(8)) and clip.hand_side.tolist() == [motion.hand_side[sequence]]
        np.testing.assert_allclose(clip.timestamps, np.arange(8) / 30)
        np.testing.assert_allclose(clip.intrinsics[3, 0], motion.camera_intrinsics[camera], rtol=1e-6)
        assert torch.equal(clip.extrinsics[0, 0], torch.eye(4)) and clip.hand_pose is None


def test_the_hand_model_gives_the_joints_in_every_camera(tmp_path):
    _, path = write(tmp_path, fit=True)
    model, dataset = ProceduralHand(), MotionClips(path, setup='all')
    for index in range(len(dataset)):
        clip = dataset[index].validate()
        assert clip.meta['hand_model'] == model.name
        sides = clip.hand_side.expand(8, 1)
        with torch.no_grad():
            joints = model(clip.hand_pose, clip.hand_shape, clip.hand_transl, sides).joints
        seen = clip.hand_valid
        # The motion was made by this model, so the fit is good to a fraction of a millimetre in the world.
        assert (joints - clip.joints_3d).norm(dim=-1)[seen].max() < 1e-3
        assert not clip.hand_pose[~seen].any() and torch.equal(clip.hand_pose_valid, seen)


def test_moving_parameters_adds_no_error(tmp_path):
    """Against the fitted joints moved to the camera, in float64."""
    motion, path = write(tmp_path, fit=True)
    model = ProceduralHand().double()
    clip = MotionClips(path, setup='all')[3]
    frames, matrix = motion.frames_of(1), motion.camera_extrinsics[1, 1]
    values = (motion.hand_pose[frames], motion.hand_shape[1], motion.hand_transl[frames])
    with torch.no_grad():
        side = torch.tensor(int(motion.hand_side[1]))
        world = model(*(torch.from_numpy(v).double() for v in values), side).joints.numpy()
        parts = (clip.hand_pose[:, 0], clip.hand_shape[0], clip.hand_transl[:, 0])
        camera = model(*(part.double() for part in parts), side).joints.numpy()
    seen = motion.frame_valid[frames]
    np.testing.assert_allclose(camera[seen], (world @ matrix[:3, :3].T + matrix[:3, 3])[seen], atol=1e-6)


@pytest.mark.parametrize(('split', 'count'), [('train', 2), ('val', 2)])
def test_splits_count_positions(tmp_path, split, count):
    _, path = write(tmp_path)
    dataset = MotionClips(path, split=split, labels='joints_only', cameras=['932122062010'])
    assert [dataset[i].meta['sequence'] for i in range(len(dataset))] == [NAMES[s] for s in {
        'train': (0, 3), 'val': (4, 9)}[split]]  # fmt: skip
    assert len(dataset) == count and dataset[0].meta['cameras'] == ['932122062010']


def test_clips_cover_the_track_and_short_ones_are_padded(tmp_path):
    _, path = write(tmp_path, sequences=(0,), absent=(0, 3))
    clips = MotionClips(
        path, setup='all', labels='joints_only', cameras=['932122061900'], sampling=ClipSampling(4, clip_step=2)
    )
    assert [clip.meta['frame_indices'] for clip in (clips[i] for i in range(len(clips)))] == [
        [1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]]  # fmt: skip
    assert clips[0].hand_valid[:, 0].tolist() == [True, True, False, True]
    padded = MotionClips(path, setup='all', labels='joints_only', sampling=ClipSampling(10, clip_step=5))[0].validate()
    assert padded.frame_valid.tolist() == [True] * 7 + [False] * 3
    assert not padded.joints_valid[7:].any()


def test_without_cameras_the_world_is_the_camera(tmp_path):
    motion, path = write(tmp_path, **WITHOUT_SURROUNDINGS)
    clip = MotionClips(path, setup='all', labels='joints_only')[0].validate()
    seen = motion.frame_valid[:8]
    np.testing.assert_allclose(clip.joints_3d[seen][:, 0], motion.joints[:8][seen], atol=1e-7)
    assert clip.intrinsics is None and clip.meta['cameras'] == ['world']


def test_sentences(tmp_path):
    _, path = write(tmp_path)
    with pytest.raises(DatasetError, match=r"no hand-model parameters, which labels='full' needs.*fit-motion"):
        MotionClips(path)
    with pytest.raises(DatasetError, match=r"no camera '93212206190'.*Did you mean '932122061900'"):
        MotionClips(path, labels='joints_only', cameras=['93212206190'])
    with pytest.raises(DatasetError, match=r"split 'test' of setup 's0' has none of the 4 sequences"):
        MotionClips(path, split='test', labels='joints_only')
    with pytest.raises(DatasetError, match=r"setup must be one of.*Did you mean 's0'"):
        MotionClips(path, setup='s00', labels='joints_only')


def test_another_hand_model_is_refused(tmp_path):
    motion, _ = write(tmp_path, fit=True)
    motion.hand_model = 'mano'
    write_motion(tmp_path / 'mano.npz', motion)
    with pytest.raises(DatasetError, match="made with the hand model 'mano'"):
        MotionClips(tmp_path / 'mano.npz')


def test_fit_motion_writes_the_file_whole_or_not_at_all(tmp_path):
    motion, path = write(tmp_path, sequences=(0, 3))
    command = [sys.executable, '-m', 'handpose', 'fit-motion', path, '-o', tmp_path / 'fitted.npz']
    out = subprocess.run([*command, '--workers', '2'], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert 'procedural-1 fitted to 2 sequences, 14 frames' in ' '.join(out.stdout.split())
    found = read_motion(tmp_path / 'fitted.npz')
    seen = motion.frame_valid
    np.testing.assert_allclose(found.joints[seen], motion.joints[seen], atol=1e-7)
    assert found.hand_model == 'procedural-1' and found.hand_shape.shape == (2, 10)
    gone = subprocess.run([*command[:4], tmp_path / 'no.npz', '-o', tmp_path / 'b.npz'], capture_output=True, text=True)
    assert gone.returncode and 'there is no motion file' in gone.stderr and not (tmp_path / 'b.npz').exists()
