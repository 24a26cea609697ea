"""Makes a motion file of DexYCB: python tools/convert/dexycb_to_motion.py data/dexycb -o data/dexycb_motion.npz"""

import argparse

from handpose.datasets.motion.motion_file import write_motion
from handpose.engine.errors import exit_on_user_error
from handpose.synthesis.recordings.dexycb import choose_sequences, motion_from_dexycb, motion_from_packed


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', nargs='?', help='the official download: calibration and subject folders')
    parser.add_argument('--packed', metavar='FILE.npz', help='instead: the joints of all sequences in one file')
    parser.add_argument('--cameras', metavar='FILE.json', help='the cameras that go with --packed')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the motion file to write')
    parser.add_argument('--per-subject', type=int, help='about so many sequences of each subject (default: all)')
    parser.add_argument('--camera', metavar='SERIAL', help='take the labels of this camera (default: of any)')
    parser.add_argument('--cache-dir', help='for the index of the labels, if ROOT is read-only')
    arguments = parser.parse_args()
    if bool(arguments.root) == bool(arguments.packed) or bool(arguments.packed) != bool(arguments.cameras):
        parser.error('give the folder of a download, or --packed with --cameras')
    if arguments.per_subject is not None and arguments.per_subject < 3:
        parser.error('--per-subject must be at least 3: two sequences of split s0 to test on, and one to train on')
    return arguments


def main():
    arguments = parse_arguments()
    if arguments.packed:
        motion = motion_from_packed(arguments.packed, arguments.cameras)
    else:
        motion = motion_from_dexycb(arguments.root, arguments.camera, arguments.cache_dir)
    if arguments.per_subject:
        motion = motion.select(choose_sequences(motion, arguments.per_subject))
    write_motion(arguments.out, motion)
    print(
        f'{arguments.out}: {len(motion.sequence_names)} of {len(motion.all_sequence_names)} sequences, '
        f'{int(motion.frame_valid.sum())} of {len(motion.joints)} frames with a hand'
    )
    if motion.licence:
        print(motion.licence)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
