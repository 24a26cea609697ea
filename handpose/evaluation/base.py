"""The interface of a metric: what it reports, what it keeps of each clip, and how it reduces that to numbers."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from handpose.evaluation.spec import MetricSpec
from handpose.evaluation.summary import save_records
from handpose.registry import METRICS
from handpose.structures import HandSequence


class Metric(BaseMetric):
    """A metric of predicted clips. Subclasses define `specs`, `process_clip` and `reduce`, and may keep records.

    Results are gathered from all processes before they are reduced. mmengine deals single results out by position and
    drops some where processes hold unequal numbers; handing it one list for each process keeps them all. Samplers that
    pad the last batch repeat samples: `reduce` must drop repeats.

    A metric of your own needs no change in this package. Put it into a module, and name that module in the config:

        @METRICS.register_module()
        class WristError(Metric):
            specs = (MetricSpec('wrist_error_mm', 'wrist error', 'mm', lower_is_better=True, headline=True),)

            def process_clip(self, prediction, target):
                distance = (prediction.joints_3d - target.joints_3d)[:, :, 0].norm(dim=-1)
                return target.meta['sequence'], 1000 * float(distance[target.hand_valid].mean())

            def reduce(self, results):
                return {'wrist_error_mm': float(np.mean(list(dict(results).values())))}

        # in the config:
        custom_imports = dict(imports=['wrist_error'])
        test_evaluator = [dict(type='WristError')]

    Args:
        keep_records: path of an .npz file for the numbers of each sample (see `records`); None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Attributes:
        records: after evaluating, {column: array}, one row for each sample: the columns of `record_key`, which identify
            the sample, and one column for each number, with its name. Empty where a metric keeps none.

    Raises:
        ValueError: `keep_records` is no path of an .npz file, or the metric keeps no records.
    """

    record_key: ClassVar[tuple[str, ...]] = ()  # columns that identify a sample; empty: the metric keeps no records
    fields: ClassVar[tuple[str, ...]] = ()  # fields of `HandSequence` that prediction and target must both have
    min_samples: ClassVar[int] = 1  # sampled futures that a prediction must have at least

    def __init__(self, keep_records: str | Path | None = None, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device, prefix=type(self).__name__)
        self.results: list[Any]
        if keep_records is not None and not (self.record_key and str(keep_records).endswith('.npz')):
            raise ValueError(
                f'keep_records must be the path of an .npz file, of a metric that keeps records; got '
                f'{str(keep_records)!r} for {type(self).__name__}'
            )
        self.prefix = None  # the names are complete as they are; mmengine warns where no prefix is given
        self.num_samples = 0
        self.keep_records = keep_records
        self.records: dict[str, NDArray[Any]] = {}

    @property
    @abstractmethod
    def specs(self) -> tuple[MetricSpec, ...]:
        """Specs of all numbers that the metric may report, breakdowns included, in the order of tables."""

    @abstractmethod
    def process_clip(self, prediction: HandSequence, target: HandSequence) -> Any:
        """What is kept of one clip until `reduce`; small, since it is gathered from all processes.

        Args:
            prediction: a clip.
            target: the same clip with its annotations.
        """

    @abstractmethod
    def reduce(self, results: list[Any]) -> dict[str, float]:
        """Reduces the results of all clips of all processes to {name: number}.

        Args:
            results: what `process_clip` gave.
        """

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Processes the clips of a batch.

        Args:
            data_batch: not used.
            data_samples: dicts with 'prediction' and 'target' (`HandSequence` clips).
        """
        self.results += [self.process_clip(sample['prediction'], sample['target']) for sample in data_samples]

    def evaluate(self, size: int) -> dict[str, float]:
        """Gathers the results of all processes and reduces them.

        Args:
            size: number of samples in the dataset.

        Returns:
            {name: number}, in every process.
        """
        self.results, self.num_samples = [self.results], size
        return super().evaluate(max(size, get_world_size()))

    def compute_metrics(self, results: list[list[Any]]) -> dict[str, float]:
        """Reduces the results of all processes, one list each.

        Raises:
            ValueError: a number that `specs` does not list.
        """
        numbers = self.reduce([result for process in results for result in process])
        if unknown := sorted(set(numbers) - {spec.name for spec in self.specs}):
            raise ValueError(f'{type(self).__name__}.reduce reports {unknown[0]!r}; add a MetricSpec of it to specs')
        return numbers

    def set_records(self, records: dict[str, NDArray[Any]]) -> None:
        """Keeps records, and writes them if asked to.

        Args:
            records: see the attribute `records`.
        """
        self.records = records
        if self.keep_records is not None:
            save_records(self.keep_records, records)


def specs_of(metrics: Iterable[object]) -> dict[str, MetricSpec]:
    """The specs of all numbers that metrics report.

    Args:
        metrics: `Metric` objects, e.g. those of an mmengine `Evaluator`.

    Returns:
        {name: spec}, in order.

    Raises:
        TypeError: one is no `Metric`, so that it has no specs.
        ValueError: two report the same name.
    """
    specs: dict[str, MetricSpec] = {}
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise TypeError(
                f'{type(metric).__name__} has no specs; metrics are subclasses of handpose.evaluation.Metric'
            )
        for spec in metric.specs:
            if spec.name in specs:
                raise ValueError(f'{spec.name!r} is reported twice, the second time by {type(metric).__name__}')
            specs[spec.name] = spec
    return specs


def build_metrics(evaluator: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """Builds the metrics of a config.

    Args:
        evaluator: `val_evaluator` or `test_evaluator` of the config, a list of dicts with `type`.
    """
    return [METRICS.build(settings) for settings in evaluator]


def with_records(evaluator: Iterable[Mapping[str, Any]], folder: str | Path) -> list[dict[str, Any]]:
    """Settings of the metrics of a config, those that keep records writing them to `<folder>/<class>.npz`.

    Args:
        evaluator: `test_evaluator` of the config, a list of dicts with `type`.
        folder: of the records of one model.
    """
    return [
        {**settings, 'keep_records': str(Path(folder) / f'{type(metric).__name__}.npz')}
        if metric.record_key
        else dict(settings)
        for settings, metric in zip(evaluator, build_metrics(evaluator), strict=True)
    ]
