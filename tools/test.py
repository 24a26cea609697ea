"""Tests a config; the same as `handpose test`."""

from handpose.cli import main

if __name__ == '__main__':
    main('test')
