"""Several processes over gloo: what they compute, how they die, and how they go on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import CONFIG, HERE, ROOT, finish, start, start_training, wait_for, workers
from shared_work import ESTIMATORS, SHARES, make_batch, make_estimator, metrics_of

from handpose.models import TrainingStep

# Starting Python some fourteen times takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)
# A run has 30 iterations: 3 epochs of 10, with a checkpoint after every fourth one and after every epoch.
LAST = 'epoch_3.pth'


def clean(started):
    """What a run printed that ended as it should: gloo has been seen to abort after the last line of a script."""
    status, output = finish(started)
    assert status == 0 and 'terminate called' not in output, output
    return output


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """What each of two processes got from `shared_work.py`."""
    folder = tmp_path_factory.mktemp('shared')
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    clean(start(*command, HERE / 'shared_work.py', folder))
    return [torch.load(folder / f'rank_{rank}.pt') for rank in (0, 1)]


def gradients(name, clips):
    """{parameter: gradient} of the summed losses of one batch, by plain autograd."""
    estimator = make_estimator(name)
    sum(estimator.loss(make_batch(clips), TrainingStep()).values()).backward()
    return {key: value.grad for key, value in estimator.named_parameters()}


def furthest(found, expected):
    """The largest difference of two sets of gradients, as a share of the largest gradient."""
    scale = max(value.abs().max() for value in expected.values())
    return max((found[key] - expected[key]).abs().max() / scale for key in expected).item()


@pytest.mark.parametrize('name', ESTIMATORS)
def test_two_processes_have_the_gradients_of_one_doubled_batch(shared, name):
    """With equally many valid targets in both; the linear hands to float64's rounding, Deformer to float32's."""
    expected = gradients(name, SHARES['even'][0] + SHARES['even'][1])
    tolerance = 1e-5 if name == 'Deformer' else 1e-13
    assert furthest(shared[0][name, 'even'], expected) < tolerance
    assert all(torch.equal(value, shared[1][name, 'even'][key]) for key, value in shared[0][name, 'even'].items())


@pytest.mark.parametrize('name', ESTIMATORS)
def test_processes_with_unequal_numbers_of_targets_weigh_the_same(shared, name):
    """The mean of the processes' own means, which docs/guides/distributed.md states; the doubled batch would differ."""
    parts = [gradients(name, share) for share in SHARES['uneven']]
    expected = {key: (parts[0][key] + parts[1][key]) / 2 for key in parts[0]}
    tolerance = 1e-5 if name == 'Deformer' else 1e-13
    assert furthest(shared[0][name, 'uneven'], expected) < tolerance
    assert furthest(gradients(name, SHARES['uneven'][0] + SHARES['uneven'][1]), expected) > 1e-2


def test_metrics_of_an_uneven_set_count_each_sample_once(shared, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: the same sums in the same order
    one = metrics_of(tmp_path, 'none')
    torch.set_num_threads(threads)
    assert one['num_samples'] == one['num_mesh_samples'] == 33 * 3 and one['num_missing'] == 0
    assert shared[0]['metrics'] == shared[1]['metrics'] == {name: float(value) for name, value in one.items()}
    # A hand without anything to train goes the same way: DDP would refuse it.
    assert shared[0]['constant hand'] == shared[1]['constant hand'] == 33 * 3


def can_make_networks():
    """True where this user may give processes a network of their own."""
    probe = f'handpose-probe-{os.getpid()}'
    if shutil.which('ip') is None or subprocess.run(['ip', 'netns', 'add', probe], capture_output=True).returncode:
        return False
    subprocess.run(['ip', 'netns', 'del', probe], check=True)
    return True


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """The work directory of a whole run, one process on each of two nodes."""
    folder = tmp_path_factory.mktemp('nodes')
    mode = 'namespaces' if can_make_networks() else 'ports'
    assert f'two nodes ({mode}): both ended well' in clean(start('tests/engine/run_two_nodes.sh', mode, folder))
    return folder


def test_two_nodes(unbroken):
    state = torch.load(unbroken / LAST, weights_only=True)
    assert state['meta']['run']['processes'] == 2 and state['meta']['iter'] == 30
    assert all(value.isfinite().all() for value in state['state_dict'].values())


@pytest.mark.skipif(not Path('/proc/self/environ').exists(), reason='finds the processes in /proc')
def test_killed_in_mid_epoch_and_resumed(unbroken, tmp_path):
    """One process is killed, then both, then Slurm goes on: the end is that of the unbroken run, bit for bit."""
    work_dir = tmp_path / 'run'
    kill_in_mid_epoch(work_dir, ranks=[1])
    kill_in_mid_epoch(work_dir, ranks=[0, 1])
    arguments = clean(start_under_slurm(tmp_path, work_dir))
    assert '--kill-on-bad-exit=1' in arguments and '--partition=batch' in arguments and '--nodes=1' in arguments
    ours, theirs = (torch.load(folder / LAST, weights_only=True) for folder in (work_dir, unbroken))
    different = [key for key, value in theirs['state_dict'].items() if not torch.equal(value, ours['state_dict'][key])]
    assert not different and ours['meta']['iter'] == theirs['meta']['iter'] == 30


def kill_in_mid_epoch(work_dir, ranks):
    """Starts or resumes a run and kills processes of it; the rest must end by itself, soon, and say why."""
    seen = set(work_dir.glob('iter_*.pth'))
    run = start_training(work_dir, '--resume')
    processes = wait_for(lambda: len(found := workers(run)) == 2 and found, run)
    wait_for(lambda: set(work_dir.glob('iter_*.pth')) - seen, run)
    for rank in ranks:
        os.kill(processes[rank], signal.SIGKILL)
    status, output = finish(run, seconds=60)
    assert status != 0 and 'SIGKILL' in output, output
    assert not any(Path(f'/proc/{process}').exists() for process in processes.values())
    assert not (work_dir / LAST).exists()


FAKE_SRUN = """#!/usr/bin/env bash
# Stands in for Slurm: two tasks on this machine.
printf '%s\\n' "$@"
while [[ $1 == --* ]]; do shift; done
for task in 0 1; do
    SLURM_NTASKS=2 SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_JOB_NODELIST=node1 SLURM_JOB_ID=$FAKE_JOB "$@" &
done
wait -n && wait -n
"""


def start_under_slurm(folder, work_dir):
    programs = {'srun': FAKE_SRUN, 'scontrol': '#!/bin/sh\necho 127.0.0.1\necho node2\n'}
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    with socket.socket() as probe:
        for job in range(os.getpid() % 10000, 20000):
            try:
                probe.bind(('127.0.0.1', 20000 + job))
                break
            except OSError:
                continue
    path = f'{folder}:{os.environ["PATH"]}'
    command = ['tools/slurm_train.sh', 'batch', 'name', CONFIG, work_dir]
    return start(*command, PATH=path, FAKE_JOB=str(job), GPUS_PER_NODE='0', PROCS_PER_NODE='2')


@pytest.mark.parametrize(
    'command, variables, words',
    [
        ('dist_train.sh', {}, 'needs CONFIG and NPROC'),
        ('dist_test.sh configs/deformer/synthetic.py', {}, 'dist_test.sh needs CONFIG and NPROC, got 1'),
        ('dist_train.sh nowhere.py 2', {}, 'no config file nowhere.py'),
        ('dist_train.sh configs/deformer/synthetic.py two', {}, "at least 1, got 'two'"),
        ('dist_train.sh configs/deformer/synthetic.py 0', {}, "at least 1, got '0'"),
        ('dist_train.sh configs/deformer/synthetic.py 2', {'NNODES': 'x'}, 'NNODES must be'),
        ('dist_train.sh configs/deformer/synthetic.py 2', {'NNODES': '2'}, 'NODE_RANK (0 to 1) and MASTER_ADDR'),
        (
            'dist_train.sh configs/deformer/synthetic.py 2',
            {'NNODES': '2', 'NODE_RANK': '2', 'MASTER_ADDR': 'a'},
            "from 0 to 1, got '2'",
        ),
        ('dist_train.sh configs/deformer/synthetic.py 2', {'MASTER_PORT': 'x'}, "port number, got 'x'"),
        ('dist_train.sh configs/deformer/synthetic.py 2', {'PYTHON': 'no-python'}, 'no program no-python'),
        ('slurm_train.sh batch name configs/deformer/synthetic.py', {}, 'PARTITION JOB CONFIG WORK_DIR, got 3'),
        ('slurm_train.sh batch name nowhere.py work', {}, 'no config file nowhere.py'),
        ('slurm_train.sh batch name configs/deformer/synthetic.py work', {}, 'no program srun'),
    ],
)
def test_a_sentence_says_what_is_wrong(command, variables, words):
    if 'srun' in words and shutil.which('srun'):
        pytest.skip('this machine has Slurm')
    name, *arguments = command.split()
    status, output = finish(start(f'tools/{name}', *arguments, **variables))
    assert status == 2 and output.startswith('error: ') and words in output
    assert output.count('\n') == 1


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_help(name):
    assert f'usage: tools/{name}' in clean(start(f'tools/{name}', '--help'))


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='shellcheck is not installed')
def test_scripts_are_clean():
    scripts = [*(ROOT / 'tools').glob('*.sh'), *HERE.glob('*.sh')]
    done = subprocess.run(['shellcheck', *scripts], capture_output=True, text=True)
    assert len(scripts) >= 5 and done.returncode == 0, done.stdout
