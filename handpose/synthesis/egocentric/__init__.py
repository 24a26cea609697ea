"""Egocentric videos of two hands that do something with a thing, in H2O's or FPHA's folder structure."""

from handpose.synthesis.egocentric.options import EgocentricOptions, egocentric_options_from_dict
from handpose.synthesis.egocentric.write import EgocentricSummary, write_egocentric

__all__ = ['EgocentricOptions', 'EgocentricSummary', 'egocentric_options_from_dict', 'write_egocentric']
