"""The documentation: relative links lead to existing files and headings, and files named in code style exist."""

import re
from pathlib import Path

import pytest

from handpose.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('tests/*.md'), *ROOT.glob('.github/*.md')])
# Examples of paths that a reader of the page creates.
EXAMPLES = {'configs/htt/kitchen.py', 'configs/ghtt/kitchen_pose.py', 'configs/ghtt/kitchen_action.py'}


def without_code(text):
    return re.sub(r'^ *```.*?^ *```', '', text, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)', without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', without_code(page.read_text())):
        if '://' in target:
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f'{page.name} links to {target}, but {file} does not exist'
        assert not anchor or anchor in anchors(file), f'{page.name} links to {target}, a heading that does not exist'


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_files_exist(page):
    text = page.read_text()
    for path in re.findall(r'(?<![\w./-])((?:tools|configs|tests|docs|handpose)/[\w./-]+\.(?:py|sh|md|yml))', text):
        assert path in EXAMPLES or (ROOT / path).exists(), f'{page.name} names {path}, which does not exist'


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_has_its_page(command):
    row = rf'\| `handpose {command}` \| {re.escape(COMMANDS[command])} \| \[.*\]\(.*\.md(#.*)?\) \|'
    assert re.search(row, (ROOT / 'docs' / 'reference' / 'commands.md').read_text())
