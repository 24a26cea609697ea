"""What a user's mistake looks like at the command line: an error message and an exit code."""

import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from handpose import cli
from handpose.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
CLI = Path(cli.__file__).parent
SMALL = 'configs/deformer/synthetic.py'
SHARED = ('__init__', 'arguments', 'checkpoints', 'errors', 'view_recording')  # modules that are not commands
TOOLS = sorted([*(ROOT / 'tools').glob('*.py'), *(ROOT / 'tools' / 'convert').glob('*.py')])


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command in this process: its exit code, and what it printed as errors."""

    def run_command(command, *arguments):
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as end:
            main(command, arguments)
        error = capsys.readouterr().err
        code = end.value.code
        return (1, error + code) if isinstance(code, str) else (code, error)

    return run_command


@pytest.mark.parametrize(
    'command, arguments, messages',
    [
        ('train', ['configs/deformer/dexicb.py'], ['no config file', "Did you mean 'configs/deformer/dexycb.py'"]),
        ('train', ['deformer/dexicb'], ['no shipped config of that name', "Did you mean 'deformer/dexycb'"]),
        ('train', [SMALL, '--cfg-options', 'data_rot=x'], ["'data_rot' is not a key", "Did you mean 'data_root'"]),
        ('train', [SMALL, '--cfg-options', 'model.type=Deformr'], ["'Deformr' is not a registered", "'Deformer'"]),
        ('train', [SMALL, '--cfg-options', 'model.head.mode=dynamik'], ['mode must be one of', "'dynamik'"]),
        ('train', [SMALL, '--cfg-options', '+model.head.modes=1'], ["no argument 'modes'", "Did you mean 'mode'"]),
        ('train', [SMALL, '--cfg-options', 'data_root=nowhere'], ['nowhere', 'dex-ycb.github.io', 'synthetic']),
        ('train', ['configs/deformer/dexycb.py'], ['MANO_LEFT.pkl', 'mano.is.tue.mpg.de', 'ProceduralHand']),
        ('test', [SMALL, '--work-dir', 'work_dirs/none'], ['no checkpoint in', 'handpose train']),
        ('test', [SMALL, 'nowhere.pth'], ['no weights nowhere.pth', 'no file', 'handpose zoo list']),
        ('test', [SMALL, 'deformer_syntetic'], ["Did you mean 'deformer_synthetic'"]),
        ('ablate', ['docs/ablations/nowhere.yml'], ['no table file docs/ablations/nowhere.yml']),
        (
            'ablate',
            ['docs/ablations/deformer_fusion.yml', '--only', 'centr'],
            ['names no row', "Did you mean 'centre'"],
        ),
        ('browse', [SMALL, '--cfg-options', 'data_root=nowhere'], ['nowhere', 'synthetic']),
        ('make-data', ['--layout', 'h20'], ['layout must be one of', "'h20'"]),
        ('make-data', ['--layout', 'h2o', '--size', '64'], ["'size' is not an option of the egocentric data"]),
    ],
)
def test_an_error_message_says_what_is_wrong(run, command, arguments, messages):
    code, error = run(command, *arguments)
    assert code == 1 and error.startswith('error: '), error
    for message in messages:
        assert message in error, error


@pytest.mark.parametrize(
    'command, arguments, message',
    [
        (None, [], 'the following arguments are required: COMMAND'),
        (None, ['trian'], "'trian' is not a command. Did you mean 'train'?"),
        ('train', [], 'the following arguments are required: config'),
        ('train', [SMALL, '--cfg-options', 'data_root'], 'is not an option: write key=value'),
        ('refine', ['a.npz', '-o', 'b.npz', '--over', 'a.mp4'], '--over goes with --draw'),
    ],
)
def test_wrong_usage(run, command, arguments, message):
    code, error = run(command, *arguments)
    assert code == 2 and message in error and error.startswith('usage: ')


def test_a_checkpoint_of_another_model(run, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': {'x': torch.zeros(1)}, 'meta': {'hand_model': 'procedural-1'}}, path)
    code, error = run('test', SMALL, str(path))
    assert code == 1 and 'weights of another model' in error


def test_a_config_without_built_in_data(capsys):
    main('make-data', ['--config', 'deformer/dexycb'])
    assert 'nothing to make' in capsys.readouterr().out


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_explains_itself(run, capsys, command):
    module = importlib.import_module(f'handpose.cli.{command.replace("-", "_")}')
    with pytest.raises(SystemExit, match='0'):
        main(None, [command, '--help'])
    said = capsys.readouterr().out
    assert said.startswith(f'usage: handpose {command}') and module.__doc__.splitlines()[0] in said


def test_every_module_is_a_command():
    names = {path.stem for path in CLI.glob('*.py')} - set(SHARED)
    assert names == {command.replace('-', '_') for command in COMMANDS}


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.name)
def test_tools_are_commands(tool):
    done = subprocess.run([sys.executable, str(tool), '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f'usage: {tool.name}'), done.stderr


def test_help_imports_nothing_heavy():
    code = """
import sys
from handpose.cli import main
try:
    main(None, ['--help'])
except SystemExit:
    print([name for name in ('torch', 'numpy', 'mmengine', 'rich', 'handpose.engine') if name in sys.modules])
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '[]' and 'pack-frames' in done.stdout


def test_ctrl_c(tmp_path):
    """While it makes data: exit code 130, and how to continue."""
    command = [sys.executable, '-m', 'handpose', 'make-data', '--root', str(tmp_path / 'data'), '--workers', '1']
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / 'data').exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130 and 'interrupted; the same command continues' in error, error
    assert 'Traceback' not in error
