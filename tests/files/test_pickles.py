import codecs
import pickle
import struct

import numpy as np
import pytest

from handpose.files.pickles import PickleError, load_pickle

ARRAYS = {
    'floats': np.arange(6.0).reshape(2, 3),
    'columns first': np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    'slice': np.arange(20, dtype=np.uint16).reshape(4, 5)[::2, ::-1],
    'big-endian': np.arange(5, dtype='>i4'),
    'booleans': np.array([True, False, True]),
    'half': np.ones(3, np.float16),
    'bytes': np.array([b'ab', b'cde']),
    'text': np.array(['left', 'right', 'h\u00e4nd']),
    'empty': np.zeros((0, 3)),
    'no axes': np.array(7, np.int64),
}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_scalars_and_plain_values_of_every_protocol(tmp_path, protocol):
    plain = {'b': [np.float32(2.5), np.int8(-3), 'text', None, True, 1.5, 2**40], 'c': ({'d': b'\xff'}, {1: 'one'})}
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({**ARRAYS, **plain}, protocol=protocol))
    found = load_pickle(tmp_path / 'x.pkl', 'a test')
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype, name
    assert found['b'] == plain['b'] and found['c'] == plain['c']


DTYPE = b'cnumpy\ndtype\n(V%s\nI0\nI1\ntR'
ARRAY = b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR'


def array(shape, dtype, data):
    """The program of an array with the given state."""
    return ARRAY + b'(I1\n' + shape + dtype + b'I00\n' + b'B' + struct.pack('<I', len(data)) + data + b'tb.'


def dtype_state(name, state):
    return DTYPE % name + state + b'b'


OBJECTS = b'(I3\nV|\nN(Va\nt(dVa\n(' + DTYPE % b'O8' + b'I0\ntsI8\nI1\nI63\nt'
EIGHT = bytes(range(8))
REFUSED = {
    'os.system': (b'cos\nsystem\n(Vtouch trace\ntR.', r'asks for os\.system'),
    'eval': (b'cbuiltins\neval\n(V1\ntR.', r'builtins\.eval'),
    'numpy.load': (b'cnumpy\nload\n(Vx\ntR.', r'numpy\.load'),
    'a dotted name': (b'\x80\x04\x8c\x05numpy\x8c\x0bndarray.dot\x93.', r'numpy\.ndarray\.dot'),
    'rot13': (b'c_codecs\nencode\n(Vx\nVrot13\ntR.', "'rot13'; only latin1"),
    'an object array': (pickle.dumps(np.array([1, 'a'], object), 2), "array of type 'O8'"),
    'an array of records': (pickle.dumps(np.zeros(2, [('a', 'O'), ('b', 'f8')]), 2), "type '[VO]"),
    'dates': (pickle.dumps(np.zeros(2, 'M8[s]'), 2), "type 'M8'"),
    'complex numbers': (pickle.dumps(np.zeros(2, complex), 2), "type 'c16'"),
    'void': (array(b'(I1\nt', DTYPE % b'V8', EIGHT), "type 'V8'"),
    'void with fields of objects': (array(b'(I1\nt', dtype_state(b'V8', OBJECTS), EIGHT), "type 'V8'"),
    'floats with fields of objects': (array(b'(I1\nt', dtype_state(b'f8', OBJECTS), EIGHT), 'fields, objects'),
    'floats with the flags of objects': (
        array(b'(I1\nt', dtype_state(b'f8', b'(I3\nV<\nNNNI-1\nI-1\nI63\nt'), EIGHT),
        'fields, objects',
    ),
    'floats of another size': (
        array(b'(I2\nt', dtype_state(b'f8', b'(I3\nV<\nNNNI4\nI-1\nI0\nt'), EIGHT),
        'another size',
    ),
    'a type that is a string': (array(b'(I1\nt', b'Vf8\n', EIGHT), 'not described by its shape'),
    'a shape of text': (array(b'(V1\nt', DTYPE % b'f8', EIGHT), 'not described by its shape'),
    'a negative shape': (array(b'(I-1\nt', DTYPE % b'f8', EIGHT), 'not described by its shape'),
    'a huge shape': (array(b'(I2000000000\nI2000000000\nt', DTYPE % b'f8', EIGHT), 'has 8 bytes, expected'),
    'a short array': (array(b'(I2\nt', DTYPE % b'f8', EIGHT), 'has 8 bytes, expected 16'),
    'no booleans': (array(b'(I2\nt', DTYPE % b'b1', b'\1\2'), 'values that its type does not have'),
    'no text': (array(b'(I1\nt', DTYPE % b'U1', b'\xff\xff\xff\x7f'), 'values that its type does not have'),
    'an array of another class': (
        b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntC\x01btR(I1\n(t' + DTYPE % b'f8' + b'I00\nC\0tb.',
        'something other than an array',
    ),
    'the state of a function': (b'c_codecs\nencode\n}Vx\nI1\nsb.', 'changes the state of a name'),
    'the state of numpy.dtype': (b'cnumpy\ndtype\n(N}Vx\nI1\nstb.', 'changes the state of a name'),
    'the state of a list': (b']}Vx\nI1\nsb.', 'changes the state of list'),
    'a second state': (DTYPE % b'f8' + b'(tb(tb.', 'changes the state of'),
    'a call of text': (b'Vx\n(tR.', 'calls something that is no function'),
    'a call of an array': (ARRAY + b'(tR.', 'calls something that is no function'),
    'an addition to a name': (b'cnumpy\ndtype\n(I1\ne.', 'adds to a type'),
    'an old class': (b'(inumpy\ndtype\n.', 'an operation that'),
    'a persistent name': (b'Pabc\n.', 'an operation that'),
    'an extension': (b'\x82\x01.', 'an operation that'),
    'a function as a value': (b'(dVa\ncnumpy\ndtype\ns.', 'a function or a class'),
    'a list in itself': (b'(lp0\ng0\na.', 'nested too deeply'),
    'an array whose type is itself': (ARRAY + b'q\0(I1\n(I1\nth\0I00\nC\0tb.', 'nested too deeply'),
    'deep lists': (b'(l' * 10**5 + b'a' * (10**5 - 1) + b'.', 'nested too deeply'),
    'lists of a list, again and again': (b'(lq\0' + b'(lh\0ah\0aq\0' * 60 + b'.', 'nested too deeply'),
    'a key whose hash takes for ever': (b')q\0' + b'h\0h\0\x86q\0' * 60 + b'0}h\0Ns.', 'keys are no text'),
    'a long list, again and again': (b'(lq\0(' + b'N' * 2000 + b'e0(' + b'h\0' * 2000 + b'l.', 'refer to each other'),
    'a number without end': (b'\x8b' + struct.pack('<I', 4000) + b'\1' * 4000 + b'.', 'more than 64 bits'),
}  # fmt: skip
DAMAGED = {
    'empty': b'',
    'text': b'no pickle',
    'cut': pickle.dumps(np.arange(100.0))[:-9],
    'a place in the memory of the reader': b'Nr\xff\xff\xff\x7f0h\x05.',
    'bytes that are not there': b'\x80\x05\x96' + struct.pack('<Q', 10**11) + b'x.',
    'an unknown operation': b'\xf0.',
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_no_file_of_data_needs_is_refused_and_changes_nothing(tmp_path, name, monkeypatch):
    program, message = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.pkl').write_bytes(program)
    (tmp_path / 'good.pkl').write_bytes(pickle.dumps(ARRAYS, 2))
    with pytest.raises(PickleError, match=message):
        load_pickle(tmp_path / 'x.pkl', 'a test')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['good.pkl', 'x.pkl']
    assert codecs.encode('\xe9', 'latin1') == b'\xe9' and np.dtype('f8') == np.float64
    for key, value in load_pickle(tmp_path / 'good.pkl', 'a test').items():
        np.testing.assert_array_equal(value, ARRAYS[key])


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged_files(tmp_path, name):
    (tmp_path / 'x.pkl').write_bytes(DAMAGED[name])
    with pytest.raises(PickleError, match='cannot be read: it is no pickle, damaged or cut short'):
        load_pickle(tmp_path / 'x.pkl', 'a test')


def test_bytes_are_not_multiplied(tmp_path):
    """A megabyte that is encoded a thousand times, and one that a thousand arrays share."""
    text = b'X' + struct.pack('<I', 2**20) + b'x' * 2**20
    encoded = b'c_codecs\nencode\nq\0' + text + b'\x85q\x01' + b'0(' + b'h\0h\x01R' * 1000 + b'l.'
    (tmp_path / 'x.pkl').write_bytes(encoded)
    found = load_pickle(tmp_path / 'x.pkl', 'a test')
    assert len({id(value) for value in found}) == 1 and len(found[0]) == 2**20
    kind = DTYPE % b'u1' + b'q\x02'
    one = ARRAY + b'(I1\n(I1048576\nth\x02I00\nh\x01tb'
    (tmp_path / 'x.pkl').write_bytes(b'(' + text + b'q\x01' + kind + one * 1000 + b'l.')
    with pytest.raises(PickleError, match='arrays are larger than the file'):
        load_pickle(tmp_path / 'x.pkl', 'a test')


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / 'none.pkl', tmp_path):
        with pytest.raises(PickleError, match='no such file'):
            load_pickle(path, 'a test')
