import io
import os
import zipfile

import numpy as np
import pytest

from handpose.files.npz import SMALLEST_LIMIT, read_npy, read_npz

ARRAYS = {
    'joints': np.arange(42, dtype=np.float32).reshape(2, 7, 3),
    'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'valid': np.array([True, False]),
    'names': np.array(['a', 'héł']),
    'raw': np.array(b'bytes'),
    'one': np.array(3),
    'none': np.zeros((0, 21, 3)),
    'half': np.ones(3, np.float16),
    'big': np.arange(3, dtype='>i4'),
    'one letter': np.array(''),
    'with/slash': np.array(1),
    'large': np.arange(400_000),
}


class OwnError(ValueError):
    pass


def npy(array=None, header=None, data=b''):
    """The bytes of an .npy file, of an array or with a header of our own."""
    if array is not None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header.encode() + data


def header(descr="'<f4'", order='False', shape='(2,)'):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def write_npz(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, 'w', method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_npz_gives_what_numpy_gives(tmp_path, save):
    save(tmp_path / 'a.npz', **ARRAYS)
    found = read_npz(tmp_path / 'a.npz')
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder('=') and found[name].flags.writeable
    assert list(read_npz(tmp_path / 'a.npz', ['valid', 'joints', 'not there'])) == ['joints', 'valid']


@pytest.mark.parametrize('name', ARRAYS)
def test_npy_gives_what_numpy_gives(tmp_path, name):
    np.save(tmp_path / 'a.npy', ARRAYS[name])
    np.testing.assert_array_equal(read_npy(tmp_path / 'a.npy'), ARRAYS[name])


@pytest.mark.parametrize(
    'text',
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}",
        '{"shape": (2,1,), "fortran_order": False, "descr": "<f4"}\n',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }\n",
    ],
)
def test_headers_of_other_writers(tmp_path, text):
    (tmp_path / 'a.npy').write_bytes(npy(header=text, data=np.float32([1, 2]).tobytes()))
    assert read_npy(tmp_path / 'a.npy').tolist() == [[1], [2]]


def test_long_header(tmp_path):
    text = header().encode()
    start = b'\x93NUMPY\x02\x00' + len(text).to_bytes(4, 'little')
    (tmp_path / 'a.npy').write_bytes(start + text + np.float32([1, 2]).tobytes())
    assert read_npy(tmp_path / 'a.npy').tolist() == [1, 2]


DAMAGED = {
    'objects': (npy(np.array([{}, None], object)), 'holds Python objects'),
    'fields': (npy(np.zeros(2, [('a', 'f4')])), 'of a kind that is not read'),
    'dates': (npy(np.zeros(2, 'M8[s]')), 'of a kind that is not read'),
    'complex': (npy(np.zeros(2, complex)), 'of a kind that is not read'),
    'nothing': (b'', 'does not begin as an array does'),
    'text': (b'one, two and three', 'does not begin as an array does'),
    'shape too large': (npy(header=header(shape='(3,)'), data=bytes(8)), 'is 12 bytes, but has 8'),
    'shape too small': (npy(header=header(shape='(1,)'), data=bytes(8)), 'is 4 bytes, but has 8'),
    'huge': (npy(header=header(shape='(999999999999999,)'), data=bytes(8)), 'impossible shape'),
    'huge axis beside an empty one': (npy(header=header(shape='(0, 999999999999999)')), 'impossible shape'),
    'elements of no size': (npy(header=header("'<U0'", shape='(99999999999,)')), 'impossible shape'),
    'negative': (npy(header=header(shape='(-2,)'), data=bytes(8)), 'of a kind that is not read'),
    'no tuple': (npy(header=header(shape='2'), data=bytes(8)), 'of a kind that is not read'),
    'axes': (npy(header=header(shape=f'({"1, " * 40})'), data=bytes(4)), 'impossible shape'),
    'nested header': (npy(header='(' * 9000), 'of a kind that is not read'),
    'endless header': (b'\x93NUMPY\x02\x00\xff\xff\xff\x7f', 'has a header of 2,147,483,647 bytes'),
    'cut in the header': (npy(np.zeros(2))[:40], 'of a kind that is not read'),
    'booleans': (npy(header=header("'|b1'"), data=b'\x01\x02'), 'neither true nor false'),
    'characters': (npy(header=header("'<U1'"), data=b'a\0\0\0\xff\xff\xff\xff'), 'impossible characters'),
}


@pytest.mark.parametrize('case', DAMAGED)
def test_an_array_that_is_refused(tmp_path, case):
    data, words = DAMAGED[case]
    files = [write_npz(tmp_path / '[b]a.npz', [('x.npy', npy(np.ones(2))), ('y.npy', data)]), tmp_path / '[b]a.npy']
    files[1].write_bytes(data)
    for path, read in zip(files, (read_npz, read_npy), strict=True):
        with pytest.raises(OwnError, match=words) as found:
            read(path, error=OwnError, advice='unpack it again')
        assert str(found.value).startswith(f'{path} ') and str(found.value).endswith('; unpack it again')
        assert ("'y'" in str(found.value)) == (read is read_npz)


@pytest.mark.parametrize(
    'name', ['../x.npy', 'a/../x.npy', '/x.npy', 'a//x.npy', '.npy', '._x.npy', 'x', 'x\x1b.npy', 'a\\x.npy']
)
def test_members_with_odd_names(tmp_path, name):
    path = write_npz(tmp_path / 'a.npz', [('good.npy', npy(np.ones(2))), (name, npy(np.ones(2)))])
    with pytest.raises(OwnError, match='cannot be the name of an array'):
        read_npz(path, error=OwnError)
    assert list(read_npz(path, ['good'])) == ['good']  # what is not asked for is not looked at


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_an_array_that_is_there_twice(tmp_path):
    path = write_npz(tmp_path / 'a.npz', [('x.npy', npy(np.ones(2))), ('x.npy', npy(np.zeros(2)))])
    with pytest.raises(OwnError, match="has the array 'x' twice"):
        read_npz(path, ['x'], error=OwnError)


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    count = SMALLEST_LIMIT + 1
    start = npy(header=header("'|u1'", shape=f'({count},)'))
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open('x.npy', 'w', force_zip64=True) as member:
            member.write(start)
            for _ in range(256):
                member.write(bytes(2**20))
            member.write(b'\0')
        archive.writestr('y.npy', npy(np.ones(2)))
    with pytest.raises(OwnError, match=r'says that its [\d,]+ bytes expand to 268,'):
        read_npz(tmp_path / 'a.npz', error=OwnError)
    assert read_npz(tmp_path / 'a.npz', ['y'])['y'].tolist() == [1, 1]


def test_other_compression_and_no_zip(tmp_path):
    path = write_npz(tmp_path / 'a.npz', [('x.npy', npy(np.ones(2)))], zipfile.ZIP_BZIP2)
    with pytest.raises(OwnError, match='compressed in a way that numpy does not write'):
        read_npz(path, error=OwnError)
    path.write_bytes(npy(np.ones(2)))
    with pytest.raises(OwnError, match='is damaged, or is not a zip file'):
        read_npz(path, error=OwnError)


def test_every_cut_and_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez_compressed(path, x=np.arange(5.0), y=np.array(['a', 'b']))
    data, truth = path.read_bytes(), read_npz(path)

    def refused(mutant):
        path.write_bytes(mutant)
        try:
            found = read_npz(path, truth, error=OwnError)
        except OwnError:
            return True
        assert all((found[name] == truth[name]).all() for name in found)
        return False

    assert all(refused(data[:n]) for n in range(len(data)))
    flipped = [refused(data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :]) for n in range(len(data))]
    assert 0.5 < np.mean(flipped) < 1


@pytest.mark.parametrize('read', [read_npz, read_npy])
def test_what_is_no_file(tmp_path, read):
    loop, pipe = tmp_path / 'loop', tmp_path / 'pipe'
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for path, words in {
        tmp_path / 'none': 'does not exist',
        tmp_path: 'is a folder',
        loop: 'leads back to itself',
        pipe: 'not a regular file',
    }.items():
        with pytest.raises(OwnError, match=f'{path} {words}|{path} .*{words}'):
            read(path, error=OwnError)
