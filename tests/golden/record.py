"""Rewrites the golden files: `python tests/golden/record.py [names]`, by default all of them.

This is legitimate for one reason: a numerical change that is intended, and that the commit which contains the new files
explains. A refactoring leaves them unchanged. Never record to make a failing test pass before the difference is
understood. Record on one machine without other changes, so that the diff shows only what the change does.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / 'helpers'))  # where pytest finds the batches of several views

from golden_files import write_golden
from golden_readers import read_layouts
from golden_systems import SYSTEMS, run_system

RECORDED = {**{name: partial(run_system, name) for name in SYSTEMS}, 'readers': read_layouts}


def main() -> None:
    parser = argparse.ArgumentParser(description='Rewrites golden files; see the docstring for when that is right.')
    parser.add_argument('names', nargs='*', metavar='name', help=f'among {", ".join(RECORDED)}; default all')
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(RECORDED))
    if unknown:
        parser.error(f'there is no golden file {unknown[0]!r}; the names are {", ".join(RECORDED)}')
    for name in names or RECORDED:
        print(write_golden(name, RECORDED[name]()))


if __name__ == '__main__':
    main()
