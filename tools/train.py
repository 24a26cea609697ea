"""Trains a config; the same as `handpose train`."""

from handpose.cli import main

if __name__ == '__main__':
    main('train')
