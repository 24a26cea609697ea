from pathlib import Path

import pytest

from handpose.structures import SPECS
from handpose.structures.document import field_table, update_page

PAGE = Path(__file__).parents[2] / 'docs' / 'data' / 'data_contract.md'


def test_the_page_is_up_to_date():
    text = PAGE.read_text(encoding='utf-8')
    assert update_page(text) == text, 'run: python -m handpose.structures.document docs/data/data_contract.md'


def test_every_field_has_a_row():
    table = field_table()
    assert all(f'| `{name}` |' in table for name in SPECS)
    assert '| `hand_pose` | (T, H, 16, 3) | float32 | `hand_pose_valid` |' in table
    assert '| `occlusion` | (T, K, H) | float32 | NaN unknown |' in table


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match='must have the lines'):
        update_page('# The data contract\n')
