"""Refines predictions; the same as `handpose refine`."""

from handpose.cli import main

if __name__ == '__main__':
    main('refine')
