"""The feature network of a weights file: a classifier of the test, published and loaded again."""

import pytest
import torch
from forecasts import forecast_pair, moving_hands
from mmengine.config import Config
from torch import nn

from handpose.engine.motion_features import TrainedMotionFeatures
from handpose.evaluation import MotionFID
from handpose.models import Estimator, Gives, Reads
from handpose.registry import FEATURE_NETWORKS, MODELS
from handpose.zoo.publish import make_header, publish


class TinyEstimator(Estimator):
    """A linear layer on the last frame."""

    reads = Reads(fields=('joints_3d',), num_hands=2)
    gives = Gives(frame=None, classes={'actions': 4})

    def __init__(self, channels=5):
        super().__init__()
        self.layer = nn.Linear(126, channels)

    def loss(self, batch, step):
        raise NotImplementedError

    def predict(self, batch, *, num_samples=None, generator=None):
        raise NotImplementedError


class TinyMotionClassifier(TinyEstimator):
    """With features, as what FID needs has them."""

    def features(self, joints, joints_valid, frame_valid):
        last = frame_valid.sum(1) - 1
        joints = torch.where(joints_valid[..., None], joints, 0)
        return self.layer(joints[torch.arange(len(joints)), last].flatten(1))


@pytest.fixture(autouse=True)
def registered():
    for kind in (TinyEstimator, TinyMotionClassifier):
        MODELS.register_module(module=kind)
    yield
    for kind in (TinyEstimator, TinyMotionClassifier):
        MODELS.module_dict.pop(kind.__name__)


def published(folder, name='TinyMotionClassifier'):
    model = MODELS.build(dict(type=name, channels=3))
    (folder / 'tiny.py').write_text(f"model = dict(type='{name}', channels=3)\n")
    header = make_header(model, Config.fromfile(folder / 'tiny.py'), 'CC0')
    return model.eval(), publish(model, header, folder / 'tiny.safetensors')[0]


def motions(count=5, frames=9):
    joints = torch.stack([torch.from_numpy(moving_hands(frames, seed=seed)) for seed in range(count)])
    valid = torch.rand(joints.shape[:-1], generator=torch.Generator().manual_seed(0)) < 0.9
    return joints, valid, torch.arange(frames) < torch.tensor([[9], [3], [9], [1], [5]])[:count]


def test_features_are_those_of_the_published_classifier(tmp_path):
    model, file = published(tmp_path)
    network = FEATURE_NETWORKS.build(dict(type='TrainedMotionFeatures', weights=file, batch_size=2))
    found = network(*motions())
    assert found.shape == (5, 3) and not found.requires_grad
    assert torch.allclose(found, model.features(*motions()), atol=1e-6)


def test_a_metric_builds_it_from_its_config(tmp_path):
    model, file = published(tmp_path)
    metric = MotionFID(dict(type='TrainedMotionFeatures', weights=str(file)))
    own = MotionFID(model.features)
    for seed in range(6):
        truth = moving_hands(30, seed=seed)
        prediction, target = forecast_pair(truth, truth[None, 16:] * 1.1, sequence=str(seed))
        for one in (metric, own):
            one.process(None, [{'prediction': prediction, 'target': target}])
    assert metric.evaluate(6)['fid'] == pytest.approx(own.evaluate(6)['fid'], rel=1e-5)


def test_other_files_are_refused(tmp_path):
    _, file = published(tmp_path, 'TinyEstimator')
    with pytest.raises(ValueError, match='TinyEstimator, which has no method features'):
        TrainedMotionFeatures(file)
    with pytest.raises(ValueError, match='batch_size must be at least 1'):
        TrainedMotionFeatures(file, batch_size=0)
    torch.save({}, tmp_path / 'checkpoint.pth')
    with pytest.raises(ValueError, match='publish the checkpoint'):
        TrainedMotionFeatures(tmp_path / 'checkpoint.pth')


def test_the_network_of_the_library_is_published_and_loaded(tmp_path):
    config = dict(type='MotionActionTransformer', num_actions=3, channels=16, num_layers=1, feedforward_channels=16)
    model = MODELS.build(config).eval()
    (tmp_path / 'real.py').write_text(f'model = {config!r}\n')
    header = make_header(model, Config.fromfile(tmp_path / 'real.py'), 'CC0')
    file = publish(model, header, tmp_path / 'real.safetensors')[0]
    network = FEATURE_NETWORKS.build(dict(type='TrainedMotionFeatures', weights=file))
    joints = torch.stack([torch.from_numpy(moving_hands(20, seed=seed)) for seed in range(2)])
    clip = joints, torch.ones(joints.shape[:-1], dtype=torch.bool), torch.ones(2, 20, dtype=torch.bool)
    assert torch.allclose(network(*clip), model.features(*clip), atol=1e-6)
