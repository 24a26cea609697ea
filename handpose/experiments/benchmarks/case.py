"""What can be measured: a case, and, where there is one, a reference form that does the same in the plain way."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

FOLDER = Path(__file__).parent / 'cases'
WHEN = ('always', 'full', 'asked')  # in every run; not with --quick; only with --only or --all
CPU = ('cpu',)


class BenchmarkError(ValueError):
    """Options, files or cases that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What a case needs to know.

    Attributes:
        device: where to run: 'cpu' or 'cuda'.
        threads: threads of every library.
        quick: use less of everything.
        cache: folder of data that cases make once.
    """

    device: str = 'cpu'
    threads: int = 1
    quick: bool = False
    cache: str = 'work_dirs/benchmark'


@dataclass(frozen=True)
class Work:
    """Something set up and ready to be timed.

    Attributes:
        run: processes `count` units and returns the result.
        count: number of units.
        notes: called after the timing; returns {words: number or text} to keep beside the figures.
        before: called before every `run` and not timed.
    """

    run: Callable[[], Any]
    count: int
    notes: Callable[[], Mapping[str, Any]] = field(default=dict)
    before: Callable[[], None] | None = None


@dataclass(frozen=True)
class SweepPoint:
    """Which sweep a case belongs to, and at which size.

    Attributes:
        system: what is measured, e.g. 'Deformer'.
        axis: what its size counts, e.g. 'frames'.
        size: how many of them.
        expected: the exponent of time that the computation implies; 1 where the cost is proportional.
        why: why `expected` is not 1; or ''.
    """

    system: str
    axis: str
    size: int
    expected: float = 1.0
    why: str = ''


SetUp = Callable[[Settings], Work]


@dataclass(frozen=True)
class Form:
    """One way to do a case: the function that sets it up, and what it is in words."""

    set_up: SetUp
    about: str


class Case:
    """A registered case.

    Args:
        set_up: function (settings) -> Work; its docstring's first line says what is measured.
        unit: what is counted, e.g. 'frame'.
        shows: 'rate' (units per second) or 'time' (time per unit).
        target: the lowest rate (units per second) that the project wants, or None.
        devices: the devices that it can run on.
        when: one of `WHEN`.
        name: default the function's name.
        about: what is measured; default the first line of the function's docstring.
        packages: optional packages that it imports; without them it is skipped.
    """

    def __init__(
        self,
        set_up: SetUp,
        unit: str,
        shows: str = 'rate',
        target: float | None = None,
        devices: Sequence[str] = CPU,
        when: str = 'always',
        name: str | None = None,
        about: str | None = None,
        packages: Sequence[str] = (),
    ) -> None:
        self.name: str = name or _function(set_up).__name__
        self.form = Form(set_up, about or _first_line(set_up))
        self.reference_form: Form | None = None
        self.unit, self.shows, self.target = unit, shows, target
        self.devices, self.when, self.packages = devices, when, packages
        self.file = _function(set_up).__code__.co_filename
        self.sweep: SweepPoint | None = None

    def reference(self, set_up: SetUp) -> SetUp:
        """Decorates the function that sets up the reference form."""
        self.reference_form = Form(set_up, _first_line(set_up))
        return set_up

    @property
    def forms(self) -> dict[str, Form]:
        """{'case': Form} and, where there is one, 'reference'."""
        forms = {'case': self.form, 'reference': self.reference_form}
        return {name: form for name, form in forms.items() if form is not None}

    def missing_packages(self) -> list[str]:
        """The optional packages that it needs and that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def device(self, wanted: str) -> str | None:
        """Where it runs when `wanted` is requested: there, else on the CPU, else (None) not at all."""
        return next((device for device in (wanted, 'cpu') if device in self.devices), None)


CASES: dict[str, Case] = {}


def case(
    unit: str,
    shows: str = 'rate',
    target: float | None = None,
    devices: Sequence[str] = CPU,
    when: str = 'always',
    name: str | None = None,
    about: str | None = None,
    packages: Sequence[str] = (),
) -> Callable[[SetUp], Case]:
    """Registers the decorated function as a `Case`, which takes its place in the module.

    Args:
        unit: see `Case`.
        shows: see `Case`.
        target: see `Case`.
        devices: see `Case`.
        when: see `Case`.
        name: see `Case`.
        about: see `Case`.
        packages: see `Case`.

    Raises:
        ValueError: `shows` or `when` is unknown, or another file has a case of that name.
    """
    if shows not in ('rate', 'time') or when not in WHEN:
        raise ValueError(f"shows must be 'rate' or 'time' and when one of {WHEN}, got {shows!r} and {when!r}")

    def decorate(set_up: SetUp) -> Case:
        return register(Case(set_up, unit, shows, target, devices, when, name, about, packages))

    return decorate


def register(made: Case) -> Case:
    """Puts a case into `CASES`.

    Args:
        made: the case.

    Returns:
        The case.

    Raises:
        ValueError: another file has a case of that name.
    """
    if made.name in CASES and CASES[made.name].file != made.file:
        raise ValueError(f'{made.name} is a case in {CASES[made.name].file} and in {made.file}; rename one of them')
    CASES[made.name] = made
    return made


def cases_of_length(
    name: str,
    lengths: Sequence[int],
    about: str,
    set_up: Callable[[Settings, int, int], Work],
    base: int,
) -> None:
    """Registers a case `name_<frames>` for each length: so many frames in one sequence, against shorter ones.

    The ratio shows how the cost grows: 1x where it is proportional to the number of frames.

    Args:
        name: beginning of the names.
        lengths: lengths of sequences, frames.
        about: what is measured; `{}` in it is the length.
        set_up: function (settings, length, frames) -> Work of `frames` frames in sequences of `length`.
        base: length of the reference's sequences; divides every length.
    """
    for length in lengths:
        _register_length(f'{name}_{length}', length, about.format(length), set_up, base)


def _register_length(
    name: str, length: int, about: str, set_up: Callable[[Settings, int, int], Work], base: int
) -> None:
    def frames(settings: Settings) -> int:
        return length * (1 if settings.quick else 8)

    def of_length(size: int) -> SetUp:
        return lambda settings: set_up(settings, size, frames(settings))

    made = Case(of_length(length), 'frame', devices=('cpu', 'cuda'), when='full', name=name, about=about)
    made.file = _function(set_up).__code__.co_filename
    words = f'As many frames in sequences of {base}; 1x where the cost is proportional to the length'
    made.reference_form = Form(of_length(base), words)
    register(made)


def load_file(path: str | Path) -> None:
    """Runs one file of cases, so that `CASES` holds them.

    Args:
        path: path of the file.

    Raises:
        BenchmarkError: it is not a Python file.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location(f'benchmark_cases_{path.stem}', path)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f'{path} is not a Python file')
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def load_cases(folder: str | Path = FOLDER) -> dict[str, Case]:
    """Loads the cases of a folder.

    Args:
        folder: folder of Python files.

    Returns:
        {name: case}, in the order of file and line.

    Raises:
        BenchmarkError: no such folder, or no case in it.
    """
    files = sorted(path for path in Path(folder).glob('*.py') if path.name != '__init__.py')
    for path in files:
        load_file(path)
    found = {name: made for name, made in CASES.items() if Path(made.file).parent == Path(folder)}
    if not found:
        raise BenchmarkError(f'{folder} holds no file with a benchmark case')
    return found


def _function(set_up: Callable[..., Work]) -> FunctionType:
    if not isinstance(set_up, FunctionType):
        raise TypeError(f'a case is set up by a function, got {set_up!r}')
    return set_up


def _first_line(set_up: SetUp) -> str:
    function = _function(set_up)
    if not function.__doc__:
        raise ValueError(f'{function.__name__} needs a docstring: its first line says what is measured')
    return function.__doc__.strip().splitlines()[0].rstrip('.')
