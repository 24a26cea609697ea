"""FPHA's 45 actions, 27 verbs and 26 objects (Garcia-Hernando et al., CVPR 2018); its split file numbers them from 0.

The names of actions are those of the folders. The dataset names no verbs: they are the names' first words. The object
is what the right hand holds or touches (in a handshake and a high five, another hand): every action has one, and there
are the 26 that the paper counts.
"""

from handpose.datasets.io.action_labels import make_taxonomy

# (action, object) in the order of the official numbers, 0 to 44.
_ACTIONS = (
    ('open_juice_bottle', 'juice_bottle'),
    ('close_juice_bottle', 'juice_bottle'),
    ('pour_juice_bottle', 'juice_bottle'),
    ('open_peanut_butter', 'peanut_butter'),
    ('close_peanut_butter', 'peanut_butter'),
    ('prick', 'fork'),
    ('sprinkle', 'spoon'),
    ('scoop_spoon', 'spoon'),
    ('put_sugar', 'spoon'),
    ('stir', 'spoon'),
    ('open_milk', 'milk'),
    ('close_milk', 'milk'),
    ('pour_milk', 'milk'),
    ('drink_mug', 'mug'),
    ('put_tea_bag', 'tea_bag'),
    ('put_salt', 'salt'),
    ('open_liquid_soap', 'liquid_soap'),
    ('close_liquid_soap', 'liquid_soap'),
    ('pour_liquid_soap', 'liquid_soap'),
    ('wash_sponge', 'sponge'),
    ('flip_sponge', 'sponge'),
    ('scratch_sponge', 'sponge'),
    ('squeeze_sponge', 'sponge'),
    ('open_soda_can', 'soda_can'),
    ('use_flash', 'flash'),
    ('write', 'pen'),
    ('tear_paper', 'paper'),
    ('squeeze_paper', 'paper'),
    ('open_letter', 'letter'),
    ('take_letter_from_enveloppe', 'letter'),
    ('read_letter', 'letter'),
    ('flip_pages', 'book'),
    ('use_calculator', 'calculator'),
    ('light_candle', 'match'),
    ('charge_cell_phone', 'cell_phone_charger'),
    ('unfold_glasses', 'glasses'),
    ('clean_glasses', 'glasses'),
    ('open_wallet', 'wallet'),
    ('give_coin', 'coin'),
    ('receive_coin', 'coin'),
    ('give_card', 'card'),
    ('pour_wine', 'wine_bottle'),
    ('toast_wine', 'wine_glass'),
    ('handshake', 'hand'),
    ('high_five', 'hand'),
)


def _verb(action: str) -> str:
    return action if action == 'high_five' else action.split('_')[0]


FPHA_ACTIONS = make_taxonomy(
    'fpha',
    [(action, _verb(action), thing) for action, thing in _ACTIONS],
    dict.fromkeys(_verb(action) for action, _ in _ACTIONS),
    dict.fromkeys(thing for _, thing in _ACTIONS),
    first_number=0,
)
