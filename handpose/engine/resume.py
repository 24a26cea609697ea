"""What a checkpoint records of its run, and whether another run may go on from it."""

import numpy as np
from mmengine.hooks import Hook

import handpose
from handpose.engine.adapter import bare
from handpose.engine.compat import CHECKPOINT_FORMAT, load_checkpoint_file, replay_schedule
from handpose.registry import HOOKS

# What must be equal for the same iteration to see the same clips; how a sentence calls it.
SAME = {
    'samples': 'training samples',
    'batch_size': 'clips in a batch',
    'processes': 'processes',
    'batches_per_step': 'accumulated batches',
    'seed': 'as seed',
}


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes into every checkpoint which hand model, estimator and run it is from; see `check_same_run`."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Notes the learning rates of this iteration."""
        self.learning_rates = [group['lr'] for group in runner.optim_wrapper.param_groups]

    def before_save_checkpoint(self, runner, checkpoint):
        """Writes `meta['hand_model']`, `['estimator']`, `['format']`, `['handpose_version']` and `['run']`."""
        estimator = bare(runner.model).estimator
        hand_model = getattr(estimator, 'hand_model', None)
        checkpoint['meta'].update(
            hand_model=hand_model.name if hand_model is not None else None,
            estimator=type(estimator).__name__,
            format=CHECKPOINT_FORMAT,
            handpose_version=handpose.__version__,
            run={**run_record(runner), 'learning_rates': self.learning_rates},
        )


def run_record(runner):
    """{name: number} of what decides which clips an iteration sees, and the length of the run."""
    batches = runner.train_dataloader.batch_sampler
    return {
        'samples': batches.num_samples,
        'batch_size': batches.batch_size,
        'processes': batches.world_size,
        'batches_per_step': batches.batches_per_step,
        'seed': batches.seed,
        'max_epochs': runner.max_epochs,
    }


def is_finished(filename, max_epochs):
    """True when the checkpoint `filename` was saved after `max_epochs` epochs or more."""
    return load_checkpoint_file(filename, mmap=True).get('meta', {}).get('epoch', 0) >= max_epochs


def check_has_record(meta, filename):
    """Refuses a checkpoint that another program wrote, from which nothing can be resumed exactly."""
    if not isinstance(meta.get('run'), dict):
        raise ValueError(
            f'{filename} has no record of its run, so it cannot be resumed exactly; start anew from its weights with '
            f'--cfg-options load_from={filename}'
        )


def initial_rates(runner):
    """The learning rate of each parameter group before any schedule."""
    return [group.get('initial_lr', group['lr']) for group in runner.optim_wrapper.param_groups]


def check_same_run(runner, meta, filename, planned_rates):
    """Refuses to go on from a checkpoint where the result would not be that of one unbroken run.

    With another number of epochs than the checkpoint's run had, the config's own schedule takes over, if it would
    have given the iterations done so far the learning rates that they had.

    Args:
        runner: resumed from the file by mmengine. meta: of the checkpoint. filename: names it in sentences.
        planned_rates: `initial_rates` as the config has them.

    Raises:
        ValueError: the file has no record of its run, is of a run with other data, batches or processes, or the
            schedule does not fit; says what to do.
    """
    anew = f'or start anew from its weights with --work-dir OTHER --cfg-options load_from={filename}'
    record, ours = meta['run'], run_record(runner)
    for name, words in SAME.items():
        if record[name] != ours[name]:
            raise ValueError(
                f'{filename} was saved by a run with {record[name]} {words}, this one has {ours[name]}; resume with '
                f'the same, {anew}'
            )
    if initial_rates(runner) != planned_rates:
        raise ValueError(
            f'{filename} was saved by a run with a learning rate of {initial_rates(runner)[0]:g}, this one has '
            f'{planned_rates[0]:g}; resume with the same, {anew}'
        )
    if record['max_epochs'] == ours['max_epochs']:
        return
    rates = replay_schedule(runner)
    if not np.allclose(rates, record['learning_rates'], rtol=1e-6, atol=0):
        raise ValueError(
            f'{filename} is from a run of {record["max_epochs"]} epochs; in one of {ours["max_epochs"]} its last '
            f'iteration would have had a learning rate of {rates[0]:.4g}, not {record["learning_rates"][0]:.4g}: keep '
            f'epochs={record["max_epochs"]}, {anew}'
        )
