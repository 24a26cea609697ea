"""Datasets of clips (`HandSequence`), and the transforms between the files and the model."""

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.dexycb import DexYCB
from handpose.datasets.fpha import FPHA
from handpose.datasets.h2o import H2O
from handpose.datasets.hanco import HanCo
from handpose.datasets.ho3d import HO3D
from handpose.datasets.interhand import InterHand26M
from handpose.datasets.recorded_motion import MotionClips
from handpose.datasets.reinterhand import ReInterHand

__all__ = [
    'FPHA',
    'H2O',
    'HO3D',
    'BrokenFrames',
    'DatasetError',
    'DexYCB',
    'HanCo',
    'InterHand26M',
    'MotionClips',
    'ReInterHand',
    'VideoDataset',
    'transforms',
]
