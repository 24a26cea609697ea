"""Datasets of clips (`HandSequence`), and the transforms between the files and the model."""

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.dexycb import DexYCB
from handpose.datasets.ho3d import HO3D
from handpose.datasets.interhand import InterHand26M
from handpose.datasets.recorded_motion import MotionClips

__all__ = [
    'HO3D',
    'BrokenFrames',
    'DatasetError',
    'DexYCB',
    'InterHand26M',
    'MotionClips',
    'VideoDataset',
    'transforms',
]
