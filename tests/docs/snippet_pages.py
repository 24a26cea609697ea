"""The code blocks of the documentation, and what a note before one of them says."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('tests/*.md'), *ROOT.glob('.github/*.md')])
LANGUAGES = ('bash', 'python', 'json', 'yaml', 'text')
FILE = re.compile(r'^# ([\w/]+\.\w+)$')  # a first line that names the file that a reader makes of the block
NOTE = re.compile(r'^<!-- (not run|run by|file):? (.+) -->$')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: path of the page in the repository.
        line: number of the first line of its text.
        language: what the fence says.
        text: what it contains, without the indentation of the fence.
        note: kind and text of an HTML comment on the line before, which readers do not see: 'not run' and why, 'run by'
            and the test that does it, or 'file' and the file that a reader of the page makes of the block, which the
            first line of the block may also name.
    """

    page: str
    line: int
    language: str
    text: str
    note: tuple[str, str] | None

    def __str__(self):
        return f'{self.page}:{self.line - 1}'


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order, without the directives of the site (```{name})."""
    lines = page.read_text(encoding='utf-8').splitlines()
    found, start = [], None
    for number, line in enumerate(lines):
        fence = re.match(r'^ *```(.*)$', line)
        if fence and start is None:
            start, language = number, fence[1]
        elif fence:
            note = NOTE.match(lines[start - 1].strip()) if start else None
            text = dedent('\n'.join(lines[start + 1 : number])) + '\n'
            named = FILE.match(text.partition('\n')[0])
            if not language.startswith('{'):
                noted = (note[1], note[2]) if note else named and ('file', named[1])
                found.append(Block(name_of(page), start + 2, language, text, noted))
            start = None
    assert start is None, f'{name_of(page)}:{start}: the block has no end'
    return found
