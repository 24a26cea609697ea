"""Makes a motion file of DexYCB: handpose dexycb-to-motion data/dexycb -o data/dexycb_motion.npz"""

import argparse

from handpose.cli.errors import UsageError
from handpose.datasets.motion.motion_file import write_motion
from handpose.synthesis.recordings.dexycb import choose_sequences, motion_from_dexycb, motion_from_packed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('root', nargs='?', help='the official download: calibration and subject folders')
    parser.add_argument('--packed', metavar='FILE.npz', help='instead: the joints of all sequences in one file')
    parser.add_argument('--cameras', metavar='FILE.json', help='the cameras that go with --packed')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the motion file to write')
    parser.add_argument('--per-subject', type=int, metavar='N', help='about N sequences of each subject (default: all)')
    parser.add_argument('--camera', metavar='SERIAL', help='take the labels of this camera (default: of any)')
    parser.add_argument('--cache-dir', help='for the index of the labels, if ROOT is read-only')


def _check_usage(arguments: argparse.Namespace) -> None:
    if bool(arguments.root) == bool(arguments.packed) or bool(arguments.packed) != bool(arguments.cameras):
        raise UsageError('give the folder of a download, or --packed with --cameras')
    if arguments.per_subject is not None and arguments.per_subject < 3:
        raise UsageError('--per-subject must be at least 3: two sequences of split s0 to test on, and one to train on')


def run(arguments: argparse.Namespace) -> None:
    """Writes the motion file.

    Args:
        arguments: those of `add_arguments`.
    """
    _check_usage(arguments)
    if arguments.packed:
        motion = motion_from_packed(arguments.packed, arguments.cameras)
    else:
        motion = motion_from_dexycb(arguments.root, arguments.camera, arguments.cache_dir)
    if arguments.per_subject:
        motion = motion.select(choose_sequences(motion, arguments.per_subject))
    write_motion(arguments.out, motion)
    print(
        f'{arguments.out}: {len(motion.sequence_names)} of {len(motion.all_sequence_names or ())} sequences, '
        f'{int(motion.frame_valid.sum())} of {len(motion.joints)} frames with a hand'
    )
    if motion.licence:
        print(motion.licence)
