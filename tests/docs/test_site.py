"""The documentation site: what can be checked without building it; `make docs` builds it, with warnings as errors."""

import json
import re
from pathlib import Path

import pytest
from check_site import dead_links, parse_pages
from handpose_docs import api, command_line, config_keys, rst, with_lexer
from handpose_docs.links import DOCS, INCLUDED, site_links

from handpose.cli import COMMANDS

ROOT = Path(__file__).parents[2]
GENERATED = ('reference/api', 'reference/command_line', 'reference/config_keys')
SYSTEMS = ('deformer', 'htt', 'pdtm', 'ghtt', 'assemblyhands')


def written_pages():
    files = [*DOCS.rglob('*.md'), *DOCS.rglob('*.ipynb')]
    return {f.relative_to(DOCS).with_suffix('').as_posix() for f in files if '_ext' not in f.parts}


def listed_pages():
    """The pages of all tables of contents; those with a pattern stand for what fits."""
    listed = set()
    for file in DOCS.rglob('*.md'):
        for body in re.findall(r'```\{toctree\}\n(.*?)```', file.read_text(), re.DOTALL):
            for entry in re.findall(r'^(?!:)(\S+)$', body, re.MULTILINE):
                folder = file.parent.relative_to(DOCS)
                pattern = (folder / entry).as_posix()
                listed |= {pattern, *(page for page in written_pages() if Path(page).match(pattern))}
    return listed


def test_every_page_is_in_a_table_of_contents():
    assert written_pages() - listed_pages() == {'index'}


def test_tables_of_contents_name_pages():
    patterns = {page for page in listed_pages() - written_pages() if '*' not in page}
    assert patterns == set()


def test_every_public_object_is_documented():
    objects = [item for items in api.public_objects().values() for item in items]
    assert [item.path for item in objects if not item.doc] == []
    assert len({item.path for item in objects}) > 450


def test_every_public_object_is_described_once():
    pages = api.pages()
    assert set(pages) == set(api.public_packages())
    text = '\n'.join(pages.values())
    described = re.findall(r'^\.\. (?:autoclass|autoexception|autofunction|py:data):: (\S+)$', text, re.MULTILINE)
    public = {item.path for items in api.public_objects().values() for item in items}
    assert sorted(described) == sorted(public)


def test_every_package_lists_what_it_exports():
    for package, objects in api.public_objects().items():
        page = api.pages()[package]
        assert all(f':py:obj:`{item.name} <{item.path}>`' in page for item in objects)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_argument_of_a_command_is_on_its_page(command):
    page = command_line.pages()[command]
    parser = command_line.parser_of(command)
    for action in parser._actions:
        for name in action.option_strings if action.dest != 'help' else ():
            assert re.search(rf'^\.\. option:: .*{re.escape(name)}\b', page, re.MULTILINE), name
    assert f'.. program:: handpose {command}' in page


def test_subcommands_are_on_the_page():
    page = command_line.pages()['zoo']
    assert '.. program:: handpose zoo get' in page and '.. option:: --all' in page


def test_every_registered_type_is_on_a_page():
    text = '\n'.join(config_keys.pages().values())
    for registry in config_keys.registries().values():
        for name in config_keys.own_types(registry):
            assert f'.. _config-{name}:' in text


def test_every_key_has_a_meaning():
    missing = [
        f'{name}.{key.name}'
        for registry in config_keys.registries().values()
        for name, component in config_keys.own_types(registry).items()
        for key in config_keys.keys_of(component)
        if not key.meaning
    ]
    assert missing == []


def test_keys_have_their_defaults():
    def component(channels, scale=(1.0, 2.0), norm=dict):
        """Does nothing.

        Args:
            channels: C, over
                two lines.
            scale: of the noise.
        """

    keys = [tuple(vars(key).values()) for key in config_keys.keys_of(component)]
    assert keys == [
        ('channels', '', 'C, over two lines.'),
        ('scale', '(1.0, 2.0)', 'of the noise.'),
        ('norm', 'dict', ''),
    ]


@pytest.mark.parametrize(
    'link, on_site',
    [
        ('[a](docs/guides/refine.md#accuracy)', '[a](../guides/refine.md#accuracy)'),
        ('[a](CONTRIBUTING.md#a-reader)', '[a](contributing.md#a-reader)'),
        ('[`x`](#x)', '[`x`](#x)'),
        ('[a](https://pytorch.org)', '[a](https://pytorch.org)'),
        ('![a](docs/images/gallery/infer.webp)', '![a](../images/gallery/infer.webp)'),
        ('[tests](tests/README.md)', 'tests'),
        ('```\n[a](tests/README.md)\n```', '```\n[a](tests/README.md)\n```'),
    ],
)
def test_links_of_included_files(link, on_site):
    assert site_links(link, ROOT / 'README.md', DOCS / 'project' / 'changelog.md', None) == on_site


def test_links_to_the_repository_once_it_has_an_address():
    link = site_links('[tests](../tests/README.md)', DOCS / 'index.md', DOCS / 'index.md', 'https://example.org/r')
    assert link == '[tests](https://example.org/r/blob/main/tests/README.md)'


@pytest.mark.parametrize('metadata', [{}, {'language_info': {'name': 'python'}}])
def test_cells_of_notebooks_may_hold_shell_commands(metadata):
    notebook = json.loads(with_lexer(json.dumps({'metadata': metadata, 'cells': []})))
    language = {'name': 'python', 'pygments_lexer': 'ipython3'}
    assert notebook == {'metadata': {'language_info': language}, 'cells': []}


def test_included_files_have_their_pages():
    for name, page in INCLUDED.items():
        text = (DOCS / page).read_text()
        assert name == 'README.md' or f'```{{include}} ../../{name}\n```' in text


def test_docstrings_become_text():
    lines = ['Sums |x|, see docs/guides/refine.md:', '', '    x * 2', '', 'Args:', '    x: (..., *shape), or `a * b`.']
    assert rst.docstring(lines) == [
        r'Sums \|x\|, see :doc:`/guides/refine`:',
        '',
        '.. code-block:: python',
        '',
        '    x * 2',
        '',
        'Args:',
        r'    x: (..., \*shape), or `a * b`.',
    ]


def test_dead_links_of_a_built_site_are_found(tmp_path):
    (tmp_path / 'a b.html').write_text('<p id="x"><a href="#y">1</a><a href="#x">2</a><img src="no.png"></p>')
    (tmp_path / 'index.html').write_text('<a href="a%20b.html#x">1</a><a href="a%20b.html#z">2</a><a href="//o.org/">')
    dead, internal, external = dead_links(parse_pages(tmp_path))
    assert sorted(dead) == ['a b.html: #y', 'a b.html: no.png', 'index.html: a%20b.html#z']
    assert (internal, external) == (5, 1)


def test_generated_pages_are_not_committed():
    ignored = (ROOT / '.gitignore').read_text().splitlines()
    assert all(f'/docs/{folder}/' in ignored for folder in GENERATED)


@pytest.mark.parametrize('system', SYSTEMS)
def test_a_page_of_a_system_has_a_figure_results_and_choices(system):
    text = (DOCS / 'systems' / f'{system}.md').read_text()
    assert re.search(r'!\[.+\]\(.+\)', text), 'no figure'
    assert re.search(r'^##+ Choices where the paper is open', text, re.MULTILINE)
    results = re.split(r'^##+ (?=.*[Rr]esults)', text, flags=re.MULTILINE)[1:]
    assert any(re.match(r'[^\n]*\n\n```bash\n(?:handpose|make) ', section) for section in results), 'no command'
