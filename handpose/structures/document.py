"""Writes the table of fields of docs/data/data_contract.md from their declarations.

`python -m handpose.structures.document docs/data/data_contract.md` replaces what is between the markers in the page.
"""

import sys
from pathlib import Path

from handpose.files.atomic import atomic_write
from handpose.structures.fields import SPECS, SYMBOLS, FieldSpec

BEGIN, END = '<!-- fields: begin -->', '<!-- fields: end -->'


def field_table() -> str:
    """Returns the fields of `HandSequence` as a Markdown table, and the meaning of the letters in their shapes."""
    letters = ', '.join(f'`{symbol}` {meaning}' for symbol, meaning in SYMBOLS.items())
    rows = ['| field | shape of a clip | type | mask or unknown value | meaning |', '|---|---|---|---|---|']
    rows += [
        f'| `{name}` | {_shape(spec)} | {_dtype(spec)} | {_gaps(spec)} | {_meaning(spec)} |'
        for name, spec in SPECS.items()
    ]
    return f'Shapes: {letters}.\n\n' + '\n'.join(rows) + '\n'


def update_page(text: str) -> str:
    """Replaces the table in a page.

    Args:
        text: the page, with the lines `BEGIN` and `END`.

    Returns:
        The page with the present table between them.

    Raises:
        ValueError: the page lacks one of the markers.
    """
    before, begin, rest = text.partition(f'{BEGIN}\n')
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page must have the lines {BEGIN} and {END}, between which the table is written')
    return f'{before}{begin}{field_table()}{end}{after}'


def _shape(spec: FieldSpec) -> str:
    sizes = ', '.join(map(str, spec.shape))
    return f'({sizes},)' if len(spec.shape) == 1 else f'({sizes})'


def _dtype(spec: FieldSpec) -> str:
    return str(spec.dtype).removeprefix('torch.')


def _gaps(spec: FieldSpec) -> str:
    if spec.mask:
        return f'`{spec.mask}`'
    return '' if spec.unknown is None else f'{"NaN" if spec.unknown != spec.unknown else f"{spec.unknown:g}"} unknown'


def _meaning(spec: FieldSpec) -> str:
    return f'prediction: {spec.meaning}' if spec.predicted else spec.meaning


if __name__ == '__main__':
    page = Path(sys.argv[1])
    atomic_write(page, update_page(page.read_text(encoding='utf-8')))
