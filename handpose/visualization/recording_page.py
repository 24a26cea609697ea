"""The style of the report on a recording, and its parts as HTML."""

import html
from collections.abc import Sequence

import numpy as np

STYLE = """
:root { --ink: #1d2126; --faint: #c9ced6; --plot: #f5f6f8; --page: #fff; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #464c56; --plot: #22262c; --page: #181b1f; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 8px 20px 60px; }
h1 { font-size: 24px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 34px 0 6px; }
h3 { font-size: 14px; margin: 20px 0 6px; }
p { margin: 6px 0 10px; max-width: 90ch; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(175px, 1fr)); gap: 10px; }
.tiles div { background: var(--plot); border-radius: 6px; padding: 10px 12px; font-size: 13px; line-height: 1.35; }
.tiles b { display: block; font-size: 22px; line-height: 1.3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 10px; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
tr > :first-child { text-align: left; }
tbody tr + tr { border-top: 1px solid var(--faint); }
.heat td { min-width: 44px; border: 1px solid var(--page); }
svg { display: block; width: 100%; height: auto; margin-top: 6px; }
svg text { fill: var(--ink); font-size: 12px; font-family: inherit; }
.legend { font-size: 13px; margin: 0 0 8px 52px; }
.legend span { margin-right: 18px; }
.legend i { display: inline-block; width: 18px; height: 4px; margin-right: 6px; vertical-align: middle; }
.row { margin: 3px 1.04% 5px 5.42%; font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }
.strip { display: block; width: 100%; height: 14px; image-rendering: pixelated; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 8px; }
figure { margin: 0; font-size: 12px; }
figcaption { overflow-wrap: anywhere; }
figure img, .none { display: block; width: 100%; aspect-ratio: 1; border-radius: 4px; background: var(--plot); }
"""


def section(title: str, text: str, content: str) -> str:
    """A part of the page.

    Args:
        title: its heading.
        text: below it, or ''.
        content: HTML.

    Returns:
        HTML.
    """
    return f'<section><h2>{html.escape(title)}</h2>{paragraph(text) if text else ""}{content}</section>'


def paragraph(text: str) -> str:
    """A paragraph of plain text.

    Args:
        text: the text.

    Returns:
        HTML.
    """
    return f'<p>{html.escape(text)}</p>'


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], name: str = '') -> str:
    """A table whose rows have a name.

    Args:
        head: titles of the columns after the first, plain text.
        rows: (name, cells as HTML) of each row; the name is plain text.
        name: of the table's style.

    Returns:
        HTML.
    """
    titles = ''.join(f'<th>{html.escape(title)}</th>' for title in ('', *head))
    body = ''.join(f'<tr><th>{html.escape(title)}</th>{"".join(cells)}</tr>' for title, cells in rows)
    return (
        f'<div class="scroll"><table class="{name}"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def format_number(value: float, digits: int) -> str:
    """A number, or '-' where there is none.

    Args:
        value: the number; NaN means that there is none.
        digits: after the point.

    Returns:
        Text.
    """
    return '-' if np.isnan(value) else f'{value:.{digits}f}'
