"""Recorded motion, shown by the procedural hand: the motion file, where such files come from, and rendering them."""

from handpose.datasets.motion.motion_file import RecordedMotion, read_motion, write_motion
from handpose.synthesis.recorded.sources import choose_sequences, motion_from_dexycb, motion_from_packed
from handpose.synthesis.recorded.write import (
    RecordedOptions,
    RecordedSummary,
    recorded_options_from_dict,
    write_recorded,
)

__all__ = [
    'RecordedMotion',
    'RecordedOptions',
    'RecordedSummary',
    'choose_sequences',
    'motion_from_dexycb',
    'motion_from_packed',
    'read_motion',
    'recorded_options_from_dict',
    'write_motion',
    'write_recorded',
]
