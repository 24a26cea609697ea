"""`handpose export`: what a user runs."""

import subprocess
import sys

import numpy as np
import pytest
from mano_files import write_plain
from predicted_hands import make_predictions

from handpose.cli.errors import EXTRAS
from handpose.structures import save_predictions


def run(*arguments):
    command = [sys.executable, '-m', 'handpose', 'export', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, ' '.join((done.stdout + done.stderr).split())


@pytest.fixture
def hands(tmp_path):
    path = tmp_path / 'hands.npz'
    save_predictions(path, make_predictions(12, ('left', 'right'), missing=[4], scale='relative'))
    return path


def test_bvh(tmp_path, hands):
    code, said = run(hands, '-o', tmp_path / 'out' / 'a.bvh', '--unit', 'centimetre')
    assert code == 0, said
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a_left.bvh', 'a_right.bvh']
    for words in ('lengths are in centimetres', 'set Scale to 0.01', '1 of 12 frames have no hand', 'mm (median)',
                  'sizes and distances are not metric', f'written: {tmp_path}/out/a_left.bvh'):  # fmt: skip
        assert words in said, words


def test_targets_and_mano(tmp_path, hands):
    code, said = run(hands, '-o', tmp_path / 'a.npz', '--to', 'dex-retargeting')
    assert code == 0 and 'left hand: 11 of 12 frames' in said, said
    assert set(np.load(tmp_path / 'a.npz')) >= {'left_joint_pos', 'right_valid'}
    write_plain(tmp_path)
    code, said = run(hands, '-o', tmp_path / 'mano.npz', '--hand-model', tmp_path)
    assert code == 0 and 'hand_pose is for smplx.MANO' in said, said


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['-o', 'a.fbx'], 'must end in one of .bvh'),
        (['-o', 'a.npz'], '--hand-model FOLDER'),
        (['-o', 'a.json'], 'needs 2D joints'),
        (['-o', 'a.bvh', '--hand-model', 'mano'], '--hand-model goes with'),
        (['-o', 'a.npz', '--hand-model', 'none'], 'none/MANO_LEFT.pkl'),
        (['-o', 'a.x', '--to', 'robot'], 'invalid choice'),
    ],
)
def test_an_error_message_says_what_is_wrong(tmp_path, hands, arguments, words):
    code, said = run(hands, *arguments[:1], tmp_path / arguments[1], *arguments[2:])
    assert code != 0 and words in said and 'Traceback' not in said, said
    assert [path.name for path in tmp_path.iterdir()] == ['hands.npz']


def test_a_package_that_is_missing_is_named(tmp_path, hands):
    """A package of that name which cannot be imported stands in for one that is not installed."""
    code = (
        'import sys; sys.modules["rerun"] = None; from handpose.cli import main; '
        f'main("export", ["{hands}", "-o", "{tmp_path}/a.rrd"])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'handpose[rerun]'" in done.stderr, done.stderr
    assert {'rerun', 'pyarrow', 'h5py', 'supervision'} <= set(EXTRAS)
