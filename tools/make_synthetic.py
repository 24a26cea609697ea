"""Makes the built-in data; the same as `handpose make-data`."""

from handpose.cli import main

if __name__ == '__main__':
    main('make-data')
