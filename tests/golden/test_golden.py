"""The same numbers as before: see `record.py` for when they may change."""

import pytest
from golden_files import assert_golden
from golden_systems import SYSTEMS, run_system


@pytest.mark.parametrize('name', SYSTEMS)
def test_system(name):
    assert_golden(name, run_system(name))
