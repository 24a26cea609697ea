"""The built-in data: procedural hands that act on procedural objects, in the folders of a real data set."""

from handpose.synthesis.egocentric import (
    EgocentricOptions,
    EgocentricSummary,
    egocentric_options_from_dict,
    write_egocentric,
)
from handpose.synthesis.generate import Summary, write_synthetic
from handpose.synthesis.options import SyntheticOptions, options_from_dict
from handpose.synthesis.recorded import (
    RecordedOptions,
    RecordedSummary,
    recorded_options_from_dict,
    write_recorded,
)
from handpose.synthesis.sheet import contact_sheet

__all__ = [
    'EgocentricOptions',
    'EgocentricSummary',
    'RecordedOptions',
    'RecordedSummary',
    'Summary',
    'SyntheticOptions',
    'contact_sheet',
    'egocentric_options_from_dict',
    'options_from_dict',
    'recorded_options_from_dict',
    'write_egocentric',
    'write_recorded',
    'write_synthetic',
]
