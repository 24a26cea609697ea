"""Makes a predictions file; the same as `handpose convert`."""

from handpose.cli import main

if __name__ == '__main__':
    main('convert')
