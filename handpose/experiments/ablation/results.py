"""The results of an ablation table: mean and range over seeds, and paired differences to one row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.engine.config import load_config
from handpose.evaluation import MetricSpec, build_metrics, load_records, paired_bootstrap, specs_of
from handpose.evaluation.summary import sample_groups
from handpose.experiments.ablation.runs import CONSTANT_HANDS, read_record, read_results
from handpose.experiments.ablation.table import AblationTable, Run, TableError, check_metrics

NUM_RESAMPLES = 10_000
LEVEL = 0.95

Records = dict[str, NDArray[Any]]


class Reported(NamedTuple):
    """What the tests of a table report.

    Attributes:
        specs: {name: spec} of all numbers.
        record_keys: {class of a metric: columns that identify a sample in its records}.
    """

    specs: dict[str, MetricSpec]
    record_keys: dict[str, tuple[str, ...]]


def reported_numbers(table: AblationTable, runs: Sequence[Run]) -> Reported:
    """Finds what the tests of a table report, from the configs of its rows.

    Args:
        table: the table.
        runs: all its runs.

    Raises:
        TableError: the table lists a number that no test reports.
    """
    found = Reported({}, {})
    for run in runs:
        if run.seed == table.seeds[0] and not found.specs.keys() >= set(table.metrics):
            metrics = build_metrics(load_config(table.config, run.test_options).test_evaluator)
            found.specs.update(specs_of(metrics))
            found.record_keys.update({type(m).__name__: m.record_key for m in metrics if m.record_key})
    check_metrics(table, found.specs)
    return found


def collect(table: AblationTable, runs: Sequence[Run], finished: Sequence[Run], reported: Reported) -> dict[str, Any]:
    """Everything that the report states, as plain values.

    Args:
        table: the table.
        runs: all its runs.
        finished: those that are trained and tested.
        reported: what the tests report.
    """
    by_row = {row.name: [run for run in finished if run.row.name == row.name] for row in table.rows}
    numbers = {run.name: read_results(run) for run in finished}
    rows = {}
    for row in table.rows:
        measured = {run.seed: numbers[run.name]['model'] for run in by_row[row.name]}
        rows[row.name] = {
            'options': row.options,
            'weights_of': row.weights_of,
            'untrained': row.untrained,
            'seeds': sorted(measured),
            'metrics': {name: _spread(measured, name) for name in table.metrics},
            'difference': _differences(table, by_row[row.name], by_row[table.compare_to], reported.record_keys)
            if row.name != table.compare_to
            else {},
        }
    constants: dict[str, dict[str, float]] = {}
    for run in finished:
        if run.constants:
            constants = {name: numbers[run.name][name] for name in CONSTANT_HANDS}
    return {
        'config': table.config,
        'compare_to': table.compare_to,
        'budget': table.budget,
        'test': table.test,
        'rows': rows,
        'constants': {name: {m: values.get(m) for m in table.metrics} for name, values in constants.items()},
        'tested': _tested(table, numbers[finished[0].name]['model'], finished[0], reported),
        'training': _training(finished),
        'missing': {
            name: seeds
            for name in rows
            if (seeds := [run.seed for run in runs if run.row.name == name and run not in finished])
        },
    }


def _spread(measured: Mapping[int, Mapping[str, float]], name: str) -> dict[str, Any] | None:
    """Mean, smallest, largest, standard deviation and values by seed of one number; None where no run has it."""
    values = {seed: numbers[name] for seed, numbers in sorted(measured.items()) if name in numbers}
    if not values:
        return None
    array = np.array(list(values.values()))
    return {
        'mean': float(array.mean()),
        'min': float(array.min()),
        'max': float(array.max()),
        'std': float(array.std(ddof=1)) if len(array) > 1 else None,
        'by_seed': values,
    }


def _differences(
    table: AblationTable,
    runs: Sequence[Run],
    baseline_runs: Sequence[Run],
    record_keys: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    """{name: paired difference to the baseline row} over the seeds that both have."""
    baseline = {run.seed: run for run in baseline_runs}
    if runs and runs[0].row.untrained:  # the same for every seed
        pairs = [(runs[0], run) for run in baseline_runs]
    else:
        pairs = [(run, baseline[run.seed]) for run in runs if run.seed in baseline]
    if not pairs:
        return {}
    found: dict[str, Any] = {}
    for metric, key in record_keys.items():
        records = [(_read_records(run, metric), _read_records(other, metric)) for run, other in pairs]
        _check_same_samples(pairs, records, key)
        measured = {name: _difference(records, [run.seed for _, run in pairs], name) for name in table.metrics}
        found |= {name: value for name, value in measured.items() if value is not None}
    return found


def _check_same_samples(
    pairs: Sequence[tuple[Run, Run]], records: Sequence[tuple[Records, Records]], key: Iterable[str]
) -> None:
    keys = [[{name: record.get(name, np.empty(0)) for name in key} for record in pair] for pair in records]
    for pair, (found, baseline) in zip(pairs, keys, strict=True):
        for other in (baseline, keys[0][0]):
            if any(not np.array_equal(found[name], other[name]) for name in found):
                raise TableError(
                    f'{pair[0].test_dir} and {pair[1].test_dir} were tested on different samples, so they cannot be '
                    f'paired; remove both folders to test them again'
                )


def _difference(records: Sequence[tuple[Records, Records]], seeds: Sequence[int], name: str) -> dict[str, Any] | None:
    """The paired interval of one number, its samples averaged over seeds first; None where records do not hold it."""
    columns = [(_column(record, name), _column(baseline, name)) for record, baseline in records]
    pairs = [(a, b) for a, b in columns if a is not None and b is not None]
    if len(pairs) < len(columns):
        return None
    a, b = (np.mean([pair[i] for pair in pairs], axis=0) for i in range(2))
    if np.isnan(a - b).all():
        return None
    interval = paired_bootstrap(a, b, records[0][0]['sequence'], NUM_RESAMPLES, LEVEL)
    by_seed = {
        seed: float(np.nanmean(first) - np.nanmean(second)) for seed, (first, second) in zip(seeds, pairs, strict=True)
    }
    return {**interval._asdict(), 'by_seed': by_seed}


def _column(record: Records, name: str) -> NDArray[Any] | None:
    """(N,) of one number, NaN outside the group that its name ends in ('<number>/occlusion_50_75', '/left')."""
    if name in record:
        return record[name]
    number, _, group = name.partition('/')
    if number not in record or 'occlusion' not in record:
        return None
    rows = sample_groups(record['hand'], record['occlusion']).get(group)
    return None if rows is None else np.where(rows, record[number], np.nan)


def _read_records(run: Run, metric: str) -> Records:
    """The records of one metric; empty where the test has none, such as videos without labels."""
    path = run.test_dir / 'records' / 'model' / f'{metric}.npz'
    return load_records(path) if path.is_file() else {}


def _tested(table: AblationTable, numbers: Mapping[str, float], run: Run, reported: Reported) -> dict[str, Any]:
    """What each column counts, over how many samples the first one is averaged, and how many each group has."""
    specs = [reported.specs[name] for name in table.metrics]
    counts = {spec.name: int(numbers[spec.count]) for spec in specs if spec.count is not None and spec.count in numbers}
    records = (_read_records(run, metric) for metric in reported.record_keys)
    return {
        'samples': counts.get(specs[0].name),
        'counted': {spec.name: _counted(spec, reported.specs) for spec in specs},
        'sequences': next((len(np.unique(record['sequence'])) for record in records if record), None),
        'groups': {name: count for name, count in counts.items() if '/' in name},
    }


def _counted(spec: MetricSpec, specs: Mapping[str, MetricSpec]) -> str:
    """What the count of a number counts, e.g. 'hands'."""
    return 'samples' if spec.count is None else specs[spec.count.partition('/')[0]].title


def _training(finished: Sequence[Run]) -> dict[str, Any]:
    records = {run.train_dir: read_record(run.train_dir) for run in finished if not run.row.untrained}.values()
    if not records:
        return {'runs': 0, 'iterations': [0], 'seconds': [0, 0], 'machines': []}
    return {
        'runs': len(records),
        'iterations': sorted({record['iterations'] for record in records}),
        'seconds': [round(f([record['seconds'] for record in records])) for f in (min, max)],
        'machines': sorted({record['machine'] for record in records}),
    }
