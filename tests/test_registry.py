import subprocess
import sys

import pytest

from handpose.registry import MODELS


def test_unknown_type_names_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'MaxMSELoss'"):
        MODELS.build(dict(type='MaxMSELos'))


def test_unknown_argument_names_the_nearest():
    with pytest.raises(TypeError, match="Did you mean 'detach_weights'"):
        MODELS.build(dict(type='MaxMSELoss', detach_weight=True))


def test_not_a_config():
    with pytest.raises(TypeError, match='dict with the key "type"'):
        MODELS.build('MaxMSELoss')


def test_parts_from_a_project_outside(tmp_path):
    """Another mmengine project, with a default scope of its own, builds our parts without importing us."""
    (tmp_path / 'otherproject').mkdir()
    (tmp_path / 'otherproject' / '__init__.py').write_text('')
    (tmp_path / 'otherproject' / 'registry.py').write_text(
        'from mmengine.registry import MODELS as ROOT, Registry\n'
        "MODELS = Registry('model', parent=ROOT, scope='otherproject')\n"
    )
    (tmp_path / 'main.py').write_text(
        'from mmengine.registry import DefaultScope\n'
        'from otherproject.registry import MODELS\n'
        "DefaultScope.get_instance('run', scope_name='otherproject')\n"
        "head = MODELS.build(dict(type='handpose.DynamicFusionHead', in_channels=8, hidden_channels=(16,)))\n"
        "loss = MODELS.build(dict(type='handpose.MotionLoss', base=dict(type='MaxMSELoss')))\n"
        'import handpose.models\n'
        'assert type(head) is handpose.models.DynamicFusionHead and type(loss.base) is handpose.models.MaxMSELoss\n'
    )
    subprocess.run([sys.executable, 'main.py'], cwd=tmp_path, check=True)
