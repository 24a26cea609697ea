"""Small pieces of reStructuredText."""

import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r'(?:Args|Attributes|Raises|Returns|Yields):$')
# 'C.' at the start of a text would be the third item of a list.
_ENUMERATOR = re.compile(r'^(\s*(?:\w+: )?)(\(?\w+[.)](?:\s|$))')
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
    parts = re.split(rf'(`[^`\n]+`|{_PAGE_NAME.pattern})', text)
    # A pattern with a group gives three parts for each separator: what is before it, all of it, and its group.
    texts, marked = parts[::3], parts[1::3]
    return ''.join(
        re.sub(r'([\\*`|_])', r'\\\1', plain_text) + (f'`{mark}`' if mark.startswith('`') else mark)
        for plain_text, mark in zip(texts, [*marked, ''], strict=True)
    )


def code(text: str) -> str:
    """Returns inline code, whatever the text is.

    Args:
        text: one line.
    """
    return f':code:`{text.replace(chr(92), 2 * chr(92)).replace("`", chr(92) + "`")}`' if text else ''


def plain(text: str) -> str:
    """Returns text of a docstring, a few words or lines, without its sections.

    Args:
        text: of the docstring.
    """
    return '\n'.join(docstring(text.split('\n')))


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


def docstring(lines: Sequence[str]) -> list[str]:
    """Returns a docstring as reStructuredText: names of pages are links, indented examples are code.

    Single backticks stay, and so do the sections, such as `Args:`; no other character is markup.

    Args:
        lines: of the docstring, in Google style, without its indentation.
    """
    result: list[str] = []
    in_text = True  # before the first section; in sections, indentation has another meaning
    in_code = False
    for line in lines:
        in_text = in_text and not _SECTION.match(line)
        is_indented = in_text and line.startswith('    ')
        if is_indented and not in_code and (not result or not result[-1]):
            result += ['.. code-block:: python', '']
            in_code = True
        elif line and not is_indented:
            in_code = False
        result.append(line if in_code else link_pages(_plain(line)))
    return result


def _plain(line: str) -> str:
    line = _ENUMERATOR.sub(r'\1\\\2', line)
    parts = re.split(r'(`[^`]*`)', line)
    return ''.join(part if i % 2 else re.sub(r'[*|]|(?<=\w)_(?!\w)', r'\\\g<0>', part) for i, part in enumerate(parts))
