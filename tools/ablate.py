"""Makes ablation tables; the same as `handpose ablate`."""

from handpose.cli import main

if __name__ == '__main__':
    main('ablate')
