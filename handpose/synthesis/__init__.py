"""The built-in data: procedural hands and objects in motion, written in the folder structure of a real dataset."""

from handpose.synthesis.contact_sheet import contact_sheet
from handpose.synthesis.options import (
    AssemblyHandsOptions,
    DatasetOptions,
    EgocentricOptions,
    MultiViewOptions,
    RecordedOptions,
    RecordingOptions,
    options_from_dict,
)
from handpose.synthesis.writer import Summary, write_dataset

__all__ = [
    'AssemblyHandsOptions',
    'DatasetOptions',
    'EgocentricOptions',
    'MultiViewOptions',
    'RecordedOptions',
    'RecordingOptions',
    'Summary',
    'contact_sheet',
    'options_from_dict',
    'write_dataset',
]
