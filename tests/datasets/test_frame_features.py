"""Features files, and clips that bring features instead of images."""

import h2o_files as files
import numpy as np
import pytest
import torch

from handpose.datasets import H2O, ActionClips, DatasetError
from handpose.datasets.io.frame_features import load_features, save_features
from handpose.datasets.transforms import LoadFeatures
from handpose.structures import HandSequence

FOLDER = 'subject1/h1/0/cam4/rgb'


@pytest.fixture
def root(tmp_path):
    return files.write_root(tmp_path / 'h2o', splits=('train',))


@pytest.fixture
def path(tmp_path):
    """Features (number of the frame, 0.5) of one recording."""
    rows = {f'{FOLDER}/{frame:06d}.png': np.array([frame, 0.5]) for frame in range(29)}
    save_features(tmp_path / 'features.npz', rows, 'a test')
    return tmp_path / 'features.npz'


def clips(root, path):
    step = dict(type='LoadFeatures', path=str(path), data_root=str(root))
    return H2O(root, sampling=ActionClips(4, 2), pipeline=[step])


def test_clips_have_the_features_of_their_frames(root, path):
    found = clips(root, path)
    for clip in (found[0], found[1]):
        clip.validate()
        assert clip.images is None
        assert clip.features[:, 0, 0].tolist() == clip.meta['frame_indices'] and (clip.features[..., 1] == 0.5).all()
    assert HandSequence.stack([found[0], found[1]]).validate().features.shape == (2, 4, 1, 2)
    assert load_features(str(path)).source == 'a test'


def test_an_image_without_features_is_named(root, path):
    found = clips(root, path)
    with pytest.raises(
        DatasetError, match=rf'features.npz has no features of {FOLDER}/000029.png; make the file again'
    ):
        for index in range(len(found)):
            found[index]


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda path: path.unlink(), 'no features file .*; make it with `handpose extract-features`'),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), 'is damaged'),
        (lambda path: np.savez(path, features=np.zeros((2, 3))), "it lacks 'names', 'source'"),
        (
            lambda path: np.savez(path, features=np.zeros((2, 3)), names=np.array(['a']), source=np.array('')),
            r'features \(N, C\) and N names, got \(2, 3\) and \(1,\)',
        ),
        (lambda path: save_features(path, {'a': np.array([np.nan])}, ''), 'must hold finite features'),
    ],
)
def test_files_that_are_none(path, change, sentence):
    change(path)
    with pytest.raises(DatasetError, match=sentence):
        load_features(str(path))


def test_clips_of_several_cameras(path):
    sample = HandSequence(meta={'paths': [['a.png', 'b.png']]}, features=torch.zeros(1, 2, 3))
    with pytest.raises(DatasetError, match='features files are for clips of one camera, got 2'):
        LoadFeatures(path, '.')(sample, None)
