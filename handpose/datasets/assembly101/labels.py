"""Assembly101's actions: its own list, 1,380 pairs of 24 verbs and 90 nouns, comes with the dataset (`actions.csv`)."""

from pathlib import Path

from handpose.datasets.assembly101.layout import ACTION_FILE, ANNOTATIONS, read_actions
from handpose.datasets.io.action_labels import ActionTaxonomy, make_taxonomy
from handpose.datasets.io.errors import DatasetError


def listed_taxonomy(root: str | Path) -> ActionTaxonomy:
    """The `ActionTaxonomy` of `actions.csv`, whose verbs and objects (nouns) are in the order of their numbers.

    Args:
        root: folder of the dataset.

    Raises:
        DatasetError: the file is missing or damaged, or gives a verb or noun two names.
    """
    path = Path(root) / ANNOTATIONS / ACTION_FILE
    rows = read_actions(path)
    names = {}
    for kind in ('verb', 'noun'):
        found: dict[int, str] = {}
        for row in rows:
            number, name = int(row[f'{kind}_id']), row[f'{kind}_cls'].strip()
            if found.setdefault(number, name) != name:
                raise DatasetError(f'{path}: {kind}_id {number} is {found[number]!r} and {name!r}; download it again')
        names[kind] = [found[number] for number in sorted(found)]
    triples = [(row['action_cls'].strip(), row['verb_cls'].strip(), row['noun_cls'].strip()) for row in rows]
    return make_taxonomy('assembly101', triples, names['verb'], names['noun'])
