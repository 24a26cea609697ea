"""docs/guides/your_own_actions.md from recordings to training: its code and its files, as they stand there."""

import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from action_clips import build
from predicted_hands import make_predictions

from handpose.datasets import H2O, ActionClips
from handpose.datasets.base import DatasetError
from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.models import TrainingStep
from handpose.structures import save_predictions
from handpose.video import save_clip_video

ROOT = Path(__file__).parents[2]


def block(kind, number=0):
    """A code block of the page, of those that are marked with this language."""
    text = (ROOT / 'docs' / 'guides' / 'your_own_actions.md').read_text()
    return re.findall(rf'^```{kind}\n(.*?)^```', text, re.DOTALL | re.MULTILINE)[number]


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Runs the page's script on a video of 140 frames, with hands or without."""

    def run(hands):
        save_clip_video(tmp_path / 'a.avi', [np.full((540, 960, 3), t, np.uint8) for t in range(140)], fps=30)
        (tmp_path / 'convert.py').write_text(block('python'))
        arguments = ['convert.py', str(tmp_path / 'a.avi'), str(tmp_path / 'mine' / 'subject1' / 'kitchen' / '0')]
        if hands is not None:
            save_predictions(tmp_path / 'hands.npz', hands)
            arguments.append(str(tmp_path / 'hands.npz'))
        monkeypatch.setattr(sys, 'argv', arguments)
        runpy.run_path(str(tmp_path / 'convert.py'), run_name='__main__')
        lists = tmp_path / 'mine' / 'label_split'
        lists.mkdir()
        rows = block('text').strip().replace(' 449', ' 139')
        (lists / 'action_train.txt').write_text(rows + '\n')
        (tmp_path / 'my_actions.yml').write_text(block('yaml'))
        return tmp_path / 'mine', tmp_path / 'my_actions.yml'

    return run


def test_recordings_with_hands(record):
    hands = make_predictions(140, ('left', 'right'), missing=[(13, 1)])
    root, taxonomy = record(hands)
    videos = H2O(root, taxonomy=taxonomy, pipeline=[dict(type='LoadImages')])
    assert [videos[i].meta['frame_indices'][0] for i in range(2)] == [12, 80]
    assert [int(videos[i].action_label) for i in range(2)] == [0, 1]
    clip = videos[0].validate()
    assert clip.images.shape == (64, 1, 3, 270, 480) and clip.intrinsics[0, 0, 0, 0] == 450
    np.testing.assert_allclose(clip.joints_3d[0].numpy(), hands.joints[12], atol=1e-6)
    assert clip.hand_valid[:2].tolist() == [[True, True], [True, False]]
    info = videos.metainfo
    assert info['actions'] == ['open jar', 'close jar', 'stir the soup', 'wave']
    assert info['verbs'] == ['open', 'close', 'stir', 'wave'] and info['objects'] == ['jar', 'pot']


def test_recordings_without_hands_train_the_action(record):
    root, taxonomy = record(None)
    pipeline = [dict(type='LoadImages'), dict(type='ResizeFrames', size=(64, 48))]
    clips = H2O(root, taxonomy=taxonomy, sampling=ActionClips(8, 2, window=4, random_start=True), pipeline=pipeline)
    batch = collate([clips[0], clips[1]])['batch']
    assert not batch.hand_valid.any()
    losses = build().loss(batch, TrainingStep())
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    assert torch.isfinite(total) and total > 0


def test_an_action_outside_the_list(record, tmp_path):
    root, taxonomy = record(None)
    path = root / 'label_split' / 'action_train.txt'
    path.write_text(path.read_text().replace(' 2 80', ' 5 80'))
    with pytest.raises(DatasetError, match='action 5 is not among the 4 actions of kitchen, which are numbered 1 to 4'):
        H2O(root, taxonomy=taxonomy)
    assert cv2.imread(str(root / 'subject1' / 'kitchen' / '0' / 'cam4' / 'rgb' / '000139.jpg')).shape == (270, 480, 3)


def test_the_config(tmp_path):
    bases = str(ROOT / 'configs' / 'htt') + '/'
    (tmp_path / 'kitchen.py').write_text(block('python', 1).replace('./', bases))
    config = load_config(tmp_path / 'kitchen.py')
    assert config.test_evaluator[1] == dict(type='ActionMetric', pairs=[('open jar', 'close jar')])
    assert config.model.action_head.num_actions == 4 and config.model.object_head.num_objects == 2
    assert config.test_dataset.taxonomy == 'my_actions.yml' and config.train_dataset.data_root == 'data/mine'
    assert config.synthetic_data is None  # or `make train` would write into the user's folder
