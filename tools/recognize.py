"""Recognizes hands and the action of a video; the same as `handpose recognize`."""

from handpose.cli import main

if __name__ == '__main__':
    main('recognize')
