"""Recognizes the action of a video or of a predictions file; the same as `handpose recognize`."""

from handpose.cli import main

if __name__ == '__main__':
    main('recognize')
