"""Weights on their way from a training run to another machine: nothing changes but the file."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from handpose.engine import load_config, load_weights
from handpose.registry import MODELS
from handpose.zoo.index import read_index
from handpose.zoo.publish import FILL_IN

ROOT = Path(__file__).parents[2]
SMALL = 'configs/deformer/synthetic_paper.py'


def answer(weights):
    """The sha256 of everything that the small Deformer with these weights answers to a fixed clip."""
    torch.set_num_threads(1)
    estimator = MODELS.build(load_config(ROOT / SMALL).model).eval()
    load_weights(estimator, weights)
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (1, 3, 3, 64, 64), generator=draw, dtype=torch.uint8)
    with torch.no_grad():
        output = estimator(images, torch.tensor([8.0, 8.0, 56.0, 56.0]).expand(1, 3, 4), torch.tensor([1]))
    return hashlib.sha256(b''.join(part.numpy().tobytes() for part in output)).hexdigest()


def publish(*arguments):
    return run('tools/publish_model.py', *arguments)


def run(*arguments):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert 'Traceback' not in done.stderr, done.stderr
    return done


def zoo_entry(text, folder):
    """The entry of an index that has `text`, once the publisher has said what the licence allows."""
    found = yaml.safe_load(text)
    for values in found.values():
        assert values['commercial_use'] == FILL_IN
        values['commercial_use'] = True
    (folder / 'index.yml').write_text(yaml.safe_dump({'format': 1, 'entries': found}))
    (entry,) = read_index(folder / 'index.yml').values()
    return entry


@pytest.fixture
def checkpoint(tmp_path):
    """What training would write, with statistics of batch norm that differ from the start."""
    estimator = MODELS.build(load_config(ROOT / SMALL).model)
    for name, buffer in estimator.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    state = {f'estimator.{key}': value for key, value in estimator.state_dict().items()}
    meta = {'hand_model': 'procedural-1', 'estimator': 'Deformer', 'epoch': 3}
    torch.save({'state_dict': state, 'meta': meta, 'optimizer': {'state': {}}}, tmp_path / 'epoch_3.pth')
    return tmp_path / 'epoch_3.pth'


def test_published_weights_answer_bit_for_bit_as_the_checkpoint(checkpoint, tmp_path):
    metrics = tmp_path / 'metrics.json'
    metrics.write_text(json.dumps({'model': {'pa_mpjpe_mm': 9.876, 'mpjpe_ra_wrist_mm': 36.3}, 'mean hand': {}}))
    output = tmp_path / 'small.safetensors'
    done = publish(str(checkpoint), SMALL, '-o', str(output), '--licence', 'Apache-2.0', '--metrics', str(metrics))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob('small-*.safetensors')
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stem == f'small-{sha256[:8]}' and f'sha256 {sha256}' in done.stdout
    entry = zoo_entry(done.stdout.partition('for handpose/zoo/index.yml:\n')[2], tmp_path)
    assert (entry.name, entry.file, entry.sha256) == ('small', path.name, sha256)
    assert entry.size == path.stat().st_size and entry.config == 'deformer/synthetic_paper'
    assert entry.training == 'handpose train deformer/synthetic_paper' and entry.licence == 'Apache-2.0'
    numbers = [(metric.name, metric.value, metric.unit, metric.command) for metric in entry.metrics]
    command = 'handpose test deformer/synthetic_paper small'
    assert numbers == [('PA-MPJPE', 9.88, 'mm', command), ('wrist-aligned MPJPE', 36.3, 'mm', command)]
    fresh = run('-c', f'from test_publish_model import answer; print(answer({str(path)!r}))').stdout.strip()
    assert len(fresh) == 64 and fresh == answer(checkpoint)
    shown = json.loads(publish('--show', str(path)).stdout)
    assert shown['metrics']['pa_mpjpe_mm'] == 9.876 and shown['config'] == 'deformer/synthetic_paper.py'
    assert path.stat().st_size < 0.98 * checkpoint.stat().st_size


def test_a_sentence_says_what_cannot_be_published(checkpoint, tmp_path):
    done = publish(str(checkpoint), SMALL, '-o', str(tmp_path / 'small.safetensors'), '--licence', ' ')
    assert done.returncode != 0 and done.stderr.startswith('error: weights need a licence')
    assert not list(tmp_path.glob('*.safetensors'))
