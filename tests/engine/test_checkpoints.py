"""What is saved, when, and which file is used again."""

import os
from pathlib import Path

import pytest
import torch
from run_random_clips import clips, train

from handpose.engine.checkpoints import CheckpointHook, choose_checkpoint, find_corruption, newest_checkpoint

KEEP = 'default_hooks.checkpoint.keep'
EVERY = 'default_hooks.checkpoint.interval_iters'


def save(path, iteration):
    torch.save({'meta': {'iter': iteration}, 'state_dict': {'x': torch.randn(1000)}}, path)
    return str(path)


def names(folder):
    return sorted(p.name for p in Path(folder).glob('*.pth'))


def test_newest_has_the_most_iterations_whatever_the_clock_says(tmp_path):
    newest = save(tmp_path / 'iter_30.pth', 30)
    save(tmp_path / 'epoch_2.pth', 24)
    os.utime(newest, (0, 0))  # the clock was set back before it was written
    assert newest_checkpoint(tmp_path) == newest
    assert newest_checkpoint(tmp_path / 'nowhere') is None


def test_training_starts_from_the_newest_checkpoint_of_a_folder(tmp_path):
    trained = train(tmp_path / 'first', 1).model.state_dict()
    runner = train(tmp_path / 'second', 1)
    runner.load_checkpoint(str(tmp_path / 'first'))
    assert all(torch.equal(value, trained[name]) for name, value in runner.model.state_dict().items())
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=rf'load_from names the folder {tmp_path}/empty, which holds no checkpoint'):
        runner.load_checkpoint(str(tmp_path / 'empty'))


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def flip_a_bit(path):
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)


@pytest.mark.parametrize('harm', [truncate, flip_a_bit])
def test_a_damaged_newest_file_is_named_and_the_one_before_it_used(tmp_path, harm):
    before, newest = save(tmp_path / 'epoch_1.pth', 10), save(tmp_path / 'epoch_2.pth', 20)
    harm(newest)
    said = []
    assert newest_checkpoint(tmp_path, said.append) == before
    assert len(said) == 1 and newest in said[0]
    with pytest.raises(ValueError, match=r'epoch_2\.pth.*newest good checkpoint'):
        choose_checkpoint(newest, tmp_path)
    harm(before)
    with pytest.raises(ValueError, match=r'every checkpoint in .* is damaged \(epoch_1\.pth, epoch_2\.pth\)'):
        choose_checkpoint('auto', tmp_path)


def test_a_good_file_has_no_damage(tmp_path):
    assert find_corruption(save(tmp_path / 'epoch_1.pth', 10)) is None


def test_keeps_the_newest_of_both_kinds(tmp_path):
    train(tmp_path, 2, {'epochs': 2, KEEP: 3, EVERY: 2})
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'iter_6.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_saves_only_between_optimizer_steps(tmp_path):
    """Half of a step's gradients are in no file, so a file may only be written when there are none."""
    train(tmp_path, 1, {'epochs': 1, EVERY: 3, KEEP: 9, 'training.accumulate': 2, **clips(20)})
    assert names(tmp_path) == ['epoch_1.pth', 'iter_4.pth', 'iter_6.pth']


def test_best_by_a_validation_metric(tmp_path):
    def options(metric):
        return {
            'val_dataset': dict(type='RandomClips', length=4, _delete_=True),
            'val_dataloader': dict(dataset='$val_dataset', batch_size=2),
            'val_evaluator': [dict(type='HandPoseMetric')],
            'train_cfg.val_interval': 1,
            'epochs': 3,
            'default_hooks.checkpoint.save_best': metric,
        }

    runner = train(tmp_path / 'a', 3, options('pa_mpjpe_mm'))
    best = torch.load(tmp_path / 'a' / 'best.pth', weights_only=True)['meta']['best']['pa_mpjpe_mm']
    seen = runner.message_hub.get_scalar('val/pa_mpjpe_mm').data[0]
    assert len(seen) == 3 and best == pytest.approx(min(seen))
    runner = train(tmp_path / 'b', 3, options('auc_pa_0_50mm'))  # larger is better
    best = torch.load(tmp_path / 'b' / 'best.pth', weights_only=True)['meta']['best']['auc_pa_0_50mm']
    assert best == pytest.approx(max(runner.message_hub.get_scalar('val/auc_pa_0_50mm').data[0]))
    train(tmp_path / 'c', 1, {**options('headline'), 'epochs': 1})
    assert set(torch.load(tmp_path / 'c' / 'best.pth', weights_only=True)['meta']['best']) == {'pa_mpjpe_mm'}
    for wrong, message in (
        ('pa_mpjpe', r"no metric reports 'pa_mpjpe'; they report .*Did you mean 'pa_mpjpe_mm'"),
        ('num_samples', 'a count, of which no value is better'),
    ):
        with pytest.raises(ValueError, match=message):
            train(tmp_path / wrong, 1, options(wrong))
    with pytest.raises(ValueError, match='there is no validation'):
        train(tmp_path / 'd', 1, {'default_hooks.checkpoint.save_best': 'headline'})


def test_a_disk_that_fills_up_loses_nothing(tmp_path, monkeypatch):
    train(tmp_path, 1, {'epochs': 2})
    before = (tmp_path / 'epoch_1.pth').read_bytes()

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('handpose.files.atomic.os.fsync', full)
    with pytest.raises(ValueError, match=r'epoch_2\.pth could not be written \(No space left on device\)'):
        train(tmp_path, 2, {'epochs': 2})
    assert names(tmp_path) == ['epoch_1.pth'] and (tmp_path / 'epoch_1.pth').read_bytes() == before
    assert not list(tmp_path.glob('.writing*'))
    monkeypatch.undo()
    assert train(tmp_path, 2, {'epochs': 2}).epoch == 2


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """A finite loss may still have infinite gradients; then the weights are lost, but the file before is not."""
    runner = train(tmp_path, 1, {'epochs': 2})
    with torch.no_grad():
        next(runner.model.parameters())[0] = float('nan')
    with pytest.raises(ValueError, match='is not finite any more'):
        next(h for h in runner.hooks if isinstance(h, CheckpointHook)).save_now(runner)
    assert names(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('bad', [dict(interval=0), dict(keep=0), dict(interval_iters=-1)])
def test_bad_options(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CheckpointHook(**bad)
