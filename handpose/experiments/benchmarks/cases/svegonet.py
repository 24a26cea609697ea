"""SVEgoNet's heads of joints at the paper's size: time and memory of a training step."""

import torch
from torch import Tensor

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.models import CoordinateDistributionLoss, Distribution25DHead, GaussianHeatmapLoss, Heatmap25DHead

BOTH = ('cpu', 'cuda')
CROPS = 8  # of a GPU, as published


def head_step(head: Heatmap25DHead | Distribution25DHead, settings: Settings) -> Work:
    """Forward, loss and backward of a head on maps (N, 2048, 8, 8) of crops of 256 x 256."""
    count = 2 if settings.quick else CROPS
    head = head.to(settings.device)
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(count, 2048, 8, 8, generator=draw).to(settings.device)
    positions = torch.rand(count, 2, 21, 3, generator=draw).to(settings.device)
    valid = torch.zeros_like(positions, dtype=torch.bool)
    valid[:, 1] = True  # one hand of each crop
    heatmaps, distributions = GaussianHeatmapLoss(), CoordinateDistributionLoss()
    numbers: list[int] = []

    def run() -> Tensor:
        head.zero_grad()
        output = head(maps)
        numbers[:] = [sum(part[0].numel() for part in output.maps)]
        if len(output.maps) == 3:
            loss = distributions(output.maps, positions, valid)
        elif head.differentiable:
            loss = (output.positions - positions).abs()[valid].mean()
        else:
            loss = heatmaps(output.maps, positions, valid)
        loss.backward()
        return loss.detach()

    return Work(run, count, notes=lambda: {'MB of maps an image': round(4e-6 * numbers[0], 2)})


@case('crop', shows='time', devices=BOTH, when='asked')
def svegonet_heatmaps(settings: Settings) -> Work:
    """Volumes of 64^3 for 42 joints, read by the strongest cell, forward and backward of the head."""
    return head_step(Heatmap25DHead(), settings)


@case('crop', shows='time', devices=BOTH, when='asked')
def svegonet_soft_heatmaps(settings: Settings) -> Work:
    """The same volumes, read by soft-argmax."""
    return head_step(Heatmap25DHead(decode='soft_argmax'), settings)


@case('crop', shows='time', devices=BOTH, when='asked')
def svegonet_distributions(settings: Settings) -> Work:
    """Three distributions for each of 42 joints, forward and backward of the head."""
    return head_step(Distribution25DHead(), settings)
