"""What processes compute together, to be compared with one process: torchrun ... shared_work.py FOLDER"""

import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.runner import set_random_seed
from random_clips import RandomClips
from torch import nn

from handpose.engine import build_runner, compat, load_config, run_settings
from handpose.models import ConstantHand, Estimator, Gives, Reads
from handpose.registry import MODELS
from handpose.structures import HandSequence

CONFIG = Path(__file__).with_name('random_clips_config.py')
# ((index, valid frames) of every clip) of each process. Uneven: 5 valid frames here, 2 there.
SHARES = {'even': (((0, 3), (1, 3)), ((2, 3), (3, 3))), 'uneven': (((0, 3), (1, 2)), ((2, 1), (3, 1)))}
ESTIMATORS = ('PointMSELoss', 'MaxMSELoss', 'Deformer')


class LinearHand(Estimator):
    """Joints from pixels in one float64 layer: no normalisation, nothing random, and no rounding to speak of."""

    def __init__(self, point_loss):
        super().__init__()
        self.layer = nn.Linear(3 * 32, 21 * 3, dtype=torch.float64)
        self.point_loss = MODELS.build(dict(type=point_loss))

    @property
    def reads(self):
        return Reads(fields=('images',))

    @property
    def gives(self):
        return Gives(frame='wrist')

    def predict(self, batch, *, num_samples=None, generator=None):
        raise NotImplementedError

    def loss(self, batch, step):
        rows = batch.images[:, :, 0].double().mean(-1).flatten(-2) / 255
        joints = self.layer(rows).unflatten(-1, (21, 3))
        valid = batch.frame_valid[..., None].expand(joints.shape[:-1])
        return {'loss': self.point_loss(joints, batch.joints_3d[:, :, 0].double(), valid)}


def make_estimator(name):
    """The same in every process, and at rest: no dropout, and batch norm with stored statistics.

    Batch norm at work sees the clips of its own process alone, so that two processes would not be one with twice the
    batch.
    """
    set_random_seed(0)
    if name == 'Deformer':
        return MODELS.build(load_config(CONFIG).model).eval()
    return LinearHand(name)


def make_batch(clips):
    """A batch of ((index, valid frames), ...); every 2D joint lies inside the region, where it counts."""
    samples, dataset = [], RandomClips()
    for index, frames in clips:
        clip = dataset.read(index)
        inside = clip.joints_2d / 4 + 3 * dataset.size / 8
        samples.append(clip.replace(frame_valid=torch.arange(3) < frames, joints_2d=inside))
    return HandSequence.stack(samples)


def shared_gradients(folder, name, share):
    """{parameter: gradient} that training applies, each process with its own batch: a step of size 1 of plain SGD."""
    step = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0), _delete_=True)
    config = run_settings(load_config(CONFIG, {'optim_wrapper': step}), folder, 'pytorch')
    estimator = make_estimator(name)
    runner = build_runner(config, estimator, experiment_name=f'{name}_{share}_{get_rank()}')
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    before = {key: value.detach().clone() for key, value in estimator.named_parameters()}
    runner.model.eval().train_step({'batch': make_batch(SHARES[share][get_rank()])}, runner.optim_wrapper)
    if runner.work_dir_lock is not None:
        runner.work_dir_lock.release()
    return {key: before[key] - value.detach() for key, value in estimator.named_parameters()}


def metrics_of(folder, launcher):
    """{name: number} of the small Deformer on 33 clips in batches of 4, which nothing divides evenly."""
    options = {
        'test_dataset.length': 33,
        'test_dataloader.batch_size': 4,
        'test_evaluator': [dict(type='HandPoseMetric'), dict(type='HandMeshMetric', f_score_thresholds=[])],
    }
    config = run_settings(load_config(CONFIG, options), folder, launcher)
    set_random_seed(0)
    estimator = MODELS.build(config.model)
    return build_runner(config, estimator, experiment_name=f'test_{launcher}_{get_rank()}', purpose='test').test()


def constant_hand_samples(folder, launcher):
    """How many samples the metric counts for an estimator that has nothing to train."""
    options = {'test_dataset.length': 33, 'test_evaluator': [dict(type='HandPoseMetric')]}
    config = run_settings(load_config(CONFIG, options), folder, launcher)
    runner = build_runner(config, ConstantHand(), experiment_name=f'constant_{get_rank()}', purpose='test')
    return runner.test()['num_samples']


def main(folder):
    torch.set_num_threads(1)
    compat.join_process_group('pytorch')
    results = {(name, share): shared_gradients(folder, name, share) for name in ESTIMATORS for share in SHARES}
    results['metrics'] = {name: float(value) for name, value in metrics_of(folder, 'pytorch').items()}
    results['constant hand'] = constant_hand_samples(folder, 'pytorch')
    torch.save(results, Path(folder) / f'rank_{get_rank()}.pt')
    compat.leave_process_group()


if __name__ == '__main__':
    main(sys.argv[1])
