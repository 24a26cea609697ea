"""Draws what a config feeds its model; the same as `handpose browse`."""

from handpose.cli import main

if __name__ == '__main__':
    main('browse')
