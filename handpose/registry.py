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
    """mmengine's registry whose errors say which name or argument was nearest."""

    def build(self, cfg, *args, **kwargs):
        """Builds `cfg['type']` with the other keys as arguments.

        Raises:
            KeyError: the type is unknown; the sentence names the nearest known one.
            TypeError: an argument is unknown; the sentence names the nearest accepted one.
        """
        name = cfg.get('type') if isinstance(cfg, dict) else None
        if isinstance(name, str):
            part = self.get(name)
            if part is None:
                known = sorted(self.module_dict)
                raise KeyError(f'{name!r} is not a registered {self.name}.{did_you_mean(name, known)}')
            _check_arguments(name, part, cfg)
        return super().build(cfg, *args, **kwargs)


def _check_arguments(name, part, cfg):
    parameters = inspect.signature(part).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in cfg:
        if key not in parameters and key not in ('type', '_scope_'):
            accepted = ', '.join(parameters) or 'none'
            raise TypeError(f'{name} has no argument {key!r} (it takes: {accepted}).{did_you_mean(key, parameters)}')


MODELS = Registry('model', parent=mm.MODELS, scope='handpose', locations=['handpose.models', 'handpose.engine'])
HAND_MODELS = Registry('hand_model', scope='handpose', locations=['handpose.hands'])
DATASETS = Registry('dataset', parent=mm.DATASETS, scope='handpose', locations=['handpose.datasets'])
TRANSFORMS = Registry('transform', parent=mm.TRANSFORMS, scope='handpose', locations=['handpose.datasets'])
METRICS = Registry('metric', parent=mm.METRICS, scope='handpose', locations=['handpose.evaluation'])
HOOKS = Registry('hook', parent=mm.HOOKS, scope='handpose', locations=['handpose.engine', 'handpose.visualization'])
OPTIM_WRAPPERS = Registry('optim_wrapper', parent=mm.OPTIM_WRAPPERS, scope='handpose', locations=['handpose.engine'])
