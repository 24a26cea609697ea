"""Assembly101, H2O and AssemblyHands beside each other, a few seconds of each; the config's options that open them."""

import assembly101_files as assembly101
import assemblyhands_files as assemblyhands
import h2o_files as h2o
import numpy as np

FRAMES = 200  # of Assembly101, at 60 a second
# First and last frame at 30 a second, and action, as its places in `assembly101_files.ACTIONS`.
SEGMENTS = [(0, 47, 1), (48, 95, 2)]
ABSENT = {(20, 0)}  # frame and hand of H2O


def write_roots(folder):
    """Writes the three roots; returns the options of the config that name them.

    AssemblyHands' one sequence is a part of the recording that Assembly101 has.
    """
    write_assembly101(folder / 'assembly101')
    root = h2o.write_root(folder / 'h2o', absent=ABSENT)
    for split, recording in (('val', 'subject3/k2/0'), ('test', 'subject4/h1/0')):
        h2o.write_list(root / 'label_split' / f'action_{split}.txt', [(recording, 36, 0, 29)], labels=split == 'val')
    for camera in root.glob('subject*/*/*/cam4'):
        (camera / 'cam_pose').mkdir()
        for frame in range(30):
            (camera / 'cam_pose' / f'{frame:06d}.txt').write_text(h2o.line(np.eye(4).ravel()))
    for split in ('train', 'val'):
        name = f'assemblyhands_{split}_joint_3d_v1-1.json'
        assemblyhands.write_root(
            folder / 'assemblyhands', {assembly101.RECORDING: assemblyhands.sequence_of()}, split, name
        )
    return {
        'assembly101_root': str(folder / 'assembly101'),
        'h2o_root': str(folder / 'h2o'),
        'assemblyhands_root': str(folder / 'assemblyhands'),
        'h2o_cameras': ['cam4'],
        'num_workers': 0,
    }


def write_assembly101(root):
    assembly101.write_root(root, poses=assembly101.pose_list(assembly101.true_joints(FRAMES)))
    for name in ('train', 'validation', 'test'):
        rows = assembly101.segment_rows(segments=SEGMENTS)
        assembly101.write_csv(root / 'fine-grained-annotations' / f'{name}.csv', assembly101.COLUMNS, rows)
