"""The built-in data: procedural hands that take and move procedural objects, in the folders of a real data set."""

from handpose.datasets.synthetic.generate import Summary, write_synthetic
from handpose.datasets.synthetic.options import SyntheticOptions, options_from_dict
from handpose.datasets.synthetic.recorded import (
    RecordedOptions,
    RecordedSummary,
    recorded_options_from_dict,
    write_recorded,
)
from handpose.datasets.synthetic.sheet import contact_sheet

__all__ = [
    'RecordedOptions',
    'RecordedSummary',
    'Summary',
    'SyntheticOptions',
    'contact_sheet',
    'options_from_dict',
    'recorded_options_from_dict',
    'write_recorded',
    'write_synthetic',
]
