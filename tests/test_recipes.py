"""The code of the recipe pages runs as it is printed."""

import re
from pathlib import Path

import pytest
import torch

RECIPES = Path(__file__).parents[1] / 'docs' / 'recipes'


def code_of(page):
    (code,) = re.findall(r'^```python\n(.*?)^```$', (RECIPES / page).read_text(), re.DOTALL | re.MULTILINE)
    return code


@pytest.fixture
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures('_one_thread')
def test_skeleton_classification():
    code = code_of('skeleton_classification.md')
    assert code.count('\n') <= 60
    page = {}
    exec(compile(code, 'skeleton_classification.md', 'exec'), page)
    assert page['accuracy'] > 0.8  # chance is a third


def test_every_recipe_is_tested():
    assert {path.name for path in RECIPES.glob('*.md')} == {'skeleton_classification.md'}
