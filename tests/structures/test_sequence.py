import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from handpose.structures import SPECS, HandSequence, SequenceError

SIZES = {'T': 5, 'K': 2, 'H': 2, 'h': 8, 'w': 6, 'C': 7, 'V': 10, 'O': 4, 'A': 3, 'E': 6}


def full_clip(**sizes):
    """A clip with every field of the contract, filled with different numbers."""
    sizes = {**SIZES, **sizes}
    generator = torch.Generator().manual_seed(0)
    values = {}
    for name, spec in SPECS.items():
        shape = [sizes.get(symbol, symbol) for symbol in spec.shape]
        values[name] = (torch.rand(shape, generator=generator) * 9).to(spec.dtype)
        if spec.dtype == torch.bool:
            values[name] = torch.ones(shape, dtype=torch.bool)
    values['hand_side'] = torch.arange(sizes['H'])
    meta = {
        'dataset': 'DexYCB',
        'sequence': '20200709-subject-01/1',
        'cameras': ['836'],
        'frame_indices': [3, 4, 5, 6, 7],
        'paths': list('abcde'),
    }
    return HandSequence(meta=meta, **values)


def test_a_full_clip_is_valid():
    clip = full_clip()
    assert set(clip.present()) == set(SPECS)
    assert clip.validate() is clip


def test_to_moves_every_field_and_leaves_the_original():
    clip = full_clip()
    moved = clip.to('meta')
    assert all(value.is_meta for value in moved.present().values())
    assert set(moved.present()) == set(SPECS)
    assert not any(value.is_meta for value in clip.present().values())
    assert moved.meta == clip.meta
    moved.validate()


def test_a_loader_pins_every_field(monkeypatch):
    """As the thread of a `DataLoader` does it, on a machine whose torch can pin memory."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda value: pinned.append(value) or value.clone())
    clip = full_clip()
    clip = clip.replace(future=clip.replace(future=None))
    batch = pin_memory({'batch': clip})['batch']
    assert len(pinned) == 2 * len(SPECS) and set(batch.present()) == set(SPECS)
    assert batch.images is not clip.images and batch.future.images is not clip.images
    assert torch.equal(batch.images, clip.images) and batch.meta == clip.meta


@pytest.mark.parametrize(
    ('field', 'value', 'sentence'),
    [
        ('frame', 'body', r"frame must be one of \('camera', 'world', 'wrist'\), got 'body'"),
        (
            'joints_3d',
            torch.zeros(5, 2, 20, 3),
            r"'joints_3d' must have shape \(T, H, 21, 3\) with T=5, .*H=2.*20, 3\)",
        ),
        ('hand_transl', torch.zeros(4, 2, 3), r"'hand_transl' must have shape \(T, H, 3\) .*got \(4, 2, 3\)"),
        ('boxes', torch.zeros(5, 2, 4), r"'boxes' must have shape \(T, K, H, 4\)"),
        (
            'joints_3d',
            torch.zeros(5, 2, 21, 3).double(),
            "'joints_3d' must be a torch.float32 tensor, got torch.float64",
        ),
        ('images', [1, 2], "'images' must be a torch.uint8 tensor, got list"),
        ('joints_valid', torch.ones(5, 2, 21), "'joints_valid' must be a torch.bool tensor"),
        ('joints_valid', torch.ones(5, 1, 21, dtype=torch.bool), "'joints_valid' must have shape"),
        ('joints_valid', None, "'joints_3d' is given without its mask 'joints_valid'"),
        ('joints_3d', torch.full((5, 2, 21, 3), torch.nan), "'joints_3d' is NaN or infinite where marked valid"),
        ('hand_shape', torch.full((2, 10), torch.inf), "'hand_shape' is NaN or infinite"),
        ('intrinsics', torch.full((5, 2, 3, 3), torch.nan), "'intrinsics' is NaN or infinite"),
        ('occlusion', torch.full((5, 2, 2), torch.inf), "'occlusion' is NaN or infinite"),
        ('hand_side', torch.tensor([1, 0]), r'hand_side must be \[0, 1\] \(left, right\)'),
    ],
)
def test_validate_names_sample_field_expected_and_got(field, value, sentence):
    with pytest.raises(SequenceError, match=sentence) as caught:
        full_clip().replace(**{field: value}).validate()
    assert str(caught.value).startswith('DexYCB 20200709-subject-01/1 camera 836 frame 3: ')


def test_validate_lets_masked_or_unknown_numbers_be_nan():
    clip = full_clip()
    clip.joints_3d[2, 1, 7] = torch.nan
    clip.joints_valid[2, 1, 7] = False
    clip.input_joints_3d[0, 1] = torch.inf
    clip.input_valid[0, 1] = False
    clip.occlusion[:] = torch.nan
    clip.validate()


def test_validate_checks_batches():
    batch = HandSequence.stack([full_clip(), full_clip()]).validate()
    with pytest.raises(SequenceError, match=r"batch of DexYCB .*'boxes' must have shape \(B, T, K, H, 4\) with B=2"):
        batch.replace(boxes=torch.zeros(3, 5, 2, 2, 4)).validate()


def test_replace_refuses_unknown_fields():
    with pytest.raises(SequenceError, match="no field 'joint_3d'"):
        full_clip().replace(joint_3d=None)


def test_select_frames_takes_frames_and_their_meta_and_leaves_the_rest():
    clip = full_clip()
    chosen = clip.select_frames([4, 0, 0]).validate()
    assert chosen.meta['frame_indices'] == [7, 3, 3]
    assert chosen.meta['paths'] == ['e', 'a', 'a']
    assert clip.meta['frame_indices'] == [3, 4, 5, 6, 7]
    for name, value in clip.present().items():
        expected = value[[4, 0, 0]] if SPECS[name].shape[:1] == ('T',) else value
        assert getattr(chosen, name).equal(expected), name


def test_clip_methods_refuse_batches_and_the_reverse():
    batch = HandSequence.stack([full_clip()])
    for call in (lambda: batch.select_frames([0]), lambda: HandSequence.stack([batch])):
        with pytest.raises(SequenceError, match=r'call unstack\(\) first'):
            call()
    with pytest.raises(SequenceError, match='works on a batch'):
        full_clip().unstack()
