"""What the figures of a forecaster show: futures of test clips, blends of mid-level features, transitions, accuracy.

`handpose forecast-figures` draws them. Everything is computed on the test split of a config whose samples are segments
with futures (`ForecastSegments`, `SplitFuture`; docs/reference/forecast_metrics.md).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from handpose.datasets import VideoDataset
from handpose.evaluation import ActionMetric
from handpose.evaluation.actions import ACTION, VIDEOS
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.estimators.pose_forecaster import PoseForecaster
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean

SEGMENTS, SPLIT, FRACTION = 'ForecastSegments', 'SplitFuture', 'ObserveFraction'
Settings = Mapping[str, Any]
Report = Callable[[int, int], None]  # samples that are done, all samples


class FigureError(ValueError):
    """The figures cannot be made of a config, its data or its model; the message says why and what to do."""


class Transition(NamedTuple):
    """One clip and its futures for two actions.

    Attributes:
        clip: observed frames with the true future.
        actions: names of the clip's own action and of the other one.
        futures: S samples for each of them.
        recognized: how many samples of each the forecaster recognizes as the action that they were given.
    """

    clip: HandSequence
    actions: tuple[str, str]
    futures: tuple[HandSequence, HandSequence]
    recognized: tuple[int, int]


def check_settings(settings: Settings, name: str) -> None:
    """Checks that the samples of a dataset are segments with futures.

    Args:
        settings: config of the test dataset.
        name: of the config file.

    Raises:
        FigureError: they are not.
    """
    sampling = settings.get('sampling') or {}
    if sampling.get('type') != SEGMENTS or not any(step['type'] == SPLIT for step in settings.get('pipeline', ())):
        raise FigureError(
            f"{name}: figures of forecasts need a test_dataset with sampling=dict(type='{SEGMENTS}', ...) and "
            f"dict(type='{SPLIT}') in its pipeline, got the sampling {sampling.get('type')!r}; "
            f'docs/reference/forecast_metrics.md shows such a config'
        )


def forecast_dataset(settings: Settings, num_frames: int) -> VideoDataset:
    """Opens the test split as observed segments with futures of one length.

    Args:
        settings: config of the test dataset, see `check_settings`.
        num_frames: of the futures.

    Returns:
        The dataset.

    Raises:
        FigureError: no track is that long.
    """
    sampling = settings['sampling']
    tracks = DATASETS.build({**settings, 'sampling': dict(type='Tracks'), 'pipeline': []}).tracks
    step, observed = sampling.get('frame_step', 1), sampling.get('num_observed', 16)
    longest = max(stop - first for first, stop in (track.limits for track in tracks)) // step
    if longest < observed + num_frames:
        raise FigureError(
            f'no track of the test split has {num_frames} frames after {observed} observed ones, the longest has '
            f'{longest} frames: give fewer --seconds'
        )
    return DATASETS.build({**settings, 'sampling': {**sampling, 'min_future': num_frames, 'max_future': num_frames}})


def spread_clips(dataset: VideoDataset, count: int) -> list[HandSequence]:
    """Reads clips that are spread evenly over a dataset.

    Args:
        dataset: of `forecast_dataset`.
        count: how many; all, if there are fewer.
    """
    middles = (np.arange(count) + 0.5) / count * len(dataset)
    return [dataset[i] for i in np.unique(middles.astype(int)).tolist()]


def sample_futures(
    forecaster: Forecaster,
    clip: HandSequence,
    num_frames: int,
    num_samples: int,
    seed: int = 0,
    action: int | None = None,
) -> HandSequence:
    """Samples futures of one clip.

    Args:
        forecaster: the model.
        clip: observed frames.
        num_frames: of the futures.
        num_samples: S.
        seed: of the samples.
        action: label of the action that they show; None leaves it to the forecaster.

    Returns:
        Batch of S futures, on the CPU.
    """
    device = _device(forecaster)
    return forecaster.forecast(
        HandSequence.stack([clip.replace(future=None)]).to(device),
        num_frames,
        num_samples=num_samples,
        generator=torch.Generator(device).manual_seed(seed),
        action=None if action is None else torch.tensor([action], device=device),
    ).to('cpu')


def blended_motions(
    forecaster: PoseForecaster, clips: Sequence[HandSequence], shares: Sequence[float]
) -> tuple[HandSequence, tuple[HandSequence, HandSequence]]:
    """Decodes blends of two clips that move differently (`PoseForecaster.blend`).

    The first is the clip whose wrists move fastest; the second, among those of other actions where there are any, the
    one whose mid-level feature leads the hands of the first one the furthest away from where its own does.

    Args:
        forecaster: the model.
        clips: to choose from; those that lack a hand in all their frames are left out.
        shares: of the second clip.

    Returns:
        Batch of a motion for each share, on the CPU, and the two clips.

    Raises:
        FigureError: fewer than two clips show all their hands.
    """
    device = _device(forecaster)
    moving = [clip.replace(future=None).to(device) for clip in clips if clip.require('hand_valid').any(0).all()]
    moving.sort(key=_wrist_speed, reverse=True)
    same_hands = [clip for clip in moving[1:] if torch.equal(clip.require('hand_side'), moving[0].require('hand_side'))]
    if not same_hands:
        raise FigureError(f'two clips that show all their hands are needed to blend them, and {len(moving)} do')
    first, label = moving[0], action_label(moving[0])
    others = [clip for clip in same_hands if action_label(clip) != label] or same_hands
    second = max(others, key=lambda clip: float(end_distances(forecaster.blend(first, clip, (0.0, 1.0)))[-1]))
    return forecaster.blend(first, second, shares).to('cpu'), (first.to('cpu'), second.to('cpu'))


def end_distances(motions: HandSequence) -> Tensor:
    """How far motions lead away from the first of them.

    Args:
        motions: a batch of N clips with joints_3d.

    Returns:
        (N,) metres: mean distance of the joints in the last frame from those of the first motion.
    """
    ends, valid = motions.require('joints_3d')[:, -1], motions.require('joints_valid')[:, -1]
    both = valid & valid[:1]
    distances = torch.where(both, (ends - ends[:1]).norm(dim=-1), 0)
    return distances.sum((1, 2)) / both.sum((1, 2)).clamp_min(1)


def action_transition(
    forecaster: Forecaster,
    clips: Sequence[HandSequence],
    num_frames: int,
    num_samples: int,
    seed: int = 0,
    names: tuple[str, str] | None = None,
) -> Transition:
    """Samples the futures of one clip for its own action and for another one (G-HTT, section 4.5).

    Args:
        forecaster: a model whose futures can be of an action that is given, such as `GHTT` with the path 'P.b'.
        clips: to choose from: the one that is latest in its action.
        num_frames: of the futures.
        num_samples: S of each action.
        seed: of the samples.
        names: of the clip's own action and of the other one; None means of any clip, and see `other_action`.

    Raises:
        FigureError: a name that the model does not know, or no clip of the action.
    """
    known = list(forecaster.action_names)
    for name in names or ():
        if name not in known:
            raise FigureError(f'{name!r} is not an action of the model.{did_you_mean(name, known)}')
    own = None if names is None else known.index(names[0])
    fitting = [clip for clip in clips if action_label(clip) >= 0 and own in (None, action_label(clip))]
    if not fitting:
        wanted = 'an action label' if names is None else f'the action {names[0]!r}'
        raise FigureError(f'none of the {len(clips)} test clips of this length has {wanted}')
    clip = max(fitting, key=lambda clip: int(clip.meta.get('phase', 0)))
    own = action_label(clip)
    labels = own, other_action(known, own) if names is None else known.index(names[1])
    futures = [sample_futures(forecaster, clip, num_frames, num_samples, seed, label) for label in labels]
    counts = [
        int((_recognized(forecaster, future, clip) == label).sum())
        for future, label in zip(futures, labels, strict=True)
    ]
    return Transition(clip, (known[labels[0]], known[labels[1]]), (futures[0], futures[1]), (counts[0], counts[1]))


def other_action(names: Sequence[str], own: int) -> int:
    """The action that a transition leads to: the next one in the list with the same last word, which is the object.

    If there is none, the next one in the list. A name that has all words of the other, as 'slowly pour milk' has those
    of 'pour milk', counts as the same action.

    Args:
        names: of at least two actions.
        own: number of the action that is left.

    Returns:
        The number of the other one.

    Raises:
        FigureError: there is no other action.
    """
    words = [set(name.split()) for name in names]
    order = [(own + step) % len(names) for step in range(1, len(names))]
    different = [i for i in order if not (words[i] <= words[own] or words[own] <= words[i])]
    if not different:
        raise FigureError(f'a transition needs a second action, and the model knows {", ".join(names) or "none"}')
    return next((i for i in different if names[i].split()[-1:] == names[own].split()[-1:]), different[0])


def accuracies_at_fraction(
    forecasters: Sequence[Forecaster],
    settings: Settings,
    fraction: float,
    batch_size: int = 16,
    report: Report | None = None,
) -> tuple[list[float], int]:
    """The accuracy of the recognized action when the first part of each test track is observed.

    Args:
        forecasters: models that recognize actions.
        settings: config of the test dataset, see `check_settings`.
        fraction: of the track that is observed; at least 16 frames are.
        batch_size: tracks at a time.
        report: is called after each batch.

    Returns:
        The accuracy of each model as `ActionMetric` has it, and the number of tracks that it is of.

    Raises:
        FigureError: no track has an action label.
    """
    observe = dict(type=FRACTION, fraction=fraction)
    pipeline = [observe if step['type'] == SPLIT else step for step in settings['pipeline']]
    dataset = DATASETS.build({**settings, 'sampling': dict(type='Tracks'), 'pipeline': pipeline})
    metrics = [ActionMetric() for _ in forecasters]
    for metric in metrics:
        metric.dataset_meta = dataset.metainfo
    for start in range(0, len(dataset), batch_size):
        targets = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        batch = HandSequence.stack(targets)
        for forecaster, metric in zip(forecasters, metrics, strict=True):
            predictions = forecaster.predict(batch.to(_device(forecaster))).to('cpu').unstack()
            samples = zip(predictions, targets, strict=True)
            metric.process(None, [dict(prediction=prediction, target=target) for prediction, target in samples])
        if report is not None:
            report(start + len(targets), len(dataset))
    numbers = [metric.reduce(metric.results) for metric in metrics]
    if not all(ACTION.name in found for found in numbers):
        raise FigureError('no track of the test split has an action label, so there is no accuracy to draw')
    return [found[ACTION.name] for found in numbers], int(numbers[0][VIDEOS.name])


def action_label(clip: HandSequence) -> int:
    """The action label of a clip, -1 where it has none."""
    return -1 if clip.action_label is None else int(clip.action_label)


def _device(forecaster: Forecaster) -> torch.device:
    return next((parameter.device for parameter in forecaster.parameters()), torch.device('cpu'))


def _wrist_speed(clip: HandSequence) -> float:
    """Mean distance in metres from a frame's wrists to the next one's."""
    wrists, valid = clip.require('joints_3d')[:, :, 0], clip.require('joints_valid')[:, :, 0]
    both = valid[1:] & valid[:-1]
    steps = torch.where(both, (wrists[1:] - wrists[:-1]).norm(dim=-1), 0)
    return float(steps.sum() / both.sum().clamp_min(1))


def _recognized(forecaster: Forecaster, future: HandSequence, clip: HandSequence) -> Tensor:
    """The action (S,) that each sampled future is recognized as, from its motion alone."""
    begun = int(clip.meta.get('phase', 0)) + 1
    motion = future.replace(meta=[{**meta, 'phase': begun} for meta in future.meta])
    return forecaster.predict(motion.to(_device(forecaster))).require('action_scores').argmax(-1).cpu()
