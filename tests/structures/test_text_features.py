"""Tables of text features: the compositional features and the file."""

import hashlib
import math

import numpy as np
import pytest

from handpose.structures import TextFeatures
from handpose.structures.text_features import TextFeaturesError

NAMES = ('open milk', 'close milk', 'open chips', 'milk', 'take out cocoa')
GOLDEN = [
    [-0.06286946, 0, 0, 0],
    [0, -0.06388766, 0, -0.06388766],
    [-0.06362848, 0, -0.06362848, 0.06362848],
    [0.01267009, -0.07508446, -0.03120718, -0.03120718],
]
OTHER_SEED = [0, 0, -0.06225728, 0]


def word(text):
    """A word's signs by plain arithmetic on the hash's integer."""
    number = int.from_bytes(hashlib.shake_256(text.encode()).digest(64), 'big')
    return [(1 if number >> (511 - i) & 1 else -1) / math.sqrt(512) for i in range(512)]


def test_golden_values():
    """They never change, or every model trained with them would be lost."""
    table = TextFeatures.compositional(NAMES)
    assert table.features.dtype == np.float32 and table.features.shape == (5, 512)
    np.testing.assert_allclose(table.features[[0, 1, 2, 4], :4], GOLDEN, atol=1e-7)
    np.testing.assert_allclose(TextFeatures.compositional(['open milk'], seed=3).features[0, :4], OTHER_SEED, atol=1e-7)


def test_the_formula():
    open_, milk = word('0/open'), word('0/milk')
    expected = [a + b for a, b in zip(open_, milk[-170:] + milk[:-170], strict=True)]
    length = math.sqrt(sum(x * x for x in expected))
    table = TextFeatures.compositional(NAMES)
    np.testing.assert_allclose(table.features[0], [x / length for x in expected], atol=1e-6)
    take, out = word('0/take'), word('0/out')
    verb = np.array(take) + np.array(out)
    both = verb / np.linalg.norm(verb) + np.roll(word('0/cocoa'), 170)
    np.testing.assert_allclose(table.features[4], both / np.linalg.norm(both), atol=1e-6)


def test_what_is_shared():
    features = TextFeatures.compositional([*NAMES, 'spray spray']).features.astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    cosine = features @ features.T
    assert 0.4 < cosine[0, 1] < 0.6 and 0.4 < cosine[0, 2] < 0.6  # the same noun, the same verb
    assert 0.6 < cosine[0, 3] < 0.8  # an object and an action with it
    assert abs(cosine[1, 2]) < 0.15 and abs(cosine[1, 4]) < 0.15


def test_spelling_of_words():
    plain = TextFeatures.compositional(['take out tea bag']).features
    for name in ('Take_out-tea bag', ' take  out TEA__bag '):
        np.testing.assert_array_equal(TextFeatures.compositional([name]).features, plain)


def test_file_and_selection(tmp_path):
    table = TextFeatures.compositional(NAMES, seed=2)
    table.save(tmp_path / 'table.npz')
    back = TextFeatures.load(tmp_path / 'table.npz')
    assert (back.names, back.model, back.kind) == (NAMES, 'compositional, seed 2', 'compositional')
    np.testing.assert_array_equal(back.features, table.features)
    with np.load(tmp_path / 'table.npz', allow_pickle=False) as found:
        assert found['format'] == 'handpose-text-features' and found['version'] == 1
    two = back.select(['milk', 'open milk'])
    assert two.names == ('milk', 'open milk') and two.model == back.model and len(two) == 2
    np.testing.assert_array_equal(two.features, table.features[[3, 0]])
    with pytest.raises(TextFeaturesError, match=r"has no 'opne milk'\. Did you mean 'open milk'"):
        back.select(['milk', 'opne milk'])


UNIT = np.eye(2, 512)


@pytest.mark.parametrize(
    'names, features, message',
    [
        ((), np.zeros((0, 512)), 'at least one name'),
        (('a', 'a'), UNIT, "'a' 2 times"),
        (('a', ' '), UNIT, "at least one letter, got ' '"),
        (('a', 'b'), np.eye(2, 768), r'\(2, 512\).*got \(2, 768\).*ViT-B'),
        (('a', 'b'), UNIT * [[1], [np.nan]], "of 'b' holds NaN"),
        (('a', 'b'), UNIT * [[1], [2]], "unit length, but that of 'b' has length 2"),
        (('a', 'b'), UNIT.astype(str), 'must be numbers'),
    ],
)
def test_tables_that_are_wrong(names, features, message):
    with pytest.raises(TextFeaturesError, match=message):
        TextFeatures(names, features, 'a model', 'clip')
    with pytest.raises(TextFeaturesError, match=r"kind must be .*Did you mean 'clip'"):
        TextFeatures(('a', 'b'), UNIT, 'a model', 'clips')


@pytest.mark.parametrize(
    'names, message',
    [
        ([], 'at least one name'),
        (['a', '_-'], "at least one word, got '_-'"),
        (['open milk', 'Open_milk'], "'Open_milk' and 'open milk' have the same verb words and noun"),
        (['wave', 'wave'], "'wave' 2 times"),
    ],
)
def test_names_without_compositional_features(names, message):
    with pytest.raises(TextFeaturesError, match=message):
        TextFeatures.compositional(names)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(version=np.array(2)), 'version is 2, and this library reads up to 1: update handpose'),
        (dict(format=np.array('handpose-predictions')), "format is 'handpose-predictions'"),
        (dict(names=np.arange(2)), 'names must be a list of texts'),
        (dict(model=np.array(['a', 'b'])), 'model must be one value'),
        (dict(features=np.ones((2, 3))), r'got \(2, 3\)'),
        (dict(name=np.array('a')), "'name' is not a key of .* Did you mean 'names'"),
        (dict(names=None), "needs 'names', this file has: format"),
        (dict(names=np.array(['a', 'b'], object)), 'Python objects'),
    ],
)
def test_files_that_are_wrong(tmp_path, changes, message):
    path = tmp_path / 'table.npz'
    arrays = dict(format='handpose-text-features', version=1, kind='clip', model='m', names=['a', 'b'], features=UNIT)
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    with pytest.raises(TextFeaturesError, match=f'{path}.*{message}'):
        TextFeatures.load(path)


def test_paths(tmp_path):
    with pytest.raises(TextFeaturesError, match=r'no table of text features .*handpose text-features NAMES.txt'):
        TextFeatures.load(tmp_path / 'none.npz')
    with pytest.raises(TextFeaturesError, match=r'must end in \.npz'):
        TextFeatures.compositional(['a']).save(tmp_path / 'table.pt')
