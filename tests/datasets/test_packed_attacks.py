"""Packed stores that were made to reach outside themselves; their checksums are right."""

import os

import cv2
import numpy as np
import pytest

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_format import (
    INDEX_FILE,
    SHARD_MAGIC,
    TRAILER,
    map_table,
    read_shard_table,
    table_bytes,
)
from handpose.datasets.io.packed_frames import PackedFrames
from handpose.datasets.io.packing import pack_frames


@pytest.fixture
def store(tmp_path):
    """A store of two images, beside a file that is none of its business."""
    root = tmp_path / 'root'
    root.mkdir()
    (tmp_path / 'secret.txt').write_text('secret')
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(root / name), np.zeros((4, 4, 3), np.uint8))
    pack_frames(tmp_path / 'store', root, [f'{root}/a.png', f'{root}/b.png'])
    return tmp_path / 'store'


def forge(store, names=('a.png', 'b.png'), header=None, **fields):
    """Writes an index with other names, header or fields of its first row."""
    table = map_table(store / INDEX_FILE)
    records = table.records.copy()
    for name, value in fields.items():
        records[name][0] = value
    text = {key: value for key, value in {**table.header, **(header or {})}.items() if key != 'num_frames'}
    (store / INDEX_FILE).write_bytes(table_bytes(text, records, list(names)))


NAMES = ['../secret.txt', '/etc/passwd', 'x/../../secret.txt', 'C:\\x.png', '..\\secret.txt', './a.png', '', 'a\0.png']


@pytest.mark.parametrize('name', NAMES)
def test_names_that_lead_out_of_the_root(store, name):
    forge(store, [name, 'b.png'])
    with pytest.raises(DatasetError, match='is no path below the root'):
        PackedFrames(store)
    with pytest.raises(DatasetError, match='is no path below the root'):
        pack_frames(store)
    assert not [path for path in store.iterdir() if b'secret' in path.read_bytes() and path.name != INDEX_FILE]


@pytest.mark.parametrize('name', ['../secret.txt', '/etc/passwd', 'frames-000000.bin/../x', 'other.bin', 3])
def test_shards_outside_the_store(store, name):
    forge(store, header={'shards': [{'file': name, 'size': 6}]})
    with pytest.raises(DatasetError, match='which lie in the store itself'):
        PackedFrames(store)


@pytest.mark.parametrize(
    'fields', [{'shard': 7}, {'offset': 2**40}, {'offset': 2**64 - 1}, {'size': 2**32 - 1}, {'state': 9}]
)
def test_rows_outside_the_shards(store, fields):
    forge(store, **fields)
    with pytest.raises(DatasetError, match='is damaged'):
        PackedFrames(store)


@pytest.mark.parametrize('header', [{'root': 3}, {'shards': 'x'}, {'shards': [{'file': 'frames-000000.bin'}]}])
def test_headers_of_another_kind(store, header):
    forge(store, header=header)
    with pytest.raises(DatasetError, match='its header is not that of a table'):
        PackedFrames(store)


def test_a_good_store_is_read(store):
    forge(store)
    assert [error for _, _, error in PackedFrames(store).read([f'{store.parent}/root/a.png'])] == [None]


def test_a_shard_whose_rows_lie_outside_it(store):
    (shard,) = store.glob('frames-*.bin')
    start = TRAILER.unpack(shard.read_bytes()[-TRAILER.size :])[0]
    table = read_shard_table(shard)
    records = table.records.copy()
    records['size'][0] = 2**31
    forged = table_bytes({'root': table.header['root'], 'image_changes': None}, records, table.all_names())
    shard.write_bytes(shard.read_bytes()[:start] + forged + TRAILER.pack(start, SHARD_MAGIC))
    with pytest.raises(DatasetError, match='row 0 lies outside the shards'):
        read_shard_table(shard)


@pytest.mark.parametrize('name', [INDEX_FILE, 'frames-000000.bin'])
@pytest.mark.parametrize('kind', ['link', 'pipe'])
def test_files_of_a_store_are_plain_files(store, name, kind):
    """A link would show files of others, and opening a pipe would wait for ever."""
    path = store / name
    moved = path.rename(store.parent / 'moved')
    if kind == 'link':
        path.symlink_to(moved)
    else:
        os.mkfifo(path)
    with pytest.raises(DatasetError, match=f'{name} is a link or no regular file'):
        PackedFrames(store)
    if name != INDEX_FILE:
        with pytest.raises(DatasetError, match='is a link or no regular file'):
            list(PackedFrames(store, check=False).read([f'{store.parent}/root/a.png']))


GOOD = {'size': [8, 6], 'source_size': [16, 12], 'encoding': 'jpg', 'quality': 95}


@pytest.mark.parametrize(
    'image_changes',
    [
        3,
        {},
        {**GOOD, 'size': [2**15, 2**15]},
        {**GOOD, 'size': [0, 6]},
        {**GOOD, 'size': 'xx'},
        {**GOOD, 'source_size': None},
        {**GOOD, 'encoding': '../x'},
        {**GOOD, 'quality': 1000},
        {**GOOD, 'more': 1},
    ],
)
def test_how_images_were_changed(store, image_changes):
    forge(store, header={'image_changes': GOOD})
    assert PackedFrames(store).image_changes == GOOD
    forge(store, header={'image_changes': image_changes})
    with pytest.raises(DatasetError, match='its header is not that of a table'):
        PackedFrames(store)


def test_originals_are_read_only_from_where_the_user_says(store):
    """A store whose frame is to be packed again from a file elsewhere, and one that lacks it."""
    other = store.parent / 'other'
    other.mkdir()
    (other / 'a.png').write_bytes(b'secret')
    forge(store, header={'root': str(other)})
    (store / 'frames-000000.bin').unlink()
    with pytest.raises(DatasetError, match=r'(?s)originals must be read.*--data-root'):
        (other / 'b.png').write_bytes(b'secret')
        pack_frames(store)
    assert b'secret' not in b''.join(path.read_bytes() for path in store.iterdir())
    assert pack_frames(store, store.parent / 'root').new == 2
