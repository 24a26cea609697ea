"""Checkpoint files that are damaged, or made to use more memory than they hold."""

import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from contextlib import suppress

import pytest
import torch

from handpose.files.pth import read_pth
from handpose.files.reading import FileError

STORAGE = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ%stQ'


def number(value):
    return struct.pack('<i', value)


def tensor(length=4, offset=0, shape=4, step=1):
    """The pickle of one tensor, as torch.save writes it."""
    numbers = b'J%sJ%s\x85J%s\x85' % (number(offset), number(shape), number(step))
    start = b'ctorch._utils\n_rebuild_tensor_v2\n(' + STORAGE % number(length)
    return start + numbers + b'\x89ccollections\nOrderedDict\n)RtR'


def write(path, contents, compression=zipfile.ZIP_STORED, extra=()):
    """An archive of the pickle `contents`, with one storage of 16 bytes."""
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('a/data.pkl', b'\x80\x02' + contents + b'.')
        for name, data in (('byteorder', b'little'), ('data/0', bytes(16)), ('version', b'3\n'), *extra):
            archive.writestr(f'a/{name}', data)
    return path


def test_what_torch_saves_is_read(tmp_path):
    shared = torch.arange(6.0)
    state = OrderedDict(weight=shared[1:5], rows=shared.view(2, 3).t(), half=torch.ones(2, dtype=torch.bfloat16))
    state['scalar'], state['flags'], state['empty'] = torch.tensor(3), torch.tensor([True]), torch.zeros(0, 3)
    state['repeated'] = torch.zeros(1).expand(50)
    values = {
        'meta': {'iter': 3, 'names': ['a', None, True, 2.5, (1, 2)], 'big': 2**70, 'raw': b'\x00\xff', 'set': {1, 2}},
        'kinds': [torch.float32, torch.Size([2, 3]), torch.device('cpu'), Counter({3: 1})],
        'parameter': torch.nn.Parameter(torch.ones(2)),
        'state': state,
    }
    torch.save(values, tmp_path / 'a.pth')
    for mmap in (False, True):
        found = read_pth(tmp_path / 'a.pth', mmap=mmap)
        assert all(torch.equal(found['state'].pop(key), value) for key, value in state.items())
        assert torch.equal(found.pop('parameter'), torch.ones(2))
        assert found == {'meta': values['meta'], 'kinds': values['kinds'], 'state': OrderedDict()}


def test_a_state_dict_and_an_optimizer_are_read(tmp_path):
    model = torch.nn.BatchNorm1d(3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    torch.save([model.state_dict(), optimizer.state_dict(), schedule.state_dict()], tmp_path / 'a.pth')
    found = read_pth(tmp_path / 'a.pth')
    model.load_state_dict(found[0])
    assert found[0]._metadata == model.state_dict()._metadata and found[2]['milestones'] == Counter([2, 4])


def test_the_hand_written_pickle_is_a_good_one(tmp_path):
    assert torch.equal(read_pth(write(tmp_path / 'a.pth', tensor())), torch.zeros(4))


def calls(module, name, arguments):
    return f'c{module}\n{name}\n'.encode() + arguments + b'R'


HUGE = b'J' + number(2**31 - 1)
KEYS = b'}' + b')\x85' * 60 + b'K\x01s'  # a dict with a tuple as key


@pytest.mark.parametrize(
    'contents, words',
    [
        (tensor(length=2**31 - 1), 'should have 8,589,934,588 bytes, and has 16'),
        (tensor(length=5), 'should have 20 bytes, and has 16'),
        (tensor(length=-4), 'a storage is not described'),
        (tensor(shape=5), 'does not lie in its storage'),
        (tensor(offset=1), 'does not lie in its storage'),
        (tensor(offset=-1), 'a tensor is not described'),
        (tensor(step=2), 'does not lie in its storage'),
        (tensor(shape=2**31 - 1, step=0), 'does not lie in its storage'),
        (tensor(shape=2, step=-1), 'a tensor is not described'),
        (calls('__builtin__', 'bytearray', HUGE + b'\x85'), r'it names __builtin__\.bytearray'),
        (calls('torch', 'Tensor', HUGE + b'\x85'), r'it names torch\.Tensor'),
        (calls('torch.storage', 'UntypedStorage', HUGE + b'\x85'), r'it names torch\.storage\.UntypedStorage'),
        (calls('os', 'system', b'X\x02\x00\x00\x00id\x85'), r'it names os\.system'),
        (calls('torch', 'FloatStorage', HUGE + b'\x85'), r'it calls torch\.FloatStorage'),
        (calls('torch', 'float32', b')'), r'it calls torch\.float32'),
        (calls('collections', 'Counter', b']\x85'), 'a mapping is not described'),
        (b'K\x01)R', 'calls something that is no function'),
        (KEYS, 'a dict has keys'),
        (b'', 'list of contents'),
        (b't' * 3, 'list of contents'),
        (b'\x96' + struct.pack('<Q', 2**40), 'list of contents'),
        (b']q\x00h\x05', 'list of contents'),
    ],
)
def test_what_asks_for_more_than_the_file_holds(tmp_path, contents, words):
    with pytest.raises(FileError, match=f'a.pth cannot be read as a checkpoint: it .*{words}.*; fetch it again'):
        read_pth(write(tmp_path / 'a.pth', contents), advice='fetch it again')


def test_compressed_archives(tmp_path):
    """16 MB of zeros in a few kB."""
    path = write(tmp_path / 'a.pth', tensor(), zipfile.ZIP_DEFLATED, [('data/1', bytes(2**24))])
    with pytest.raises(FileError, match=r'torch\.save compresses nothing'):
        read_pth(path)


def test_entries_that_share_their_bytes(tmp_path):
    path = write(tmp_path / 'a.pth', tensor(), extra=[(f'data/{i}', bytes(4096)) for i in range(1, 4)])
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo('a/data/1').header_offset
        others = [archive.getinfo(f'a/data/{i}').header_offset for i in (2, 3)]
    directory = data.index(b'PK\x01\x02')
    end = bytearray(data[directory:])
    for offset in others:
        end = end.replace(struct.pack('<I', offset), struct.pack('<I', first))
    shortened = data[: others[0]] + end[:-6] + struct.pack('<IH', others[0], 0)
    path.write_bytes(shortened)
    with pytest.raises(FileError, match='hold more than that'):
        read_pth(path)


@pytest.mark.parametrize('twice', ['data.pkl', 'data/0'])
def test_entries_that_are_there_twice(tmp_path, twice):
    with pytest.warns(UserWarning, match='Duplicate name'):
        path = write(tmp_path / 'a.pth', tensor(), extra=[(twice, b'N.')])
    with pytest.raises(FileError, match=r'no archive that torch\.save wrote'):
        read_pth(path)


def test_the_old_format(tmp_path):
    torch.save({'a': torch.ones(2)}, tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    with pytest.raises(FileError, match=r'format of PyTorch before version 1\.6.*save it again with torch\.save'):
        read_pth(tmp_path / 'a.pth')
    assert read_pth(tmp_path / 'a.pth', allow_old=True)['a'].tolist() == [1, 1]


@pytest.mark.parametrize('data', [b'', b'PK\x03\x04', b'\x80', pickle.dumps({'a': 1}), bytes(1000)])
def test_other_files(tmp_path, data):
    (tmp_path / 'a.pth').write_bytes(data)
    with pytest.raises(FileError, match=r'is damaged, cut off, or not written by torch\.save'):
        read_pth(tmp_path / 'a.pth')


def test_files_that_cannot_be_opened(tmp_path):
    for path, words in ((tmp_path / 'none.pth', 'does not exist'), (tmp_path, 'is a folder|is a directory')):
        with pytest.raises(FileError, match=words):
            read_pth(path)


def test_every_changed_byte_is_refused_or_harmless(tmp_path):
    """No foreign exception, whatever byte of the archive's list of contents is changed."""
    path = write(tmp_path / 'a.pth', tensor())
    data = path.read_bytes()
    for place in range(data.index(b'\x80\x02'), data.index(b'PK', 60)):
        for value in (0, 0x2E, 0xFF):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            with suppress(FileError):
                read_pth(path)
