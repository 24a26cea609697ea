"""Pages of the API: one for each public package, with every object of its `__all__`."""

import ast
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import handpose
from handpose_docs import rst

# Modules that are public although they are no packages.
PUBLIC_MODULES = ('handpose.registry',)


@dataclass(frozen=True)
class PublicObject:
    """An object that a public package offers.

    Args:
        name: of the object.
        package: the public package with the shortest name that offers it, from which users import it.
        page: the public package with the longest name that offers it, on whose page it is described.
        value: the object.
        doc: its own docstring, empty if there is none.
    """

    name: str
    package: str
    page: str
    value: Any
    doc: str

    @property
    def path(self) -> str:
        """The name that users import: package and name."""
        return f'{self.package}.{self.name}'

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return ' '.join(self.doc.split('\n\n')[0].split())


def public_packages() -> list[str]:
    """Returns the names of all packages that have an `__all__`, and of the other public modules."""
    modules = pkgutil.walk_packages(handpose.__path__, 'handpose.')
    packages = ['handpose', *(module.name for module in modules if module.ispkg)]
    return [name for name in packages if '__all__' in vars(importlib.import_module(name))] + list(PUBLIC_MODULES)


def public_objects() -> dict[str, list[PublicObject]]:
    """Returns the objects of each public package, by the name of the package."""
    offers: dict[int, list[str]] = {}
    values: dict[str, dict[str, Any]] = {}
    for package in public_packages():
        module = importlib.import_module(package)
        values[package] = {name: getattr(module, name) for name in module.__all__}
        for name, value in values[package].items():
            offers.setdefault(_identity(package, name, value), []).append(package)
    return {
        package: [
            _public_object(package, name, value, offers[_identity(package, name, value)])
            for name, value in names.items()
            if not isinstance(value, ModuleType)  # a package in the package has its own page
        ]
        for package, names in values.items()
    }


def pages() -> dict[str, str]:
    """Returns the reStructuredText of the pages by their names."""
    return {package: _page(package, objects) for package, objects in public_objects().items()}


def docstring_of(module: str, name: str) -> str:
    """Returns the string that follows the assignment of a module's constant; '' if there is none.

    Args:
        module: the module, or a package that imports the constant.
        name: of the constant.
    """
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(module))).read_text(encoding='utf-8'))
    for node, following in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return docstring_of(node.module, alias.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            return inspect.cleandoc(str(following.value.value)) if is_text else ''
    return ''


def _identity(package: str, name: str, value: Any) -> int | tuple[str, str]:
    """Tells objects apart; constants by their names, since equal ones may be the same object."""
    return id(value) if _is_code(value) else (package, name)


def _is_code(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def _public_object(package: str, name: str, value: Any, offered_by: list[str]) -> PublicObject:
    if _is_code(value):
        doc = inspect.cleandoc(value.__doc__ or '')
        # What dataclasses and named tuples write themselves is no documentation.
        doc = '' if doc.startswith(f'{name}(') else doc
    else:
        doc = docstring_of(package, name)
    return PublicObject(name, min(offered_by, key=len), max(offered_by, key=len), value, doc)


def _page(package: str, objects: list[PublicObject]) -> str:
    doc = inspect.cleandoc(importlib.import_module(package).__doc__ or '')
    rows = [(f':py:obj:`{item.name} <{item.path}>`', rst.plain(item.summary)) for item in objects]
    return '\n'.join(
        [
            rst.heading(package, '='),
            rst.plain(doc) + '\n',
            rst.table(('name', 'purpose'), rows, (35, 65)),
            *(_directive(item) for item in objects if item.page == package),
        ]
    )


def _directive(item: PublicObject) -> str:
    if not _is_code(item.value):
        value = repr(item.value)
        shown = [f'   :value: {value}'] if isinstance(item.value, (str, tuple)) else []
        return '\n'.join([f'.. py:data:: {item.path}', *shown, '', rst.indent(rst.plain(item.doc)), ''])
    if not inspect.isclass(item.value):
        return f'.. autofunction:: {item.path}\n'
    kind = 'autoexception' if issubclass(item.value, BaseException) else 'autoclass'
    return f'.. {kind}:: {item.path}\n   :members:\n   :show-inheritance:\n'
