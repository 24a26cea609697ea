"""What layouts of pose sequences share: no pictures, and for each recording its motion as it was drawn.

`generator/<subject>_<sequence>/motion.npz` holds a `HandMotion` in float64 (table frame), from which `finish` or
`write_motion` makes the data set's own files; tests compare with it.
"""

import json

import numpy as np

from handpose.files.reading import visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.synthesis.dexycb_files import write_npz
from handpose.synthesis.hand_motion import HandMotion
from handpose.synthesis.layout import Layout, write_yaml

MILLIMETRES = 1000.0
_NAMES = ('left', 'right')


class PoseLayout(Layout):
    """A layout without pictures; see `Layout`. A subclass says which `hands` a sequence shows and writes the rest."""

    takes_pictures = False

    def hands(self, sequence):
        """The sides (H,) of the hands that a sequence shows."""
        raise NotImplementedError

    def folders(self, subject, sequence):
        """See `Layout.folders`."""
        return [f'generator/{subject:02d}_{sequence:03d}']

    def write_motion(self, motion, subject, sequence):
        """Writes a recording's motion, and its facts, in its partial folder."""
        partial = self.empty_partial(subject, sequence)[-1]
        arrays = {name: value for name, value in vars(motion).items() if name != 'name'}
        write_npz(partial / 'motion.npz', arrays)
        write_yaml(partial / 'facts.yml', {'name': motion.name, 'hands': [_NAMES[side] for side in motion.sides]})

    def read_motion(self, subject, sequence):
        """The `HandMotion` of a sequence that is in place."""
        folder = self.root / self.folders(subject, sequence)[-1]
        name = read_yaml(folder / 'facts.yml')['name']
        with np.load(folder / 'motion.npz') as arrays:
            return HandMotion(**{key: arrays[key] for key in arrays.files}, name=name)

    def read_facts(self):
        """Yields the facts of every sequence."""
        for path in visible_paths(self.root / 'generator', '*/facts.yml'):
            yield read_yaml(path)

    @property
    def places(self):
        """All (subject, sequence)."""
        return [(u, s) for u in range(self.options.subjects) for s in range(self.options.sequences)]


def mano_entry(motion, frame, hand, decimals=7):
    """A MANO entry as NeuralAnnot and Re:InterHand have it: `pose` (48), `shape` (10), `trans` (3, metres), world.

    The mean pose is not part of `pose`; that of the procedural hand is zero.
    """
    pose, trans = motion.hand_pose[frame, hand].reshape(48), motion.hand_transl[frame, hand]
    return {
        'pose': np.round(pose, decimals).tolist(),
        'shape': np.round(motion.hand_shape, decimals).tolist(),
        'trans': np.round(trans, decimals).tolist(),
    }


def write_json(path, values):
    """Writes plain values as JSON, compactly, into a folder that is there."""
    path.write_text(json.dumps(values, separators=(',', ':')), encoding='utf-8')
