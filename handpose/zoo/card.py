"""Cards of the model zoo: what a file is and how to use it, for the terminal and for model_zoo.md."""

from collections.abc import Iterable

from handpose.zoo.cache import stored_name
from handpose.zoo.index import KINDS, ZooEntry, ZooIndex, ZooMetric
from handpose.zoo.sources import describe

_HEAD = """\
# Model zoo

<!-- Generated from handpose/zoo/index.yml by `handpose zoo table > model_zoo.md`; edit the index instead. -->

Every file below is verified by its sha256 whenever it is downloaded or used. `handpose zoo list` shows what is already
on your machine, `handpose zoo get NAME` downloads a file, `handpose.load(NAME)` builds an estimator with its weights.
[The model zoo on your machine](docs/guides/model_zoo.md) explains the cache, mirrors, and work without a network;
[publish your weights](docs/guides/publish_weights.md) explains how files get here.

| name | what it is | size | licence | commercial use | metrics |
|---|---|---|---|---|---|
"""


def rows(entry: ZooEntry) -> list[tuple[str, str]]:
    """The card of an entry, as (heading, text).

    Args:
        entry: the entry.

    Returns:
        The rows; those without text are left out.
    """
    found = [
        ('what it is', f'{entry.summary} ({KINDS[entry.kind]})'),
        ('preprocessing', entry.preprocessing),
        ('output', entry.output),
        ('units', entry.units),
        ('joint order', entry.joint_order),
        ('frame rate', entry.frame_rate),
        ('limitations', entry.limitations),
        *((metric_title(metric), f'{metric_text(metric)}; reproduce: {metric.command}') for metric in entry.metrics),
        ('config', entry.config),
        ('reproduce the weights', entry.training),
        ('licence', ', '.join(filter(None, (entry.licence, commercial(entry), entry.licence_url)))),
        ('citation', entry.citation),
        ('file', f'{stored_name(entry)}, {size(entry)}'),
        ('sha256', entry.sha256),
        ('sources', '; '.join(describe(source) for source in entry.sources)),
    ]
    return [(heading, text) for heading, text in found if text]


def commercial(entry: ZooEntry) -> str:
    """Says whether a licence allows commercial use."""
    return 'commercial use allowed' if entry.commercial_use else 'no commercial use'


def size(entry: ZooEntry) -> str:
    """The size of a file, such as '5.5 MB'."""
    return f'{entry.size / 1e6:.1f} MB'


def metric_title(metric: ZooMetric) -> str:
    """The name of a metric and what it was measured on."""
    return f'{metric.name}, {metric.data}'


def metric_text(metric: ZooMetric) -> str:
    """A number with its unit, and the baselines."""
    baseline = f'({metric.baseline})' if metric.baseline else ''
    return ' '.join(filter(None, (f'{metric.value:g}', metric.unit, baseline)))


def zoo_markdown(index: ZooIndex) -> str:
    """Generates model_zoo.md.

    Args:
        index: the index.

    Returns:
        The text: a table of all entries, and the card of each.
    """
    lines = [
        _row(
            f'[`{entry.name}`](#{entry.name})',
            entry.title,
            size(entry),
            entry.licence,
            'yes' if entry.commercial_use else 'no',
            '; '.join(f'{metric_title(m)}: {metric_text(m)}' for m in entry.metrics),
        )
        for entry in index.values()
    ]
    return _HEAD + '\n'.join(lines) + '\n' + ''.join(map(_markdown_card, index.values()))


def _markdown_card(entry: ZooEntry) -> str:
    return (
        f'\n## {entry.name}\n\n{entry.title}.\n\n| | |\n|---|---|\n'
        + '\n'.join(_row(*row) for row in rows(entry))
        + '\n'
    )


def _row(*cells: str) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|').replace('\n', ' ') for cell in _filled(cells)) + ' |'


def _filled(cells: Iterable[str]) -> Iterable[str]:
    return (cell or '–' for cell in cells)
