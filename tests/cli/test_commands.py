"""What a user's mistake looks like at the command line: one sentence and a non-zero exit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SMALL = 'configs/deformer/synthetic.py'


def run(tool, *arguments):
    done = subprocess.run([sys.executable, f'tools/{tool}.py', *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    'tool, arguments, words',
    [
        ('train', ['configs/deformer/dexicb.py'], ['no config file', "Did you mean 'configs/deformer/dexycb.py'"]),
        ('train', [SMALL, '--cfg-options', 'data_rot=x'], ["'data_rot' is not a key", "Did you mean 'data_root'"]),
        ('train', [SMALL, '--cfg-options', 'model.type=Deformr'], ["'Deformr' is not a registered", "'Deformer'"]),
        ('train', [SMALL, '--cfg-options', 'model.head.mode=dynamik'], ['mode must be one of', "'dynamik'"]),
        ('train', [SMALL, '--cfg-options', '+model.head.modes=1'], ["no argument 'modes'", "Did you mean 'mode'"]),
        ('train', [SMALL, '--cfg-options', 'data_root=nowhere'], ['nowhere', 'dex-ycb.github.io', 'make_synthetic.py']),
        ('train', ['configs/deformer/dexycb.py'], ['MANO_LEFT.pkl', 'mano.is.tue.mpg.de', 'ProceduralHand']),
        ('test', [SMALL, '--work-dir', 'work_dirs/none'], ['no checkpoint in', 'tools/train.py']),
        ('test', [SMALL, 'nowhere.pth'], ['no checkpoint file nowhere.pth']),
        ('ablate', ['docs/ablations/nowhere.yml'], ['no table file docs/ablations/nowhere.yml']),
        (
            'ablate',
            ['docs/ablations/deformer_fusion.yml', '--only', 'centr'],
            ['names no row', "Did you mean 'centre'"],
        ),
        ('browse_dataset', [SMALL, '--cfg-options', 'data_root=nowhere'], ['nowhere', 'make_synthetic.py']),
        ('make_synthetic', ['--layout', 'h20'], ['layout must be one of', 'fpha', "Did you mean 'h2o'"]),
        ('make_synthetic', ['--layout', 'h2o', '--size', '64'], ["'size' is not an option of the egocentric data"]),
    ],
)
def test_a_sentence_says_what_is_wrong(tool, arguments, words):
    code, error = run(tool, *arguments)
    assert code != 0
    assert 'Traceback' not in error, error
    for word in words:
        assert word in error, error


def test_a_checkpoint_of_another_model(tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': {'x': torch.zeros(1)}, 'meta': {'hand_model': 'procedural-1'}}, path)
    code, error = run('test', SMALL, str(path))
    assert code != 0 and 'weights of another model' in error and 'Traceback' not in error


def test_a_config_without_built_in_data():
    done = subprocess.run(
        [sys.executable, 'tools/make_synthetic.py', '--config', 'configs/deformer/dexycb.py'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and 'nothing to make' in done.stdout
