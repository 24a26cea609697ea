"""A metric of another project: nothing in this package or its configs knows it."""

import numpy as np

from handpose.evaluation import Metric, MetricSpec
from handpose.registry import METRICS

COUNT = MetricSpec.counting('wrist_error_count', 'clips')
ERROR = MetricSpec(
    'wrist_error_mm', 'wrist error', 'mm', lower_is_better=True, headline=True, digits=1, count=COUNT.name
)


@METRICS.register_module()
class WristError(Metric):
    """Mean distance of the wrists in camera space, over clips."""

    specs = (ERROR, COUNT)

    def process_clip(self, prediction, target):
        distance = (prediction.joints_3d - target.joints_3d)[:, :, 0].norm(dim=-1)
        return target.meta['sequence'], 1000 * float(distance[target.hand_valid].mean())

    def reduce(self, results):
        clips = dict(results)
        return {ERROR.name: float(np.mean(list(clips.values()))), COUNT.name: float(len(clips))}
