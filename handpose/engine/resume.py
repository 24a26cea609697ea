"""What a checkpoint records of its run, and whether another run may go on from it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

import handpose
from handpose.engine.adapter import unwrap_model
from handpose.engine.compat import replay_schedule
from handpose.registry import HOOKS
from handpose.zoo.checkpoint_file import CHECKPOINT_FORMAT, load_checkpoint_file

# What must be equal for the same iteration to see the same clips; what an error message calls it.
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

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Notes the learning rates of this iteration."""
        self.learning_rates = [group['lr'] for group in runner.optim_wrapper.param_groups]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Writes `meta['hand_model']`, `['estimator']`, `['format']`, `['handpose_version']` and `['run']`."""
        estimator = unwrap_model(runner.model).estimator
        hand_model = estimator.gives.hand_model
        checkpoint['meta'].update(
            hand_model=hand_model.name if hand_model is not None else None,
            estimator=type(estimator).__name__,
            format=CHECKPOINT_FORMAT,
            handpose_version=handpose.__version__,
            run={
                **run_record(runner),
                'learning_rates': self.learning_rates,
                'optimizer_entries': len(checkpoint['optimizer']['state']),
            },
        )


def run_record(runner: Runner) -> dict[str, int]:
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


def is_finished(filename: str | Path, max_epochs: int) -> bool:
    """True when the checkpoint `filename` was saved after `max_epochs` epochs or more."""
    return load_checkpoint_file(filename, mmap=True).get('meta', {}).get('epoch', 0) >= max_epochs


def check_has_record(meta: dict[str, Any], filename: str | Path) -> None:
    """Refuses a checkpoint that another program wrote, from which nothing can be resumed exactly."""
    if not isinstance(meta.get('run'), dict):
        raise ValueError(
            f'{filename} has no record of its run, so it cannot be resumed exactly; start anew from its weights with '
            f'--cfg-options load_from={filename}'
        )


def check_complete(runner: Runner, checkpoint: dict, filename: str) -> None:
    """Refuses a checkpoint from which training would go on with other weights or another optimizer than it had.

    Args:
        runner: with its optimizer and schedules built, before anything is loaded.
        checkpoint: as read from the file.
        filename: of the checkpoint, for the message.

    Raises:
        ValueError: weights, optimizer, schedules, or counters are missing, not finite, or do not fit; says which.
    """
    checks = (_weights_problem, _optimizer_problem, _schedule_problem, _counter_problem)
    for check in checks:
        problem = check(runner, checkpoint)
        if problem is not None:
            raise ValueError(
                f'{filename} cannot be resumed: {problem}. Resume from another checkpoint of that run, or start anew '
                'from the weights of a good one with --work-dir OTHER --cfg-options load_from=CHECKPOINT'
            )


def _weights_problem(runner: Runner, checkpoint: dict[str, Any]) -> str | None:
    state = checkpoint.get('state_dict')
    if not isinstance(state, dict) or not state:
        return 'it has no weights (state_dict)'
    return next((f'the weights {name} are not finite' for name, value in state.items() if not _is_finite(value)), None)


def _optimizer_problem(runner: Runner, checkpoint: dict[str, Any]) -> str | None:
    saved, own = checkpoint.get('optimizer'), runner.optim_wrapper.state_dict()
    if not isinstance(saved, dict) or not isinstance(saved.get('state'), dict) or not saved.get('param_groups'):
        return 'it has no optimizer state (optimizer)'
    if set(saved) != set(own):
        return f'its optimizer state has the keys {sorted(saved)}, this run needs {sorted(own)}'
    sizes = [[len(group.get('params', ())) for group in state['param_groups']] for state in (saved, own)]
    if sizes[0] != sizes[1]:
        return f'its optimizer has parameter groups of {sizes[0]} tensors, this run of {sizes[1]}'
    if not _is_finite(saved['param_groups']):
        return 'the settings of its optimizer are not finite'
    expected = checkpoint['meta']['run'].get('optimizer_entries')
    if len(saved['state']) != expected:
        return f'it has the optimizer state of {len(saved["state"])} tensors, and says that it had {expected}'
    parameters = [p for group in runner.optim_wrapper.param_groups for p in group['params']]
    for index, entry in saved['state'].items():
        if not isinstance(index, int) or not 0 <= index < len(parameters) or not isinstance(entry, dict):
            return f'its optimizer state of tensor {index!r} belongs to no tensor of the model'
        for name, value in entry.items():
            if not _is_finite(value):
                return f'{name} of tensor {index} in its optimizer state is not finite'
            if torch.is_tensor(value) and value.dim() and value.shape != parameters[index].shape:
                shapes = tuple(value.shape), tuple(parameters[index].shape)
                return f'{name} of tensor {index} in its optimizer state has the shape {shapes[0]}, not {shapes[1]}'
    return None


def _schedule_problem(runner: Runner, checkpoint: dict[str, Any]) -> str | None:
    own, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    if own is None:
        return None
    if not isinstance(saved, list):
        return 'it has no learning rate schedules (param_schedulers)'
    if len(saved) != len(own):
        return f'it has {len(saved)} learning rate schedules, this run has {len(own)}'
    return None if _is_finite(saved) else 'its learning rate schedules are not finite'


def _counter_problem(runner: Runner, checkpoint: dict[str, Any]) -> str | None:
    meta, hub = checkpoint['meta'], checkpoint.get('message_hub')
    for name in ('epoch', 'iter'):
        if type(meta.get(name)) is not int or meta[name] < 0:
            return f'its meta.{name} is {meta.get(name)!r}, not a number of at least 0'
    if not isinstance(hub, dict) or not isinstance(hub.get('runtime_info'), dict):
        return 'it has no history (message_hub)'
    for name in ('epoch', 'iter'):
        # The hub counts from the start of the iteration or epoch that was the last.
        seen = hub['runtime_info'].get(name)
        if seen not in (meta[name] - 1, meta[name]):
            return f'its meta says {name} {meta[name]}, its history (message_hub) says {seen!r}'
    return None


def _is_finite(value: Any) -> bool:
    """False when a tensor or number in nested dicts and lists is not finite."""
    if torch.is_tensor(value):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def initial_rates(runner: Runner) -> list[float]:
    """The learning rate of each parameter group before any schedule."""
    return [group.get('initial_lr', group['lr']) for group in runner.optim_wrapper.param_groups]


def check_same_run(runner: Runner, meta: dict[str, Any], filename: str | Path, planned_rates: list[float]) -> None:
    """Refuses to go on from a checkpoint where the result would not be that of one unbroken run.

    With another number of epochs than the checkpoint's run had, the config's own schedule takes over, if it would
    have given the iterations done so far the learning rates that they had.

    Args:
        runner: resumed from the file by mmengine.
        meta: of the checkpoint.
        filename: names it in error messages.
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
