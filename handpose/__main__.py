"""The `handpose` command as `python -m handpose`."""

from handpose.cli import main

if __name__ == '__main__':
    main()
