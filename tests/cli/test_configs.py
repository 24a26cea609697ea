"""`handpose configs`: listing, copying and showing the configs that come with the package."""

from pathlib import Path

import pytest

from handpose.cli import main
from handpose.cli.configs import description
from handpose.engine.config import load_config
from handpose.engine.config_files import config_names, configs_folder, find_config

LAYERS = ('_base_/runtime.py', '_base_/dexycb.py', 'deformer/_base_.py', 'deformer/synthetic.py')


def test_list(capsys):
    main('configs', ['list'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == config_names()
    assert any(line.endswith("  HTT on H2O at the paper's size and schedule") for line in lines)
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize('name', config_names())
def test_every_config_starts_with_a_line_about_it(name):
    assert 20 < len(description(find_config(name))) < 100


def test_a_copy_runs_and_can_be_edited(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main('configs', ['copy', 'deformer/synthetic_frames'])
    copied = {path.relative_to('configs').as_posix() for path in Path('configs').rglob('*.py')}
    assert copied == {*LAYERS, 'deformer/synthetic_frames.py'}
    assert 'handpose train configs/deformer/synthetic_frames.py' in capsys.readouterr().out
    shipped = load_config('deformer/synthetic_frames').to_dict()
    assert load_config('configs/deformer/synthetic_frames.py').to_dict() == shipped
    base = Path('configs/deformer/synthetic.py')
    base.write_text(base.read_text() + 'num_workers = 7\n')
    assert load_config('configs/deformer/synthetic_frames.py').num_workers == 7


def test_a_copy_overwrites_nothing(tmp_path, capsys):
    folder = tmp_path / 'mine'
    main('configs', ['copy', 'deformer/synthetic', str(folder)])
    edited = folder / '_base_' / 'runtime.py'
    edited.write_text('# mine\n')
    main('configs', ['copy', 'deformer/synthetic', str(tmp_path / 'other')])
    with pytest.raises(SystemExit, match=r'runtime\.py would be overwritten.*--force'):
        main('configs', ['copy', 'deformer/dexycb', str(folder)])
    assert edited.read_text() == '# mine\n' and not (folder / 'deformer' / 'dexycb.py').exists()
    main('configs', ['copy', 'deformer/dexycb', str(folder), '--force'])
    assert edited.read_text() == (configs_folder() / '_base_' / 'runtime.py').read_text()
    assert (folder / 'deformer' / 'dexycb.py').exists()


def test_show_names_the_origin_of_every_value(capsys):
    options = ['batch_size=3', 'train_pipeline.0.type=LoadFeatures', '+labelled.added=1']
    main('configs', ['show', 'deformer/synthetic_frames', '--cfg-options', *options])
    lines = capsys.readouterr().out.splitlines()
    for line in (
        'randomness.seed = 0  # _base_/runtime.py',
        'num_frames = 1  # deformer/synthetic_frames.py',
        "model.type = 'Deformer'  # deformer/_base_.py",
        'model.backbone.depth = 18  # deformer/synthetic.py',
        'model.loss.frame_weight = 0.0  # deformer/synthetic_frames.py',
        'model.num_frames = 1  # deformer/synthetic_frames.py: num_frames',
        "model.loss.point_loss.type = 'SmoothL1KeypointLoss'  # deformer/synthetic.py",
        'model.spatial_transformer.num_layers = 1  # deformer/synthetic.py: transformer.num_layers',
        "train_dataloader.dataset.data_root = 'data/synthetic_dexycb'  # deformer/synthetic.py: data_root",
        "train_dataloader.dataset.labels = 'full'  # _base_/dexycb.py: labels",
        'train_dataloader.dataset.added = 1  # command line: labelled.added',
        'train_dataloader.batch_size = 3  # command line: batch_size',
        "train_dataset.pipeline.0.type = 'LoadFeatures'  # command line: train_pipeline.0.type",
        'train_dataset.pipeline.1.size = 64  # deformer/synthetic.py: image_size',
    ):
        assert line in lines, [other for other in lines if other.startswith(line.split(' = ')[0])]


@pytest.mark.parametrize('name', config_names())
def test_show_has_every_value_of_the_resolved_config(name):
    from handpose.engine.config import config_origins

    config = load_config(name).to_dict()
    for origin in config_origins(name):
        value = config
        for key in origin.key.split('.'):
            value = value[int(key)] if isinstance(value, (list, tuple)) else value[key]
        assert value == origin.value and origin.path is not None


def test_a_copy_of_a_users_config_leaves_shipped_bases_where_they_are(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'a.py').write_text("_base_ = ['handpose::_base_/runtime.py', '../sizes.py']\n")
    (tmp_path / 'sizes.py').write_text('size = 3\n')
    main('configs', ['copy', str(tmp_path / 'mine' / 'a.py'), str(tmp_path / 'copy')])
    copied = sorted(path.relative_to(tmp_path / 'copy').as_posix() for path in (tmp_path / 'copy').rglob('*.py'))
    assert copied == ['mine/a.py', 'sizes.py']
    assert load_config(tmp_path / 'copy' / 'mine' / 'a.py').size == 3
