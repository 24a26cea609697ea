"""`handpose refine` and, before it, `handpose convert`: what a user runs."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.engine import load_config
from handpose.inference import load_refiner
from handpose.registry import MODELS
from handpose.structures import load_predictions, save_predictions
from handpose.video import VideoReader, save_clip_video
from handpose.zoo.publish import make_header, publish

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'hand_video'

CONFIG = """
model = dict(
    type='PDTM', channels=32, depth=1, num_heads=2, groups=2, frame_rate=30.0, num_frames=9, stride=4,
    hand_model=dict(type='ProceduralHand'),
)
"""


def run(command, *arguments):
    command = [sys.executable, '-m', 'handpose', command, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, ' '.join((done.stdout + done.stderr).split())


@pytest.fixture
def hands(tmp_path):
    path = tmp_path / 'hands.npz'
    camera = [[300, 0, 160], [0, 300, 120], [0, 0, 1]]
    save_predictions(
        path, make_predictions(30, ('left', 'right'), missing=[4, 5, (9, 1)], intrinsics=camera, source='x')
    )
    return path


def test_the_default_refiner_says_so(tmp_path, hands):
    code, said = run('refine', hands, '-o', tmp_path / 'refined.npz')
    assert code == 0, said
    assert 'refining with kernel_smoother_synthetic; --filter or --checkpoint choose something else' in said
    assert 'without true positions, nothing here says whether the hand is' in said
    for words in ('acceleration', 'spread of bone lengths', '57 of 60', '60 of 60', 'filled in'):
        assert words in said
    refined = load_predictions(tmp_path / 'refined.npz')
    expected = load_refiner().refine(load_predictions(hands))
    np.testing.assert_array_equal(refined.joints, expected.joints)
    assert refined.valid.all() and refined.source.startswith('x, refined by KernelSmoother (kernel_smoother_synthetic-')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['hands.npz', 'refined.npz']


def test_weights_and_pictures_over_the_video(tmp_path, hands):
    (tmp_path / 'small.py').write_text(CONFIG)
    config = load_config(tmp_path / 'small.py')
    estimator = MODELS.build(config.model)
    weights, _ = publish(estimator, make_header(estimator, config, 'CC0'), tmp_path / 'small.safetensors')
    save_clip_video(tmp_path / 'in.avi', [np.full((240, 320, 3), 90, np.uint8)] * 30, fps=30)
    pictures = ['--draw', tmp_path / 'out' / 'a.webm', '--over', tmp_path / 'in.avi']
    code, said = run('refine', hands, '-o', tmp_path / 'refined.npz', '--checkpoint', weights, *pictures)
    assert code == 0 and 'PDTM' in said, said
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a.webm', 'a_traces.png']
    capture = cv2.VideoCapture(str(tmp_path / 'out' / 'a.webm'))
    assert (
        capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30)
        and sum(1 for _ in iter(lambda: capture.read()[0], False)) == 30
    )


def test_pixels_before_and_after_over_the_video(tmp_path):
    """Joints relative to the wrist have no place in the image, but their pixels have."""
    pixels = 10 * np.random.default_rng(0).normal(size=(30, 1, 21, 2)) + np.linspace((60, 60), (260, 180), 21)
    save_predictions(tmp_path / 'a.npz', make_predictions(30, frame='wrist', joints_2d=pixels))
    save_clip_video(tmp_path / 'in.avi', [np.full((240, 320, 3), 90, np.uint8)] * 30, fps=30)
    pictures = ['--draw', tmp_path / 'a.webm', '--over', tmp_path / 'in.avi']
    code, said = run('refine', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', *pictures)
    assert code == 0 and 'shown beside' not in said, said
    refined = load_predictions(tmp_path / 'b.npz')
    assert np.abs(np.diff(refined.joints_2d, axis=0)).mean() < 0.5 * np.abs(np.diff(pixels, axis=0)).mean()
    frame = list(VideoReader(tmp_path / 'a.webm'))[15].image
    halves = frame[:, : frame.shape[1] // 2], frame[:, frame.shape[1] // 2 :]
    assert np.abs(halves[0].astype(int) - halves[1]).mean() > 1


def test_an_mp4_without_pyav_is_refused_before_refining(tmp_path, hands):
    code = 'import sys; sys.modules["av"] = None; from handpose.cli import main; main(None, sys.argv[1:])'
    command = ['refine', hands, '-o', tmp_path / 'b.npz', '--draw', tmp_path / 'a.mp4']
    done = subprocess.run([sys.executable, '-c', code, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "'handpose[video]'; or write .webm" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['hands.npz']


def test_a_full_disk_while_drawing_keeps_the_refined_file(tmp_path):
    """A limit of the file size stands for the end of the disk."""
    pytest.importorskip('resource')
    save_predictions(tmp_path / 'a.npz', make_predictions(60, ('left', 'right')))
    code = (
        'import resource, sys; from handpose.cli import main; '
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000,) * 2); main(None, sys.argv[1:])'
    )
    command = ['refine', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', '--draw', tmp_path / 'a.avi']
    done = subprocess.run([sys.executable, '-c', code, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'a.avi: only' in done.stderr and 'is the disk full?' in done.stderr, done.stderr
    assert len(load_predictions(tmp_path / 'b.npz')) == 60
    assert not [path for path in tmp_path.iterdir() if path.suffix == '.avi']


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--checkpoint', 'none.safetensors'], 'no weights none.safetensors'),
        (['--checkpoint', __file__], 'give the config it was trained with'),
        (['--checkpoint', 'deformer_synthetic'], 'weights of Deformer, which refines no motion'),
        (['--checkpoint', 'a.pth', '--filter', 'gaussian'], 'not both'),
        (['--over', 'a.mp4'], '--over goes with --draw'),
        (['--draw', 'a.gif'], 'the name of a video must end in'),
        (['--draw', 'work_dirs/a.webm', '--over', 'none.mp4'], 'video none.mp4 does not exist'),
        (['--longest-gap', '-1'], 'at least 0'),
    ],
)
def test_a_sentence_says_what_is_wrong(tmp_path, hands, arguments, words):
    code, said = run('refine', hands, '-o', tmp_path / 'refined.npz', *arguments)
    assert code != 0 and words in said and 'Traceback' not in said, said
    assert not (tmp_path / 'refined.npz').exists()


def test_a_filter_that_does_nothing_says_so(tmp_path):
    slow = make_predictions(30, fps=8.0)
    save_predictions(tmp_path / 'slow.npz', slow)
    code, said = run('refine', tmp_path / 'slow.npz', '-o', tmp_path / 'b.npz', '--filter', 'savitzky_golay')
    assert code == 0 and 'at 8 frames per second the window of' in said, said
    np.testing.assert_allclose(load_predictions(tmp_path / 'b.npz').joints, slow.joints, atol=1e-7)


def test_skeletons_that_lack_joints(tmp_path):
    whole = make_predictions(30)
    mask = whole.given_joints() & (np.arange(21) % 4 != 0)
    save_predictions(tmp_path / 'a.npz', replace(whole, joints_valid=mask | (np.arange(21) == 0)))
    code, said = run('refine', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz')
    assert code == 0 and 'note: the predictions lack thumb_tip, index_tip, ' in said and 'nan' not in said, said
    assert load_predictions(tmp_path / 'b.npz').joints_valid[0, 0].sum() == 16
    drawn = ['--draw', tmp_path / 'a.webm']
    code, said = run('refine', tmp_path / 'a.npz', '-o', tmp_path / 'c.npz', *drawn)
    assert code != 0 and '--draw needs all 21 joints' in said and 'Traceback' not in said, said
    assert not (tmp_path / 'c.npz').exists() and not (tmp_path / 'a.webm').exists()
    code, said = run('refine', tmp_path / 'a.npz', '-o', tmp_path / 'c.npz', '--infer-missing', *drawn)
    assert code == 0 and 'note: 24% of the joints were not measured but inferred' in said, said
    refined = load_predictions(tmp_path / 'c.npz')
    assert refined.joints_valid is None and refined.joints_inferred[:, 0].sum(1).tolist() == [5] * 30


def test_bad_files_and_names(tmp_path, hands):
    code, said = run('refine', tmp_path / 'none.npz', '-o', tmp_path / 'refined.npz')
    assert code != 0 and 'there is no predictions file' in said and 'Traceback' not in said
    code, said = run('refine', hands, '-o', tmp_path / 'refined.txt')
    assert code != 0 and 'must end in .npz' in said and 'Traceback' not in said
    assert [p.name for p in tmp_path.iterdir()] == ['hands.npz']


def test_one_frame(tmp_path):
    save_predictions(tmp_path / 'one.npz', make_predictions(1))
    code, said = run('refine', tmp_path / 'one.npz', '-o', tmp_path / 'refined.npz', '--draw', tmp_path / 'a.webm')
    assert code == 0, said
    assert (tmp_path / 'a.webm').exists() and len(load_predictions(tmp_path / 'refined.npz')) == 1


@pytest.mark.skipif(not REAL.is_dir(), reason='needs HANDPOSE_REAL_DATA with hand_video/')
def test_a_real_video(tmp_path):
    landmarks, video = REAL / 'mediapipe_world_landmarks.npz', REAL / 'human_hand_video.mp4'
    options = ['--rename', 'joints=world_landmarks', '--fps', 30, '--hand', 'right']
    code, said = run('convert', 'mediapipe', landmarks, '-o', tmp_path / 'a.npz', *options)
    assert code == 0 and '621 frames, 1 hand, 0 missing' in said, said
    save_predictions(tmp_path / 'short.npz', load_predictions(tmp_path / 'a.npz').select(slice(0, 60)))
    pictures = ['--draw', tmp_path / 'a.webm', '--over', video]
    code, said = run('refine', tmp_path / 'short.npz', '-o', tmp_path / 'b.npz', *pictures)
    assert code == 0 and 'the video is shown beside' in said, said
    before, after = load_predictions(tmp_path / 'short.npz'), load_predictions(tmp_path / 'b.npz')
    np.testing.assert_array_equal(after.joints, load_refiner().refine(before).joints)
