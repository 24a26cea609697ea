"""Recognizing actions in predictions: windows, the running action, and weights that do not fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions
from scripted_forecasters import ACTIONS, DriftingHands

from handpose.inference import action_record
from handpose.inference.action_file import MOTION_CAVEATS
from handpose.inference.motion_recognizer import MotionRecognizer, load_motion_recognizer
from handpose.inference.recognizer import load_action_recognizer
from handpose.structures import PredictionsError


def moving(frames, turn, fps=30.0):
    """A hand that moves to larger x up to frame `turn`, and back afterwards."""
    predictions = make_predictions(frames, noise=0, fps=fps)
    joints = np.repeat(predictions.joints[:1], frames, 0)
    joints[..., 0] += 0.001 * (turn - np.abs(np.arange(frames) - turn))[:, None, None]
    return replace(predictions, joints=joints)


@pytest.fixture
def recognizer():
    return MotionRecognizer(DriftingHands(), ACTIONS)


def test_a_short_recording_is_one_window(recognizer):
    sequence = recognizer.predict(moving(100, 100), name='jar')
    assert sequence.action_scores.argmax() == 0 and sequence.action_scores.sum() == pytest.approx(1)
    assert sequence.meta['actions'] == ACTIONS and sequence.meta['sequence'] == 'jar'
    assert len(sequence.timestamps) == 100 and sequence.hand_valid.all()
    back = recognizer.predict(moving(100, 0))
    assert back.action_scores.argmax() == 1


def test_a_longer_one_gets_the_mean_of_its_windows(recognizer):
    up, down = (recognizer.predict(moving(100, turn)).action_scores for turn in (100, 0))
    both = recognizer.predict(moving(512, 256)).action_scores
    torch.testing.assert_close(both, (up + down) / 2)


def test_the_object_counts(recognizer):
    sequence = recognizer.predict(moving(100, 100), object='milk')
    assert sequence.action_scores[2] > recognizer.predict(moving(100, 100)).action_scores[2]
    with pytest.raises(ValueError, match="Did you mean 'milk'"):
        recognizer.predict(moving(100, 100), object='milch')


def test_the_running_action(recognizer):
    running = recognizer.running_action(moving(600, 300))
    assert running.frames.tolist() == [*range(15, 599, 16), 599]
    best = running.scores.argmax(1)
    turns = running.frames[1:][best.diff() != 0]
    # One window is 256 frames: where the hand is as far as at the start of the window.
    assert len(turns) == 1 and turns[0] == pytest.approx(300 + 128, abs=17)


def test_the_running_action_has_frames_of_the_recording(recognizer):
    running = recognizer.running_action(moving(120, 120, fps=60.0))
    assert running.frames.tolist() == [31, 63, 95, 119]  # the time line ends with the last frame
    late = moving(60, 60)
    late.valid[:20] = False
    # The first 16 observed frames end at frame 35; windows end every 16 frames.
    assert recognizer.running_action(late).frames.tolist() == [47, 59]


def test_the_record_is_that_of_videos(recognizer):
    predictions = moving(64, 64)
    record = action_record(
        recognizer.predict(predictions), recognizer.running_action(predictions), 'me', 0.5, MOTION_CAVEATS
    )
    assert record['action'] == record['best'] == 'open jar' and record['objects'] == []
    assert [moment['time'] for moment in record['running']] == [0.5, 1.033, 1.567, 2.1]
    assert record['frames'] == 64 and record['fps'] == 30 and record['caveats'] == list(MOTION_CAVEATS)


def test_hands_relative_to_their_own_wrists_count_as_much_as_they_are_seen(recognizer):
    predictions = make_predictions(60, ('left', 'right'), frame='wrist', missing=[(t, 0) for t in range(20)])
    left, right, both = (recognizer.predict(predictions, hands).action_scores for hands in ('left', 'right', 'both'))
    torch.testing.assert_close(both, 0.4 * left + 0.6 * right)


def test_too_few_frames(recognizer):
    with pytest.raises(PredictionsError, match=r'at least 16 observed frames .* the recording has 15 of them'):
        recognizer.predict(make_predictions(15))
    with pytest.raises(PredictionsError, match='no frame of 20 has a hand'):
        recognizer.predict(make_predictions(20, missing=range(20)))


def test_names_must_fit():
    with pytest.raises(ValueError, match='distinguishes 3 actions, but 2 are named'):
        MotionRecognizer(DriftingHands(), ACTIONS[:2])


@pytest.fixture
def weights(tmp_path):
    def write(name, state):
        (tmp_path / f'{name}.py').write_text(f"model = dict(type='{name}')\n")
        torch.save({'state_dict': state, 'meta': {}}, tmp_path / f'{name}.pth')
        return tmp_path / f'{name}.pth', tmp_path / f'{name}.py'

    return write


def test_loading(weights):
    loaded = load_motion_recognizer(*weights('DriftingHands', {'width': torch.tensor(1.0)}))
    assert loaded.actions == ACTIONS and loaded.name == 'DriftingHands (DriftingHands.pth)'


def test_weights_of_another_kind_say_what_to_do(weights):
    with pytest.raises(ValueError, match='recognizes actions in images: give it the video itself'):
        load_motion_recognizer(*weights('ImageActions', {'bias': torch.zeros(3)}))
    with pytest.raises(ValueError, match='StillHands, which recognizes no actions'):
        load_motion_recognizer(*weights('StillHands', {}))
    with pytest.raises(ValueError, match=r'give it a predictions file .*`handpose infer VIDEO -o hands.npz`'):
        load_action_recognizer(*weights('DriftingHands', {'width': torch.tensor(1.0)}))
