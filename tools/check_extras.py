"""Installs the package with each extra alone into an empty virtual environment, and runs what the extra is for.

    python tools/check_extras.py                         # all of them, one after the other; needs a package index
    python tools/check_extras.py view export --keep      # these, and leave the environments

The first environment gets the package alone; each other one begins as a copy of it, gets the packages of one extra, and
is deleted after its commands. Versions are those of constraints.txt. Prints a table of sizes and results; ends with
code 1 if something failed. `make check-extras` runs it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HANDPOSE = ('-m', 'handpose')
CORE = 'no extra'
TINY = ('synthetic_data.subjects=3', 'synthetic_data.sequences=5', 'synthetic_data.cameras=1', 'num_workers=0')
# A predictions file of two moving hands, for the other commands.
HANDS = """
import numpy as np, torch
from handpose.hands import ProceduralHand
from handpose.structures import Predictions, save_predictions
pose = torch.zeros(60, 16, 3)
pose[:, 1:, 2] = 0.4 + 0.4 * torch.sin(torch.arange(60) / 8)[:, None]
hands = [ProceduralHand()(pose, torch.zeros(60, 10), torch.tensor([0.1 * s - 0.05, 0, 0.5]).expand(60, 3),
                          torch.full((60,), s)).joints for s in (0, 1)]
joints = torch.stack(hands, 1).numpy()
joints += np.random.default_rng(0).normal(0, 0.003, joints.shape)
save_predictions('hands.npz', Predictions(joints, np.ones((60, 2), bool), np.arange(60) / 30,
                                          np.array(['left', 'right']), 'camera',
                                          intrinsics=[[500, 0, 320], [0, 500, 240], [0, 0, 1]]))
"""
PAGE = """
import subprocess, sys, time, urllib.request
command = [sys.executable, '-m', 'handpose', 'view', 'hands.npz', '--no-browser', '--no-mesh', '--port', '8765']
page = subprocess.Popen(command)
for _ in range(100):
    time.sleep(0.5)
    try:
        status = urllib.request.urlopen('http://127.0.0.1:8765').status
        break
    except OSError:
        status = None
page.terminate(); page.wait()
assert status == 200, status
"""
SUPERVISION = """
import numpy as np, supervision
from handpose.export import to_supervision
from handpose.structures import load_predictions
points = to_supervision(load_predictions('hands.npz'), 0)
image = supervision.VertexAnnotator().annotate(np.zeros((480, 640, 3), np.uint8), points)
assert points.xy.shape == (2, 21, 2) and image.any()
"""
RESNET = 'from handpose.models import ResNetStages; assert len(ResNetStages(18).channels) == 4'
# A text model with random weights, as the Hub has them: none can be downloaded everywhere.
CLIP = """
import json, transformers
letters = 'abcdefghijklmnopqrstuvwxyz'
vocabulary = ['<|startoftext|>', '<|endoftext|>', *letters, *(f'{letter}</w>' for letter in letters)]
json.dump({token: n for n, token in enumerate(vocabulary)}, open('vocab.json', 'w'))
open('merges.txt', 'w').write('#version: 0.2')
transformers.CLIPTokenizer('vocab.json', 'merges.txt').save_pretrained('clip')
config = transformers.CLIPTextConfig(
    projection_dim=512, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
    vocab_size=len(vocabulary), max_position_embeddings=16, bos_token_id=0, eos_token_id=1)
transformers.CLIPTextModelWithProjection(config).save_pretrained('clip')
open('names.txt', 'w').write('pour milk')
"""


def handpose(*words: str) -> tuple[str, ...]:
    """A command of the package, as arguments of Python."""
    return (*HANDPOSE, *words)


def train(config: str, *options: str, logger: str | None = None) -> tuple[str, ...]:
    """The shortest training of a config."""
    chosen = ('--logger', logger) if logger else ()
    return handpose(
        'train', config, '--work-dir', f'run_{logger}', *chosen, '--cfg-options', *TINY, *options, 'epochs=1'
    )


STORES = ('store_clips_160x90_warm_lmdb', 'store_clips_160x90_warm_webdataset')
POSES = ('synthetic_data.frames=40', 'batch_size=4')
IMAGES = ('synthetic_data.frames=24', 'synthetic_data.size=64')
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    CORE: [
        handpose('configs', 'list'),
        handpose('refine', 'hands.npz', '-o', 'refined.npz', '--draw', 'refined.webm'),
        handpose('forecast', 'hands.npz', '-o', 'future.npz', '--samples', '2', '--seconds', '0.5'),
        *(handpose('export', 'hands.npz', '-o', f'hands.{ending}') for ending in ('bvh', 'glb', 'csv')),
        train('pdtm/synthetic', *POSES),
    ],
    'video': [
        handpose('refine', 'hands.npz', '-o', 'refined.npz', '--draw', 'hands.mp4'),
        handpose('refine', 'hands.npz', '-o', 'again.npz', '--draw', 'again.mp4', '--over', 'hands.mp4'),
    ],
    'train': [
        train('deformer/synthetic', *IMAGES, logger='tensorboard'),
        handpose('test', 'deformer/synthetic', '--work-dir', 'run_tensorboard', '--cfg-options', *TINY, *IMAGES),
    ],
    'export': [
        handpose('export', 'hands.npz', '-o', 'episode.hdf5', '--to', 'hdf5'),
        handpose('export', 'hands.npz', '-o', 'dataset', '--to', 'lerobot'),
        ('-c', SUPERVISION),
    ],
    'view': [('-c', PAGE)],
    'runtime': [
        handpose('export-model', 'pdtm_synthetic', '-o', 'pdtm.onnx'),
        handpose('refine', 'hands.npz', '-o', 'r.npz', '--checkpoint', 'pdtm_synthetic', '--runtime', 'onnxruntime'),
    ],
    'openvino': [
        handpose('export-model', 'pdtm_synthetic', '-o', 'pdtm.onnx'),
        handpose('refine', 'hands.npz', '-o', 'r.npz', '--checkpoint', 'pdtm_synthetic', '--runtime', 'openvino'),
    ],
    'rerun': [handpose('export', 'hands.npz', '-o', 'hands.rrd')],
    'mmcv': [('-c', RESNET)],
    'hf': [('-c', 'import huggingface_hub, handpose.zoo.hub')],
    'wandb': [train('pdtm/synthetic', *POSES, logger='wandb')],
    'mlflow': [train('pdtm/synthetic', *POSES, logger='mlflow')],
    'openclip': [('-c', 'import open_clip; assert ("ViT-B-32", "laion2b_s34b_b79k") in open_clip.list_pretrained()')],
    'transformers': [
        ('-c', CLIP),
        handpose('text-features', 'names.txt', '-o', 'x.npz', '--model', 'transformers:clip'),
    ],
    'benchmark': [
        handpose('benchmark', '--quick', '--seconds', '1', '--out', 'x.json', '--only', *STORES),
        ('-c', "import json; assert not any(c['failed'] for c in json.load(open('x.json'))['cases'].values())"),
    ],
}
COMMANDS['all'] = [command for name in ('video', 'train', 'export', 'view', 'runtime') for command in COMMANDS[name]]


def run(command: list[str], folder: Path, log: Path) -> str | None:
    """Runs a command in a folder; the last line that it wrote if it failed."""
    environment = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'PYTHONHOME')}
    environment |= {'WANDB_MODE': 'offline', 'OMP_NUM_THREADS': '1'}
    with log.open('a', encoding='utf-8') as output:
        output.write(f'$ {" ".join(command)}\n')
        output.flush()
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment)
    lines = log.read_text(encoding='utf-8', errors='replace').split()
    return None if done.returncode == 0 else f'code {done.returncode}: {" ".join(lines[-25:])}'


def python_of(environment: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(environment / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python'))


def size_of(folder: Path) -> float:
    """MB of the files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file() and not p.is_symlink()) / 1e6


def install(environment: Path, wheel: Path, extra: str, log: Path, index: str | None) -> str | None:
    """Installs the wheel with an extra into an environment; what failed, if something did."""
    pip = [python_of(environment), '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile']
    constraints = ['-c', str(ROOT / 'constraints.txt')]
    if extra == CORE:
        source = ['--index-url', index] if index else []
        failed = run([*pip, *source, *constraints, 'torch'], environment, log)
        return failed or run([*pip, *constraints, str(wheel)], environment, log)
    if extra == 'openclip' and index:  # torchvision works with torch of the same build alone
        run([*pip, '--index-url', index, *constraints, 'torchvision'], environment, log)
    return run([*pip, *constraints, f'{wheel}[{extra}]'], environment, log)


def check(extra: str, folder: Path, core: Path, wheel: Path, index: str | None) -> tuple[str, float, float, str]:
    """Makes the environment of an extra and runs its commands: (extra, MB, seconds of the commands, result)."""
    environment, work, log = folder / extra.replace(' ', '_'), folder / f'{extra}_work', folder / f'{extra}.log'
    if extra == CORE:
        subprocess.run([sys.executable, '-m', 'venv', str(environment)], check=True)
    else:
        shutil.copytree(core, environment, symlinks=True, copy_function=os.link)
    before = 0.0 if extra == CORE else size_of(core)
    failed = install(environment, wheel, extra, log, index)
    size, start = size_of(environment) - before, time.monotonic()
    work.mkdir()
    for command in [('-c', HANDS), *COMMANDS[extra]]:
        failed = failed or run([python_of(environment), *command], work, log)
    return extra, size, time.monotonic() - start, failed or f'{len(COMMANDS[extra])} commands ran'


def main() -> None:
    """Checks the extras that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('extras', nargs='*', metavar='EXTRA', help=f'of {", ".join(COMMANDS)}; default all')
    parser.add_argument('--folder', type=Path, default=ROOT / 'work_dirs' / 'extras', help='for the environments')
    parser.add_argument('--torch-index', help='where pip finds torch, as TORCH_INDEX of the Makefile')
    parser.add_argument('--keep', action='store_true', help='leave environments and their files')
    arguments = parser.parse_args()
    if unknown := set(arguments.extras) - set(COMMANDS):
        parser.error(f'there is no extra {sorted(unknown)[0]!r}; there are {", ".join(COMMANDS)}')
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '-w', str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    shutil.rmtree(ROOT / 'build', ignore_errors=True)  # which setuptools leaves
    (wheel,) = folder.glob('*.whl')
    core, rows = folder / CORE.replace(' ', '_'), []
    for extra in [CORE, *(name for name in arguments.extras or COMMANDS if name != CORE)]:
        rows.append(check(extra, folder, core, wheel, arguments.torch_index))
        print(f'{extra:<14}{rows[-1][1]:>8.0f} MB {rows[-1][2]:>6.0f} s  {rows[-1][3]}', flush=True)
        if extra != CORE and not arguments.keep:
            shutil.rmtree(folder / extra)
    if not arguments.keep:
        shutil.rmtree(core)
    print(f'what the commands wrote: {folder}')
    sys.exit(any(not row[3].endswith('commands ran') for row in rows))


if __name__ == '__main__':
    main()
