"""What a metric reports: name, title, unit and direction of each number.

Progress output, tables, ablation reports, plots and `save_best` read specs, so that the name of a number is written in
the module of its metric alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from handpose.text import did_you_mean


@dataclass(frozen=True)
class MetricSpec:
    """One number that a metric reports.

    Args:
        name: its key in the results of the metric and in metrics.json, e.g. 'mpjpe_mm'.
        title: what headings and legends call it, e.g. 'MPJPE'.
        unit: unit of the number, e.g. 'mm'; empty for shares from 0 to 1 and for counts.
        lower_is_better: which direction is better; None for counts, of which neither is.
        headline: whether validation prints it. The first headline of a config stands for a model as a whole: plots
            show it, and `save_best='headline'` goes by it.
        digits: decimals to show.
        in_table: whether it is a row of the table that a test prints.
        table_breakdowns: breakdowns, such as 'side', whose groups are rows of that table too.
        count: name of the number that says over how many samples this one is averaged.
        curve_max: highest threshold, in `unit`, of the PCK curve to draw; None draws no curve. The records of the
            metric then hold the error of each joint as '<name>/joints' (N, 21).
    """

    name: str
    title: str
    unit: str = ''
    lower_is_better: bool | None = None
    headline: bool = False
    digits: int = 2
    in_table: bool = True
    table_breakdowns: tuple[str, ...] = ()
    count: str | None = None
    curve_max: float | None = None

    @classmethod
    def counting(cls, name: str, title: str, in_table: bool = True) -> 'MetricSpec':
        """The spec of a count.

        Args:
            name: its key in the results.
            title: what is counted, in the plural, e.g. 'hands'.
            in_table: whether it is a row of the table that a test prints.
        """
        return cls(name, title, digits=0, in_table=in_table)

    @property
    def is_count(self) -> bool:
        """Whether the number is a count, which has no better direction."""
        return self.lower_is_better is None

    @property
    def group(self) -> str:
        """The group of samples that the number is of: 'left' in 'mpjpe_mm/left', empty for all samples."""
        return self.name.partition('/')[2]

    @property
    def label(self) -> str:
        """Title and unit, e.g. 'MPJPE (mm)'."""
        return f'{self.title} ({self.unit})' if self.unit else self.title

    @property
    def arrow(self) -> str:
        """An arrow to the better direction; empty for counts."""
        return '' if self.lower_is_better is None else '↓' if self.lower_is_better else '↑'

    def of_group(self, group: str, title: str, in_table: bool = False) -> 'MetricSpec':
        """The spec of the same number over a group of the samples.

        Args:
            group: follows the name and a slash, e.g. 'left'.
            title: follows the title and a comma, e.g. 'left hands'.
            in_table: whether it is a row of the table that a test prints.
        """
        return replace(
            self,
            name=f'{self.name}/{group}',
            title=f'{self.title}, {title}',
            headline=False,
            in_table=in_table,
            table_breakdowns=(),
            count=None if self.count is None else f'{self.count}/{group}',
            curve_max=None,
        )

    def format(self, value: float, sign: str = '') -> str:
        """The number as text, without unit.

        Args:
            value: the number.
            sign: '+' to show the sign of positive numbers too.
        """
        return f'{value:{sign}.{self.digits}f}'

    def is_better(self, value: float, other: float) -> bool:
        """Whether one value of the number is better than another; never for counts."""
        return not self.is_count and value != other and (value < other) == self.lower_is_better


def headlines(specs: Mapping[str, MetricSpec]) -> list[MetricSpec]:
    """The headlines among specs, in order.

    Args:
        specs: {name: spec}, as `specs_of` gives.
    """
    return [spec for spec in specs.values() if spec.headline]


def find_spec(specs: Mapping[str, MetricSpec], name: str) -> MetricSpec:
    """The spec of a number.

    Args:
        specs: {name: spec}, as `specs_of` gives.
        name: of the number.

    Raises:
        ValueError: no metric reports it; lists the numbers that metrics report, breakdowns aside.
    """
    if name not in specs:
        known = ', '.join(known for known in specs if '/' not in known)
        raise ValueError(f'no metric reports {name!r}; they report {known}.{did_you_mean(name, specs)}')
    return specs[name]
