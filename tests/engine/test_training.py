"""The runner: adversarial training under mixed precision, accumulation and two processes; resume."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from run_random_clips import train


def weights(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def test_trains_both_players_and_resumes(tmp_path):
    """Killed after two epochs and resumed, the weights are those of four epochs without a break."""
    whole = weights(train(tmp_path / 'whole', 4))
    train(tmp_path / 'parts', 2)
    resumed = train(tmp_path / 'parts', 4)
    assert resumed.epoch == 4
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0, msg=name)
    checkpoint = torch.load(tmp_path / 'parts' / 'epoch_4.pth', weights_only=True)
    assert checkpoint['meta']['hand_model'] == 'procedural-1'


@pytest.mark.parametrize('amp', [False, True])
def test_accumulation_and_mixed_precision(tmp_path, amp):
    options = {'training.accumulate': 2, 'training.amp': amp}
    before = weights(train(tmp_path, 1, options))
    after = weights(train(tmp_path, 2, options))
    for player in ('backbone.smooth.weight', 'loss_function.discriminator.score.weight'):
        assert not torch.equal(before[f'estimator.{player}'], after[f'estimator.{player}'])
    assert all(value.isfinite().all() for value in after.values())


def test_two_processes(tmp_path):
    """DDP over gloo: both processes end in order, and their gradients were averaged into one set of weights."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name('run_random_clips.py')
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_addr=127.0.0.1']
    command += [f'--master_port={port}', str(script), str(tmp_path), '1']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
