"""The configs of PDTM at the paper's size: two steps on data in the official layouts, and what they print."""

import pytest
import torch

from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.models import TrainingStep
from handpose.registry import DATASETS, MODELS
from handpose.synthesis import MultiViewOptions, write_dataset

OPTIONS = {
    'interhand': dict(subjects=3),
    'reinterhand': dict(subjects=3),
    'hanco': dict(subjects=1),
    'dexycb': dict(subjects=1, size=64),
}
OF_CONFIG = {  # what the built-in data need: their own captures and sequences are fewer
    'interhand': {},
    'reinterhand': {},
    'hanco': {'train_sequences': 4, 'held_out': 1},
    'dexycb': {'setup': 'all'},
}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """The built-in data in each of the four layouts."""
    folder = tmp_path_factory.mktemp('layouts')
    for name, options in OPTIONS.items():
        shared = dict(sequences=5, frames=30, cameras=1, workers=1, seed=0)
        write_dataset(MultiViewOptions(root=str(folder / name), layout=name, **{**shared, **options}))
    return folder


@pytest.mark.parametrize('name', OPTIONS)
def test_two_steps_at_the_size_of_the_paper(name, roots):
    """Every parameter gets a finite gradient that is not zero; at the first step some wait for others to leave zero."""
    procedural = {'type': 'ProceduralHand', '_delete_': True}
    options = {'data_root': str(roots / name), 'hand_model': procedural, 'loss.vertex_frames': 1, **OF_CONFIG[name]}
    config = load_config(f'configs/pdtm/{name}.py', options)
    dataset = DATASETS.build(config.train_dataset)
    batch = collate([dataset[i] for i in (0, len(dataset) - 1)])['batch']
    assert batch.validate().input_joints_3d.shape[1] == 27
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    assert sum(p.numel() for p in model.parameters()) == 62_877_117
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.optim_wrapper.optimizer.lr)
    for _ in range(2):
        losses = model.loss(batch, TrainingStep())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().max() > 0, label
