"""Datasets of clips (`HandSequence`), and the transforms between the files and the model."""

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.dexycb import DexYCB

__all__ = ['BrokenFrames', 'DatasetError', 'DexYCB', 'VideoDataset', 'transforms']
