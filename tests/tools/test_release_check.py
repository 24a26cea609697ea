"""tools/release_check.py notices what is missing or should not be there, and keeps what need not be made again."""

import email
import sys

import pytest
import release_check
from release_check import CheckFailed

TRACKED = [
    'handpose/__init__.py',
    'handpose/py.typed',
    'handpose/zoo/weights/a.safetensors',
    'configs/pdtm/a.py',
    'configs/README.md',
    'docs/a.md',
    'tests/test_a.py',
    *release_check.TOP_LEVEL,
]
INFO = [
    f'handpose-1.0.dist-info/{name}'
    for name in ('METADATA', 'RECORD', 'WHEEL', 'entry_points.txt', 'licenses/LICENSE', 'top_level.txt')
]
WHEEL = [*TRACKED[:3], 'handpose/configs/pdtm/a.py', *INFO]
SDIST = [*TRACKED[:4], *release_check.TOP_LEVEL, 'PKG-INFO', 'setup.cfg', 'handpose.egg-info/SOURCES.txt']


@pytest.mark.parametrize('name', WHEEL)
def test_a_file_that_the_wheel_lacks(name):
    assert release_check.wheel_problems(WHEEL, TRACKED) == []
    (problem,) = release_check.wheel_problems([other for other in WHEEL if other != name], TRACKED)
    assert problem.startswith('missing: ') and problem.removeprefix('missing: ') in name


@pytest.mark.parametrize('name', ['tests/test_a.py', 'handpose/old.py', 'handpose/configs/README.md', 'setup.py'])
def test_a_file_that_should_not_be_in_the_wheel(name):
    assert release_check.wheel_problems([*WHEEL, name], TRACKED) == [f'should not be there: {name}']


@pytest.mark.parametrize('name', [*TRACKED[:4], *sorted(release_check.TOP_LEVEL)])
def test_a_file_that_the_source_distribution_lacks(name):
    assert release_check.sdist_problems(SDIST, TRACKED) == []
    assert release_check.sdist_problems([other for other in SDIST if other != name], TRACKED) == [f'missing: {name}']


@pytest.mark.parametrize('name', ['tests/test_a.py', 'docs/a.md', 'handpose/__pycache__/a.pyc', 'notes.txt'])
def test_a_file_that_should_not_be_in_the_source_distribution(name):
    assert release_check.sdist_problems([*SDIST, name], TRACKED) == [f'should not be there: {name}']


def test_metadata():
    text = (
        'Version: 1.0\nSummary: a\nLicense: b\nRequires-Python: >=3.10\nKeywords: c\n\n[kept](https://example.org/x)\n'
    )
    assert release_check.metadata_problems(email.message_from_string(text), '1.0') == []
    wrong = text.replace('1.0', '1.1', 1).replace('Summary: a\n', '') + '[lost](docs/a.md)\n'
    assert release_check.metadata_problems(email.message_from_string(wrong), '1.0') == [
        'the version is 1.1, expected 1.0',
        'no Summary',
        'the description links to docs/a.md, which package indexes do not have',
    ]


def test_a_program_that_fails_is_reported(tmp_path):
    with pytest.raises(CheckFailed, match=r'ended with 3:\nwhat it said'):
        release_check.run([sys.executable, '-c', 'print("what it said"); raise SystemExit(3)'], tmp_path)


def test_a_failed_step_ends_the_check(capsys):
    with pytest.raises(SystemExit, match=r'contents: FAILED\nsomething is missing'), release_check.step('contents'):
        raise CheckFailed('something is missing')
    with release_check.step('metadata') as facts:
        facts.append('a fact')
    assert capsys.readouterr().out.endswith('metadata ...\n  ok, 0 s\n  a fact\n')


def test_an_environment_is_made_again_only_for_other_requirements(tmp_path, monkeypatch):
    """Without installing anything: which programs would run."""
    ran = []
    monkeypatch.setattr(
        release_check, 'run', lambda command, folder: ran.append(command) or folder.mkdir(exist_ok=True)
    )
    folder = tmp_path / 'env'

    def make(key):
        folder.mkdir(exist_ok=True)
        ran.clear()
        monkeypatch.setattr(release_check.shutil, 'rmtree', lambda path, ignore_errors: None)
        assert (
            release_check.environment(folder, 'python3', 'constraints.txt', [['a', 'b']], key) == folder / 'bin/python'
        )
        return len(ran)

    assert make('first') == 2 and ran[0][1:3] == ['-m', 'venv'] and ran[1][-2:] == ['a', 'b']
    assert make('first') == 0
    assert make('second') == 2


def test_the_model_zoo_is_verified_completely(tmp_path, monkeypatch):
    answers = {'get': 'a  /x/a\nb  /x/b\n', 'verify': 'a  /x/a is right\nb  /x/b is right\n'}
    monkeypatch.setattr(release_check, 'run', lambda command, folder: answers[command[2]])
    assert release_check.verify_zoo(tmp_path, tmp_path / 'python') == ['2 rows are right']
    answers['verify'] = 'a  /x/a is right\n'
    with pytest.raises(CheckFailed, match='not verified: b'):
        release_check.verify_zoo(tmp_path, tmp_path / 'python')
