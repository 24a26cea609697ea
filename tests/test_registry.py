import importlib
import subprocess
import sys

import pytest

from handpose.registry import MODELS, UntrustedDescriptionError, check_untrusted


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


MODULES = ('subprocess.getoutput', 'os.system', 'builtins.eval', 'torch.hub.load', 'mmengine.model.BaseModel')


@pytest.mark.parametrize('name', MODULES)
def test_a_dotted_name_is_never_imported(name, tmp_path):
    with pytest.raises(KeyError, match='is not a registered'):
        MODELS.build({'type': name, 'cmd': f'touch {tmp_path}/trace'})
    assert MODELS.get(name) is None and not list(tmp_path.iterdir())


def test_names_of_mmengine_are_found():
    importlib.import_module('mmengine.model')  # registers them

    assert MODELS.get('ImgDataPreprocessor') is not None and MODELS.get('mmengine.ImgDataPreprocessor') is not None


GOOD = {'type': 'handpose.MotionLoss', 'base': {'type': 'MaxMSELoss'}, 'sizes': [1, 2.5, None, True, 'relu']}


def test_registered_names_and_plain_values_may_come_from_a_file():
    check_untrusted(GOOD, 'weights.safetensors')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'type': 'subprocess.getoutput'}, "model names the type 'subprocess.getoutput'"),
        ({'base': {'type': 'subprocess.getoutput'}}, 'model.base names the type'),
        ({'sizes': [[{'a': {'type': 'os.system'}}]]}, r'model\.sizes\.0\.0\.a names the type'),
        ({'base': {'type': 'BaseModel'}}, 'no registered model'),  # mmengine's, not ours
        ({'base': {'type': 'MaxMSELos'}}, "Did you mean 'MaxMSELoss'"),
        ({'base': {'type': ['os', 'system']}}, 'names the type'),
        ({'base': {'type': 'DexYCB'}}, 'names the type'),
        ({'_scope_': 'os'}, "the key '_scope_'"),
        ({'a': {'__class__': 'x'}}, "the key '__class__'"),
        ({'a': {3: 'x'}}, "the key '3'"),
        ({'a': 'http://example.org/x.pth'}, 'may not name other files'),
        ({'a': '../x'}, 'may not name other files'),
        ({'a': 'C:x'}, 'may not name other files'),
        ({'a': 10**9}, 'is larger than'),
        ({'a': print}, 'is a builtin_function_or_method'),
        ({'a': [0] * 20_000}, 'too many values'),
    ],
)
def test_what_a_file_may_not_describe(change, message):
    with pytest.raises(UntrustedDescriptionError, match=message):
        check_untrusted({**GOOD, **change}, 'weights.safetensors')


def test_deep_nesting_and_other_values_are_refused():
    deep = 'end'
    for _ in range(100_000):
        deep = [deep]
    for value, message in (({**GOOD, 'a': deep}, 'nested too deeply'), ([], 'no model'), ({}, 'no model')):
        with pytest.raises(UntrustedDescriptionError, match=message):
            check_untrusted(value, 'weights.safetensors')
