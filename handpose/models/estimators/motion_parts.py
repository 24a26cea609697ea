"""What the networks that read the motion of two hands take and give, for `Estimator.network_parts`."""

import torch

from handpose.models.estimators.network_parts import PartTensor

FRAME_VALID = PartTensor('frame_valid', ('batch', 'time'), 'false for padding at the end', torch.bool, default=True)
TWO_HANDS = (
    PartTensor('joints', ('batch', 'time', 2, 21, 3), 'of the left and the right hand, metres', example=(-0.2, 0.2)),
    PartTensor('joints_valid', ('batch', 'time', 2, 21), 'false for joints that are missing', torch.bool, default=True),
    FRAME_VALID,
)


def action_scores(num_actions: int) -> PartTensor:
    """The output of a classifier of actions.

    Args:
        num_actions: how many there are.

    Returns:
        What the output is.
    """
    return PartTensor('action_scores', ('batch', num_actions), 'probabilities of the classes of actions')
