"""How far the poses that a model of motion was given are from the truth."""

from typing import Any, NamedTuple

import numpy as np

from handpose.evaluation.base import Metric
from handpose.evaluation.spec import MetricSpec
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name

WRIST = 0
HANDS = MetricSpec.counting('num_input_hands', 'hands with an input', in_table=False)
MPJPE = MetricSpec(
    'input_mpjpe_ra_wrist_mm', 'wrist-aligned MPJPE of the input', 'mm', lower_is_better=True, count=HANDS.name
)
DISTANCE = MetricSpec(
    'input_hand_distance_error_mm',
    'error of the distance between the wrists in the input',
    'mm',
    lower_is_better=True,
    in_table=False,
)
MISSING = MetricSpec.counting('num_missing_input_hands', 'annotated hands without an input', in_table=False)


class _ClipErrors(NamedTuple):
    """Sums over the frames of one clip.

    Attributes:
        name: of the clip.
        errors: over hands, of the mean error of a hand's joints, metres.
        hands: with an input and a truth.
        distances: of the errors of the distance between the wrists, metres.
        pairs: frames with both hands.
        missing: hands.
    """

    name: str
    errors: float
    hands: int
    distances: float
    pairs: int
    missing: int


@METRICS.register_module()
class InputPoseMetric(Metric):
    """Errors of the poses that a classifier of joints read, as `VerbClassifier` returns them in its predictions.

    So a test reports both numbers of AssemblyHands' Table 5 (Ohkawa et al., CVPR 2023), accuracy and pose error.
    Reports `input_mpjpe_ra_wrist_mm`, the mean over hands of the error relative to the wrist, which is counted as a
    joint without error as in the paper's toolkit; `input_hand_distance_error_mm`, the mean absolute error of the
    distance between the wrists, where places are known; `num_input_hands` and `num_missing_input_hands`. Clips without
    true joints are left out.

    Args:
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        SequenceError: while testing, joints in another coordinate frame or of another shape than the true ones.
    """

    specs = (MPJPE, DISTANCE, HANDS, MISSING)

    def __init__(self, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> _ClipErrors:
        """See `Metric.process_clip`."""
        name = f'{target.meta["sequence"]}+{"+".join(map(str, target.meta.get("cameras", ())))}'
        if target.joints_3d is None:
            return _ClipErrors(name, 0.0, 0, 0.0, 0, 0)
        given, known = prediction.require('joints_3d'), prediction.require('joints_valid')
        if prediction.frame != target.frame or given.shape != target.joints_3d.shape:
            raise SequenceError(
                f'{sample_name(target.meta)}: the input has joints {tuple(given.shape)} in frame {prediction.frame!r}, '
                f'and the truth {tuple(target.joints_3d.shape)} in frame {target.frame!r}'
            )
        inputs, truth = (joints.detach().cpu().double().numpy() for joints in (given, target.joints_3d))
        there = target.require('joints_valid').cpu().numpy()
        annotated = there[:, :, WRIST]
        both = known.cpu().numpy() & there
        both &= both[:, :, WRIST : WRIST + 1]
        relative = (inputs - inputs[:, :, WRIST : WRIST + 1]) - (truth - truth[:, :, WRIST : WRIST + 1])
        error = np.where(both, np.linalg.norm(relative, axis=-1), 0).sum(-1) / np.maximum(both.sum(-1), 1)  # (T, H)
        hands = both[:, :, WRIST]
        pairs = hands.all(1) & (hands.shape[1] == 2) & (target.frame != 'wrist')
        lengths = [np.linalg.norm(points[:, 0, WRIST] - points[:, -1, WRIST], axis=-1) for points in (inputs, truth)]
        distance = np.abs(lengths[0] - lengths[1])
        return _ClipErrors(
            name,
            float(error[hands].sum()),
            int(hands.sum()),
            float(distance[pairs].sum()),
            int(pairs.sum()),
            int((annotated & ~hands).sum()),
        )

    def reduce(self, results: list[tuple[Any, ...]]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: of all clips.
        """
        # Gathering makes plain tuples of named ones.
        clips = list({clip.name: clip for clip in (_ClipErrors(*row) for row in results)}.values())
        hands, pairs = sum(clip.hands for clip in clips), sum(clip.pairs for clip in clips)
        numbers = {HANDS.name: float(hands), MISSING.name: float(sum(clip.missing for clip in clips))}
        if hands:
            numbers[MPJPE.name] = 1000 * sum(clip.errors for clip in clips) / hands
        if pairs:
            numbers[DISTANCE.name] = 1000 * sum(clip.distances for clip in clips) / pairs
        return numbers
