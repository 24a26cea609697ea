"""Every row of the paper's tables by options of one config: the model it builds, and its forecasts on a few clips."""

import pytest
import torch
from smooth_clips import smooth_batch, with_future

from handpose.engine import load_config
from handpose.models import GHTT, HTT, FlatMotionVAE, FrameHandObject, PoseGPT, PoseVQVAE
from handpose.registry import METRICS, MODELS

# (table, row): (config, options, kind of the model, its settings). Tables 2 to 4 are rows of one config.
ALONE = {'init_from': [], 'freeze': []}  # another network than A on P
ROWS = {
    ('1', 'ResNet-18'): ('ghtt/image', {}, FrameHandObject, {}),
    ('1', 'HTT'): ('ghtt/synthetic_htt', {}, HTT, {}),
    ('1', 'G-HTT'): ('ghtt/action', {}, GHTT, dict(path='P.b')),
    ('2', 'PoseGPT, tokenizer'): ('ghtt/action', {**ALONE, 'model': '$pose_vqvae'}, PoseVQVAE, {}),
    ('2', 'PoseGPT'): (
        'ghtt/action',
        {'model': '$posegpt', 'init_from': [('work_dirs/pose_vqvae', 'tokenizer')], 'freeze': []},
        PoseGPT,
        {},
    ),
    ('2', 'G-HTT'): ('ghtt/action', {'std_scale': 5.0}, GHTT, dict(path='P.b', std_scale=5.0)),
    ('3', 'P.a'): ('ghtt/action', {'action.path': 'P.a'}, GHTT, dict(path='P.a')),
    ('3', 'P.b'): ('ghtt/action', {'action.path': 'P.b'}, GHTT, dict(path='P.b')),
    ('4', 'w/o mid-level, 5 sigma'): (
        'ghtt/action',
        {**ALONE, 'model': '$flat', 'std_scale': 5.0},
        FlatMotionVAE,
        dict(std_scale=5.0),
    ),
    ('4', 'w/o mid-level, 10 sigma'): (
        'ghtt/action',
        {**ALONE, 'model': '$flat', 'std_scale': 10.0},
        FlatMotionVAE,
        dict(std_scale=10.0),
    ),
    ('4', 'P.b'): ('ghtt/action', {'std_scale': 5.0}, GHTT, dict(path='P.b', std_scale=5.0)),
}
NAMES = {'actions': ['stir', 'pour milk'], 'objects': ['spoon', 'milk'], 'num_actions': 2}
ROWS_OF_ACTION = [key for key, row in ROWS.items() if row[0] == 'ghtt/action']


def check(model, kind, settings):
    assert type(model) is kind
    assert {name: vars(model)[name] for name in settings} == settings


@pytest.mark.parametrize('table, row', ROWS)
def test_a_row_at_the_size_of_the_paper(table, row):
    name, options, kind, settings = ROWS[table, row]
    if name == 'ghtt/image':
        pytest.importorskip('mmcv')
    with torch.device('meta'):
        model = MODELS.build(load_config(name, {**options, **(NAMES if name == 'ghtt/action' else {})}).model)
    check(model, kind, settings)


@pytest.mark.parametrize('table, row', ROWS_OF_ACTION)
def test_a_row_of_the_small_config_forecasts(table, row):
    """The same options with synthetic_action.py; each samples as many futures as its tests draw."""
    _, options, kind, settings = ROWS[table, row]
    torch.manual_seed(0)
    config = load_config('ghtt/synthetic_action', {**options, 'test_samples': 3})
    model = MODELS.build(config.model).eval()
    check(model, kind, settings)
    if kind is PoseVQVAE:
        return  # a first stage, which forecasts nothing
    prediction = model.predict(with_future(smooth_batch(2, 32), 20)).validate()
    assert prediction.future.joints_3d.shape == (2 * 3, 20, 2, 21, 3)


@pytest.mark.parametrize('column', ['h2o_val', 'h2o_test', 'assemblyhands_val'])
def test_the_columns_and_numbers_of_tables_2_to_4(column):
    """Each dataset by an option, and FID beside the errors and APD, beyond 1 and 2 s."""
    options = {**NAMES, 'test_dataset': f'${column}', 'test_evaluator': '$with_fid', 'feature_weights': 'mine'}
    config = load_config('ghtt/action', options)
    assert config.test_dataloader.dataset == config[column] and config.test_samples == 20
    metrics = {type(metric).__name__: metric for metric in map(METRICS.build, config.test_evaluator)}
    assert set(metrics) == {'ForecastMetric', 'APDMetric', 'MotionFID'}
    assert all({1, 2} <= set(metric.min_seconds) for metric in metrics.values())
    assert config.test_evaluator[2].features.weights == 'mine'
