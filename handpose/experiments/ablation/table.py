"""Ablation tables: rows that are options of one config, and the training and test that each row and seed needs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from handpose.engine.config import load_config
from handpose.engine.options import split_options
from handpose.evaluation import MetricSpec, build_metrics, find_spec, specs_of
from handpose.files.yaml_files import read_yaml
from handpose.registry import DATASETS, MODELS
from handpose.text import did_you_mean

TABLE_KEYS = {
    'title': str,
    'config': str,
    'budget': dict,
    'test': dict,
    'seeds': list,
    'compare_to': str,
    'rows': list,
    'metrics': list,
    'notes': list,
    'constant_hands': bool,
    'plot': dict,
}
OPTIONAL_KEYS = ('title', 'budget', 'test', 'notes', 'constant_hands', 'plot')
PLOT_KEYS = {'x': str, 'y': str, 'title': str}
ROW_KEYS = {'name': str, 'options': dict, 'weights_of': str, 'without': list, 'untrained': bool, 'series': str}
# The values of a resolved config that decide the weights, and those that decide the numbers of a test.
TRAIN_SETTINGS = (
    'model',
    'train_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'training',
    'randomness',
    'load_from',
    'init_from',
    'freeze',
)
TEST_SETTINGS = ('model', 'test_dataloader', 'test_evaluator', 'test_cfg')


RunSettings = dict[str, Any]
"""The values of a resolved config that decide a training, or a test."""


class TableError(ValueError):
    """A table that cannot be made as it is written, or results that do not belong to it; says which and what to do."""


@dataclass(frozen=True)
class AblationRow:
    """One row: options of the config; or, with `weights_of`, another test of the weights of that row.

    `without` names tensors of those weights that this row's model does not have. An `untrained` row's model has no
    parameters: it is tested once, and its numbers count for every seed. Rows of one `series` are one line of the plot.
    """

    name: str
    options: dict[str, Any]
    weights_of: str | None = None
    without: tuple[str, ...] = ()
    untrained: bool = False
    series: str = ''


@dataclass(frozen=True)
class AblationTable:
    """A table file: `budget` are options of every training and test, `test` of every test; see docs/ablations."""

    path: Path
    config: str
    seeds: tuple[int, ...]
    compare_to: str
    rows: tuple[AblationRow, ...]
    metrics: tuple[str, ...]
    title: str = ''
    budget: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    constant_hands: bool = True  # tests them beside the first run of `compare_to`
    plot: dict[str, str] = field(default_factory=dict)  # 'x' and 'y', names of numbers, and maybe a 'title'

    def row(self, name: str) -> AblationRow:
        """Looks up the row of that name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Run:
    """One row with one seed: the options of its training and of its test, and the folder of each.

    Folders are named after the options, so that equal runs of several tables are one run.
    """

    table: AblationTable
    row: AblationRow
    seed: int
    constants: bool  # its test also tests the constant hands
    train_options: dict[str, Any]
    test_options: dict[str, Any]
    train_dir: Path
    test_dir: Path

    @property
    def name(self) -> str:
        """The name of the run in messages and progress."""
        return f'{self.table.path.stem}: {self.row.name}, seed {self.seed}'


def read_table(path: str | Path) -> AblationTable:
    """Reads and checks a table file (.yml); see docs/ablations/README.md for its keys.

    Args:
        path: path of the file.

    Raises:
        TableError: no such file, unknown, missing or repeated keys, rows of one name, or rows that name no row.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f'no table file {path}; docs/ablations holds examples')
    content = read_yaml(path, error=TableError, advice='docs/ablations holds examples')
    _check_keys(content, TABLE_KEYS, set(TABLE_KEYS) - set(OPTIONAL_KEYS), str(path))
    rows = tuple(_read_row(entry, f'{path}, row {i + 1}') for i, entry in enumerate(content.pop('rows')))
    lists: dict[str, Any] = {name: tuple(content.pop(name, ())) for name in ('seeds', 'metrics', 'notes')}
    if 'plot' in content:
        _check_keys(content['plot'], PLOT_KEYS, {'x', 'y'}, f'{path}, plot')
    table = AblationTable(path=path, rows=rows, **lists, **content)
    _check_rows(table)
    return table


def list_runs(table: AblationTable, root: str | Path, only: Sequence[str] = ()) -> list[Run]:
    """Lists the runs of a table, seed by seed, so that every row has its first seed before any has its second.

    Args:
        table: the table.
        root: folder of all runs.
        only: names of rows; default all.

    Raises:
        TableError: `only` names no row.
    """
    for name in only:
        _check_row_name(table, name, '--only')
    chosen = [row for row in table.rows if not only or row.name in only]
    return [
        _make_run(table, row, seed, Path(root))
        for seed in table.seeds
        for row in chosen
        if not row.untrained or seed == table.seeds[0]
    ]


def check_runs(runs: Sequence[Run]) -> dict[str, tuple[RunSettings, RunSettings]]:
    """Builds the model, datasets and metrics of every run, before any of them starts.

    Args:
        runs: the runs.

    Returns:
        {run name: (train, test) settings}.

    Raises:
        ValueError, KeyError, TypeError: a config, model, dataset or metric cannot be built, or no metric reports a
            number that the table lists.
    """
    settings: dict[str, tuple[RunSettings, RunSettings]] = {}
    built: set[str] = set()
    tables = {run.table.path: run.table for run in runs}
    specs: dict[Path, dict[str, MetricSpec]] = {path: {} for path in tables}
    for run in runs:
        both = (run.train_options, run.test_options)
        for options in both:
            _check_options(run.table.config, options)
        configs = [load_config(run.table.config, options) for options in both]
        for config, names in zip(configs, ('train_dataset', 'test_dataset'), strict=True):
            for registry, part in ((MODELS, config.model), (DATASETS, config[names])):
                if (key := json.dumps(part, sort_keys=True, default=str)) not in built:
                    made = registry.build(part)
                    built.add(key)
                    if registry is MODELS:
                        _check_untrained(run, made)
        specs[run.table.path] |= specs_of(build_metrics(configs[1].test_evaluator))
        train, test = (
            {name: config[name] for name in names if name in config}
            for config, names in zip(configs, (TRAIN_SETTINGS, TEST_SETTINGS), strict=True)
        )
        settings[run.name] = train, test
    for path, table in tables.items():
        check_metrics(table, specs[path])
    return settings


def check_metrics(table: AblationTable, specs: dict[str, MetricSpec]) -> None:
    """Refuses a table with a number that no test reports.

    Args:
        table: the table.
        specs: {name: spec} of what its tests report.

    Raises:
        TableError: names the number, and the nearest one that is reported.
    """
    for name in table.metrics:
        try:
            find_spec(specs, name)
        except ValueError as error:
            raise TableError(f'{table.path}, metrics: {error}') from error
    for axis in ('x', 'y') if table.plot else ():
        if table.plot[axis] not in table.metrics:
            raise TableError(
                f'{table.path}, plot: {axis} must be one of metrics, got {table.plot[axis]!r}.'
                f'{did_you_mean(table.plot[axis], table.metrics)}'
            )


def _check_untrained(run: Run, model: nn.Module) -> None:
    has_parameters = any(True for _ in model.parameters())
    if has_parameters == run.row.untrained:
        raise TableError(
            f'{run.table.path}: row {run.row.name!r}: {type(model).__name__} has '
            + (
                "parameters, so it must be trained: omit 'untrained'"
                if has_parameters
                else 'no parameters: write untrained: true'
            )
        )


def option_strings(options: Mapping[str, Any]) -> list[str]:
    """Writes options as words of `--cfg-options`; the values that they replace decide how they are read.

    Args:
        options: {key: value}.
    """
    return [f'{key}={value}' for key, value in options.items()]


def _same(config: str, options: Mapping[str, Any]) -> bool:
    """True when a command line would make the same config of the options."""
    words = split_options(option_strings(options))
    return load_config(config, options).to_dict() == load_config(config, words).to_dict()


def _check_options(config: str, options: Mapping[str, Any]) -> None:
    """Refuses options that a command line would turn into others."""
    if _same(config, options):
        return
    for key, value in options.items():
        if not _same(config, {key: value}):
            raise TableError(
                f'{key}: {value!r} cannot be written on a command line as it is; set its entries one by one '
                f'(key.entry: value), and write numbers with a point (1.0e+4)'
            )


def _check_keys(content: Any, known: Mapping[str, type], needed: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise TableError(f'{where} must hold keys and values ({", ".join(known)}), got {content!r}')
    for key, value in content.items():
        if key not in known:
            raise TableError(f'{where}: {key!r} is not a key here ({", ".join(known)}).{did_you_mean(key, known)}')
        if not isinstance(value, known[key]):
            raise TableError(f'{where}: {key} must be a {known[key].__name__}, got {value!r}')
    if missing := sorted(needed - set(content)):
        raise TableError(f'{where} lacks {", ".join(missing)}')


def _read_row(entry: Any, where: str) -> AblationRow:
    _check_keys(entry, ROW_KEYS, {'name'}, where)
    if 'without' in entry and 'weights_of' not in entry:
        raise TableError(f"{where}: 'without' leaves tensors out of the weights of another row; name it in weights_of")
    if entry.get('untrained') and 'weights_of' in entry:
        raise TableError(f"{where}: a row is 'untrained' or has the 'weights_of' another, not both")
    without, untrained = tuple(entry.get('without', ())), entry.get('untrained', False)
    series = entry.get('series', '')
    return AblationRow(entry['name'], entry.get('options', {}), entry.get('weights_of'), without, untrained, series)


def _check_rows(table: AblationTable) -> None:
    names = [row.name for row in table.rows]
    for name in names:
        if names.count(name) > 1:
            raise TableError(f'{table.path}: two rows are named {name!r}; give each a name of its own')
    _check_row_name(table, table.compare_to, 'compare_to')
    if table.row(table.compare_to).weights_of:
        raise TableError(f'{table.path}: compare_to must name a row that is trained, got {table.compare_to!r}')
    for row in table.rows:
        if row.weights_of:
            _check_row_name(table, row.weights_of, f'weights_of of row {row.name!r}')
            if table.row(row.weights_of).weights_of:
                raise TableError(f'{table.path}: row {row.name!r} must name a row that is trained in weights_of')
    for name in ('seeds', 'metrics'):
        values = getattr(table, name)
        kind = int if name == 'seeds' else str
        if not values or not all(type(value) is kind for value in values) or len(set(values)) < len(values):
            raise TableError(f'{table.path}: {name} must be a list of different {kind.__name__}s, got {list(values)}')


def _check_row_name(table: AblationTable, name: str, where: str) -> None:
    names = [row.name for row in table.rows]
    if name not in names:
        raise TableError(f'{table.path}: {where} names no row: {name!r}.{did_you_mean(name, names)}')


def _make_run(table: AblationTable, row: AblationRow, seed: int, root: Path) -> Run:
    trained = table.row(row.weights_of) if row.weights_of else row
    train_options = {**table.budget, **trained.options, 'randomness.seed': seed}
    # A row that shares weights only changes their test.
    test_options = {**train_options, **row.options, **table.test}
    train_dir = root / _digest(table.config, train_options)
    test_dir = train_dir / 'tests' / _digest(table.config, test_options, row.without)
    constants = table.constant_hands and row.name == table.compare_to and seed == table.seeds[0]
    return Run(table, row, seed, constants, train_options, test_options, train_dir, test_dir)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
