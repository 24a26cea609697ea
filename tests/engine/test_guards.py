"""Two runs in one folder, losses that are not finite, and being asked to stop."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from rich.console import Console
from run_random_clips import CONFIG, clips, train

from handpose.engine import build_runner, load_config, run_settings
from handpose.engine.checkpoints import newest_checkpoint
from handpose.engine.guards import NonFiniteLoss, StopSignal, WorkDirLock
from handpose.engine.progress import ProgressHook
from handpose.registry import HOOKS, TRANSFORMS

HOLDER = """
import sys
from handpose.engine.guards import WorkDirLock
lock = WorkDirLock(sys.argv[1])
print('locked', flush=True)
sys.stdin.read()
"""


def hold(folder):
    process = subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == 'locked\n'
    return process


def test_a_fresh_run_does_not_write_over_an_old_one(tmp_path):
    train(tmp_path, 1, {'epochs': 2})
    config = run_settings(load_config(CONFIG, {'val_dataloader': None, **clips(8)}), tmp_path)
    with pytest.raises(ValueError, match=r'holds checkpoints of an earlier run \(epoch_1\.pth, .*--resume'):
        build_runner(config, experiment_name='fresh')


def test_a_second_run_in_a_work_directory_is_refused(tmp_path):
    first = hold(tmp_path)
    with pytest.raises(ValueError, match=rf'in use: process {first.pid} on .* --work-dir'):
        train(tmp_path, 1)
    first.kill()  # without any chance to clean up
    first.wait()
    (tmp_path / '.writing-epoch_1.pth.x').write_text('of a killed run')
    WorkDirLock(tmp_path).release()
    assert not list(tmp_path.glob('.writing*'))
    after = hold(tmp_path)
    after.communicate('')
    assert after.returncode == 0


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, number):
    def no_locks(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr('fcntl.lockf', no_locks)
    with pytest.warns(UserWarning, match='cannot be locked'):
        lock = WorkDirLock(tmp_path)
    lock.release()


def test_a_system_without_fcntl_is_a_warning(tmp_path):
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        'import handpose.datasets, handpose.engine.runner\n'
        'from handpose.engine.guards import WorkDirLock\n'
        'WorkDirLock(sys.argv[1]).release()'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0 and 'cannot be locked' in done.stderr, done.stderr


@TRANSFORMS.register_module()
class PoisonClip:
    """Makes the true joints of one clip so large that their squared errors are infinite."""

    def __init__(self, sequence):
        self.sequence = sequence

    def __call__(self, sample, rng):
        if sample.meta['sequence'] == self.sequence:
            sample = sample.replace(joints_3d=sample.joints_3d * 1e30)
        return sample


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_samples(tmp_path):
    good = train(tmp_path, 1, {'epochs': 2})
    before = {name: value.clone() for name, value in good.model.state_dict().items()}
    poison = dict(type='RandomClips', pipeline=[dict(type='PoisonClip', sequence='3')], _delete_=True)
    with pytest.raises(NonFiniteLoss, match=r'loss_\w+ = .*samples .*random 3 camera 0') as caught:
        train(tmp_path, 2, {'epochs': 2, 'train_dataset': poison})
    assert 'handpose browse' in str(caught.value)
    assert [p.name for p in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, saved[name]) for name, value in before.items())


@TRANSFORMS.register_module()
class AskToStop:
    """Sends this process a signal when it comes to its n-th clip."""

    def __init__(self, count, number):
        self.count, self.number, self.seen = count, number, 0

    def __call__(self, sample, rng):
        self.seen += 1
        if self.seen == self.count:
            os.kill(os.getpid(), self.number)
        return sample


def asking(number, clip=5, length=8):
    """Options of `train` with a signal while that clip is read; a batch has two."""
    return clips(length, [dict(type='AskToStop', count=clip, number=int(number))])


@HOOKS.register_module()
class InTheMiddle(Hook):
    """When the batch of iteration 2 is there, sends this process a signal or removes the work directory."""

    def __init__(self, number=None):
        self.number = number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and self.number is None:
            shutil.rmtree(runner.work_dir)
        elif runner.iter == 2:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stops_after_a_checkpoint_when_asked_to(tmp_path, number):
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 2, {'epochs': 2, 'custom_hooks': [dict(type='InTheMiddle', number=int(number))]})
    assert signal.getsignal(number) is handler
    assert newest_checkpoint(tmp_path).endswith('iter_3.pth')
    assert train(tmp_path, 2, {'epochs': 2}).epoch == 2


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stops_while_it_waits_for_data(tmp_path, number):
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 2, {'epochs': 2, **asking(number)})
    assert signal.getsignal(number) is handler
    assert newest_checkpoint(tmp_path).endswith('iter_2.pth')
    assert train(tmp_path, 2, {'epochs': 2}).epoch == 2


def test_waits_for_the_end_of_a_half_done_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 2, {'epochs': 2, 'training.accumulate': 4, **asking(signal.SIGINT, length=16)})
    assert newest_checkpoint(tmp_path).endswith('iter_4.pth')


def test_a_stop_before_the_first_batch_saves_nothing(tmp_path):
    stop = StopSignal()
    stop.install()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), stop.waiting():
            raise AssertionError('waits although a stop was requested')
    finally:
        stop.restore()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 1, {'epochs': 2, **asking(signal.SIGINT, clip=1)})
    assert newest_checkpoint(tmp_path) is None


def test_a_bar_ends_with_a_run_that_failed():
    hook = ProgressHook()
    hook.console = Console(file=io.StringIO(), force_terminal=True)
    hook.before_train(SimpleNamespace(max_iters=4, iter=1))
    bar = hook.progress
    assert bar.live.is_started  # it redirects the standard output
    hook.after_run(None)
    assert not bar.live.is_started and hook.progress is None


@pytest.mark.parametrize('visualizer', [None, dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])])
def test_a_removed_work_directory_ends_in_a_message(tmp_path, visualizer):
    folder = tmp_path / 'run'
    options = {'epochs': 1, 'visualizer': visualizer, 'default_hooks.logger.interval': 1}
    options['custom_hooks'] = [dict(type='InTheMiddle')]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match=rf'work directory {folder} was removed'):
        train(folder, 1, options)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not list(tmp_path.rglob('*.pth'))
