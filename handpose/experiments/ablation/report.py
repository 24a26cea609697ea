"""Ablation tables as markdown and JSON: mean and range over seeds, and paired intervals over sequences."""

import json
from pathlib import Path

import numpy as np

from handpose.evaluation import load_records, paired_bootstrap
from handpose.evaluation.summary import SIDES, occlusion_groups
from handpose.experiments.ablation.runs import CONSTANT_HANDS, is_tested, is_trained, read_record, read_results
from handpose.experiments.ablation.table import TableError, option_words
from handpose.files.atomic import atomic_write

NUM_RESAMPLES = 10_000
LEVEL = 0.95
_LARGER_IS_BETTER = ('auc_', 'pck_', 'f_score', 'pa_f_score', 'action_', 'pair_', 'verb_', 'object_')
# The records of a test, and what says that two of them are of the same samples.
_KEYS = {'model': ('sequence', 'camera', 'frame', 'hand'), 'model_actions': ('sequence', 'camera', 'label')}
_TITLES = {
    'action_accuracy': 'action accuracy',
    'pair_accuracy': 'pair accuracy',
    'verb_accuracy': 'verb accuracy',
    'object_accuracy': 'object accuracy',
    'mpjpe_ra_wrist_20_joints_mm': 'wrist-aligned MPJPE of 20 joints mm',
    'mpjpe_cam_mm': 'MPJPE in camera space mm',
    'mpvpe_ra_wrist_mm': 'wrist-aligned MPVPE mm',
    'mpvpe_ra_wrist_bone_scaled_mm': 'wrist-aligned, bone-scaled MPVPE mm',
    'pa_mpjpe_mm': 'PA-MPJPE mm',
    'mpjpe_ra_wrist_mm': 'wrist-aligned MPJPE mm',
    'auc_pa_0_50mm': 'AUC of PA-MPJPE',
    'auc_ra_wrist_0_50mm': 'AUC of wrist-aligned MPJPE',
    'accel_error_mm_per_frame2': 'acceleration error mm/frame²',
    'pa_mpvpe_mm': 'PA-MPVPE mm',
}


def write_report(table, runs):
    """Writes <table>.md and <table>.json beside the table file, from the runs that are finished.

    Args:
        table: `Table`. runs: all its runs.

    Returns:
        Path of the markdown, or None where no run is finished.
    """
    finished = [run for run in runs if is_trained(run) and is_tested(run)]
    if not finished:
        return None
    results = collect(table, runs, finished)
    path = table.path.with_suffix('.md')
    atomic_write(table.path.with_suffix('.json'), json.dumps(results, indent=1) + '\n')
    atomic_write(path, markdown(table, results))
    return path


def collect(table, runs, finished):
    """Everything that the report says, as plain values; see `write_report`."""
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
            'difference': _differences(table, by_row[row.name], by_row[table.compare_to])
            if row.name != table.compare_to
            else {},
        }
    constants = {}
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
        'tested': _tested(numbers, finished),
        'training': _training(finished),
        'missing': {
            name: seeds
            for name in rows
            if (seeds := [run.seed for run in runs if run.row.name == name and run not in finished])
        },
    }


def markdown(table, results):
    """The report as a page."""
    parts = [
        f'# {table.title or table.path.stem}',
        _introduction(table, results),
        _table(['', *(_title(m, results) for m in table.metrics), 'seeds'], _value_lines(table, results)),
        _how_to_read_values(table, results),
        f'## Difference to "{table.compare_to}"',
        *_difference_parts(table, results),
        '## How to reproduce',
        _how_made(table, results),
    ]
    if table.notes:
        parts.insert(-2, '## Notes\n\n' + '\n'.join(f'- {" ".join(note.split())}' for note in table.notes))
    return '\n\n'.join(part for part in parts if part) + '\n'


def _spread(measured, name):
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


def _differences(table, runs, baseline_runs):
    """{metric: paired difference to the baseline row} over the seeds that both have."""
    baseline = {run.seed: run for run in baseline_runs}
    if runs and runs[0].row.untrained:  # the same for every seed
        pairs = [(runs[0], run) for run in baseline_runs]
    else:
        pairs = [(run, baseline[run.seed]) for run in runs if run.seed in baseline]
    if not pairs:
        return {}
    found = {}
    for kind, key in _KEYS.items():
        records = [tuple(_read_records(run, kind) for run in pair) for pair in pairs]
        _check_same_samples(pairs, records, key)
        measured = {name: _difference(records, [run.seed for _, run in pairs], name) for name in table.metrics}
        found |= {name: value for name, value in measured.items() if value is not None}
    return found


def _check_same_samples(pairs, records, key):
    for pair, loaded in zip(pairs, records, strict=True):
        for other in (loaded[1], records[0][0]):
            if any(not np.array_equal(loaded[0].get(name), other.get(name)) for name in key):
                raise TableError(
                    f'{pair[0].test_dir} and {pair[1].test_dir} were tested on different samples, so they cannot be '
                    f'paired; remove both folders to test them again'
                )


def _difference(records, seeds, metric):
    """The paired interval of one number, its samples averaged over seeds first; None where records do not hold it."""
    columns = [tuple(_column(record, metric) for record in pair) for pair in records]
    if any(column is None for pair in columns for column in pair):
        return None
    a, b = (np.mean([pair[i] for pair in columns], axis=0) for i in range(2))
    if np.isnan(a - b).all():
        return None
    interval = paired_bootstrap(a, b, records[0][0]['sequence'], NUM_RESAMPLES, LEVEL)
    by_seed = {
        seed: float(np.nanmean(first) - np.nanmean(second))
        for seed, (first, second) in zip(seeds, columns, strict=True)
    }
    return {**interval._asdict(), 'by_seed': by_seed}


def _column(record, metric):
    """(N,) of one number, NaN outside the group that its name asks for ('<number>/occlusion_50_75', '/left')."""
    if metric in record:
        return record[metric]
    name, _, group = metric.partition('/')
    if name not in record or 'occlusion' not in record:
        return None
    groups = occlusion_groups(record['occlusion']) | {f'/{side}': record['hand'] == side for side in SIDES}
    return np.where(groups[f'/{group}'], record[name], np.nan) if f'/{group}' in groups else None


def _read_records(run, kind='model'):
    """The records of one kind; empty where the test has no actions."""
    path = run.test_dir / 'records' / f'{kind}.npz'
    return load_records(path) if kind == 'model' or path.is_file() else {}


def _tested(numbers, finished):
    model = numbers[finished[0].name]['model']
    groups = {name.partition('/')[2]: int(n) for name, n in model.items() if name.startswith('num_samples/')}
    sequences = len(np.unique(_read_records(finished[0])['sequence']))
    return {'samples': int(model['num_samples']), 'sequences': sequences, 'groups': groups}


def _training(finished):
    records = {run.train_dir: read_record(run.train_dir) for run in finished if not run.row.untrained}.values()
    if not records:
        return {'runs': 0, 'iterations': [0], 'seconds': [0, 0], 'machines': []}
    return {
        'runs': len(records),
        'iterations': sorted({record['iterations'] for record in records}),
        'seconds': [round(f([record['seconds'] for record in records])) for f in (min, max)],
        'machines': sorted({record['machine'] for record in records}),
    }


def _introduction(table, results):
    budget, tested, training = results['budget'], results['tested'], results['training']
    iterations = ' or '.join(f'{n:,}' for n in training['iterations'])
    return (
        f'Options of `{table.config}`, each row trained from scratch for {iterations} iterations '
        f'(`{" ".join(option_words(budget))}`), which is a small budget: the table compares the rows with this '
        f'budget and says nothing about the published figures. Test split: {tested["samples"]:,} hands in '
        f'{tested["sequences"]} sequences.'
    )


def _value_lines(table, results):
    for name, row in results['rows'].items():
        mark = ' ¹' if row['weights_of'] else ' ³' if row['untrained'] else ''
        label = f'**{name}**' if name == table.compare_to else f'{name}{mark}'
        yield [label, *(_cell(m, row['metrics'][m]) for m in table.metrics), str(len(row['seeds']))]
    for name, values in results['constants'].items():
        cells = ['-' if values[m] is None else _number(m, values[m]) for m in table.metrics]
        yield [f'{name.replace("_", " ")} ²', *cells, '-']


def _how_to_read_values(table, results):
    lines = ['Mean over seeds, with the smallest and the largest value in brackets.']
    if any(row['weights_of'] for row in results['rows'].values()):
        lines.append('¹ Not trained: the weights of another row, tested with other options.')
    if any(row['untrained'] for row in results['rows'].values()):
        lines.append('³ Has no parameters, so it is tested once.')
    if results['constants']:
        lines.append('² One constant hand per side, fitted on the train split: the accuracy without using the image.')
        lines.append(_beaten_by_constants(table.metrics[0], results))
    if results['missing']:
        waiting = (f'{name} (seed {", ".join(map(str, seeds))})' for name, seeds in results['missing'].items())
        lines.append(f'Not finished: {"; ".join(waiting)}.')
    return '  \n'.join(line for line in lines if line)


def _beaten_by_constants(metric, results):
    """Says which rows a constant hand beats in the first column."""
    better = max if metric.startswith(_LARGER_IS_BETTER) else min
    known = {name: values[metric] for name, values in results['constants'].items() if values[metric] is not None}
    if not known:
        return ''
    best = better(known.values())
    means = {name: row['metrics'][metric]['mean'] for name, row in results['rows'].items() if row['metrics'][metric]}
    losers = [name for name, mean in means.items() if better(mean, best) == best]
    if not losers:
        return f'Every row beats the constant hands in {_title(metric, results)}.'
    return f'Rows that do not beat the better constant hand in {_title(metric, results)}: {"; ".join(losers)}.'


def _difference_parts(table, results):
    rows = {name: row for name, row in results['rows'].items() if row['difference']}
    names = [m for m in table.metrics if any(m in row['difference'] for row in rows.values())]
    if not rows:
        return ['No other row has a finished seed in common with it yet.']
    lines = [
        [name, *(_difference_cell(m, row['difference'].get(m)) for m in names), str(_num_seeds(row))]
        for name, row in rows.items()
    ]
    clusters = max(d['num_clusters'] for row in rows.values() for d in row['difference'].values())
    return [
        _table(['', *(_title(m, results) for m in names), 'seeds'], lines),
        f'Row minus "{table.compare_to}": a positive difference of an error is worse. Brackets: {100 * LEVEL:.0f} % '
        f'interval of a paired bootstrap over sequences ({NUM_RESAMPLES:,} resamples of at most {clusters} sequences, '
        f'each with all its cameras and frames; values of a frame are averaged over seeds first), followed by the '
        f'differences of the individual seeds. **Bold**: the interval excludes zero, and two or more seeds agree. '
        f'The interval covers the choice of test sequences. The variation between training runs is visible only in the '
        f'seeds, and few seeds estimate it poorly. Intervals are not corrected for multiple comparisons.',
    ]


def _how_made(table, results):
    training = results['training']
    low, high = training['seconds']
    option_lines = [
        f'- {name}: '
        + (f'weights of "{row.weights_of}", ' if row.weights_of else '')
        + (f'`{" ".join(option_words(row.options))}`' if row.options else 'the unmodified config')
        for name, row in ((row.name, row) for row in table.rows)
    ]
    test = f', additionally in every test `{" ".join(option_words(table.test))}`' if table.test else ''
    return (
        f'`python tools/ablate.py {_shown(table.path)}`\n\n'
        + '\n'.join(option_lines)
        + f'\n\nCommon options `{" ".join(option_words(table.budget))}`{test}; seeds '
        f'{", ".join(map(str, table.seeds))}. {training["runs"]} training runs of {low / 60:.1f} to {high / 60:.1f} '
        f'minutes with one thread each ({"; ".join(training["machines"])}), with other work in parallel.'
    )


def _shown(path):
    return path.name if Path(path).is_absolute() else path  # where a person keeps files is not for the page


def _num_seeds(row):
    return max(len(d['by_seed']) for d in row['difference'].values())


def _title(metric, results):
    name, _, group = metric.partition('/')
    title = _TITLES.get(name, name)
    count = results['tested']['groups'].get(group)
    if group.startswith('occlusion_'):
        low, high = group.split('_')[1:]
        group = f'{low}-{high} % occluded'
    return title + (f', {group}' if group else '') + (f' ({count:,} hands)' if count else '')


def _cell(metric, spread):
    if spread is None:
        return '-'
    if len(spread['by_seed']) == 1:
        return _number(metric, spread['mean'])
    low, high = (_number(metric, spread[name]) for name in ('min', 'max'))
    return f'{_number(metric, spread["mean"])} ({low} to {high})'


def _difference_cell(metric, value):
    if value is None:
        return '-'
    signs = {np.sign(d) for d in value['by_seed'].values()}
    sure = len(value['by_seed']) > 1 and len(signs) == 1 and value['low'] * value['high'] > 0
    shown = _number(metric, value['difference'], sign='+')
    interval = f'[{_number(metric, value["low"], sign="+")}, {_number(metric, value["high"], sign="+")}]'
    seeds = ' '.join(_number(metric, d, sign='+') for d in value['by_seed'].values())
    return f'{"**" + shown + "**" if sure else shown} {interval}; {seeds}'


def _number(metric, value, sign=''):
    digits = 2 if '_mm' in metric.partition('/')[0] and not metric.startswith(('auc_', 'pck_')) else 4
    return f'{value:{sign}.{digits}f}'.replace('-', '−')


def _table(head, lines):
    rule = ['---'] + ['---:'] * (len(head) - 1)
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, rule, *lines))
