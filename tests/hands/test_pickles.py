import pickle

import numpy as np
import pytest

from handpose.hands.pickles import PickleRefused, array_names, load_pickle


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4])
def test_arrays_scalars_and_plain_values_of_every_protocol(tmp_path, protocol):
    value = {'a': np.arange(6.0).reshape(2, 3), 'b': [np.float32(2.5), 'text', None], 'c': np.ones(3, bool)}
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(value, protocol=protocol))
    found = load_pickle(tmp_path / 'x.pkl', array_names(), 'a test')
    np.testing.assert_array_equal(found['a'], value['a'])
    assert found['b'] == [2.5, 'text', None] and found['c'].all() and found['c'].dtype == bool


@pytest.mark.parametrize(
    'program, name',
    [
        (b'cos\nsystem\n(Vtouch bomb\ntR.', 'os.system'),
        (b'cbuiltins\neval\n(V1\ntR.', 'builtins.eval'),
        (b'cnumpy\nload\n(Vx\ntR.', 'numpy.load'),
        (b'\x80\x04\x8c\x05numpy\x8c\x0bndarray.dot\x93.', 'numpy.ndarray.dot'),  # a way round by a dotted name
        (b'c_codecs\nencode\n(Vx\nVrot13\ntR.', 'rot13'),
    ],
)
def test_programs_are_refused(tmp_path, program, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.pkl').write_bytes(program)
    with pytest.raises(PickleRefused, match=name):
        load_pickle(tmp_path / 'x.pkl', array_names(), 'a test')
    assert [path.name for path in tmp_path.iterdir()] == ['x.pkl']
