import os
import pickle

import numpy as np
import pytest
from mano_files import random_hand, write_official_like

from handpose.hands.mano_file import MANOFileError, load_mano_file


@pytest.mark.parametrize('python2', [True, False])
def test_reads_a_file_pickled_like_the_official_one(tmp_path, monkeypatch, python2):
    hand, path = random_hand(3), tmp_path / 'MANO_RIGHT.pkl'
    write_official_like(path, hand, monkeypatch, python2)
    raw = path.read_bytes()
    assert b'chumpy' in raw and b'Select' in raw and b'csc_matrix' in raw
    assert (b'numpy.core.multiarray' in raw and b'_codecs' not in raw) if python2 else b'_codecs' in raw
    loaded = load_mano_file(path)
    assert loaded.keys() == hand.keys()
    for key, value in hand.items():
        np.testing.assert_array_equal(loaded[key], value, err_msg=key)


def test_reads_real_scipy_sparse(tmp_path):
    import scipy.sparse

    hand, path = random_hand(4), tmp_path / 'MANO_LEFT.pkl'
    for layout in (scipy.sparse.csc_matrix, scipy.sparse.csr_matrix):
        path.write_bytes(pickle.dumps({**hand, 'J_regressor': layout(hand['J_regressor'])}, protocol=2))
        np.testing.assert_array_equal(load_mano_file(path)['J_regressor'], hand['J_regressor'])


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [0, 2, 4])
@pytest.mark.parametrize(
    ('function', 'name'),
    [(os.system, 'system'), (eval, 'eval'), (getattr, 'getattr'), (__import__, '__import__'), (np.load, 'load')],
)
def test_code_in_a_pickle_is_refused_by_name_and_does_not_run(tmp_path, function, name, protocol):
    path, trace = tmp_path / 'MANO_RIGHT.pkl', tmp_path / 'trace'
    argument = f"open({str(trace)!r}, 'w')" if function is eval else f'touch {trace}'
    path.write_bytes(pickle.dumps({**random_hand(0), 'extra': Malicious(function, argument)}, protocol=protocol))
    with pytest.raises(MANOFileError, match=rf'MANO_RIGHT.pkl was refused: it asks for .*{name}'):
        load_mano_file(path)
    assert not trace.exists()


def test_only_stand_ins_are_rebuilt_and_only_latin1_decoded(tmp_path):
    path = tmp_path / 'MANO_RIGHT.pkl'
    for body, sentence in [
        (b'ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.', 'rebuilds an object'),
        (b'c_codecs\nencode\n(Vabc\nVrot13\ntR.', 'only latin1'),
    ]:
        path.write_bytes(body)
        with pytest.raises(MANOFileError, match=sentence):
            load_mano_file(path)


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'not a pickle', 'cannot be read'),
        (pickle.dumps([1, 2]), 'holds a list'),
        (pickle.dumps({'v_template': np.zeros((778, 3))}), "lacks 'shapedirs'"),
        (pickle.dumps({**random_hand(0), 'weights': np.zeros((5, 16))}), r"'weights' must have shape \(778, 16\)"),
        (pickle.dumps({k: v for k, v in random_hand(0).items() if k != 'f'}), 'triangles'),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path, content, sentence):
    path = tmp_path / 'MANO_RIGHT.pkl'
    path.write_bytes(content)
    with pytest.raises(MANOFileError, match=sentence):
        load_mano_file(path)


def test_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(MANOFileError, match=r'MANO_LEFT.pkl does not exist.*mano.is.tue.mpg.de.*ProceduralHand'):
        load_mano_file(tmp_path / 'MANO_LEFT.pkl')
