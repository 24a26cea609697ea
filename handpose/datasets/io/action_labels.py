"""What actions a dataset knows: their names, the verb and the object of each, and the numbers that its files use."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handpose.datasets.io.errors import DatasetError
from handpose.files.yaml_files import read_yaml
from handpose.text import did_you_mean


@dataclass(frozen=True)
class ActionTaxonomy:
    """Actions, verbs and objects by name. Everywhere in the library a label is a place in these lists, -1 unknown.

    Attributes:
        name: of the list, for messages ('h2o').
        actions, verbs, objects: tuples of names, in the order of their official numbers.
        action_verb: a place in `verbs` for each action. action_object: a place in `objects` for each action, -1 where
            the hand holds nothing.
        first_number: the number that the dataset's files give action 0 (H2O 1, FPHA 0).

    Raises:
        DatasetError: lists that do not fit each other.
    """

    name: str
    actions: tuple
    verbs: tuple
    objects: tuple
    action_verb: tuple
    action_object: tuple
    first_number: int = 0

    def __post_init__(self) -> None:
        for kind in ('actions', 'verbs', 'objects'):
            names = getattr(self, kind)
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise DatasetError(f'{self.name}: {kind} names {twice[0]!r} twice; every name must be its own')
        if not self.actions:
            raise DatasetError(f'{self.name}: a list of actions must name at least one')
        for kind, known, least in (('action_verb', self.verbs, 0), ('action_object', self.objects, -1)):
            places = getattr(self, kind)
            if len(places) != len(self.actions):
                raise DatasetError(f'{self.name}: {kind} has {len(places)} places for {len(self.actions)} actions')
            if wrong := [p for p in places if not least <= p < len(known)]:
                raise DatasetError(f'{self.name}: {kind} holds {wrong[0]}, but there are {len(known)} such names')

    @property
    def last_number(self) -> int:
        """The number that the dataset's files give the last action."""
        return self.first_number + len(self.actions) - 1

    def label_of(self, number: int, where: object) -> int:
        """The label of an action number of the dataset's files; `where` names the line in messages.

        Raises:
            DatasetError: there is no such action.
        """
        if not self.first_number <= number <= self.last_number:
            raise DatasetError(
                f'{where}: action {number} is not among the {len(self.actions)} actions of {self.name}, which are '
                f'numbered {self.first_number} to {self.last_number}; correct the list, or give the reader the '
                f'taxonomy that it was made with'
            )
        return number - self.first_number

    def number_of(self, label: int) -> int:
        """The number that the dataset's files give a label: the inverse of `label_of`."""
        return label + self.first_number

    def index(self, action: str) -> int:
        """The label of an action's name; a `DatasetError` that names the nearest one where there is none."""
        if action not in self.actions:
            raise DatasetError(f'{self.name} has no action {action!r}.{did_you_mean(action, self.actions)}')
        return self.actions.index(action)

    def metainfo(self) -> dict[str, list]:
        """The lists of names that metrics and images read, and the verb of each action."""
        lists = ('actions', 'verbs', 'objects', 'action_verb')
        return {name: list(getattr(self, name)) for name in lists}


def make_taxonomy(
    name: str,
    triples: Sequence[tuple[str, str, str | None]],
    verbs: Iterable[str],
    objects: Iterable[str],
    first_number: int = 0,
) -> ActionTaxonomy:
    """Makes an `ActionTaxonomy` of (action, verb, object or None) names, in the order of their numbers.

    Raises:
        DatasetError: a verb or an object that its list lacks.
    """

    def position(kind: str, names: tuple[str, ...], wanted: str, action: str) -> int:
        if wanted not in names:
            near = did_you_mean(wanted, names)
            raise DatasetError(f'{name}: {kind} {wanted!r} of {action!r} is not in its list.{near}')
        return names.index(wanted)

    verbs, objects = tuple(verbs), tuple(objects)
    return ActionTaxonomy(
        name=name,
        actions=tuple(action for action, _, _ in triples),
        verbs=verbs,
        objects=objects,
        action_verb=tuple(position('verb', verbs, verb, action) for action, verb, _ in triples),
        action_object=tuple(-1 if o is None else position('object', objects, o, action) for action, _, o in triples),
        first_number=first_number,
    )


def join_taxonomies(taxonomies: Sequence[ActionTaxonomy]) -> ActionTaxonomy:
    """Joins lists of actions: those of the first, then those of the second that the first lacks, and so on.

    Actions of equal names are one action, with the verb and the object that the first list gives it.

    Args:
        taxonomies: at least one.
    """
    triples: dict[str, tuple[str, str, str | None]] = {}
    for one in taxonomies:
        for action, verb, place in zip(one.actions, one.action_verb, one.action_object, strict=True):
            triples.setdefault(action, (action, one.verbs[verb], None if place < 0 else one.objects[place]))
    verbs = dict.fromkeys(verb for one in taxonomies for verb in one.verbs)
    objects = dict.fromkeys(thing for one in taxonomies for thing in one.objects)
    name = ' and '.join(dict.fromkeys(one.name for one in taxonomies))
    return make_taxonomy(name, list(triples.values()), verbs, objects)


def read_taxonomy(path: str | Path) -> ActionTaxonomy:
    """Reads a list of own actions: YAML with `actions`, a list of `{name, verb, object}` in the order of their numbers.

    `verb` and `object` may be left out: the verb is then the name's words but the last and the object the last, as in
    'pour milk' (a single word is a verb without object). `first_number` (default 0) is the number that the list of
    segments gives the first action. Verbs and objects are listed in the order in which they first come.

    Raises:
        DatasetError: no such file, or one that is not as described.
    """
    where = str(path)
    found = read_yaml(path, error=DatasetError, advice='correct the list of actions, or give the path of another')
    if not isinstance(found.get('actions'), list):
        raise DatasetError(f"{where} must hold 'actions', a list of names or of {{name, verb, object}}")
    if unknown := sorted(map(str, set(found) - {'name', 'actions', 'first_number'})):
        raise DatasetError(f'{where}: unknown key {unknown[0]!r}; it may hold name, actions and first_number')
    first_number = found.get('first_number', 0)
    if type(first_number) is not int:
        raise DatasetError(f'{where}: first_number must be a whole number, got {first_number!r}')
    triples = [_triple(entry, f'{where}, action {place}') for place, entry in enumerate(found['actions'])]
    verbs = dict.fromkeys(verb for _, verb, _ in triples)
    objects = dict.fromkeys(o for _, _, o in triples if o is not None)
    return make_taxonomy(str(found.get('name', Path(path).stem)), triples, verbs, objects, first_number)


def _triple(entry: Any, where: object) -> tuple[str, str, str | None]:
    """(action, verb, object or None) of one entry of a YAML list."""
    entry = {'name': entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get('name'), str) or not entry['name'].strip():
        raise DatasetError(f'{where} must be a name or {{name, verb, object}}, got {entry!r}')
    if unknown := sorted(map(str, set(entry) - {'name', 'verb', 'object'})):
        near = did_you_mean(unknown[0], ('name', 'verb', 'object'))
        raise DatasetError(f'{where}: unknown key {unknown[0]!r}.{near}')
    words = entry['name'].split()
    verb = entry.get('verb', ' '.join(words[:-1]) or words[0])
    thing = entry.get('object', words[-1] if len(words) > 1 else None)
    if not isinstance(verb, str) or not isinstance(thing, (str, type(None))):
        raise DatasetError(f'{where}: verb must be a name, and object a name or null, got {verb!r} and {thing!r}')
    return entry['name'], verb, thing


def taxonomy_of(taxonomy: ActionTaxonomy | str | Path | None, official: ActionTaxonomy) -> ActionTaxonomy:
    """The `ActionTaxonomy` that a reader's option means: None the official one, or the path of a YAML list."""
    return official if taxonomy is None else own_taxonomy(taxonomy)


def own_taxonomy(taxonomy: ActionTaxonomy | str | Path) -> ActionTaxonomy:
    """An `ActionTaxonomy` as it is, or that of the path of a YAML list."""
    return taxonomy if isinstance(taxonomy, ActionTaxonomy) else read_taxonomy(taxonomy)
