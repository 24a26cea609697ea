"""Deprecated names and arguments: they keep working for two minor releases and say what to use instead.

`tests/release/test_deprecation.py` finds every use in this package, and fails once the version of its removal is
reached. docs/project/releases.md states the policy.
"""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import typing_extensions

Decorated = TypeVar('Decorated', bound=Callable[..., Any])
Value = TypeVar('Value')


def deprecated(*, since: str, removed_in: str, use: str) -> Callable[[Decorated], Decorated]:
    """Decorator of a function, or of a class with a constructor, that will be removed.

    Calling it emits a `FutureWarning`, which Python shows to every user, once for each line that calls. A class whose
    name has changed stays as a subclass of the new one, so that its registered name keeps working too::

        @MODELS.register_module()
        @deprecated(since='0.3', removed_in='0.5', use='NewName')
        class OldName(NewName):
            ...

    Args:
        since: the version that deprecates it.
        removed_in: the version in which it no longer exists, two minor releases later or more.
        use: what to use instead.

    Returns:
        The decorator, which returns a function with the same signature, or the same class.

    Raises:
        TypeError: the class has no `__init__` (as an enumeration or a named tuple).
    """

    def decorate(decorated: Decorated) -> Decorated:
        message = _message(f'{decorated.__module__}.{decorated.__qualname__}', since, removed_in, use)
        warns = typing_extensions.deprecated(message, category=FutureWarning)
        if not isinstance(decorated, type):
            return warns(decorated)
        if decorated.__init__ is object.__init__:  # type: ignore[misc]
            raise TypeError(f'{decorated.__qualname__} has no __init__, which could warn: deprecate what creates it')
        # The class itself would lose its signature, which `Registry.build` reads.
        decorated.__init__ = warns(decorated.__init__)  # type: ignore[misc]
        return decorated

    return decorate


def renamed_argument(
    old: str, old_value: Value | None, new: str, new_value: Value, *, since: str, removed_in: str
) -> Value:
    """The value of an argument that is accepted by its old name too, as keys of configs are.

    The old argument stays in the signature, with the default None::

        def __init__(self, rotation: float = 0.1, turn: float | None = None) -> None:
            rotation = renamed_argument('turn', turn, 'rotation', rotation, since='0.3', removed_in='0.5')

    Args:
        old: the old name.
        old_value: what was given by the old name; None for nothing.
        new: the new name.
        new_value: what was given by the new name, or its default.
        since: the version that deprecates the old name.
        removed_in: the version in which the old name no longer exists, two minor releases later or more.

    Returns:
        The old value, with a `FutureWarning` for the line that calls, or the new one.
    """
    if old_value is None:
        return new_value
    warnings.warn(_message(f'the argument {old!r}', since, removed_in, repr(new)), FutureWarning, stacklevel=3)
    return old_value


def _message(what: str, since: str, removed_in: str, use: str) -> str:
    return f'{what} is deprecated since handpose {since} and will be removed in {removed_in}: use {use} instead'
