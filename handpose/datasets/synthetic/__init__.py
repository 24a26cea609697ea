"""The built-in data: procedural hands that take and move procedural objects, in DexYCB's folder structure."""

from handpose.datasets.synthetic.generate import Summary, write_dexycb
from handpose.datasets.synthetic.options import SyntheticOptions, options_from_dict
from handpose.datasets.synthetic.sheet import contact_sheet

__all__ = ['Summary', 'SyntheticOptions', 'contact_sheet', 'options_from_dict', 'write_dexycb']
