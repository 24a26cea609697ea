"""Makes a motion file of DexYCB; the same as `handpose dexycb-to-motion`."""

from handpose.cli import main

if __name__ == '__main__':
    main('dexycb-to-motion')
