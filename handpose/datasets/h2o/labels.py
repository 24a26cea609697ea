"""H2O's 36 actions, 11 verbs and 8 objects (Kwon et al., ICCV 2021); its files number each from 1, 0 is background."""

from handpose.datasets.io.action_labels import make_taxonomy

OBJECTS = ('book', 'espresso', 'lotion', 'spray', 'milk', 'cocoa', 'chips', 'cappuccino')
VERBS = ('grab', 'place', 'open', 'close', 'pour', 'take out', 'put in', 'apply', 'read', 'spray', 'squeeze')
# In the order of the official action numbers, 1 to 36.
_OBJECTS_OF_VERBS = (
    ('grab', OBJECTS),
    ('place', OBJECTS),
    ('open', ('lotion', 'milk', 'chips')),
    ('close', ('lotion', 'milk', 'chips')),
    ('pour', ('milk',)),
    ('take out', ('espresso', 'cocoa', 'chips', 'cappuccino')),
    ('put in', ('espresso', 'cocoa', 'cappuccino')),
    ('apply', ('lotion', 'spray')),
    ('read', ('book', 'espresso')),
    ('spray', ('spray',)),
    ('squeeze', ('lotion',)),
)
H2O_ACTIONS = make_taxonomy(
    'h2o',
    [(f'{verb} {thing}', verb, thing) for verb, things in _OBJECTS_OF_VERBS for thing in things],
    VERBS,
    OBJECTS,
    first_number=1,
)
