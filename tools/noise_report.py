"""Reports the errors of simulated input; the same as `handpose noise-report`."""

from handpose.cli import main

if __name__ == '__main__':
    main('noise-report')
