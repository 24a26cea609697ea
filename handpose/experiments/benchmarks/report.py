"""Results for people: the table of a run, the same in Markdown, and the ratios to an earlier run."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from handpose.experiments.benchmarks.case import BenchmarkError
from handpose.experiments.benchmarks.results import Record, Results, added_memory
from handpose.files.atomic import atomic_write
from handpose.files.reading import read_text

BEGIN, END = '<!-- benchmark:begin -->', '<!-- benchmark:end -->'
SHARED = 0.9  # of its cores a case must get, or the table says what it got
HEADINGS = ('case', 'what', 'measured', 'speed to reference', 'memory', 'memory to reference', 'reference, and notes')


def rows(results: Results) -> list[tuple[str, ...]]:
    """The rows of the table, one for each case: texts for `HEADINGS`."""
    threads = results['settings']['threads']
    return [_row(name, record, threads) for name, record in results['cases'].items()]


def _row(name: str, record: Record, threads: int) -> tuple[str, ...]:
    if record['failed']:
        return name, record['about'], f'failed: {record["failed"]}', '', '', '', ''
    form = record['forms']['case']
    speed, memory = record.get('speed_ratio'), record.get('memory_ratio')
    return (
        name,
        record['about'],
        figure(record) + _against_target(record),
        f'{short(speed["median"])}x ({short(speed["low"])}-{short(speed["high"])})' if speed else '',
        f'{added_memory(form["memory_mb"]):.0f} MB',
        f'{memory:.2f}x' if memory else '',
        '; '.join(_remarks(record, threads)),
    )


def figure(record: Record) -> str:
    """Formats a measured record as 'median unit (low-high)', per second or as time."""
    form, unit = record['forms']['case'], record['unit']
    if record['shows'] == 'rate':
        median, low, high = (short(form['rate'][key]) for key in ('median', 'low', 'high'))
        return f'{median} {plural(unit)}/s ({low}-{high})'
    scale, name = (1000, 'ms') if form['time']['median'] < 1 else (1, 's')
    median, low, high = (short(scale * form['time'][key]) for key in ('median', 'low', 'high'))
    return f'{median} {name} per {unit} ({low}-{high})'


def _against_target(record: Record) -> str:
    if record['target'] is None:
        return ''
    met = record['forms']['case']['rate']['median'] >= record['target']
    return f', {"meets" if met else "BELOW"} the target of {short(record["target"])}'


def _remarks(record: Record, threads: int) -> Iterator[str]:
    reference = record['forms'].get('reference')
    if reference:
        yield reference['about'] + (f' (failed: {reference["failed"]})' if 'failed' in reference else '')
    form = record['forms']['case']
    if form['first_seconds'] > max(5.0, 3 * statistics.median(form['seconds'])):
        yield f'first call {short(form["first_seconds"])} s'
    share = statistics.median(c / s for c, s in zip(form['cpu_seconds'], form['seconds'], strict=True)) / threads
    if record['device'] == 'cpu' and share < SHARED:
        per_cpu_second = form['count'] / statistics.median(form['cpu_seconds'])
        yield f'got {share:.0%} of its core(s): {short(per_cpu_second)} {plural(record["unit"])} per CPU second'
    for words, value in form['notes'].items():
        yield f'{words} {short(value) if isinstance(value, float) else value}'


def plural(unit: str) -> str:
    """The plural of a unit: 'frames', 'batches'."""
    return f'{unit}es' if unit.endswith('ch') else f'{unit}s'


def short(number: float) -> str:
    """Formats a number with three significant digits: 1234, 12.3, 0.0123."""
    return f'{number:.0f}' if abs(number) >= 100 else f'{number:.3g}'


def rich_table(results: Results) -> Table:
    """The table for a console."""
    table = Table(title=headline(results), title_justify='left')
    for heading in HEADINGS:
        table.add_column(heading, overflow='fold')
    for row in rows(results):
        table.add_row(*map(escape, row))
    return table


def headline(results: Results) -> str:
    """Machine, versions, settings and the load of the machine, in one line."""
    machine, settings = results['machine'], results['settings']
    loads = [f'{load:.1f}' for load in sorted(results['load_average'].values())]
    busy = f'; load before the cases {loads[0]} to {loads[-1]}' if loads else ''
    gpu = f', {machine["gpu"]}' if 'gpu' in machine else ''
    quick = ', quick' if settings['quick'] else ''
    return (
        f'{machine["cpu"]}, {machine["cores"]} cores{gpu}; torch {results["versions"]["torch"]}, '
        f'{settings["threads"]} thread(s){quick}; {results["started"]}{busy}'
    )


def markdown(results: Results) -> str:
    """The table in Markdown, with the machine above it and an explanation below."""
    lines = [headline(results) + '.', '']
    lines += ['| ' + ' | '.join(HEADINGS) + ' |', '|---|---|---|---|---:|---:|---|']
    lines += ['| ' + ' | '.join(cell.replace('|', '/') for cell in row) + ' |' for row in rows(results)]
    lines += [
        '',
        f'Medians of up to {results["settings"]["repeats"]} rounds, in brackets the smallest and the largest.',
    ]
    return '\n'.join(lines) + '\n'


def write_markdown(path: str | Path, results: Results, table: str | None = None) -> None:
    """Puts the table between the two marks of a Markdown file, or writes a new file.

    Args:
        path: path of the file.
        results: the results.
        table: the table in Markdown, below the machine; default that of the cases.

    Raises:
        BenchmarkError: the file exists and has no marks.
    """
    path = Path(path)
    content = markdown(results) if table is None else f'{headline(results)}.\n\n{table}'
    block = f'{BEGIN}\n{content}{END}\n'
    if not path.exists():
        atomic_write(path, block)
        return
    text = read_text(path, error=BenchmarkError)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BenchmarkError(f'{path} must hold the lines {BEGIN} and {END} once each; the table goes between them')
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    atomic_write(path, before + block + after.removeprefix('\n'))


def comparison(old: Results, new: Results) -> dict[str, tuple[float, float | None]]:
    """Compares the cases that two runs measured on the same device.

    Args:
        old: the earlier results.
        new: the later results.

    Returns:
        {case: (speed, memory)}, new divided by old; memory is None where the old run added less than 1 MB.
    """
    found = {}
    for name, record in new['cases'].items():
        before = old['cases'].get(name)
        if before is None or before['failed'] or record['failed'] or before['device'] != record['device']:
            continue
        forms = [r['forms']['case'] for r in (record, before)]
        speed = forms[0]['rate']['median'] / forms[1]['rate']['median']
        memory = [added_memory(form['memory_mb']) for form in forms]
        found[name] = speed, memory[0] / memory[1] if memory[1] >= 1 else None
    return found


def comparison_table(old: Results, new: Results) -> Table:
    """The table of `comparison`; the load of the machine in two runs is in the ratios."""
    table = Table(title=f'compared with {old["started"]} (two runs: the load of the machine is in the ratios)')
    for heading in ('case', 'speed', 'memory'):
        table.add_column(heading)
    for name, (speed, memory) in comparison(old, new).items():
        table.add_row(name, f'{speed:.2f}x', f'{memory:.2f}x' if memory else '')
    return table
