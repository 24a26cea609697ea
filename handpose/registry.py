"""The registries: names that a config may use for `type`.

Every registry is a child of mmengine's registry of the same kind, in one scope, `handpose`. So a component can be
named plainly (`type='MaxMSELoss'`) inside this library and as `type='handpose.MaxMSELoss'` from any other
mmengine-based code base, without importing anything first. The class itself needs no registry to be used.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mmengine import registry as mm
from mmengine.registry import Registry as MMRegistry

from handpose.text import did_you_mean

__all__ = [
    'DATASETS',
    'FEATURE_NETWORKS',
    'FRAME_ESTIMATORS',
    'HAND_DETECTORS',
    'HAND_MODELS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'SAMPLINGS',
    'TRANSFORMS',
    'Registry',
    'UntrustedDescriptionError',
    'check_untrusted',
    'defaults_of',
]

LARGEST_NUMBER = 2**20  # in a description from a file: sizes of layers, not of memory


class UntrustedDescriptionError(ValueError):
    """A description of a model, read from a file, that contains something a file may not."""


class Registry(MMRegistry):
    """mmengine's registry without its switching of scopes, and with error messages that suggest the right name."""

    def get(self, key: str) -> Any:
        """Looks a component up here or, for a name without this scope, in mmengine's registries.

        Unlike mmengine's, it never imports what a dotted name such as 'subprocess.getoutput' refers to.

        Args:
            key: a registered name, with or without a scope.

        Returns:
            The class or function, or None.
        """
        scope, name = self.split_scope_key(key)
        self.import_from_location()
        if scope in (None, self.scope) and name in self.module_dict:
            return self.module_dict[name]
        parent = self.parent
        while parent is not None:
            registry = parent if scope in (None, parent.scope) else parent.children.get(scope)
            if registry is not None and name in registry.module_dict:
                return registry.module_dict[name]
            parent = parent.parent
        return None

    def build(self, cfg: Any) -> Any:
        """Builds `cfg['type']` (a registered name or a class) with the other keys as arguments.

        mmengine's own build would look nested types up in the scope of whichever project runs; here a name means
        the same thing everywhere.

        Args:
            cfg: a dict with `type`.

        Returns:
            The component.

        Raises:
            TypeError: `cfg` is not a dict with a `type`, or an argument is unknown; suggests the most similar one.
            KeyError: the type is unknown; suggests the most similar one.
        """
        if not isinstance(cfg, dict) or 'type' not in cfg:
            raise TypeError(f'a {self.name} is built from a dict with the key "type", got {cfg!r}')
        arguments = {key: value for key, value in cfg.items() if key not in ('type', '_scope_')}
        component = self.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
        if component is None:
            raise KeyError(
                f'{cfg["type"]!r} is not a registered {self.name}.{did_you_mean(cfg["type"], self.module_dict)}'
            )
        _check_arguments(component, arguments)
        return component(**arguments)


def _check_arguments(component: Callable[..., Any], arguments: dict[str, Any]) -> None:
    parameters = inspect.signature(component).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in arguments:
        if key not in parameters:
            accepted = ', '.join(parameters) or 'none'
            raise TypeError(
                f'{component.__name__} has no argument {key!r} (it takes: {accepted}).{did_you_mean(key, parameters)}'
            )


MODELS = Registry('model', parent=mm.MODELS, scope='handpose', locations=['handpose.models'])
"""Backbones, necks, heads, losses, estimators, refiners and forecasters."""
HAND_MODELS = Registry('hand_model', scope='handpose', locations=['handpose.structures.hand_models'])
"""Hand models: parameters to vertices and joints."""
DATASETS = Registry('dataset', parent=mm.DATASETS, scope='handpose', locations=['handpose.datasets'])
"""Readers of datasets."""
TRANSFORMS = Registry('transform', parent=mm.TRANSFORMS, scope='handpose', locations=['handpose.datasets'])
"""Steps of the pipeline of a dataset."""
SAMPLINGS = Registry('sampling', scope='handpose', locations=['handpose.datasets'])
"""How samples are cut from the tracks of a dataset."""
METRICS = Registry('metric', parent=mm.METRICS, scope='handpose', locations=['handpose.evaluation'])
"""Metrics."""
FEATURE_NETWORKS = Registry('feature_network', scope='handpose', locations=['handpose.engine.motion_features'])
"""Networks whose features a metric compares."""
HAND_DETECTORS = Registry('hand_detector', scope='handpose', locations=['handpose.inference.tracking.palm_detector'])
"""Detectors that find hands in an image."""
FRAME_ESTIMATORS = Registry(
    'frame_estimator',
    scope='handpose',
    locations=[
        'handpose.inference.tracking.landmark_estimator',
        'handpose.inference.tracking.clip_estimator',
        'handpose.inference.tracking.results_estimator',
    ],
)
"""Estimators of the joints of a tracked hand in an image."""
HOOKS = Registry(
    'hook', parent=mm.HOOKS, scope='handpose', locations=['handpose.engine.runner', 'handpose.visualization']
)
"""Hooks of mmengine's Runner."""
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=mm.OPTIM_WRAPPERS, scope='handpose', locations=['handpose.engine.runner']
)
"""Wrappers of optimizers of mmengine's Runner."""


def check_untrusted(description: Any, where: object) -> None:
    """Refuses a description of a model, read from a file, that could do more than build components of this library.

    A file may name components registered in `MODELS` and `HAND_MODELS` (a user's own too, once imported), at any depth,
    and give them plain values: no path or URL, no whole number above `LARGEST_NUMBER`, no key that begins with '_'.

    Args:
        description: the dict with `type` that the file holds.
        where: names the file in messages.

    Raises:
        UntrustedDescriptionError: it holds anything else.
    """
    if not isinstance(description, dict) or 'type' not in description:
        raise UntrustedDescriptionError(f'{where} describes no model: expected a dict with the key "type"')
    waiting: list[tuple[Any, str, int]] = [(description, 'model', 0)]
    seen = 0
    while waiting:
        value, path, depth = waiting.pop()
        seen += 1
        too_many = depth > 32 or seen > 10_000
        problem = 'is nested too deeply, or one of too many values' if too_many else _problem(value)
        if problem:
            raise UntrustedDescriptionError(f'{where} was refused: {path[:120]} {problem}. Nothing was built')
        if isinstance(value, dict):
            waiting += [(item, f'{path}.{key}', depth + 1) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(item, f'{path}.{index}', depth + 1) for index, item in enumerate(value)]


def _problem(value: Any) -> str | None:
    """What is wrong with one value of an untrusted description, its contents aside, or None."""
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str) or key.startswith('_')]:
            return f'has the key {str(wrong[0])[:80]!r}, which a file may not give'
        if 'type' in value and not _is_registered(value['type']):
            known = [*MODELS.module_dict, *HAND_MODELS.module_dict]
            named = str(value['type'])[:80]
            return f'names the type {named!r}, which is no registered model or hand model.{did_you_mean(named, known)}'
    elif isinstance(value, str):
        if any(mark in value for mark in ('/', '\\', ':', '\0')):
            return f'is {value[:80]!r}: a file may not name other files or addresses; the user gives them'
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f'is larger than {LARGEST_NUMBER}'
    elif not isinstance(value, (list, tuple, int, float, type(None))):
        return f'is a {type(value).__name__}; expected text, numbers, lists and dicts'
    return None


def _is_registered(name: Any) -> bool:
    """True for the name of a model or hand model of these two registries themselves, with or without their scope."""
    if not isinstance(name, str):
        return False
    for registry in (MODELS, HAND_MODELS):
        registry.import_from_location()
    plain = name.removeprefix(f'{MODELS.scope}.')
    return plain in MODELS.module_dict or plain in HAND_MODELS.module_dict


def defaults_of(type_name: str | Callable[..., Any]) -> dict[str, Any]:
    """Reads the default arguments of a component.

    Args:
        type_name: a registered name, or the class itself.

    Returns:
        {name: value}; empty for a name that no registry has.
    """
    found: Any = type_name
    if isinstance(type_name, str):
        registries = (MODELS, HAND_MODELS, DATASETS, TRANSFORMS, SAMPLINGS, METRICS, HOOKS, OPTIM_WRAPPERS)
        components = (registry.get(type_name) for registry in registries)
        found = next((component for component in components if component is not None), None)
    if found is None:
        return {}
    parameters = inspect.signature(found).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
