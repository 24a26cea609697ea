"""Fewer cameras than a dataset has."""

from collections.abc import Sequence

import numpy as np

from handpose.datasets.io.errors import DatasetError
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence
from handpose.structures.fields import SPECS


@TRANSFORMS.register_module()
class ChooseViews:
    """Keeps some of the cameras of a multi-view clip, for tests with fewer views than were recorded.

    In the 'camera' frame camera 0 is always kept, since it is the frame of the joints.

    Args:
        count: how many, drawn anew for each clip; a clip that has no more keeps all. None keeps those of `views`.
        views: numbers of the cameras to keep, in their order.

    Raises:
        DatasetError: both or none of the two, a count below 1, or views that are not different numbers from 0.
    """

    def __init__(self, count: int | None = None, views: Sequence[int] | None = None) -> None:
        if (count is None) == (views is None):
            raise DatasetError(f'ChooseViews takes either count or views, got {count!r} and {views!r}')
        if count is not None and count < 1:
            raise DatasetError(f'ChooseViews: count must be at least 1, got {count!r}')
        if views is not None and (not len(views) or min(views) < 0 or len(set(views)) < len(views)):
            raise DatasetError(f'ChooseViews: views must be different numbers from 0, got {views!r}')
        self.count, self.views = count, None if views is None else list(views)

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Chooses the cameras of a clip.

        Args:
            sample: with `intrinsics`.
            rng: source of the choice.

        Returns:
            The clip with fewer cameras; `meta` has their names, image sizes and paths.

        Raises:
            DatasetError: the clip lacks a camera of `views`, or, in the 'camera' frame, `views` does not begin with 0.
        """
        cameras = sample.require('intrinsics').shape[1]
        in_camera = sample.frame == 'camera'
        if self.views is not None:
            chosen = self.views
            if max(chosen) >= cameras:
                raise DatasetError(f'ChooseViews: views has camera {max(chosen)}, but the clip has {cameras} cameras')
            if in_camera and chosen[0] != 0:
                raise DatasetError(
                    'ChooseViews: the joints are in the frame of camera 0, so views must begin with 0; or let the '
                    "dataset give frame='world'"
                )
        else:
            assert self.count is not None
            first = [0] if in_camera else []
            drawn = [int(k) for k in rng.permutation(cameras) if k not in first]
            chosen = sorted((first + drawn)[: self.count])
        of_views = {name: value for name, value in sample.present().items() if SPECS[name].shape[1:2] == ('K',)}
        return sample.replace(
            meta=_chosen_meta(sample, chosen, cameras),
            **{name: value[:, chosen].contiguous() for name, value in of_views.items()},
        )


def _chosen_meta(sample: HandSequence, chosen: Sequence[int], cameras: int) -> dict:
    meta = dict(sample.meta)
    for key in ('cameras', 'image_sizes'):
        if meta.get(key) is not None:
            meta[key] = [meta[key][k] for k in chosen]
    if 'paths' in meta and cameras > 1:
        rows = [[row[k] for k in chosen] for row in meta['paths']]
        meta['paths'] = [row[0] for row in rows] if len(chosen) == 1 else rows
    return meta
