"""Datasets of clips (`HandSequence`), and the transforms between the files and the model."""

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.dexycb.reader import DexYCB
from handpose.datasets.fpha.reader import FPHA
from handpose.datasets.h2o.reader import H2O
from handpose.datasets.hanco.reader import HanCo
from handpose.datasets.ho3d.reader import HO3D
from handpose.datasets.interhand.reader import InterHand26M
from handpose.datasets.motion.reader import MotionClips
from handpose.datasets.reinterhand.reader import ReInterHand

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
