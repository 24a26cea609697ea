import pickle
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from handpose.engine import load_weights
from handpose.engine.compat import PlainCheckpointHook, check_resume, load_checkpoint_file


class Estimator(nn.Module):
    def __init__(self, width=2, hand_model='procedural-1'):
        super().__init__()
        self.layer = nn.Linear(3, width)
        self.hand_model = nn.Module()
        self.hand_model.name = hand_model


def save(path, estimator, **meta):
    state = {f'estimator.{k}': v for k, v in estimator.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'hand_model': 'procedural-1', **meta}}, path)


def test_round_trip_without_the_adapter_prefix(tmp_path):
    source, target = Estimator(), Estimator()
    save(tmp_path / 'a.pth', source)
    load_weights(target, tmp_path / 'a.pth')
    assert torch.equal(source.layer.weight, target.layer.weight)


@pytest.mark.parametrize(
    'estimator, sentence',
    [
        (Estimator(width=5), "tensor 'layer.bias' has shape|tensor 'layer.weight' has shape"),
        (Estimator(hand_model='mano'), "trained with hand model 'procedural-1'.*uses 'mano'"),
    ],
)
def test_another_model_is_refused(tmp_path, estimator, sentence):
    save(tmp_path / 'a.pth', Estimator())
    with pytest.raises(ValueError, match=sentence):
        load_weights(estimator, tmp_path / 'a.pth')


def test_other_tensors_are_refused(tmp_path):
    torch.save({'state_dict': {'x': torch.zeros(1)}, 'meta': {}}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='weights of another model'):
        load_weights(Estimator(), tmp_path / 'a.pth')


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(ValueError, match='no checkpoint file'):
        load_checkpoint_file(tmp_path / 'none.pth')
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 truncated')
    with pytest.raises(ValueError, match=r'cut.pth cannot be read'):
        load_checkpoint_file(tmp_path / 'cut.pth')


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / 'PWNED'), 'w'))

    with open(tmp_path / 'bad.pth', 'wb') as file:
        pickle.dump({'state_dict': Attack()}, file)
    with pytest.raises(ValueError, match='cannot be read'):
        load_checkpoint_file(tmp_path / 'bad.pth')
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


def test_resume_beyond_the_stored_schedule_is_refused(tmp_path):
    schedule = [{'end': 4, 'by_epoch': True}]
    torch.save({'meta': {'epoch': 2}, 'state_dict': {}, 'param_schedulers': schedule}, tmp_path / 'a.pth')
    assert check_resume(tmp_path / 'a.pth', 4) is False
    assert check_resume(tmp_path / 'a.pth', 2) is True
    with pytest.raises(ValueError, match='schedule of 4 epochs'):
        check_resume(tmp_path / 'a.pth', 8)
