"""`handpose pack-frames` from a config to clips, and what it reports of a damaged store."""

from pathlib import Path

import dexycb_files
import pytest
import torch

from handpose.cli import main
from handpose.engine import load_config
from handpose.registry import DATASETS

ROOT = Path(__file__).parents[2]

CONFIG = 'configs/deformer/dexycb.py'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    return dexycb_files.write_root(tmp_path / 'data', frames=4)


def options(root, **others):
    values = {'data_root': root, 'labels': 'joints_only', **others}
    return ['--cfg-options', *(f'{name}={value}' for name, value in values.items())]


def run(*words):
    main('pack-frames', [str(word) for word in words])


def test_from_a_config_to_clips(root, tmp_path, capsys):
    store = tmp_path / 'store'
    run(CONFIG, '-o', store, '--splits', 'train', *options(root))
    said = capsys.readouterr().out
    assert 'train: 32 images' in said and f'{store}: 32 frames (32 packed now)' in said
    run(CONFIG, '-o', store, '--splits', 'train', 'val', *options(root))
    assert '40 frames (8 packed now)' in capsys.readouterr().out
    run(CONFIG, '-o', store, '--splits', 'train', 'val', '--check', *options(root))
    assert f'{store}: no problems' in capsys.readouterr().out
    found = []
    for packed in ({}, {'packed': str(store)}):
        config = load_config(CONFIG, {'data_root': str(root), 'labels': 'joints_only', **packed})
        found.append(DATASETS.build(config.val_dataloader.dataset.to_dict())[0])
    torch.testing.assert_close(found[0].images, found[1].images, rtol=0, atol=0)
    assert found[1].meta['packed'] == str(store)  # the one key of the config has reached the dataset


def test_check_and_rebuild(root, tmp_path, capsys):
    """Without a config: the store knows its frames, and where they came from."""
    store = tmp_path / 'store'
    run(CONFIG, '-o', store, '--splits', 'train', *options(root))
    (shard,) = store.glob('frames-*')
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(SystemExit, match='1 problems'):
        run('-o', store, '--check')
    assert 'is damaged: its checksum does not fit; rebuild it:' in capsys.readouterr().out
    run('-o', store, '--rebuild', '--data-root', root)
    assert '1 frames damaged or lost, and packed again: ' in capsys.readouterr().out
    run('-o', store, '--check')


def test_smaller_images(root, tmp_path, capsys):
    run(CONFIG, '-o', tmp_path / 'a', '--splits', 'train', *options(root))
    with pytest.raises(SystemExit, match='holds the original images'):
        run(CONFIG, '-o', tmp_path / 'a', '--splits', 'train', '--resize', 48, 36, *options(root))
    run(CONFIG, '-o', tmp_path / 'b', '--splits', 'train', '--resize', 48, 36, '--quality', 80, *options(root))
    config = load_config(CONFIG, {'data_root': str(root), 'labels': 'joints_only', 'packed': str(tmp_path / 'b')})
    dataset = config.train_dataloader.dataset.to_dict()
    clip = DATASETS.build({**dataset, 'pipeline': dataset['pipeline'][:1]})[0]
    assert clip.images.shape[-2:] == (36, 48) and tuple(clip.meta['image_size']) == (48, 36)


@pytest.mark.parametrize(
    'words, code, message',
    [
        ([], 1, 'no packed store'),
        ([CONFIG, '--data-root', 'x'], 2, 'the config says where'),
        (['--prune'], 2, 'name one'),
        (['--check', '--rebuild'], 2, 'choose one'),
        (['--workers', '0'], 2, 'at least 1'),
    ],
)
def test_arguments_that_do_not_go_together(words, code, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run('-o', tmp_path / 'store', *words)
    said = str(end.value.code) + capsys.readouterr().err
    assert (end.value.code == 2) == (code == 2) and message in said
