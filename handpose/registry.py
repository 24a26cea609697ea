"""The registries: names that a config may use for `type`.

Every registry is a child of mmengine's registry of the same kind, in one scope, `handpose`. So a part can be
named plainly (`type='MaxMSELoss'`) inside this library and as `type='handpose.MaxMSELoss'` from any other
mmengine-based code base, without importing anything first. The class itself needs no registry to be used.
"""

import difflib
import inspect

from mmengine import registry as mm
from mmengine.registry import Registry as MMRegistry


def did_you_mean(name, known):
    """Ends an error sentence with the known name nearest to `name`, or with nothing when none is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f' Did you mean {near[0]!r}?' if near else ''


class Registry(MMRegistry):
    """mmengine's registry, without its switching of scopes, and with errors that name the nearest right word."""

    def build(self, cfg):
        """Builds `cfg['type']` (a registered name or a class) with the other keys as arguments.

        mmengine's own build would look nested types up in the scope of whichever project runs; here a name means
        the same thing everywhere.

        Raises:
            TypeError: `cfg` is not a dict with a `type`, or an argument is unknown; names the nearest accepted one.
            KeyError: the type is unknown; names the nearest known one.
        """
        if not isinstance(cfg, dict) or 'type' not in cfg:
            raise TypeError(f'a {self.name} is built from a dict with the key "type", got {cfg!r}')
        arguments = {key: value for key, value in cfg.items() if key not in ('type', '_scope_')}
        part = self.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
        if part is None:
            raise KeyError(
                f'{cfg["type"]!r} is not a registered {self.name}.{did_you_mean(cfg["type"], self.module_dict)}'
            )
        _check_arguments(part, arguments)
        return part(**arguments)


def _check_arguments(part, arguments):
    parameters = inspect.signature(part).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in arguments:
        if key not in parameters:
            accepted = ', '.join(parameters) or 'none'
            raise TypeError(
                f'{part.__name__} has no argument {key!r} (it takes: {accepted}).{did_you_mean(key, parameters)}'
            )


MODELS = Registry('model', parent=mm.MODELS, scope='handpose', locations=['handpose.models'])
HAND_MODELS = Registry('hand_model', scope='handpose', locations=['handpose.hands'])
DATASETS = Registry('dataset', parent=mm.DATASETS, scope='handpose', locations=['handpose.datasets'])
TRANSFORMS = Registry('transform', parent=mm.TRANSFORMS, scope='handpose', locations=['handpose.datasets'])
METRICS = Registry('metric', parent=mm.METRICS, scope='handpose', locations=['handpose.evaluation'])
HOOKS = Registry(
    'hook', parent=mm.HOOKS, scope='handpose', locations=['handpose.engine.runner', 'handpose.visualization']
)
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=mm.OPTIM_WRAPPERS, scope='handpose', locations=['handpose.engine.runner']
)


def defaults_of(type_name):
    """Default arguments of a registered part or its class, {name: value}; empty for a name that no registry knows."""
    found = type_name
    if isinstance(type_name, str):
        registries = (MODELS, HAND_MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, OPTIM_WRAPPERS)
        found = next((part for registry in registries if (part := registry.get(type_name)) is not None), None)
    if found is None:
        return {}
    parameters = inspect.signature(found).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
