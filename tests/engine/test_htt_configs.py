"""The configs of HTT at the paper's size: two steps on data in the official layouts, and what they need."""

import pytest
import torch
from htt_at_paper_size import FROM_SCRATCH, PARAMETERS, two_steps, write_roots

from handpose.engine import load_config
from handpose.registry import DATASETS, METRICS, MODELS


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    return write_roots(tmp_path_factory.mktemp('layouts'))


@pytest.mark.parametrize('name', PARAMETERS)
def test_two_steps_of_few_frames_at_the_size_of_the_paper(name, roots):
    """The longer check, of 128 frames, is tests/engine/htt_at_paper_size.py."""
    short = {'num_frames': 3, 'window': 2, 'data_root': str(roots / name), **FROM_SCRATCH}
    count, _ = two_steps(load_config(f'configs/htt/{name}.py', short))
    assert count == PARAMETERS[name]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device, and there is none')
@pytest.mark.parametrize('checkpointing', [False, True])
@pytest.mark.parametrize('name', PARAMETERS)
def test_two_steps_of_whole_clips(name, checkpointing, roots, capsys):
    """128 frames of 480 x 270; prints the peak memory."""
    options = {'data_root': str(roots / name), 'training.activation_checkpointing': checkpointing, **FROM_SCRATCH}
    torch.cuda.reset_peak_memory_stats()
    two_steps(load_config(f'configs/htt/{name}.py', options), 'cuda')
    peak = torch.cuda.max_memory_allocated() / 2**30
    with capsys.disabled():
        print(f'\nHTT on {name}, 128 frames, activation checkpointing {checkpointing}: peak {peak:.1f} GiB')


@pytest.mark.parametrize('name', PARAMETERS)
def test_every_part_of_the_config_can_be_built(name, roots):
    """The heads fit the classes; the loaders of every split open; and the rows of the paper's ablations by options."""
    path, root = f'configs/htt/{name}.py', {'data_root': str(roots / name), 'held_out': ['Subject_6']}
    config = load_config(path, root if name == 'fpha' else {'data_root': root['data_root']})
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{split}_dataset'])
        assert len(dataset) and len(dataset.metainfo['actions']) == config.num_actions
        assert len(dataset.metainfo['objects']) == config.num_objects
        assert dataset[0].validate().images.shape[-2:] == (270, 480)
    assert [type(METRICS.build(m)).__name__ for m in config.val_evaluator] == ['HandPoseMetric', 'ActionMetric']
    rows = {'window': 1}, {'num_frames': 16}, {'model.cascaded': False}, {'model.tokenizer.inputs': ['image', 'pose']}
    counts = [sum(p.numel() for p in MODELS.build(load_config(path, row).model).parameters()) for row in rows]
    assert counts[1] == PARAMETERS[name] and max(counts[0], counts[2], counts[3]) < PARAMETERS[name]
