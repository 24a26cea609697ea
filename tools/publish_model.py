"""Publishes weights; the same as `handpose publish`."""

from handpose.cli import main

if __name__ == '__main__':
    main('publish')
