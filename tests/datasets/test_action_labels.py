import re

import pytest

from handpose.datasets import DatasetError
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import ActionTaxonomy, read_taxonomy, taxonomy_of


@pytest.mark.parametrize(
    'number, action, verb, thing',
    [
        (1, 'grab book', 'grab', 'book'),
        (16, 'place cappuccino', 'place', 'cappuccino'),
        (20, 'close lotion', 'close', 'lotion'),
        (23, 'pour milk', 'pour', 'milk'),
        (27, 'take out cappuccino', 'take out', 'cappuccino'),
        (28, 'put in espresso', 'put in', 'espresso'),
        (32, 'apply spray', 'apply', 'spray'),
        (34, 'read espresso', 'read', 'espresso'),
        (36, 'squeeze lotion', 'squeeze', 'lotion'),
    ],
)
def test_h2o_numbers(number, action, verb, thing):
    label = H2O_ACTIONS.label_of(number, 'here')
    assert label == number - 1 == H2O_ACTIONS.index(action) and H2O_ACTIONS.number_of(label) == number
    assert H2O_ACTIONS.verbs[H2O_ACTIONS.action_verb[label]] == verb
    assert H2O_ACTIONS.objects[H2O_ACTIONS.action_object[label]] == thing


def test_sizes_of_the_official_lists():
    assert [len(getattr(H2O_ACTIONS, kind)) for kind in ('actions', 'verbs', 'objects')] == [36, 11, 8]
    assert [len(getattr(FPHA_ACTIONS, kind)) for kind in ('actions', 'verbs', 'objects')] == [45, 27, 26]
    assert all(action.split()[-1] in H2O_ACTIONS.objects for action in H2O_ACTIONS.actions)
    assert set(FPHA_ACTIONS.action_object) == set(range(26)) and FPHA_ACTIONS.first_number == 0


def test_fpha_numbers():
    for number, action in ((0, 'open_juice_bottle'), (15, 'put_salt'), (29, 'take_letter_from_enveloppe')):
        assert FPHA_ACTIONS.actions[FPHA_ACTIONS.label_of(number, 'here')] == action
    assert FPHA_ACTIONS.actions[44] == 'high_five' and FPHA_ACTIONS.last_number == 44


@pytest.mark.parametrize(
    'taxonomy, number', [(H2O_ACTIONS, 0), (H2O_ACTIONS, 37), (FPHA_ACTIONS, 45), (H2O_ACTIONS, -1)]
)
def test_numbers_outside_the_taxonomy(taxonomy, number):
    count = len(taxonomy.actions)
    sentence = rf'line 3: action {number} is not among the {count} actions.*{taxonomy.first_number} to'
    with pytest.raises(DatasetError, match=sentence):
        taxonomy.label_of(number, 'line 3')


def test_unknown_name():
    with pytest.raises(DatasetError, match=r"no action 'pour mlik'.*Did you mean 'pour milk'"):
        H2O_ACTIONS.index('pour mlik')


def test_own_actions(tmp_path):
    path = tmp_path / 'my_actions.yml'
    path.write_text(
        'first_number: 5\nactions:\n  - pour milk\n  - {name: wave, verb: wave}\n'
        '  - {name: put the cup down, verb: put down, object: cup}\n  - open the old milk\n'
    )
    found = taxonomy_of(path, H2O_ACTIONS)
    assert found.name == 'my_actions' and found.actions[2] == 'put the cup down'
    assert found.verbs == ('pour', 'wave', 'put down', 'open the old') and found.objects == ('milk', 'cup')
    assert found.action_object == (0, -1, 1, 0) and found.label_of(6, 'here') == 1
    assert taxonomy_of(None, H2O_ACTIONS) is H2O_ACTIONS and taxonomy_of(found, H2O_ACTIONS) is found


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('actions: [', 'not valid YAML'),
        ('pour milk', 'must hold keys with values, but holds a text'),
        ('action: []', "must hold 'actions'"),
        ('actions: [{name: pour milk, verb: [pour]}]', 'verb must be a name'),
        ('actions: [pour milk, pour milk]', "actions names 'pour milk' twice"),
        ('actions: []', 'at least one'),
        ('actions: [{verb: pour}]', r'action 0 must be a name or \{name, verb, object\}'),
        ('actions: [{name: pour milk, objekt: milk}]', "unknown key 'objekt'. Did you mean 'object'"),
        ('actions: [pour milk]\nfirst: 1', "unknown key 'first'"),
        ('actions: [pour milk]\nfirst_number: one', "first_number must be a whole number, got 'one'"),
    ],
)
def test_own_lists_that_are_wrong(tmp_path, text, sentence):
    path = tmp_path / 'a.yml'
    path.write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_taxonomy(path)


def test_no_such_list(tmp_path):
    with pytest.raises(DatasetError, match=re.escape(f'{tmp_path}/b.yml does not exist; correct the list of actions')):
        read_taxonomy(tmp_path / 'b.yml')


def test_lists_that_do_not_fit():
    with pytest.raises(DatasetError, match='action_verb has 1 places for 2 actions'):
        ActionTaxonomy('mine', ('a', 'b'), ('v',), (), (0,), (-1, -1))
    with pytest.raises(DatasetError, match='action_object holds 1, but there are 1'):
        ActionTaxonomy('mine', ('a',), ('v',), ('o',), (0,), (1,))
