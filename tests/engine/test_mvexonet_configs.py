"""The configs of MVExoNet: a step at the paper's size on small volumes, the rows of the tables by options."""

import pytest
from mvexonet_at_paper_size import PARAMETERS, two_steps

from handpose.engine import load_config
from handpose.registry import DATASETS, METRICS, MODELS
from handpose.synthesis import AssemblyHandsOptions, write_dataset

NAMES = ('mvexonet', 'synthetic_mvexonet')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp('exo')
    options = dict(subjects=3, sequences=1, frames=16, exo_cameras=3, ego_cameras=0, exo_width=160, exo_height=90)
    write_dataset(AssemblyHandsOptions(root=str(path), workers=1, **options))
    return path


def test_a_step_at_the_size_of_the_paper():
    """Whole networks on smaller crops and volumes; 64 voxels and 8 views: tests/engine/mvexonet_at_paper_size.py."""
    history, count = two_steps({'crop_size': 64, 'resolution': 32}, cameras=2, steps=1)
    assert count == PARAMETERS
    assert set(history[0]) == {'loss_joints', 'loss_volume'} and all(value > 0 for value in history[0].values())


@pytest.mark.parametrize('name', NAMES)
def test_rows_of_the_tables_by_options(name, root):
    path = f'configs/assemblyhands/{name}.py'
    for rounds in (1, 2, 3):
        assert MODELS.build(load_config(path, {'num_rounds': rounds}).model).num_rounds == rounds
    simulated = {'data_root': str(root), 'detections': '$simulated_detections', 'views': ['v1', 'v2', 'v3']}
    for views in (2, 8):
        sample = DATASETS.build(load_config(path, {**simulated, 'test_views': views}).test_dataset)[0].validate()
        assert sample.images.shape[:2] == (1, min(views, 3)) and sample.input_joints_3d.shape == (1, 2, 21, 3)
    config = load_config(path, {**simulated, 'test_pipeline': '$single_view', 'model.min_views': 1})
    assert DATASETS.build(config.test_dataset)[0].images.shape[1] == 1 and config.model.min_views == 1
    loaded = load_config(path, {'detections': '$loaded_detections', 'detections_root': 'found'})
    assert loaded.test_dataset.pipeline[-1] == dict(type='LoadDetections', folder='found', missing_ok=False)
    specs = [spec.name for metric in config.test_evaluator for spec in METRICS.build(dict(metric)).specs]
    assert {'mpjpe_cam_mm', 'auc_cam_0_50mm', 'mpjpe_cam_mm/occlusion_25_50'} <= set(specs)
    assert MODELS.build(config.compared.triangulation).reads.fields[0] == 'input_joints_3d'


def test_training_data_of_the_small_config(root):
    """Frames are read once; every third one is a clip of its own, with both hands in all views."""
    dataset = DATASETS.build(
        load_config(
            'configs/assemblyhands/synthetic_mvexonet.py', {'data_root': str(root), 'views': ['v1', 'v2', 'v3']}
        ).train_dataset
    )
    assert len(dataset) == 6 and dataset[0].validate().images.shape == (1, 3, 3, 90, 160)
    assert dataset[0] is dataset[0] and dataset[0].joints_2d_valid is not None
