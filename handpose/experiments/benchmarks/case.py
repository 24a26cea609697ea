"""What can be measured: a case, and beside it, where there is one, a reference form that does the same plainly."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / 'cases'
WHEN = ('always', 'full', 'asked')  # in every run; not with --quick; only with --only or --all


class BenchmarkError(ValueError):
    """Options, files or cases that cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What a case needs to know: `device` to run on, `threads`, `quick` (use less of everything), `cache` folder."""

    device: str = 'cpu'
    threads: int = 1
    quick: bool = False
    cache: str = 'work_dirs/benchmark'


@dataclass(frozen=True)
class Work:
    """Something set up and ready to be timed: `run()` handles `count` units and returns what it made of them.

    `notes()` is called after the timing and gives {words: number or text} to keep beside the figures. `before()` is
    called before every `run()` and not timed.
    """

    run: Callable
    count: int
    notes: Callable = field(default=dict)
    before: Callable | None = None


@dataclass(frozen=True)
class Form:
    """One way to do a case: `set_up(settings) -> Work`, what it is in words, and the file that defines it."""

    set_up: Callable
    about: str


class Case:
    """A registered case.

    Args:
        set_up: function (settings) -> Work; its docstring's first line says what is measured.
        unit: what is counted, e.g. 'frame'.
        shows: 'rate' (units per second) or 'time' (time per unit).
        target: the least rate (units per second) that the project wants, or None.
        devices: those it can run on.
        when: one of `WHEN`.
        name, about: default, the function's name and the first line of its docstring.
    """

    def __init__(self, set_up, unit, shows, target, devices, when, name, about):
        self.name = name or set_up.__name__
        self.form = Form(set_up, about or _first_line(set_up))
        self.reference_form = None
        self.unit, self.shows, self.target = unit, shows, target
        self.devices, self.when = devices, when
        self.file = set_up.__code__.co_filename

    def reference(self, set_up):
        """Decorates the function (settings) -> Work that sets up the reference form."""
        self.reference_form = Form(set_up, _first_line(set_up))
        return set_up

    @property
    def forms(self):
        """{'case': Form} and, where there is one, 'reference'."""
        forms = {'case': self.form, 'reference': self.reference_form}
        return {name: form for name, form in forms.items() if form is not None}

    def device(self, wanted):
        """Where it runs when `wanted` is asked for: there, else on the CPU, else (None) not at all."""
        return next((device for device in (wanted, 'cpu') if device in self.devices), None)


CASES = {}


def case(unit, shows='rate', target=None, devices=('cpu',), when='always', name=None, about=None):
    """Registers the decorated function as a `Case`, which takes its place in the module."""
    if shows not in ('rate', 'time') or when not in WHEN:
        raise ValueError(f"shows must be 'rate' or 'time' and when one of {WHEN}, got {shows!r} and {when!r}")

    def register(set_up):
        return _keep(Case(set_up, unit, shows, target, devices, when, name, about))

    return register


def _keep(made):
    if made.name in CASES and CASES[made.name].file != made.file:
        raise ValueError(f'{made.name} is a case in {CASES[made.name].file} and in {made.file}; rename one of them')
    CASES[made.name] = made
    return made


def cases_of_length(name, lengths, about, set_up, base):
    """Registers a case `name_<frames>` for each length: so many frames in one sequence, against shorter ones.

    The ratio shows how the cost grows: 1x where it grows with the number of frames alone.

    Args:
        about: words in which `{}` is the length. set_up: function (settings, length, frames) -> Work of so many frames
            in all, in sequences of `length`. base: length of the reference's sequences; divides every length.
    """
    for length in lengths:
        _register_length(f'{name}_{length}', length, about.format(length), set_up, base)


def _register_length(name, length, about, set_up, base):
    def frames(settings):
        return length * (1 if settings.quick else 8)

    def of_length(size):
        return lambda settings: set_up(settings, size, frames(settings))

    made = Case(of_length(length), 'frame', 'rate', None, ('cpu', 'cuda'), 'full', name, about)
    made.file = set_up.__code__.co_filename
    words = f'As many frames in sequences of {base}; 1x where the cost grows with the length alone'
    made.reference_form = Form(of_length(base), words)
    _keep(made)


def load_file(path):
    """Runs one file of cases, so that `CASES` holds them."""
    path = Path(path)
    spec = importlib.util.spec_from_file_location(f'benchmark_cases_{path.stem}', path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def load_cases(folder=FOLDER):
    """{name: Case} of the files in a folder, in the order of file and line.

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


def _first_line(function):
    if not function.__doc__:
        raise ValueError(f'{function.__name__} needs a docstring: its first line says what is measured')
    return function.__doc__.strip().splitlines()[0].rstrip('.')
