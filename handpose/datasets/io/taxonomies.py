"""Which actions the data set of a config has, without opening it."""

from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import taxonomy_of

OFFICIAL = {'H2O': H2O_ACTIONS, 'FPHA': FPHA_ACTIONS}


def configured_taxonomy(dataset):
    """The `ActionTaxonomy` that a data set's config means, or None where the data set has no actions.

    Raises:
        DatasetError: its own list of actions cannot be read.
    """
    dataset = dataset or {}
    official = OFFICIAL.get(dataset.get('type'))
    return None if official is None else taxonomy_of(dataset.get('taxonomy'), official)
