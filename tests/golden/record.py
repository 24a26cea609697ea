"""Rewrites the golden files: `python tests/golden/record.py [names]`, by default all of them.

This is legitimate for one reason: a numerical change that is intended, and that the commit which contains the new files
explains. A refactoring leaves them unchanged. Never record to make a failing test pass before the difference is
understood. Record on one machine without other changes, so that the diff shows only what the change does.
"""

import argparse

from golden_files import write_golden
from golden_systems import SYSTEMS, run_system


def main() -> None:
    parser = argparse.ArgumentParser(description='Rewrites golden files; see the docstring for when that is right.')
    parser.add_argument('names', nargs='*', metavar='name', help=f'among {", ".join(SYSTEMS)}; default all')
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(SYSTEMS))
    if unknown:
        parser.error(f'there is no golden file {unknown[0]!r}; the names are {", ".join(SYSTEMS)}')
    for name in names or SYSTEMS:
        print(write_golden(name, run_system(name)))


if __name__ == '__main__':
    main()
