"""A packed store gives what the files give, and says what is wrong with it."""

import json
import multiprocessing
import os
import pickle
import shutil
import struct
import time
import zlib
from pathlib import Path

import cv2
import dexycb_files
import fpha_files
import h2o_files
import ho3d_files
import numpy as np
import pytest
import torch
from samplings import centred
from torch.utils.data import DataLoader

from handpose.datasets import FPHA, H2O, HO3D, ActionClips, BrokenFrames, DatasetError, DexYCB
from handpose.datasets.io import packed_format, packed_frames, packing
from handpose.datasets.io.packed_frames import PackedFrames
from handpose.datasets.io.packing import check_store, pack_frames
from handpose.datasets.io.recoding import Recoding
from handpose.datasets.transforms import LoadImages, ResizeFrames
from handpose.structures import HandSequence

LOAD = [{'type': 'LoadImages'}]
FOLDERS, FRAMES = 3, 12


@pytest.fixture
def originals(tmp_path):
    """36 JPEGs in three folders, their numbers without leading zeros."""
    rng, paths = np.random.default_rng(0), []
    for folder in range(FOLDERS):
        (tmp_path / 'data' / f'v{folder}').mkdir(parents=True)
        for frame in range(FRAMES):
            path = tmp_path / 'data' / f'v{folder}' / f'{frame}.jpg'
            picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (48, 36))
            path.write_bytes(cv2.imencode('.jpg', picture)[1].tobytes())
            paths.append(str(path))
    return paths


@pytest.fixture
def store(tmp_path, originals):
    """They packed into several shards."""
    pack_frames(tmp_path / 'store', tmp_path / 'data', originals, shard_bytes=6000)
    return tmp_path / 'store'


def contents(store, paths):
    """{path: bytes, or the sentence about it}."""
    return {path: bytes(data) if error is None else str(error) for path, data, error in store.read(paths)}


def damage(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(bytes(data))


def place_of(store, path):
    """The shard and the first byte of a frame."""
    opened = PackedFrames(store, check=False)
    (place,) = opened.table.find([opened.name(path)])
    record = opened.table.records[place]
    return opened.shard_name(record['shard']), int(record['offset'])


def touch(path, seconds=10):
    os.utime(path, (time.time() + seconds,) * 2)


def test_bytes_are_those_of_the_files(store, originals):
    opened = PackedFrames(store)
    assert len(opened) == len(originals) and len(opened.table.header['shards']) > 3
    for chosen in (originals, originals[::-2], originals[5:6], [originals[3]] * 2 + [originals[30]], []):
        assert contents(opened, chosen) == {path: Path(path).read_bytes() for path in chosen}
    assert check_store(store, paths=originals) == []


@pytest.mark.parametrize('path', ['{root}/v1/3.jpg', '{root}//v1/./3.jpg', '{root}/v2/../v1/3.jpg', 'data/v1/3.jpg'])
def test_names_of_paths(store, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert PackedFrames(store).name(path.format(root=tmp_path / 'data')) == 'v1/3.jpg'
    for wrong in ('{root}/../3.jpg', '{root}', '{root}x/v1/3.jpg'):
        with pytest.raises(DatasetError, match='does not lie in'):
            PackedFrames(store).name(wrong.format(root=tmp_path / 'data'))


def test_frames_of_a_video_lie_in_the_order_of_their_numbers(store, originals):
    opened = PackedFrames(store)
    assert opened.table.all_names() == [f'v{v}/{f}.jpg' for v in range(FOLDERS) for f in range(FRAMES)]
    places = opened.table.find([opened.name(path) for path in originals])
    assert places == list(range(len(originals)))  # 0, 1, 2 ... and not 0, 1, 10
    assert opened.table.find(['v0/12.jpg', '']) == [-1, -1]


def test_the_layout_is_the_documented_one(store, originals):
    """docs/data/packed_frames.md read with struct and a plain loop."""
    data = (store / 'index.bin').read_bytes()
    magic, version, text, size, checksum, _ = struct.unpack_from('<8sIIQII', data)
    assert (magic, version, len(data)) == (b'HPFRAMES', 1, 32 + size) and zlib.crc32(data[32:]) == checksum
    header = json.loads(data[32 : 32 + text])
    count, start = header['num_frames'], 32 + text
    hashes = start + -(-48 * count // 64) * 64
    places = hashes + -(-8 * count // 64) * 64
    names = places + -(-4 * count // 64) * 64
    assert (
        start % 64 == 0
        and count == len(originals)
        and list(range(count)) == sorted(struct.unpack_from(f'<{count}I', data, places))
    )
    for row, path in enumerate(originals):
        fields = struct.unpack_from('<QIIIHHQQq', data, start + 48 * row)
        offset, length, crc, shard, name_size, state, name_start, source_size, source_time = fields
        name = data[names + name_start : names + name_start + name_size].decode()
        assert f'{header["root"]}/{name}' == path and state == 1
        encoded = Path(path).read_bytes()
        packed = (store / header['shards'][shard]['file']).read_bytes()
        assert packed[:8] == b'HPSHARD1' and packed[offset : offset + length] == encoded
        assert crc == zlib.crc32(encoded) and source_size == length == len(encoded)
        assert source_time == os.stat(path).st_mtime_ns
        table_start, end = struct.unpack('<Q8s', packed[-16:])
        assert end == b'HPSHARD1' and packed[table_start : table_start + 8] == b'HPFRAMES'


def test_names_whose_hashes_are_one(monkeypatch):
    """Sixteen hashes for a hundred names: the names decide."""
    monkeypatch.setattr(packed_format, 'name_hash', lambda name: zlib.crc32(name) % 16)
    names = [f'{i}.jpg' for i in range(100)]
    data = packed_format.table_bytes({'root': '/', 'image_changes': None}, np.zeros(100, packed_format.RECORD), names)
    table = packed_format.parse_table(data, 'it')
    assert table.find(names) == list(range(100)) and table.find(['x', '100.jpg']) == [-1, -1]


def test_reads_are_few(store, originals, monkeypatch):
    """Neighbours come with one read; frames far apart or of other shards with one each, none over the limit."""
    reads = []
    real = os.pread
    monkeypatch.setattr(os, 'pread', lambda file, size, start: reads.append(size) or real(file, size, start))
    opened = PackedFrames(store)
    shards = opened.table.records['shard'][opened.table.find([opened.name(p) for p in originals[::2]])]
    list(opened.read(originals[::2]))
    assert len(reads) == len(set(shards.tolist()))
    monkeypatch.setattr(packed_frames, 'MOST_AT_ONCE', 2500)
    reads.clear()
    assert contents(opened, originals) == {path: Path(path).read_bytes() for path in originals}
    assert max(reads) <= 2500 and len(reads) > len(set(shards.tolist()))
    monkeypatch.setattr(packed_frames, 'MERGE_GAP', 0)
    reads.clear()
    list(opened.read(originals[::2]))
    assert sum(reads) == sum(os.path.getsize(path) for path in originals[::2])


def test_a_read_that_gives_less_goes_on(store, originals, monkeypatch):
    real = os.pread
    monkeypatch.setattr(os, 'pread', lambda file, size, start: real(file, min(size, 1000), start))
    assert contents(PackedFrames(store), originals) == {path: Path(path).read_bytes() for path in originals}


class Frames(torch.utils.data.Dataset):
    def __init__(self, store, paths):
        self.store, self.paths = store, paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        ((_, data, error),) = self.store.read([self.paths[index]])
        assert error is None
        return zlib.crc32(data), os.getpid()


@pytest.mark.parametrize('used_before', [False, True])
def test_workers_that_were_forked(store, originals, used_before):
    """They share the files that the parent has open, each reading where it wants."""
    opened, paths = PackedFrames(store), originals * 4
    if used_before:
        list(opened.read(originals))
    loader = DataLoader(Frames(opened, paths), batch_size=2, num_workers=3, multiprocessing_context='fork')
    found = [(int(crc), int(who)) for batch in loader for crc, who in zip(*batch, strict=True)]
    assert [crc for crc, _ in found] == [zlib.crc32(Path(path).read_bytes()) for path in paths]
    assert len({who for _, who in found}) == 3
    assert contents(opened, originals[:3]) == {path: Path(path).read_bytes() for path in originals[:3]}


def test_a_store_travels_to_a_spawned_worker(store, originals):
    """As its folder alone: neither mapped pages nor open files are pickled."""
    opened = PackedFrames(store)
    list(opened.read(originals))
    data = pickle.dumps(opened)
    assert len(data) < 500
    assert contents(pickle.loads(data), originals) == contents(opened, originals)


def test_a_damaged_frame_is_named_and_rebuilt(store, originals, tmp_path):
    before = contents(PackedFrames(store), originals)
    shard, offset = place_of(store, originals[17])
    damage(shard, offset + 100)
    found = contents(PackedFrames(store), originals)
    assert [path for path in originals if found[path] != before[path]] == [originals[17]]
    sentence = found[originals[17]]
    assert "frame 'v1/5.jpg'" in sentence and str(shard) in sentence and 'checksum' in sentence
    assert sentence.endswith(f'rebuild it: handpose pack-frames --out {store} --rebuild')
    assert check_store(store) == [sentence]
    untouched = {path for path in store.glob('frames-*.bin') if path != shard}
    done = pack_frames(store, store.parent / 'data', verify=True)
    assert done.damaged == ['v1/5.jpg'] and done.new == 1 and done.frames == len(originals)
    assert contents(PackedFrames(store), originals) == before and check_store(store) == []
    assert untouched < set(store.glob('frames-*.bin')) and not shard.exists()


def test_a_damaged_frame_whose_original_is_gone(store, originals):
    shard, offset = place_of(store, originals[17])
    damage(shard, offset)
    os.unlink(originals[17])
    files = sorted(store.iterdir())
    with pytest.raises(DatasetError, match=r'damaged where v1/5\.jpg was, and .*data has no original'):
        pack_frames(store, verify=True)
    assert sorted(store.iterdir()) == files  # as it was
    assert (
        sum(len(text) > 0 and isinstance(text, str) for text in contents(PackedFrames(store), originals).values()) == 1
    )


@pytest.mark.parametrize('how', ['cut', 'missing', 'empty', 'table', 'end'])
def test_a_shard_that_is_not_whole(store, originals, how):
    before = contents(PackedFrames(store), originals)
    shard, _ = place_of(store, originals[17])
    size = shard.stat().st_size
    if how in ('table', 'end'):
        damage(shard, size - (1 if how == 'end' else 60))
        (sentence,) = check_store(store)
        assert str(shard) in sentence and '--rebuild' in sentence
        assert contents(PackedFrames(store), originals) == before  # the index has all that reading needs
    else:
        if how == 'missing':
            shard.unlink()
        else:
            os.truncate(shard, size // 2 if how == 'cut' else 0)
        words = 'is missing' if how == 'missing' else f'instead of {size}'
        with pytest.raises(DatasetError, match=rf'{shard.name} .*{words}; rebuild it: .*--rebuild'):
            PackedFrames(store)
        assert words in check_store(store)[0]
    done = pack_frames(store, store.parent / 'data', verify=True)
    assert 'v1/5.jpg' in done.damaged and done.new == len(done.damaged) > 1
    assert contents(PackedFrames(store), originals) == before and check_store(store) == []


def test_a_shard_that_is_cut_while_it_is_read(store, originals):
    opened = PackedFrames(store)
    shard, offset = place_of(store, originals[17])
    os.truncate(shard, offset + 10)
    assert 'is cut off' in contents(opened, originals)[originals[17]]
    shard.unlink()
    again = PackedFrames(store, check=False)
    assert 'cannot be read (No such file or directory)' in contents(again, originals)[originals[17]]


@pytest.mark.parametrize('how', ['flip', 'cut', 'empty', 'other', 'gone'])
def test_an_index_that_is_not_whole_is_made_from_the_shards(store, originals, how):
    before, index = contents(PackedFrames(store), originals), store / 'index.bin'
    data = index.read_bytes()
    changed = {'flip': data[:200] + b'#' + data[201:], 'cut': data[:-9], 'empty': b'', 'other': b'x' * 200}
    if how == 'gone':
        index.unlink()
    else:
        index.write_bytes(changed[how])
    words = r'not packed to its end; run the same' if how == 'gone' else r'index\.bin .*; rebuild it'
    with pytest.raises(DatasetError, match=words):
        PackedFrames(store)
    assert len(check_store(store)) == 1
    shutil.rmtree(Path(originals[0]).parent)  # not needed for that
    done = pack_frames(store, store.parent / 'data', verify=True)
    assert done.new == 0 and done.frames == len(originals) and done.damaged == []
    assert contents(PackedFrames(store), originals) == before


def test_a_store_of_a_later_version(store):
    data = bytearray((store / 'index.bin').read_bytes())
    data[8] = 2
    (store / 'index.bin').write_bytes(bytes(data))
    with pytest.raises(DatasetError, match='version 2 of the format, and this library reads version 1'):
        PackedFrames(store)


def test_no_store(tmp_path):
    with pytest.raises(DatasetError, match=r'is no packed store \(it has no index\.bin\); make it: .* CONFIG --out'):
        PackedFrames(tmp_path)
    with pytest.raises(DatasetError, match=r'no packed store .*name a config'):
        pack_frames(tmp_path / 'nowhere')
    with pytest.raises(DatasetError, match='holds no packed store; name a config'):
        pack_frames(tmp_path)
    assert not (tmp_path / 'nowhere').exists()


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda path: path.write_bytes(path.read_bytes() + b'x'), r'v1/5\.jpg has changed from \d+ to \d+ bytes since'),
        (touch, r'v1/5\.jpg has been written again since .*store was packed; pack what has changed: .*--out'),
    ],
)
def test_originals_that_have_changed(store, originals, change, words):
    """Noticed at opening (here all 36 are looked at), by the check, and packed again alone."""
    path = Path(originals[17])
    change(path)
    with pytest.raises(DatasetError, match=words):
        PackedFrames(store)
    assert len(check_store(store)) == 1
    done = pack_frames(store, store.parent / 'data')
    assert done.new == 1
    assert contents(PackedFrames(store), [str(path)]) == {str(path): path.read_bytes()}


def test_many_originals_are_looked_at_here_and_there(store, originals, monkeypatch):
    monkeypatch.setattr(packed_frames, 'SAMPLED_SOURCES', 4)
    touch(originals[1])
    PackedFrames(store)
    touch(originals[0])
    with pytest.raises(DatasetError, match='written again'):
        PackedFrames(store)


def test_originals_that_are_gone_or_elsewhere(store, originals, tmp_path):
    """A store without its originals is good; moved ones are compared where they are."""
    before = contents(PackedFrames(store), originals)
    shutil.move(tmp_path / 'data', tmp_path / 'moved')
    assert contents(PackedFrames(store), originals) == before and check_store(store) == []
    moved = [path.replace('/data/', '/moved/') for path in originals]
    with pytest.raises(DatasetError, match=r'does not lie in .*/data'):
        list(PackedFrames(store).read(moved[:1]))
    opened = PackedFrames(store, tmp_path / 'moved')
    assert list(contents(opened, moved).values()) == list(before.values())
    touch(moved[0])
    with pytest.raises(DatasetError, match=r'written again .* --data-root .*moved'):
        PackedFrames(store, tmp_path / 'moved')
    assert pack_frames(store, tmp_path / 'moved').new == 1
    assert PackedFrames(store).root == str(tmp_path / 'moved')


def test_times_that_another_file_system_rounded(store, originals):
    for path in originals:
        os.utime(path, (int(os.stat(path).st_mtime),) * 2)
    PackedFrames(store)


def test_a_list_that_has_changed(store, originals, tmp_path):
    new = tmp_path / 'data' / 'v1' / '12.jpg'
    shutil.copy(originals[0], new)
    with pytest.raises(
        DatasetError, match=r"no frame 'v1/12\.jpg': the list of images has changed .*CONFIG --out"
    ) as error:
        list(PackedFrames(store).read([*originals[:2], str(new)]))
    assert not isinstance(error.value, BrokenFrames)  # on_broken='skip' must not hide it
    assert check_store(store, paths=[str(new)]) == [f'{store} lacks v1/12.jpg']
    done = pack_frames(store, tmp_path / 'data', [str(new)])
    assert done.new == 1 and done.frames == len(originals) + 1  # what was there stays
    done = pack_frames(store, tmp_path / 'data', [*originals[:30], str(new)], prune=True)
    assert done.frames == 31 and check_store(store, paths=[*originals[:30], str(new)]) == []
    assert contents(PackedFrames(store), [str(new)]) == {str(new): new.read_bytes()}


def test_a_file_that_is_missing(tmp_path, originals):
    os.unlink(originals[3])
    done = pack_frames(tmp_path / 'store', tmp_path / 'data', originals)
    assert done.missing == ['v0/3.jpg'] and done.frames == len(originals)
    store = PackedFrames(tmp_path / 'store')
    found = contents(store, originals)
    assert 'v0/3.jpg was missing when' in found[originals[3]] and found[originals[4]] == Path(originals[4]).read_bytes()
    assert pack_frames(tmp_path / 'store', tmp_path / 'data', originals, verify=True).new == 0
    shutil.copy(originals[0], originals[3])
    with pytest.raises(DatasetError, match=r'3\.jpg was missing, and has come since'):
        PackedFrames(tmp_path / 'store')
    assert pack_frames(tmp_path / 'store', tmp_path / 'data').missing == []
    assert contents(PackedFrames(tmp_path / 'store'), [originals[3]])[originals[3]] == Path(originals[0]).read_bytes()


def test_an_original_that_cannot_be_read(tmp_path):
    (tmp_path / 'data' / 'a.jpg').mkdir(parents=True)
    with pytest.raises(DatasetError, match=r'a\.jpg cannot be read \(Is a directory\)'):
        pack_frames(tmp_path / 'store', tmp_path / 'data', [str(tmp_path / 'data' / 'a.jpg')])
    assert list((tmp_path / 'store').iterdir()) == []


def stop_at(number):
    """Watches a conversion and ends it as Ctrl-C does."""

    def watch(items, words, total):
        for place, item in enumerate(items):
            if words == 'packing' and place == number:
                raise KeyboardInterrupt
            yield item

    return watch


def test_an_interrupted_conversion_goes_on(tmp_path, originals):
    store = tmp_path / 'store'
    with pytest.raises(KeyboardInterrupt):
        pack_frames(store, tmp_path / 'data', originals, shard_bytes=6000, watch=stop_at(20))
    shards = sorted(store.iterdir())
    assert len(shards) >= 2 and all(path.name.startswith('frames-') for path in shards)
    with pytest.raises(DatasetError, match='was not packed to its end; run the same'):
        PackedFrames(store)
    times = [path.stat().st_mtime_ns for path in shards]
    done = pack_frames(store, tmp_path / 'data', originals, shard_bytes=6000)
    assert 0 < done.new < len(originals) and done.frames == len(originals)
    assert [path.stat().st_mtime_ns for path in shards] == times  # finished shards are not written again
    assert contents(PackedFrames(store), originals) == {path: Path(path).read_bytes() for path in originals}


def test_an_interrupted_update_leaves_the_old_store(store, originals, tmp_path):
    """New shards lie beside the old ones until the new index is there."""
    before = contents(PackedFrames(store), originals)
    for path in originals[::5]:
        touch(path)
    with pytest.raises(KeyboardInterrupt):
        pack_frames(store, store.parent / 'data', shard_bytes=2000, watch=stop_at(20))
    assert contents(PackedFrames(store, check=False), originals) == before
    done = pack_frames(store, store.parent / 'data')
    assert done.frames == len(originals) and contents(PackedFrames(store), originals) == before
    assert {path.name for path in store.glob('frames-*')} == {
        shard['file'] for shard in PackedFrames(store).table.header['shards']
    }


def test_a_killed_conversion_goes_on(tmp_path, originals):
    """SIGKILL in the middle of a shard: its half-written file is not taken for one, and is cleared away."""
    store, context = tmp_path / 'store', multiprocessing.get_context('fork')
    reached = context.Event()

    def watch(items, words, total):
        for place, item in enumerate(items):
            if place == 20:
                reached.set()
                time.sleep(60)
            yield item

    options = dict(shard_bytes=6000, workers=1, watch=watch)
    running = context.Process(target=pack_frames, args=(store, tmp_path / 'data', originals), kwargs=options)
    running.start()
    assert reached.wait(30)
    with pytest.raises(DatasetError, match='another process is packing into'):
        pack_frames(store, tmp_path / 'data', originals)
    running.kill()
    running.join()
    assert any(path.name.startswith('.writing-') for path in store.iterdir())
    done = pack_frames(store, tmp_path / 'data', originals, shard_bytes=6000)
    assert 0 < done.new < len(originals) and check_store(store, paths=originals) == []
    assert not any(path.name.startswith('.') for path in store.iterdir())


def test_a_full_disk_leaves_what_was(store, originals, monkeypatch):
    before = contents(PackedFrames(store), originals)
    touch(originals[0])

    def full(path, data):
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setattr(packing, 'atomic_write', full)
    with pytest.raises(OSError, match='No space'):
        pack_frames(store, store.parent / 'data')
    assert contents(PackedFrames(store, check=False), originals) == before


def clip_of(paths, store=None):
    meta = {'paths': list(paths), 'packed': store and str(store)}
    return HandSequence(meta=meta, frame='camera', frame_valid=torch.ones(len(paths), dtype=torch.bool))


def test_loading_says_which_frames_are_wrong(store, originals, tmp_path):
    load = LoadImages()
    clip = load(clip_of(originals[10:20], store), None)
    assert clip.images.shape == (10, 1, 3, 36, 48)
    for t, path in enumerate(originals[10:20]):
        np.testing.assert_array_equal(clip.images[t, 0].permute(1, 2, 0), cv2.imread(path)[..., ::-1])
    for path in (originals[13], originals[17]):
        damage(*place_of(store, path))
    with pytest.raises(BrokenFrames, match=r"frame 'v1/1\.jpg' .*\(and 1 more frames of the clip\)") as error:
        load(clip_of(originals[10:20], store), None)
    assert error.value.positions == [3, 7]


def test_a_rebuilt_store_is_seen_by_a_running_reader(store, originals):
    shard, offset = place_of(store, originals[3])
    damage(shard, offset)
    with pytest.raises(BrokenFrames):
        LoadImages()(clip_of(originals[:5], store), None)
    pack_frames(store, store.parent / 'data', verify=True)
    assert LoadImages()(clip_of(originals[:5], store), None).images.shape[0] == 5


def test_a_reader_that_is_open_during_an_update(store, originals):
    """It finds every frame of its index, whether it has opened the shard before or not; pruned frames do not return."""
    root, data = store.parent / 'data', {path: Path(path).read_bytes() for path in originals}
    fresh, used = PackedFrames(store), PackedFrames(store)
    assert contents(used, originals[:5]) == {path: data[path] for path in originals[:5]}
    kept = originals[20:]
    pack_frames(store, root, kept, prune=True)
    assert list(store.glob('retired-*.bin'))
    for opened in (fresh, used):
        assert contents(opened, originals) == data and list(opened.shard_errors()) == []
    newest = PackedFrames(store)
    assert len(newest) == len(kept) and contents(newest, kept) == {path: data[path] for path in kept}
    before = {path.name for path in store.glob('frames-*.bin')}
    assert pack_frames(store, root).frames == len(kept)
    assert not list(store.glob('retired-*.bin')) and {path.name for path in store.glob('frames-*.bin')} == before
    pack_frames(store, root, originals[:1])
    numbers = {path.name for path in store.glob('frames-*.bin')} - before
    assert numbers and not numbers & {shard['file'] for shard in fresh.table.header['shards']}


def test_a_truncated_original_is_what_it_was(tmp_path, originals):
    """Packed as it is, so that reading says what reading the file says."""
    Path(originals[2]).write_bytes(Path(originals[2]).read_bytes()[:-30])
    pack_frames(tmp_path / 'store', tmp_path / 'data', originals)
    said = []
    for packed in (None, tmp_path / 'store'):
        with pytest.raises(BrokenFrames, match='is truncated or not an image') as error:
            LoadImages()(clip_of(originals[:4], packed), None)
        said.append((str(error.value), error.value.positions))
    assert said[0] == said[1]


READERS = {
    'dexycb': (dexycb_files.write_root, lambda root, **o: DexYCB(root, setup='all', **o, sampling=centred(3, 2))),
    'ho3d': (ho3d_files.write_root, lambda root, **o: HO3D(root, **o, sampling=centred(3, 2, across_gaps=True))),
    'h2o': (h2o_files.write_root, lambda root, **o: H2O(root, **o, sampling=ActionClips(4, 2, window=2))),
    'fpha': (fpha_files.write_root, lambda root, **o: FPHA(root, **o, sampling=ActionClips(3, 2))),
}


def assert_same(clip, other):
    present = clip.present()
    assert present.keys() == other.present().keys()
    for name, value in present.items():
        torch.testing.assert_close(value, getattr(other, name), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize('name', READERS)
def test_every_reader(name, tmp_path):
    """Clips are bit for bit those of the files, with pictures and without; and the check of changes is theirs too."""
    write, build = READERS[name]
    root, store = tmp_path / 'data', tmp_path / 'store'
    write(root, **({'frames': 6} if name in ('dexycb', 'ho3d') else {}))
    files = build(root, pipeline=LOAD)
    paths = files.image_paths()
    assert len(set(paths)) == len(paths)
    named = {path for i in range(len(files)) for path in files.read(i).meta['paths']}
    assert named <= set(paths)
    done = pack_frames(store, root, paths)
    assert done.frames == len(paths) and not done.missing
    packed = build(root, pipeline=LOAD, packed=store)
    for index in range(0, len(files), 5):
        assert_same(files[index], packed[index])
    if name == 'h2o':
        loader = DataLoader(packed, batch_size=None, num_workers=2, multiprocessing_context='fork')
        for clip, expected in zip(loader, files, strict=True):
            assert_same(expected, clip)
    shard, offset = place_of(store, packed.read(0).meta['paths'][0])
    damage(shard, offset)
    with pytest.raises(BrokenFrames, match='is damaged'):
        packed[0]
    touch(paths[0])
    with pytest.raises(DatasetError, match='written again'):
        build(root, packed=store)
    with pytest.raises(DatasetError, match='no packed store'):
        build(root, packed=tmp_path / 'other')


def test_a_damaged_frame_is_left_out_on_request(tmp_path):
    root, store = dexycb_files.write_root(tmp_path / 'data'), tmp_path / 'store'
    options = dict(setup='all', pipeline=LOAD, on_broken='skip')
    paths = DexYCB(root, **options).image_paths()
    pack_frames(store, root, paths)
    dataset = DexYCB(root, **options, packed=store)
    whole = len(dataset[0].frame_valid)
    damage(*place_of(store, dataset.read(0).meta['paths'][1]))
    assert len(dataset[0].frame_valid) == whole - 1 and dataset.skipped == [dataset.sample_name(0)]


@pytest.mark.parametrize('name', ['dexycb', 'h2o', 'ho3d'])
def test_smaller_pictures(name, tmp_path):
    """Labels follow, as if ResizeFrames came after loading; only the pictures are not quite those."""
    write, build = READERS[name]
    root, store = tmp_path / 'data', tmp_path / 'store'
    write(root)
    size = (32, 18) if name == 'h2o' else (48, 36)
    plain = build(root, pipeline=[*LOAD, ResizeFrames(size)])
    pack_frames(store, root, plain.image_paths(), Recoding(size, 'png'))
    assert PackedFrames(store).image_changes['source_size'] == ([64, 36] if name == 'h2o' else [96, 72])
    packed = build(root, pipeline=LOAD, packed=store)
    clip, expected = packed[0], plain[0]
    assert_same(expected, clip)  # PNG: not even the pictures differ
    assert clip.meta['image_size'] == expected.meta['image_size'] == size
    with pytest.raises(DatasetError, match=r'holds images changed by .*another form'):
        pack_frames(store, root, plain.image_paths(), Recoding((16, 12)))
    damage(*place_of(store, packed.read(0).meta['paths'][0]))
    assert len(pack_frames(store, root, verify=True).damaged) == 1
    assert_same(expected, build(root, pipeline=LOAD, packed=store)[0])


def test_changed_pictures(tmp_path, originals):
    Path(originals[5]).write_bytes(b'no image')
    done = pack_frames(tmp_path / 'a', tmp_path / 'data', originals, Recoding(quality=20))
    assert done.unreadable == ['v0/5.jpg']
    smaller = contents(PackedFrames(tmp_path / 'a'), originals)
    assert sum(map(len, smaller.values())) < 0.8 * sum(os.path.getsize(path) for path in originals)
    assert smaller[originals[5]] == b'no image'
    cv2.imwrite(originals[6], np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(DatasetError, match=r'6\.jpg is 10x10, but others are 48x36'):
        pack_frames(tmp_path / 'b', tmp_path / 'data', originals, Recoding((24, 18)))
    pack_frames(tmp_path / 'c', tmp_path / 'data', originals)
    with pytest.raises(DatasetError, match='holds the original images, and another form'):
        pack_frames(tmp_path / 'c', tmp_path / 'data', originals, Recoding((24, 18)))
    for wrong in ({'encoding': 'gif'}, {'quality': 0}, {'size': (0, 5)}):
        with pytest.raises(DatasetError, match='are packed as'):
            Recoding(**wrong)
