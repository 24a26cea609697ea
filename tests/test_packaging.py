"""Extras, what messages say about them, and the Dockerfile. `make check-extras` installs each one by itself."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import check_extras
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setup_extras import SETUP, read_extras

from handpose.cli.errors import EXTRAS as EXTRA_OF_PACKAGE
from handpose.runtime.sessions import EXTRAS as EXTRA_OF_RUNTIME

ROOT = Path(__file__).parents[1]
PARTS_OF_ALL = ('video', 'train', 'export', 'view', 'runtime')
# Distributions that are imported by another name, and what others may bring as well.
IMPORTED_AS = {'mmcv-lite': 'mmcv', 'rerun-sdk': 'rerun', 'open-clip-torch': 'open_clip', 'mlflow-skinny': 'mlflow'}


EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in read_extras().items()}
NAMES = {*EXTRAS, 'all'}
FOR_DEVELOPERS = {'test', 'docs'}  # of a clone


def pins(name):
    """{package: [(version, marker)]} of a file of constraints."""
    found = {}
    for line in (ROOT / name).read_text(encoding='utf-8').splitlines():
        if line and not line.startswith('#'):
            wanted = Requirement(line)
            (exact,) = wanted.specifier
            assert exact.operator == '==', line
            found.setdefault(canonicalize_name(wanted.name), []).append((exact.version, wanted.marker))
    return found


def test_all_is_what_the_readme_needs():
    named = re.search(r"'all': sorted\(\{p for name in \((.*?)\) for p in EXTRAS\[name\]\}\)", SETUP)[1]
    assert ast.literal_eval(f'({named})') == PARTS_OF_ALL


def sources():
    for pattern in ('handpose/**/*.py', 'tools/**/*.py', 'tests/**/*.py', 'docs/**/*.md', '*.md', 'tests/*.md'):
        yield from (path for path in ROOT.glob(pattern) if path != Path(__file__))
    yield from (ROOT / name for name in ('Makefile', 'Dockerfile', '.github/workflows/ci.yml', '.ci/run'))


def test_every_extra_that_something_names_exists():
    named = set()
    for path in sources():
        text = path.read_text(encoding='utf-8')
        lists = re.findall(r'(?:handpose|[\'"/ ]\.|\{wheel\}|/build)\[([a-z][\w,]*)\]', text)
        single = re.findall(r'extra [`\'"](\w+)[`\'"]', text)
        for name in [each for words in lists for each in words.split(',')] + single:
            assert name in NAMES, f'{path} names the extra {name!r}, and setup.py has {sorted(NAMES)}'
            named.add(name)
    assert named >= {*PARTS_OF_ALL, 'mmcv', 'hf', 'wandb', 'mlflow'}


def test_messages_name_the_extra_with_the_package():
    distribution = {imported: name for name, imported in IMPORTED_AS.items()}
    for package, extra in {**EXTRA_OF_PACKAGE, **EXTRA_OF_RUNTIME}.items():
        wanted = [canonicalize_name(requirement.name) for requirement in EXTRAS[extra]]
        assert canonicalize_name(distribution.get(package, package)) in wanted, (package, extra)


@pytest.mark.parametrize('extra', EXTRAS)
def test_packages_are_pinned_within_their_bounds(extra):
    pinned, lowest = pins('constraints.txt'), pins('constraints-lowest.txt')
    for wanted in EXTRAS[extra]:
        name = canonicalize_name(wanted.name)
        (bound,) = wanted.specifier
        assert bound.operator == '>=', wanted
        for version, _ in pinned[name]:
            assert wanted.specifier.contains(version), f'constraints.txt has {name}=={version}'
        for version, _ in lowest.get(name, ()):
            assert wanted.specifier.contains(version), f'constraints-lowest.txt has {name}=={version}'
        assert extra != 'test' or name in lowest, f'constraints-lowest.txt lacks {name}'


@pytest.mark.parametrize(
    'extra, module',
    [
        (extra, IMPORTED_AS.get(canonicalize_name(w.name), w.name.replace('-', '_')))
        for extra, wanted in EXTRAS.items()
        if extra != 'test'
        for w in wanted
    ],
)
def test_packages_are_importable_where_they_are_installed(extra, module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f'needs the extra {extra!r}')
    assert importlib.import_module(module).__name__ == module


def test_packages_that_tests_go_without_are_of_an_extra():
    """Or are known here: of the interpreter, of the build, or brought by others."""
    other = {'PIL', 'cv2', 'pycocotools', 'resource', 'setuptools', 'websockets'}
    imported = {
        IMPORTED_AS.get(canonicalize_name(w.name), w.name.replace('-', '_')) for e in EXTRAS.values() for w in e
    }
    for path in (ROOT / 'tests').rglob('*.py'):
        for module in re.findall(r"importorskip\('([\w.]+)'", path.read_text(encoding='utf-8')):
            assert module.split('.')[0] in imported | other, f'{path} skips without {module}, which no extra brings'


def test_every_extra_is_installed_by_the_check():
    assert {*check_extras.COMMANDS} == NAMES - FOR_DEVELOPERS | {check_extras.CORE}
    for extra, commands in check_extras.COMMANDS.items():
        assert commands, extra


def test_the_page_of_extras_lists_them():
    page = (ROOT / 'docs' / 'guides' / 'extras.md').read_text(encoding='utf-8')
    assert {*re.findall(r'^\| `(\w+)` ', page, re.MULTILINE)} == NAMES - FOR_DEVELOPERS


def dockerfile():
    """The instructions of the Dockerfile: [(word, rest)]."""
    text = re.sub(r'^#.*\n', '', (ROOT / 'Dockerfile').read_text(encoding='utf-8'), flags=re.MULTILINE)
    return [tuple(line.split(maxsplit=1)) for line in text.replace('\\\n', ' ').splitlines() if line.strip()]


def test_the_dockerfile_copies_what_there_is():
    allowed = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    for words in (rest.split()[:-1] for word, rest in dockerfile() if word == 'COPY'):
        for name in words:
            assert (ROOT / name).exists() and f'!{name}' in allowed, name


def test_the_arguments_of_the_dockerfile_are_documented():
    page = (ROOT / 'docs' / 'guides' / 'docker.md').read_text(encoding='utf-8')
    given = dict(rest.split('=', 1) for word, rest in dockerfile() if word == 'ARG')
    assert set(given) == {'BASE', 'TORCH_INDEX', 'EXTRAS'} and given['EXTRAS'] in NAMES
    for name, default in given.items():
        assert f'| `{name}` | `{default}` |' in page
    assert {*re.findall(r'--build-arg (\w+)=', page)} <= set(given)


def test_the_container_runs_the_command_as_a_plain_user():
    last = dict(dockerfile())  # of each instruction
    assert last['ENTRYPOINT'] == '["handpose"]' and "'handpose = handpose.cli:main'" in SETUP
    number = re.search(r'useradd .*--uid (\d+)', str(dockerfile()))[1]
    assert last['USER'] == f'{number}:{number}' and int(number) >= 1000
    assert last['VOLUME'] == '/cache' and 'HANDPOSE_CACHE=/cache' in last['ENV']
