"""Writes a backbone's features; the same as `handpose extract-features`."""

from handpose.cli import main

if __name__ == '__main__':
    main('extract-features')
