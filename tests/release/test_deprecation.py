"""Deprecated names warn where they are used, and nothing deprecated outlives the version of its removal."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import handpose
from handpose.deprecation import deprecated, renamed_argument
from handpose.registry import MODELS, defaults_of

PACKAGE = Path(handpose.__file__).parent
HELPERS = {'deprecated', 'renamed_argument'}
SCRIPT = """
from handpose.deprecation import deprecated

@deprecated(since='0.3', removed_in='0.5', use='new()')
def old():
    pass

def caller():
    old()  # line 9

for _ in range(3):
    caller()
old()  # line 13
"""


class NewSmoother:
    def __init__(self, window: int, rotation: float = 0.1, turn: float | None = None) -> None:
        self.window = window
        self.rotation = renamed_argument('turn', turn, 'rotation', rotation, since='0.3', removed_in='0.5')


@deprecated(since='0.3', removed_in='0.5', use='NewSmoother')
class OldSmoother(NewSmoother):
    """The same under its old name."""


@deprecated(since='0.3', removed_in='0.5', use='`sum`')
def old_sum(values, start=0):
    """Adds."""
    return sum(values, start)


def test_a_function_warns_and_works():
    message = 'old_sum is deprecated since handpose 0.3 and will be removed in 0.5: use `sum` instead'
    with pytest.warns(FutureWarning, match=message) as warned:
        assert old_sum([1, 2], start=3) == 6
    assert warned[0].filename == __file__
    assert (old_sum.__name__, old_sum.__doc__, str(inspect.signature(old_sum))) == (
        'old_sum',
        'Adds.',
        '(values, start=0)',
    )


def test_a_class_warns_and_stays_itself():
    with pytest.warns(FutureWarning, match='OldSmoother is deprecated .* use NewSmoother') as warned:
        smoother = OldSmoother(window=3)
    assert warned[0].filename == __file__ and len(warned) == 1
    assert isinstance(smoother, OldSmoother) and isinstance(smoother, NewSmoother) and smoother.window == 3
    assert inspect.signature(OldSmoother) == inspect.signature(NewSmoother)
    with pytest.warns(FutureWarning, match='OldSmoother'):
        type('Mine', (OldSmoother,), {})(window=3)


def test_the_new_class_does_not_warn(recwarn):
    assert NewSmoother(3, rotation=0.5).rotation == 0.5
    assert list(recwarn) == []


def test_a_registered_class_keeps_its_arguments():
    MODELS.module_dict['OldSmoother'] = OldSmoother
    try:
        assert defaults_of('OldSmoother')['rotation'] == 0.1
        with pytest.warns(FutureWarning, match='OldSmoother'):
            assert MODELS.build(dict(type='OldSmoother', window=4)).window == 4
        with pytest.raises(TypeError, match=r"no argument 'windo'.*Did you mean 'window'"):
            MODELS.build(dict(type='OldSmoother', windo=4))
    finally:
        del MODELS.module_dict['OldSmoother']


def test_a_renamed_argument():
    with pytest.warns(FutureWarning, match="the argument 'turn' is deprecated since .* use 'rotation'") as warned:
        assert NewSmoother(3, turn=0.7).rotation == 0.7
    assert warned[0].filename == __file__


def test_a_class_that_could_not_warn_is_refused():
    with pytest.raises(TypeError, match='has no __init__'):
        deprecated(since='0.3', removed_in='0.5', use='x')(type('Plain', (), {}))


def test_a_user_sees_each_line_that_calls_once(tmp_path):
    """Also where the call is in a module, for which Python hides a `DeprecationWarning`."""
    (tmp_path / 'library.py').write_text(SCRIPT)
    done = subprocess.run([sys.executable, '-c', 'import library'], cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if 'FutureWarning' in line]
    assert [line.split(':')[1] for line in lines] == ['9', '13'], done.stderr


def deprecations(tree):
    """(line, since, removed in) of every use of the helpers in a module; None for what is not written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in HELPERS:
            values = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            yield node.lineno, values.get('since'), values.get('removed_in')


def problem(version, since, removed_in):
    """What is wrong with a deprecation at a version of the library, or None."""
    try:
        now, start, end = (tuple(map(int, text.split('.')[:2])) for text in (version, since, removed_in))
    except (AttributeError, ValueError):
        return 'needs since= and removed_in= as versions that are written out'
    if start > now:
        return f'is deprecated since {since}, and this is {version}'
    if end[0] == start[0] and end[1] < start[1] + 2:
        return f'is removed in {removed_in}, less than two minor releases after {since}'
    if now >= end:
        return f'was to be removed in {removed_in}, and this is {version}: remove it, and write that into CHANGELOG.md'
    return None


def test_nothing_outlives_its_removal():
    wrong = []
    for path in sorted(PACKAGE.rglob('*.py')):
        for line, since, removed_in in deprecations(ast.parse(path.read_text(encoding='utf-8'))):
            if found := problem(handpose.__version__, since, removed_in):
                wrong.append(f'{path.relative_to(PACKAGE.parent)}:{line} {found}')
    assert wrong == [], '\n'.join(wrong)


def test_this_file_shows_that_uses_are_found():
    found = list(deprecations(ast.parse(Path(__file__).read_text(encoding='utf-8'))))
    assert len(found) == 4 and {(since, end) for _, since, end in found} == {('0.3', '0.5')}


@pytest.mark.parametrize(
    'version, since, removed_in, words',
    [
        ('0.4.1', '0.3', '0.5', None),
        ('0.5.0', '0.3', '0.5', 'was to be removed in 0.5'),
        ('1.0.0', '0.9', '1.0', 'was to be removed'),
        ('0.3.0', '0.3', '0.4', 'less than two minor releases'),
        ('0.2.0', '0.3', '0.5', 'and this is 0.2.0'),
        ('0.2.0', None, '0.5', 'written out'),
    ],
)
def test_what_is_wrong_with_a_deprecation(version, since, removed_in, words):
    found = problem(version, since, removed_in)
    assert found is None if words is None else words in found
