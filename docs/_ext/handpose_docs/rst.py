"""Small pieces of reStructuredText."""

import re
from collections.abc import Iterable, Sequence

_PAGE_NAME = re.compile(r'`*(?<![\w./])docs/([\w/]+)\.md`*')


def heading(text: str, underline: str) -> str:
    """Returns a heading.

    Args:
        text: of the heading, without markup.
        underline: the character that tells its level.
    """
    return f'{escape(text)}\n{underline * (2 * len(text) + 2)}\n'


def escape(text: str) -> str:
    """Returns plain text in which no character is markup; what was in single backticks becomes code.

    Args:
        text: plain text, in which backticks may mark code.
    """
    parts = re.split(r'(`[^`\n]+`)', text)
    return ''.join(
        f'`{part}`' if part.startswith('`') and len(part) > 2 else re.sub(r'([\\*`|_])', r'\\\1', part)
        for part in parts
    )


def code(text: str) -> str:
    """Returns inline code, whatever the text is.

    Args:
        text: one line.
    """
    return f':code:`{text.replace(chr(92), 2 * chr(92)).replace("`", chr(92) + "`")}`' if text else ''


def link_pages(text: str) -> str:
    """Returns the text with links where it names pages of the documentation, such as docs/guides/refine.md.

    Args:
        text: reStructuredText.
    """
    return _PAGE_NAME.sub(r':doc:`/\1`', text)


def indent(text: str, width: int = 3) -> str:
    """Returns the text, moved to the right.

    Args:
        text: lines.
        width: number of spaces.
    """
    return '\n'.join(' ' * width + line if line else '' for line in text.split('\n'))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Returns a table.

    Args:
        header: the titles of the columns.
        rows: the cells, reStructuredText.
        widths: of the columns, relative to each other.
    """
    lines = ['.. list-table::', '   :header-rows: 1', f'   :widths: {" ".join(map(str, widths))}', '']
    for row in [header, *rows]:
        for position, cell in enumerate(row):
            lines.append(f'   {"*" if position == 0 else " "} - {indent(cell, 7).strip()}')
    return '\n'.join(lines) + '\n'


def toctree(pages: Iterable[str]) -> str:
    """Returns the list of a section's pages.

    Args:
        pages: their names, relative to the page that shows the list.
    """
    return '.. toctree::\n   :maxdepth: 1\n\n' + ''.join(f'   {page}\n' for page in pages)
