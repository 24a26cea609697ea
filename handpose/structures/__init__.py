"""The data contract: `HandSequence`, and which frames make up a window."""

from handpose.structures.sequence import SPECS, HandSequence, SequenceError, sample_name
from handpose.structures.windows import centred_windows, overlapping_windows, strided_windows

__all__ = ['SPECS', 'HandSequence', 'SequenceError', 'centred_windows', 'overlapping_windows', 'sample_name', 'strided_windows']
