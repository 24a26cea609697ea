"""Measures speed and memory; the same as `handpose benchmark`."""

from handpose.cli import main

if __name__ == '__main__':
    main('benchmark')
