"""The same numbers as before: see `record.py` for when they may change."""

import pytest
from golden_files import assert_golden, read_golden
from golden_readers import LAYOUTS, read_layout
from golden_systems import SYSTEMS, run_system


@pytest.mark.parametrize('name', SYSTEMS)
def test_system(name):
    assert_golden(name, run_system(name))


@pytest.mark.parametrize('name', LAYOUTS)
def test_reader(name, tmp_path):
    assert_golden('readers', read_layout(name, tmp_path), entry=name)


def test_every_layout_is_recorded():
    assert list(read_golden('readers')[1]) == list(LAYOUTS)
