"""Fits a hand model to a motion file; the same as `handpose fit-motion`."""

from handpose.cli import main

if __name__ == '__main__':
    main('fit-motion')
