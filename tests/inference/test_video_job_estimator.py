"""`handpose infer --estimator`: weights and files of results by their names, and what an interrupted run remembers."""

import json

import cv2
import numpy as np
import pytest
from clip_estimators import ScriptedTracking, published_deformer

from handpose import cli
from handpose.files.hashes import file_sha256
from handpose.inference import session
from handpose.inference.journal import JournalError
from handpose.inference.tracking.clip_estimator import ClipEstimator
from handpose.inference.tracking.tracker import next_region
from handpose.inference.video_job import NoHandError, VideoJob, run_job
from handpose.structures import Predictions, load_predictions, save_predictions
from handpose.video import VideoFrame

COUNT, SIZE = 8, 96
POINTS = np.random.default_rng(0).uniform(30, 60, (COUNT, 21, 2)).astype(np.float32)
TIMES = np.arange(COUNT) / 30
IMAGES = np.random.default_rng(1).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def video(tmp_path, monkeypatch):
    """A folder of images; detector and landmark network know where the hand is."""
    folder = tmp_path / 'video'
    folder.mkdir()
    for n, image in enumerate(IMAGES):
        cv2.imwrite(str(folder / f'{n}.png'), image[..., ::-1])
    for name in ('PalmDetector', 'LandmarkEstimator'):
        monkeypatch.setattr(session, name, lambda path: ScriptedTracking(POINTS, TIMES))
    monkeypatch.setattr(session, 'get', lambda name: name)
    return folder


def write_results(path, seed=0, times=TIMES):
    joints = np.random.default_rng(seed).normal(0, 0.03, (COUNT, 1, 21, 3)).astype(np.float32)
    predictions = Predictions(
        joints=joints - joints[:, :, :1],
        valid=np.ones((COUNT, 1), bool),
        timestamps=times,
        hand_side=np.array([1]),
        frame='wrist',
        joints_2d=POINTS[:, None],
        source='WiLoR',
        licence='CC BY-NC-ND',
    )
    save_predictions(path, predictions)
    return predictions


def full_disk(path, predictions):
    raise OSError('full')


def infer(*arguments):
    return cli.main('infer', list(map(str, arguments)))


def test_results_of_another_estimator(tmp_path, video, capsys):
    written = write_results(tmp_path / 'wilor.npz')
    infer(video, '-o', tmp_path / 'hands.npz', '--fps', 30, '--estimator', tmp_path / 'wilor.npz')
    hands = load_predictions(tmp_path / 'hands.npz')
    np.testing.assert_allclose(hands.joints, written.joints, atol=1e-6)
    assert hands.source == 'video, by WiLoR (wilor.npz), hands found by MediaPipe palm and landmark networks'
    assert hands.scale == 'metric' and hands.licence == 'CC BY-NC-ND'
    assert 'typical size' not in capsys.readouterr().out, 'which is said of relative lengths'
    run_job(VideoJob(str(video), tmp_path / 'b.npz', fps=30, estimator=str(tmp_path / 'wilor.npz'), licence='mine'))
    assert load_predictions(tmp_path / 'b.npz').licence == 'mine'


def test_weights_from_a_file(tmp_path, video, capsys):
    weights = published_deformer(tmp_path)[1]
    infer(video, '-o', tmp_path / 'hands.npz', '--fps', 30, '--estimator', weights)
    hands, alone = load_predictions(tmp_path / 'hands.npz'), ClipEstimator(weights)
    for t in range(COUNT):
        region = next_region(POINTS[t], 0)._replace(side=session.Side.RIGHT, joints_2d=POINTS[t])
        (expected,) = alone.estimate(VideoFrame(t, TIMES[t], IMAGES[t]), [region])
        np.testing.assert_allclose(hands.joints[t, 0], expected.joints_3d, atol=1e-6)
    said = ' '.join(capsys.readouterr().out.split())
    assert f'joints are those of Deformer ({weights.name})' in said and 'typical size' in said
    assert hands.scale == 'relative'


def test_an_interrupted_run_remembers_its_estimator(tmp_path, video):
    """Other results under the same name do not continue it."""
    write_results(tmp_path / 'a.npz')
    journal = tmp_path / 'hands.npz.partial'
    job = VideoJob(str(video), tmp_path / 'hands.npz', fps=30, estimator=str(tmp_path / 'a.npz'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('handpose.inference.video_job.save_predictions', full_disk)
        with pytest.raises(OSError, match='full'):
            run_job(job)
    settings = json.loads((journal / 'settings.json').read_text())
    assert settings['estimator'] == f'a.npz, sha256 {file_sha256(tmp_path / "a.npz")}' and settings['camera'] is None
    assert run_job(job).processed == 0 and not journal.exists()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('handpose.inference.video_job.save_predictions', full_disk)
        with pytest.raises(OSError, match='full'):
            run_job(job)
    write_results(tmp_path / 'a.npz', seed=1)
    with pytest.raises(JournalError, match='holds the beginning of another run, with other estimator'):
        run_job(job)


def test_names_and_files_that_do_not_fit(tmp_path, video, capsys):
    def refused(name):
        return pytest.raises(ValueError, match=name)

    with refused('no weights deformer_sinthetic: there is no file with this path'):
        run_job(VideoJob(str(video), tmp_path / 'h.npz', fps=30, estimator='deformer_sinthetic'))
    with refused('nothing.npz'):
        run_job(VideoJob(str(video), tmp_path / 'h.npz', fps=30, estimator=str(tmp_path / 'nothing.npz')))
    write_results(tmp_path / 'late.npz', times=TIMES + 100)
    with pytest.raises(NoHandError, match=r'no hand has joints of .*late.npz in 8 images.* gives no joints for 8 of 8'):
        run_job(VideoJob(str(video), tmp_path / 'h.npz', fps=30, estimator=str(tmp_path / 'late.npz')))
    videos = tmp_path / 'videos'
    videos.mkdir()
    (videos / 'a.mp4').touch()
    with pytest.raises(SystemExit):
        infer(videos, '-o', tmp_path / 'out', '--estimator', tmp_path / 'late.npz')
    assert 'has the results of one video, and' in ' '.join(capsys.readouterr().err.split())
