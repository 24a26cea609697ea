"""One check in this process: python -m cuda_check.steps NAME --device cuda --figures FILE.json [--small]"""

import argparse
import json
import multiprocessing
import os
import platform
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch

from cuda_check import models
from cuda_check.wheels import ROOT

sys.path.insert(0, str(ROOT / 'tests' / 'engine'))
TOLERANCE = dict(rtol=1e-2, atol=1e-3)  # of resumed weights on CUDA: some of its sums have no fixed order


def environment(device, small):
    """Names the machine and the versions; fails where there is no such device."""
    figures = {'python': platform.python_version(), 'torch': torch.__version__, 'cores': os.cpu_count()}
    for name in ('numpy', 'scipy', 'cv2', 'mmengine', 'mmcv', 'smplx'):
        figures[name] = getattr(__import__(name), '__version__', 'unknown')
    if device == 'cuda':
        card = torch.cuda.get_device_properties(0)
        figures |= {
            'device_name': card.name,
            'memory_gib': round(card.total_memory / 2**30, 1),
            'capability': f'{card.major}.{card.minor}',
            'cuda': torch.version.cuda,
            'cudnn': torch.backends.cudnn.version(),
        }
        x = torch.randn(64, 64, device=device)
        torch.testing.assert_close((x @ x).cpu(), x.cpu() @ x.cpu(), rtol=1e-2, atol=1e-2)
    else:
        figures['device_name'] = platform.processor() or platform.machine()
    return figures


def nccl(device, small):
    """Trains an epoch as a process group of one, and adds up over the group."""
    from run_random_clips import clips, train

    from handpose.engine import compat

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.environ |= dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    try:
        with tempfile.TemporaryDirectory() as folder:
            runner = train(Path(folder) / 'run', 1, {'epochs': 1, **clips(4)}, launcher='pytorch')
        backend = torch.distributed.get_backend()
        assert backend == ('nccl' if device == 'cuda' else 'gloo'), f'the process group uses {backend}'
        wrapped = isinstance(runner.model, torch.nn.parallel.DistributedDataParallel)
        assert wrapped, f'the model is a {type(runner.model).__name__}, not wrapped for several processes'
        assert next(runner.model.parameters()).device.type == device
        ones = torch.ones(1024, device=device)
        torch.distributed.all_reduce(ones)
        torch.distributed.broadcast(ones, 0)
        assert (ones == 1).all(), f'the sum over one process is {ones.unique().tolist()}, not 1'
        return {'backend': backend}
    finally:
        compat.leave_process_group()


def train_part(work_dir, epochs, device):
    """Trains random clips to an epoch in this process, going on from what the folder holds, and saves the weights."""
    from run_random_clips import clips, train

    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'  # read when CUDA is first used in this process
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    runner = train(work_dir, epochs, {'epochs': 2, 'env_cfg.cudnn_benchmark': False, **clips(8)})
    assert next(runner.model.parameters()).device.type == device
    state = {name: value.cpu() for name, value in runner.model.state_dict().items()}
    torch.save({'iterations': runner.iter, 'weights': state}, f'{work_dir}.pt')


def resume(device, small):
    """Two epochs at once, and in two processes one after the other: the weights must be the same."""
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / 'whole', Path(folder) / 'parts'
        states = []
        for work_dir, epochs in ((whole, 2), (parts, 1), (parts, 2)):
            process = context.Process(target=train_part, args=(str(work_dir), epochs, device))
            process.start()
            process.join()
            assert process.exitcode == 0, f'training to epoch {epochs} ended with exit code {process.exitcode}'
            states.append(torch.load(f'{work_dir}.pt', weights_only=True))
    whole, stopped, resumed = states
    assert whole['iterations'] == resumed['iterations'] == 2 * stopped['iterations'], 'not the same iterations'
    gaps = {}
    for name, value in whole['weights'].items():
        gaps[name] = (resumed['weights'][name].double() - value.double()).abs().max().item()
        tolerance = TOLERANCE if device == 'cuda' else dict(rtol=0, atol=0)
        torch.testing.assert_close(
            resumed['weights'][name], value, **tolerance, msg=lambda text, n=name: f'{n}: {text}'
        )
    moved = max(
        (stopped['weights'][n] - v).abs().max().item() for n, v in whole['weights'].items() if v.is_floating_point()
    )
    assert moved > 0, 'the second epoch changed no weight, so that nothing was compared'
    return {'iterations': whole['iterations'], 'largest_difference': max(gaps.values())}


def tests(device, small):
    """Runs the tests marked `cuda`; on CUDA one must have run."""
    files = [str(path) for path in sorted((ROOT / 'tests').rglob('test_*.py')) if 'mark.cuda' in path.read_text()]
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / 'tests.xml'
        words = ['-m', 'cuda', '-v', '--tb=short', '-p', 'no:cacheprovider', f'--junitxml={found}', *files]
        done = subprocess.run([sys.executable, '-m', 'pytest', *words], cwd=ROOT)
        cases = list(ElementTree.parse(found).iter('testcase'))
    figures = dict(run=0, skipped=0, failures={})
    for case in cases:
        bad = case.find('failure') if case.find('failure') is not None else case.find('error')
        figures['run' if case.find('skipped') is None else 'skipped'] += 1
        if bad is not None:
            figures['failures'][f'{case.get("classname")}::{case.get("name")}'] = bad.get('message')
    enough = figures['run'] > 0 or device != 'cuda'
    return figures, done.returncode == 0 and enough, f'{len(figures["failures"])} of {figures["run"]} tests failed'


STEPS = {function.__name__: function for function in (environment, nccl, resume, tests)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name')
    parser.add_argument('--device', choices=['cuda', 'cpu'], required=True)
    parser.add_argument('--figures', type=Path, required=True)
    parser.add_argument('--small', action='store_true')
    arguments = parser.parse_args()
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        sys.exit('torch finds no CUDA device on this machine')
    if arguments.name in STEPS:
        answer = STEPS[arguments.name](arguments.device, arguments.small)
    else:
        answer = models.measure(*arguments.name.split('_'), arguments.device, arguments.small)
    figures, passed, message = answer if isinstance(answer, tuple) else (answer, True, '')
    arguments.figures.write_text(json.dumps(figures))
    if not passed:
        sys.exit(message)


if __name__ == '__main__':
    main()
