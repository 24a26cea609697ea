"""Datasets of clips (`HandSequence`), and the transforms between the files and the model."""

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.dexycb import DexYCB
from handpose.datasets.ho3d import HO3D

__all__ = ['HO3D', 'BrokenFrames', 'DatasetError', 'DexYCB', 'VideoDataset', 'transforms']
