"""Metrics that see every result of every process."""

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric


class GatheringMetric(BaseMetric):
    """A metric whose `process` appends to `results` and whose `reduce` gets what all processes appended.

    mmengine deals single results out by position and drops some where processes hold unequal numbers; handing it one
    list a process keeps them all. Samplers that pad the last batch repeat samples: `reduce` must drop repeats.

    Args:
        collect_device: 'cpu' or 'gpu', how processes exchange their results.
    """

    def __init__(self, collect_device):
        super().__init__(collect_device=collect_device, prefix=type(self).__name__)
        self.prefix = None  # the names are complete as they are; mmengine warns where no prefix is given
        self.num_samples = 0

    def evaluate(self, size):
        """Collects what every process has and returns `reduce`'s {name: float}; `size` samples are in the data set."""
        self.results, self.num_samples = [self.results], size
        return super().evaluate(max(size, get_world_size()))

    def compute_metrics(self, results):
        """Hands the results of all processes to `reduce`."""
        return self.reduce([result for process in results for result in process])

    def reduce(self, results):
        """Reduces the results of all processes to {name: float}."""
        raise NotImplementedError(f'{type(self).__name__} must define reduce(results)')
