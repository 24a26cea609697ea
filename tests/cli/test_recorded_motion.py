"""From a download to rendered motion by the two commands, and what a user's mistake looks like."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handpose.datasets import DexYCB
from handpose.synthesis import MultiViewOptions, write_dataset

ROOT = Path(__file__).parents[2]
CONVERT, MAKE = 'dexycb-to-motion', 'make-data'


def run(command, *arguments):
    command = [sys.executable, '-m', 'handpose', command, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr.strip()


def test_from_a_download_to_pictures(tmp_path):
    values = dict(subjects=1, sequences=5, frames=24, cameras=2, size=64, seed=3, workers=1)
    write_dataset(MultiViewOptions(str(tmp_path / 'download'), **values))
    code, out, error = run(CONVERT, tmp_path / 'download', '-o', tmp_path / 'motion.npz', '--per-subject', 3)
    assert code == 0, error
    assert 'of 5 sequences' in out
    data = tmp_path / 'data'
    code, out, error = run(MAKE, '--motion', tmp_path / 'motion.npz', '--root', data, '--cameras', 1, '--size', 64,
                           '--workers', 1, '--sheet', tmp_path / 'sheet.png')  # fmt: skip
    assert code == 0, error
    assert 'median 0.0' in out and (tmp_path / 'sheet.png').exists()  # the hands were the model's own
    names = {str(path.parent.relative_to(data)) for path in data.glob('*/*/meta.yml')}
    found = np.load(tmp_path / 'motion.npz')['sequence_names']
    assert names == set(found.tolist()) and len(names) >= 2
    assert len(DexYCB(data, setup='all')) == len(names)


@pytest.mark.parametrize(
    ('command', 'arguments', 'words'),
    [
        (CONVERT, ['nowhere', '-o', 'x.npz'], ['nowhere', 'does not exist', 'dex-ycb.github.io']),
        (MAKE, ['--motion', 'x.npz', '--subjects', '3'], ["'subjects' is not an option of recorded motion"]),
    ],
)
def test_a_sentence_says_what_is_wrong(command, arguments, words):
    code, _, error = run(command, *arguments)
    assert code != 0 and 'Traceback' not in error, error
    for word in words:
        assert word in error, error
