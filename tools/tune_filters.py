"""Tunes motion filters; the same as `handpose tune-filters`."""

from handpose.cli import main

if __name__ == '__main__':
    main('tune-filters')
