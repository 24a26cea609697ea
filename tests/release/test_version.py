"""The version is written in one place, and what has to repeat it agrees; the README for package indexes."""

import ast
import re
import subprocess
from pathlib import Path

import yaml

import handpose

ROOT = Path(__file__).parents[2]
README = """# title

![an image](docs/a.jpg)

Text with [a link](docs/a.md#part), [another](https://example.org/x) and [a third](#here).
"""


def setup_functions():
    """The functions of setup.py, which would build a package if it were imported."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]  # without the call of setup()
    found = {'__file__': str(ROOT / 'setup.py'), '__name__': 'setup'}
    exec(compile(tree, 'setup.py', 'exec'), found)
    return found


def test_the_citation_has_the_version_and_the_date_of_the_changelog():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    heading = re.search(r'^## (.*)$', (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), re.MULTILINE)[1]
    assert citation['version'] == handpose.__version__
    assert heading == f'{handpose.__version__} ({citation["date-released"]})'


def test_no_other_file_repeats_the_version():
    """As a quoted value: texts may speak of versions."""
    listed = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True).stdout.split('\n')
    paths = [
        ROOT / name for name in listed if name.endswith(('.py', '.toml', '.cfg')) and not name.startswith('tests/')
    ]
    pattern = re.compile(rf'version.*=.*[\'"]{re.escape(handpose.__version__)}[\'"]')
    assert [path.name for path in paths if pattern.search(path.read_text(encoding='utf-8'))] == ['__init__.py']


def test_setup_reads_the_version_without_importing_anything():
    assert setup_functions()['VERSION'] == handpose.__version__


def test_links_of_the_readme_on_package_indexes():
    """They lead to the repository if its address is known; otherwise they are plain text."""
    describe = setup_functions()['long_description']
    kept = '[another](https://example.org/x) and [a third](#here).\n'
    assert describe(README, '1.2', None) == f'# title\n\nText with a link, {kept}'
    link = '[a link](https://example.org/r/blob/v1.2/docs/a.md#part)'
    assert describe(README, '1.2', 'https://example.org/r') == f'# title\n\nText with {link}, {kept}'


def test_the_address_of_the_repository_is_read_from_the_citation(tmp_path):
    read = setup_functions()['read_value']
    pattern = r'^repository-code: "?([^"\s]+?)/?"?$'
    assert pattern in (ROOT / 'setup.py').read_text(encoding='utf-8')
    path = tmp_path / 'CITATION.cff'
    for text, wanted in (
        ('version: 1\n', None),
        ('repository-code: "https://example.org/r/"\n', 'https://example.org/r'),
    ):
        path.write_text(text)
        assert read(path, pattern) == wanted
