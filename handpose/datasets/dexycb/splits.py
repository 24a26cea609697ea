"""DexYCB's published splits: which subjects, cameras or sequences are for training, validation and testing."""

SPLITS = ('train', 'val', 'test')
SETUPS = ('s0', 's1', 's2', 's3', 'all')
SUBJECTS = {'train': (0, 1, 2, 3, 4, 5, 9), 'val': (6,), 'test': (7, 8)}  # s1
CAMERAS = {'train': (0, 1, 2, 3, 4, 5), 'val': (6,), 'test': (7,)}  # s2
HELD_OUT_GRASPS = {'val': (3, 19), 'test': (7, 11, 15)}  # s3, position // 5: a subject's sequences come in fives


def in_split(setup, split, subject, position, camera):
    """Says whether a track (one camera's view of one sequence) belongs to a split.

    Args:
        setup: 's0' unseen sequences, 's1' unseen subjects, 's2' unseen cameras, 's3' unseen grasps, or 'all':
            everything, whatever the split.
        split: 'train', 'val' or 'test'.
        subject, position, camera: numbers from 0; `position` is the sequence's among its subject's, sorted by name.
    """
    if setup == 's0':
        held_out = position % 5 == 4
        return {'train': not held_out, 'val': held_out and subject < 2, 'test': held_out and subject >= 2}[split]
    if setup == 's1':
        return subject in SUBJECTS[split]
    if setup == 's2':
        return camera in CAMERAS[split]
    if setup == 's3':
        grasp = position // 5
        if split == 'train':
            return not any(grasp in grasps for grasps in HELD_OUT_GRASPS.values())
        return grasp in HELD_OUT_GRASPS[split]
    return True
