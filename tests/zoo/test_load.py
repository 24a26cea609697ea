import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from handpose.engine import load_config, load_weights, read_header
from handpose.engine.compat import PlainCheckpointHook
from handpose.hands import COMMON_JOINTS
from handpose.models import Estimator, Gives, ImageNormalizer, Reads
from handpose.zoo.checkpoint_file import load_checkpoint_file
from handpose.zoo.load import HEADER_KEY, model_differences
from handpose.zoo.publish import config_name, make_header, publish, read_metrics

SMALL = Path(__file__).parents[2] / 'configs' / 'deformer' / 'synthetic.py'


class TinyEstimator(Estimator):
    def __init__(self, width=2, hand_model='procedural-1', mean=(1.0, 2.0, 3.0)):
        super().__init__()
        self.normalizer = ImageNormalizer(mean=mean)
        self.layer = nn.Linear(3, width)
        self.loss_function = nn.Module()
        self.loss_function.discriminator = nn.Linear(2, 1)
        self.hand_model = nn.Module()
        self.hand_model.name = hand_model

    @property
    def reads(self):
        return Reads(
            fields=('images',),
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
        )

    @property
    def gives(self):
        return Gives(frame='wrist', hand_model=self.hand_model)

    def loss(self, batch, step):
        raise NotImplementedError

    def predict(self, batch, *, num_samples=None, generator=None):
        raise NotImplementedError


class OtherEstimator(TinyEstimator):
    pass


def save(path, source, **meta):
    state = {f'estimator.{k}': v for k, v in source.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'hand_model': 'procedural-1', **meta}}, path)


@pytest.fixture
def config():
    return load_config(SMALL)


@pytest.fixture
def header(config):
    return make_header(TinyEstimator(), config, 'Apache-2.0')


def test_round_trip_without_the_adapter_prefix(tmp_path):
    source, target = TinyEstimator(), TinyEstimator()
    save(tmp_path / 'a.pth', source)
    load_weights(target, tmp_path / 'a.pth')
    assert torch.equal(source.layer.weight, target.layer.weight)


@pytest.mark.parametrize(
    'estimator, sentence',
    [
        (TinyEstimator(width=5), "tensor 'layer.bias' has shape|tensor 'layer.weight' has shape"),
        (TinyEstimator(hand_model='mano'), "trained with hand model 'procedural-1'.*uses 'mano'"),
        (OtherEstimator(), 'another model: of TinyEstimator, and this config builds OtherEstimator'),
    ],
)
@pytest.mark.parametrize('published', [False, True])
def test_another_model_is_refused(tmp_path, header, estimator, sentence, published):
    if published:
        path, _ = publish(TinyEstimator(), header, tmp_path / 'a.safetensors')
    else:
        path = tmp_path / 'a.pth'
        save(path, TinyEstimator(), estimator='TinyEstimator')
    before = {key: value.clone() for key, value in estimator.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        load_weights(estimator, path)
    assert all(torch.equal(value, before[key]) for key, value in estimator.state_dict().items())


@pytest.mark.parametrize(
    'state, sentence',
    [({'x': torch.zeros(1)}, 'weights of another model'), ({'x': 3}, 'no dict of tensors'), (7, 'no dict of tensors')],
)
def test_other_tensors_are_refused(tmp_path, state, sentence):
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=sentence):
        load_weights(TinyEstimator(), tmp_path / 'a.pth')


@pytest.mark.parametrize('value', [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    broken, own = TinyEstimator(), TinyEstimator()
    before = own.layer.bias.clone()
    torch.nn.init.constant_(broken.layer.bias, value)
    save(tmp_path / 'a.pth', broken, estimator='TinyEstimator')
    with pytest.raises(ValueError, match=r"a\.pth: tensor 'layer\.bias' holds NaN or infinity"):
        load_weights(own, tmp_path / 'a.pth')
    assert torch.equal(own.layer.bias, before)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(ValueError, match='no checkpoint file'):
        load_checkpoint_file(tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='no weights file'):
        load_weights(TinyEstimator(), tmp_path / 'none.safetensors')
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 truncated')
    with pytest.raises(ValueError, match=r'cut.pth cannot be read'):
        load_checkpoint_file(tmp_path / 'cut.pth')


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / 'PWNED'), 'w'))

    for name in ('bad.pth', 'bad.safetensors'):
        with open(tmp_path / name, 'wb') as file:
            pickle.dump({'state_dict': Attack()}, file, protocol=2)
        with pytest.raises(ValueError, match='cannot be read'):
            load_weights(TinyEstimator(), tmp_path / name)
    torch.save({'meta': {'config': 'raise SystemExit'}, 'state_dict': {}}, tmp_path / 'text.pth')
    assert 'config' not in load_checkpoint_file(tmp_path / 'text.pth')['meta']
    assert not (tmp_path / 'PWNED').exists()


def test_histories_become_plain_and_come_back(tmp_path):
    hook = PlainCheckpointHook()
    history = HistoryBuffer([1.0, 2.0, 3.0], [1, 1, 2])
    checkpoint = {'meta': {}, 'message_hub': {'log_scalars': {'loss': history}}}
    hook.before_save_checkpoint(SimpleNamespace(), checkpoint)
    torch.save(checkpoint, tmp_path / 'a.pth')
    loaded = load_checkpoint_file(tmp_path / 'a.pth')
    hook.after_load_checkpoint(SimpleNamespace(), loaded)
    again = loaded['message_hub']['log_scalars']['loss']
    assert again.data[0].tolist() == [1, 2, 3] and again.data[1].tolist() == [1, 1, 2]


ROW = {'values': torch.ones(2, dtype=torch.float64), 'counts': torch.ones(2, dtype=torch.float64), 'max_length': 9}


@pytest.mark.parametrize(
    'hub',
    [
        3,
        {'log_scalars': 3},
        {'log_scalars': {'loss': 3}},
        *(
            {'log_scalars': {'loss': {**ROW, **wrong}}}
            for wrong in (
                {'values': None},
                {'values': torch.ones(3)},
                {'counts': torch.ones(2, 2)},
                {'max_length': 2.5},
                {'max_length': 0},
                {'max_length': 2**40},
            )
        ),
    ],
)
def test_a_history_that_is_malformed(hub):
    with pytest.raises(ValueError, match=r"the checkpoint's history .*is damaged: .*resume from another checkpoint"):
        PlainCheckpointHook().after_load_checkpoint(SimpleNamespace(), {'message_hub': hub})


def test_published_weights_come_back_with_their_normalisation(tmp_path, header):
    """Mean and standard deviation of the file take the place of those that the config asked for."""
    source, target = TinyEstimator(), TinyEstimator(mean=(0.0, 0.0, 0.0))
    path, sha256 = publish(source, header, tmp_path / 'small.safetensors')
    assert path.name == f'small-{sha256[:8]}.safetensors' and sorted(tmp_path.iterdir()) == [path]
    assert load_weights(target, path) == read_header(path) == {**header, 'precision': 'float32'}
    assert torch.equal(source.layer.weight, target.layer.weight)
    assert target.normalizer.mean.flatten().tolist() == [1.0, 2.0, 3.0] == header['image_mean']


class HalvedEstimator(TinyEstimator):
    """Parameters that float16 holds, that are too large and too small for it, and statistics of batch norm."""

    def __init__(self):
        super().__init__(width=64)
        self.norm = nn.BatchNorm1d(64)
        self.norm.running_var.fill_(1e5 / 3)  # within the range of float16, but rounded by 5
        self.norm.num_batches_tracked.fill_(100_001)
        self.tiny = nn.Parameter(1e-7 * torch.linspace(-1, 1, 9))
        self.huge = nn.Parameter(1e5 * torch.linspace(-1, 1, 9))
        self.zero = nn.Parameter(torch.zeros(9))


def test_half_precision_is_for_parameters_that_float16_holds(tmp_path, config):
    source, target = HalvedEstimator(), HalvedEstimator()
    header = make_header(source, config, 'Apache-2.0')
    for parameter in (target.tiny, target.huge):
        nn.init.zeros_(parameter)
    target.norm.reset_running_stats()
    path, _ = publish(source, header, tmp_path / 'half.safetensors', half=True)
    stored = safetensors.torch.load_file(path)
    halved = {key for key, value in stored.items() if value.dtype == torch.float16}
    assert halved == {'layer.weight', 'layer.bias', 'norm.weight', 'norm.bias', 'zero'}
    assert load_weights(target, path)['precision'].startswith('float16 parameters; float32 buffers')
    exact = {key: value for key, value in source.state_dict().items() if key not in halved}
    state = target.state_dict()
    for key, value in source.state_dict().items():
        if key.startswith('loss_function.'):
            continue
        assert state[key].dtype == value.dtype
        if key in exact:
            assert torch.equal(state[key], value), key
        else:
            torch.testing.assert_close(state[key], value, rtol=2**-11, atol=1e-7)
    assert state['layer.weight'].dtype == torch.float32 and not torch.equal(state['layer.weight'], source.layer.weight)
    assert path.read_bytes() == publish(source, header, tmp_path / 'x' / 'half.safetensors', half=True)[0].read_bytes()


def test_the_same_weights_give_the_same_file(tmp_path, header):
    source = TinyEstimator()
    paths = [publish(source, header, tmp_path / folder / 'a.safetensors')[0] for folder in ('x', 'y')]
    assert paths[0].name == paths[1].name and paths[0].read_bytes() == paths[1].read_bytes()


@pytest.fixture
def warnings(monkeypatch):
    """The warnings so far, whatever loggers other tests have set up."""
    said = []
    monkeypatch.setattr('handpose.zoo.load.print_log', lambda sentence, logger, level: said.append(sentence))
    return said


def test_what_only_losses_need_is_not_published(tmp_path, header, warnings):
    source, target = TinyEstimator(), TinyEstimator()
    path, _ = publish(source, header, tmp_path / 'a.safetensors')
    assert not [key for key in safetensors.torch.load_file(path) if key.startswith('loss_function')]
    own = target.loss_function.discriminator.weight.clone()
    load_weights(target, path)
    assert 'starts anew' not in ' '.join(warnings)
    load_weights(target, path, training=True)
    assert 'without loss_function.discriminator, which only training needs' in ' '.join(warnings)
    assert torch.equal(target.loss_function.discriminator.weight, own)


def test_a_checkpoint_must_hold_the_losses_parameters(tmp_path):
    estimator = TinyEstimator()
    del estimator.loss_function.discriminator
    save(tmp_path / 'a.pth', estimator)
    with pytest.raises(ValueError, match=r'2 of its tensors are missing.*loss_function\.discriminator'):
        load_weights(TinyEstimator(), tmp_path / 'a.pth')


def test_the_header_says_what_the_file_is(config, tmp_path):
    (tmp_path / 'metrics.json').write_text('{"model": {"pa_mpjpe_mm": 9.5, "none": NaN}, "mean hand": {}}')
    metrics = read_metrics(tmp_path / 'metrics.json')
    header = make_header(TinyEstimator(), config, ' CC BY-NC 4.0 ', {'data_root': '/home/someone/data'}, metrics)
    assert header['config'] == 'deformer/synthetic.py' and header['config_options'] == {'data_root': 'data'}
    assert header['licence'] == 'CC BY-NC 4.0' and header['metrics'] == {'pa_mpjpe_mm': 9.5, 'none': None}
    assert header['data'] == 'DexYCB s0 test, from the folder synthetic_dexycb'
    assert header['joint_order'] == list(COMMON_JOINTS) and header['hand_model'] == 'procedural-1'
    assert header['model']['head']['mode'] == 'dynamic' and header['units']['length'] == 'metre'
    assert config_name('somewhere/else.py') == 'else.py'


def test_what_cannot_be_published(config, header, tmp_path):
    with pytest.raises(ValueError, match='need a licence'):
        make_header(TinyEstimator(), config, '  ')
    with pytest.raises(ValueError, match=r'as <name>\.safetensors'):
        publish(TinyEstimator(), header, tmp_path / 'a.pth')
    broken = TinyEstimator()
    broken.layer.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r'layer\.weight is not finite'):
        publish(broken, header, tmp_path / 'a.safetensors')
    row = "no row 'model'"
    for text, message in (('no json', 'not valid JSON'), ('{"untrained": {}}', row), ('{"model": 3}', row)):
        (tmp_path / 'metrics.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            read_metrics(tmp_path / 'metrics.json')
    assert not list(tmp_path.glob('*.safetensors'))


def test_another_model_config_is_named(tmp_path, config, warnings):
    path, _ = publish(TinyEstimator(), make_header(TinyEstimator(), config, 'Apache-2.0'), tmp_path / 'a.safetensors')
    load_weights(TinyEstimator(), path, config.model)
    assert 'another model config' not in ' '.join(warnings)
    other = load_config(SMALL, {'model.head.mode': 'average', 'model.loss.discriminator': None}).model
    load_weights(TinyEstimator(), path, other)
    assert 'head.mode is "dynamic" in the file and "average" here' in ' '.join(warnings)


def test_model_differences():
    file = {'type': 'A', 'loss': {'x': 1}, 'head': {'sizes': [1, 2]}, 'hand_model': {'model_path': 'x'}}
    here = {'type': 'A', 'head': {'sizes': (1, 2), 'mode': 'y'}, 'hand_model': {'model_path': 'elsewhere'}}
    assert model_differences(file, here) == ['head.mode is "not given" in the file and "y" here']


def change_header(path, changes):
    """The file at `path` again, with other values in its header."""
    tensors = safetensors.torch.load_file(path)
    changed = {**read_header(path), **changes}
    other = path.with_name('changed.safetensors')
    header = {key: value for key, value in changed.items() if value is not KeyError}
    other.write_bytes(safetensors.torch.save(tensors, {HEADER_KEY: json.dumps(header)}))
    return other


@pytest.mark.parametrize(
    'changes, sentence',
    [
        (
            {'format_version': 2, 'handpose_version': '9.0'},
            r'format version 2, written by handpose 9\.0.*update',
        ),
        ({'format_version': 'x'}, 'cannot be read'),
        ({'format': 'other'}, "has the format 'other'"),
        ({'joint_order': list(COMMON_JOINTS[::-1])}, 'joint_order little_tip.*name the wrong joints'),
        ({'hand_pose_order': ['wrist']}, 'hand_pose_order wrist;'),
        ({'image_mean': [0.0, 0.0, 0.0]}, 'contradicts itself.*mean of the images'),
        ({'image_std': None}, 'contradicts itself.*std of the images'),
        ({'hand_model': 'mano'}, "trained with hand model 'mano', this config uses 'procedural-1'"),
        ({'licence': KeyError, 'model': KeyError}, 'lacks model, licence'),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, header, changes, sentence):
    path, _ = publish(TinyEstimator(), header, tmp_path / 'a.safetensors')
    load_weights(TinyEstimator(), change_header(path, {}))
    with pytest.raises(ValueError, match=sentence):
        load_weights(TinyEstimator(), change_header(path, changes))


def test_damaged_published_files(tmp_path, header):
    path, sha256 = publish(TinyEstimator(), header, tmp_path / 'a.safetensors')
    data = path.read_bytes()
    for length in (0, 4, 20, len(data) // 2, len(data) - 1):
        (tmp_path / 'cut.safetensors').write_bytes(data[:length])
        with pytest.raises(ValueError, match=r'cut.safetensors cannot be read'):
            load_weights(TinyEstimator(), tmp_path / 'cut.safetensors')
    flipped = bytearray(data)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=f'expected {sha256[:8]}; delete the file'):
        load_weights(TinyEstimator(), path)
    safetensors.torch.save_file(TinyEstimator().state_dict(), tmp_path / 'bare.safetensors')
    with pytest.raises(ValueError, match='no handpose header'):
        load_weights(TinyEstimator(), tmp_path / 'bare.safetensors')
    (tmp_path / 'text.safetensors').write_bytes(safetensors.torch.save({}, {HEADER_KEY: '{'}))
    with pytest.raises(ValueError, match='header that cannot be read'):
        read_header(tmp_path / 'text.safetensors')


def test_a_checkpoint_of_a_newer_version(tmp_path):
    save(tmp_path / 'a.pth', TinyEstimator(), format=99, handpose_version='9.0')
    with pytest.raises(ValueError, match=r'format 99, written by handpose 9\.0.*update handpose'):
        load_weights(TinyEstimator(), tmp_path / 'a.pth')
