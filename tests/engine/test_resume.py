"""Resuming gives what an unbroken run gives, or says why it cannot."""

import copy

import kill_and_resume
import pytest
import torch
from run_random_clips import clips, train

from handpose.engine.checkpoints import newest_checkpoint
from handpose.engine.epochs import EpochBatches

STEP_LR = {'param_scheduler': [dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True, begin=0, end='$epochs')]}
COSINE = {'param_scheduler': [dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs')]}


def weights(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize('workers, accumulate', [(0, 2), (2, 1)])
def test_killed_and_resumed_is_the_unbroken_run(tmp_path, workers, accumulate):
    """A short form of kill_and_resume.py, which has the whole of it."""
    reference = tmp_path / 'unbroken'
    assert kill_and_resume.wait(kill_and_resume.start(reference, 0, accumulate)) == 0
    folders, counts = kill_and_resume.run_with_kills(tmp_path / 'killed', workers, 2, accumulate=accumulate)
    assert counts['mid-epoch'] >= 1
    assert kill_and_resume.differences(folders[-1], reference) == []


def test_more_epochs_go_on_as_if_planned(tmp_path):
    """The schedule of more epochs is the one of fewer, so far: the longer run is that of a longer plan."""
    whole = weights(train(tmp_path / 'whole', 3, {'epochs': 3, **STEP_LR}))
    train(tmp_path / 'parts', 2, {'epochs': 2, **STEP_LR})
    longer = train(tmp_path / 'parts', 3, {'epochs': 3, **STEP_LR})
    assert longer.optim_wrapper.get_lr()['lr'][0] == pytest.approx(5e-4 * 0.5**2)
    for name, value in weights(longer).items():
        assert torch.equal(value, whole[name]), name


def test_more_epochs_with_a_schedule_that_depends_on_them_is_refused(tmp_path):
    train(tmp_path, 2, {'epochs': 2, **COSINE})
    with pytest.raises(ValueError, match=r'run of 2 epochs; in one of 4 .* keep epochs=2, or start anew'):
        train(tmp_path, 4, {'epochs': 4, **COSINE})


@pytest.mark.parametrize(
    'option, words',
    [
        ({'batch_size': 4}, '2 clips in a batch, this one has 4'),
        (clips(6), '8 training samples, this one has 6'),
        ({'randomness.seed': 3}, '0 as seed, this one has 3'),
        ({'optim_wrapper.optimizer.lr': 1e-4}, r'learning rate of 0\.0005, this one has 0\.0001'),
    ],
)
def test_another_run_is_refused(tmp_path, option, words):
    train(tmp_path, 1, {'epochs': 2})
    with pytest.raises(ValueError, match=words):
        train(tmp_path, 2, {'epochs': 2, **option})


def test_a_file_without_a_record_is_refused(tmp_path):
    train(tmp_path, 1, {'epochs': 2})
    path = newest_checkpoint(tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta']['run']
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='has no record of its run'):
        train(tmp_path, 2, {'epochs': 2})


def first_state(checkpoint):
    return next(iter(checkpoint['optimizer']['state'].values()))


HARM = {
    r'has no optimizer state': lambda c: c.pop('optimizer'),
    r'has no learning rate schedules': lambda c: c.pop('param_schedulers'),
    r'has no history': lambda c: c.pop('message_hub'),
    r'has no weights': lambda c: c['state_dict'].clear(),
    r'weights .* are not finite': lambda c: next(iter(c['state_dict'].values())).view(-1)[0].fill_(float('nan')),
    r'exp_avg of tensor 0 .* is not finite': lambda c: first_state(c)['exp_avg'].fill_(float('inf')),
    r'exp_avg_sq of tensor 0 .* has the shape \(2,\), not': lambda c: first_state(c).update(exp_avg_sq=torch.ones(2)),
    r'optimizer state of \d+ tensors, and says': lambda c: c['optimizer']['state'].popitem(),
    r'parameter groups of': lambda c: c['optimizer']['param_groups'][0]['params'].pop(),
    r'settings of its optimizer are not': lambda c: c['optimizer']['param_groups'][0].update(lr=float('nan')),
    r'meta.epoch is -1': lambda c: c['meta'].update(epoch=-1),
    r'meta says iter 9, its history .* says 3': lambda c: c['meta'].update(iter=9),
}


@pytest.fixture(scope='module')
def one_epoch(tmp_path_factory):
    folder = tmp_path_factory.mktemp('one_epoch')
    train(folder, 1, {'epochs': 2})
    return torch.load(newest_checkpoint(folder), weights_only=True)


@pytest.mark.parametrize('words', HARM)
def test_a_checkpoint_that_lacks_something_is_refused(tmp_path, one_epoch, words):
    checkpoint = copy.deepcopy(one_epoch)
    HARM[words](checkpoint)
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match=rf'epoch_1\.pth cannot be resumed: .*{words}.*load_from='):
        train(tmp_path, 2, {'epochs': 2})


def test_a_clock_that_jumps_back_changes_nothing(tmp_path, monkeypatch):
    whole = weights(train(tmp_path / 'whole', 2, {'epochs': 2}))
    train(tmp_path / 'parts', 1, {'epochs': 2})
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr('time.time', lambda: float(next(clock)))
    resumed = weights(train(tmp_path / 'parts', 2, {'epochs': 2}))
    monkeypatch.undo()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())
    assert newest_checkpoint(tmp_path / 'parts').endswith('epoch_2.pth')


def test_the_batches_of_an_epoch():
    """Every sample at most once over all processes; entering late gives the rest; another epoch another order."""
    parts = [EpochBatches(23, 3, seed=5, batches_per_step=2, rank=rank, world_size=2) for rank in (0, 1)]
    for part in parts:
        part.enter(epoch=4)
    batches = [list(part) for part in parts]
    assert [len(b) for b in batches] == [len(p) for p in parts] == [2, 2]
    flat = [index for part in batches for batch in part for index in batch]
    assert len(set(flat)) == len(flat) == 12
    parts[0].enter(epoch=4, first=1)
    assert list(parts[0]) == batches[0][1:]
    parts[0].enter(epoch=5)
    assert list(parts[0]) != batches[0]
    other_seed = EpochBatches(23, 3, seed=6, batches_per_step=2, rank=0, world_size=2)
    other_seed.enter(epoch=4)
    assert list(other_seed) != batches[0]


def test_too_few_samples_for_a_step():
    with pytest.raises(ValueError, match='11 samples, and one optimizer step needs 12: batch size 3 x 2 processes x 2'):
        EpochBatches(11, 3, batches_per_step=2, rank=0, world_size=2)
