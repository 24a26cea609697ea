"""Packs the images of a dataset; the same as `handpose pack-frames`."""

from handpose.cli import main

if __name__ == '__main__':
    main('pack-frames')
