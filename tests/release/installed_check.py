"""The quick test of an installed package, run by tools/release_check.py in an environment that holds nothing else.

python -I tests/release/installed_check.py FOLDER [--all-weights]     writes into FOLDER, which is not the repository
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name('files_0_2_0')
sys.path.append(str(REPOSITORY / 'tests' / 'zoo'))  # stored inputs and predictions of the published weights
TOLERANCE = 5e-6  # metres and scores, as in tests/zoo/test_published_weights.py


def run(*words: str) -> str:
    """The output of the installed command."""
    command = Path(sys.executable).with_name('handpose')
    done = subprocess.run([command, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'handpose {" ".join(words)} ended with {done.returncode}:\n{done.stderr}')
    return done.stdout


def check_package() -> None:
    """It is the installed one, and its commands and configs are there."""
    import handpose
    from handpose.cli import COMMANDS

    if not Path(handpose.__file__).is_relative_to(sys.prefix):
        raise SystemExit(f'handpose was imported from {handpose.__file__}, not from {sys.prefix}')
    shown = run('--help')
    assert all(name in shown for name in COMMANDS), shown
    assert run('--version') == f'handpose {handpose.__version__}\n'
    configs = run('configs', 'list')
    for path in (REPOSITORY / 'configs').rglob('[!_]*.py'):
        if not path.parent.name.startswith('_'):
            assert f'{path.parent.name}/{path.stem} ' in configs, f'{path} is not in:\n{configs}'


def check_model() -> None:
    """A model is built by its name, and runs."""
    import torch

    from handpose.registry import MODELS

    model = MODELS.build(dict(type='SmoothNet', frame_rate=30.0, num_frames=8, hidden_channels=8, block_channels=4))
    joints = torch.randn(1, 8, 21, 3)
    assert model(joints).joints.shape == joints.shape


def check_refinement() -> None:
    """A predictions file is refined by the weights that come with the package."""
    import numpy as np

    from handpose.structures import load_predictions

    run('refine', str(FILES / 'predictions.npz'), '-o', 'refined.npz')
    before, after = load_predictions(FILES / 'predictions.npz'), load_predictions('refined.npz')
    assert after.valid.all() and not before.valid.all()  # a short gap was filled
    assert 0 < np.nanmean(np.abs(after.joints - before.joints)) < 0.01


def check_weights(every: bool) -> None:
    """Weights of the zoo predict what they predicted when they were published."""
    import numpy as np
    import torch
    from published_weights import FOLDER, INPUT_OF, numbers, predict, read_input

    import handpose

    torch.set_num_threads(1)
    for name in INPUT_OF if every else ['kernel_smoother_synthetic']:
        found = numbers(predict(name, handpose.load(name), read_input(name)))
        wanted = json.loads((FOLDER / f'{name}.json').read_text())
        worst = max(float(np.abs(np.subtract(found[key], wanted[key])).max()) for key in wanted)
        print(f'  {name}: largest difference {worst:.1e}')
        assert found.keys() == wanted.keys() and worst < TOLERANCE, name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--all-weights', action='store_true', help='also those that need the extra mmcv')
    arguments = parser.parse_args()
    os.chdir(arguments.folder)
    check_package()
    check_model()
    check_refinement()
    check_weights(arguments.all_weights)


if __name__ == '__main__':
    main()
