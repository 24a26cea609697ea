"""Entries about the five systems, with the small weights that come with the package."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gallery.entry import Clip, Entry, Sources, network, predict
from handpose.datasets import Assembly101
from handpose.datasets.transforms import EstimatorNoise
from handpose.experiments.simulated_predictions import simulate_predictions
from handpose.inference import forecast_motion, load_forecaster
from handpose.models import VideoEstimator
from handpose.structures import Forecast, HandSequence
from handpose.structures.prediction_clips import joint_clip
from handpose.visualization import FutureVideo, contact_sheet, draw_clip, draw_rounds, future_rows, motion_row
from handpose.visualization.action_overlays import action_story, draw_attention, under_frames

SECTION = 'Systems'
SEED = 5  # of built-in people whom the weights have not seen
VERBS = ('take', 'open', 'pour', 'squeeze')


def deformer(sources: Sources) -> NDArray[np.uint8]:
    """Input, predicted skeleton and mesh, and true mesh of two tested tracks."""
    frames = 24 if sources.quick else 36
    root = sources.data(layout='dexycb', subjects=3, sequences=10, frames=frames, cameras=1, seed=SEED)
    dataset, estimator = sources.dataset('deformer/synthetic', root), network('deformer_synthetic')
    rows = []
    for number in range(2):
        prediction, target = predict(estimator, dataset[number])
        drawn = draw_clip(prediction, target, estimator.gives.hand_model.faces, panel_size=256)
        rows.append(drawn[3 * len(drawn) // 4])
    return contact_sheet(rows, 1, pad=0)


def htt(sources: Sources) -> NDArray[np.uint8]:
    """Three moments of a tested video with the action so far, and what the action token looks at."""
    root = sources.data(
        layout='h2o', subjects=2, videos=1, test_videos=1, seed=SEED, actions=['read book', 'open milk']
    )
    dataset, estimator = sources.dataset('htt/synthetic', root), network('htt_synthetic')
    assert isinstance(estimator, VideoEstimator)
    prediction, target = predict(estimator, dataset[0])
    names, story = dataset.metainfo['actions'], action_story(estimator, target)
    frames = draw_clip(prediction, target, panel_size=180)
    frames = list(under_frames(frames, prediction, target, names, story.running))
    chosen = (np.linspace(0.35, 1, 3) * (len(frames) - 1)).round().astype(int)
    sheet = contact_sheet([frames[t] for t in chosen], 1, pad=0)
    attention = draw_attention(prediction, target, names, story.attention)
    height = round(attention.shape[0] * sheet.shape[1] / attention.shape[1])
    return np.vstack([sheet, cv2.resize(attention, (sheet.shape[1], height), interpolation=cv2.INTER_AREA)])


def pdtm(sources: Sources) -> NDArray[np.uint8]:
    """Input with simulated errors, refined and true skeleton, at three frames of a track."""
    root = sources.data(layout='interhand', subjects=3, sequences=5, frames=48, cameras=1, seed=SEED)
    dataset, estimator = sources.dataset('pdtm/synthetic', root), network('pdtm_synthetic')
    prediction, target = predict(estimator, dataset[0])
    frames = draw_clip(prediction, target, panel_size=256)
    chosen = (np.linspace(0.1, 0.9, 3) * (len(frames) - 1)).round().astype(int)
    return contact_sheet([frames[t] for t in chosen], 1, pad=0)


def _actions(sources: Sources) -> Assembly101:
    """Built-in actions of a person whom the weights have not seen."""
    root = sources.data(layout='assembly101', subjects=3, repetitions=1, seed=SEED)
    return Assembly101(data_root=root, split='test')


def _forecast(sources: Sources, action: str, object: str) -> tuple[Forecast, HandSequence]:
    """Futures of the second half of an action, and what followed."""
    dataset = _actions(sources)
    names = [dataset.metainfo['actions'][int(dataset.read(i).action_label)] for i in range(len(dataset))]
    recording = simulate_predictions(dataset.read(names.index(action)), EstimatorNoise(strength=0), (0.5, 0.6), 0)
    middle, samples = len(recording) // 2, 4 if sources.quick else 20
    observed, followed = recording.select(slice(middle)), recording.select(slice(middle, middle + 30))
    truth = HandSequence.stack([joint_clip(followed)])
    forecaster = load_forecaster('ghtt_synthetic')
    return forecast_motion(observed, forecaster, seconds=1, num_samples=samples, object=object), truth


def ghtt(sources: Sources) -> NDArray[np.uint8]:
    """Sampled futures of one action as a film strip, with what followed."""
    forecast, truth = _forecast(sources, 'open lotion', 'lotion')
    clip = forecast.to_sequence()
    observed = clip.select_frames(range(len(forecast.observed) - 30, len(forecast.observed)))
    return future_rows(observed, {'': clip.future}, truth, horizons=(0.25, 0.5, 1.0), num_observed=2)


def futures(sources: Sources) -> Clip:
    """The same as a clip."""
    forecast, truth = _forecast(sources, 'open lotion', 'lotion')
    clip = forecast.to_sequence()
    observed = clip.select_frames(range(len(forecast.observed) - 30, len(forecast.observed)))
    video = FutureVideo(observed, clip.future, truth, size=420)
    return Clip([video.draw(t) for t in range(0, len(video), 2)], 15)


def mvexonet(sources: Sources) -> NDArray[np.uint8]:
    """The joints of a hand after each round, in the views that detect it."""
    options = dict(subjects=3, sequences=1, frames=16, exo_cameras=8, ego_cameras=0, annotation_error=0.0)
    root = sources.data(layout='assemblyhands', seed=SEED, **options)
    dataset = sources.dataset('assemblyhands/synthetic_mvexonet', root)
    batch = HandSequence.stack([dataset[0]])
    rounds = network('mvexonet_synthetic').predict_rounds(batch)
    return draw_rounds(batch, rounds, hand=1, size=240)


def svegonet(sources: Sources) -> NDArray[np.uint8]:
    """Predicted and true joints in images of a headset."""
    options = dict(subjects=3, sequences=1, frames=16, exo_cameras=0, ego_cameras=2)
    root = sources.data(layout='assemblyhands', seed=SEED, **options)
    dataset, estimator = sources.dataset('assemblyhands/synthetic_svegonet', root), network('svegonet_synthetic')
    rows = []
    for number in (0, len(dataset) // 2):
        prediction, target = predict(estimator, dataset[number])
        rows.append(draw_clip(prediction, target, panel_size=240)[0])
    return contact_sheet(rows, 1, pad=0)


@torch.no_grad()
def verbs(sources: Sources) -> NDArray[np.uint8]:
    """Motions of four verbs with the scores of the recognized ones."""
    root = sources.data(layout='assembly101', subjects=3, repetitions=1, seed=SEED)
    dataset, estimator = sources.dataset('assemblyhands/synthetic_verbs', root), network('verbs_synthetic')
    names, shown = dataset.metainfo['actions'], {}
    for number in range(len(dataset)):
        prediction, target = predict(estimator, dataset[number])
        true, scores = names[int(target.action_label)], prediction.require('action_scores')
        best = int(scores.argmax())
        shown.setdefault(true, (target, f'{true} (recognized: {names[best]} {float(scores[best]):.2f})'))
    clips, labels = zip(*(shown[verb] for verb in VERBS), strict=True)
    return motion_row(HandSequence.stack(list(clips)), labels)


SYSTEMS = (
    Entry(
        'deformer',
        SECTION,
        'Deformer: the mesh of one hand, fused over time',
        'One moment of each of two tested videos, with hands that the network has not seen.',
        '`handpose test deformer/synthetic deformer_synthetic --draw 4` ([Deformer](systems/deformer.md))',
        deformer,
    ),
    Entry(
        'htt',
        SECTION,
        'HTT: hands and action in egocentric video',
        'The action so far at three moments, and how much attention each frame gets.',
        '`handpose test htt/synthetic htt_synthetic --draw 4` ([HTT](systems/htt.md))',
        htt,
    ),
    Entry(
        'pdtm',
        SECTION,
        'PDTM: the motion of a per-frame estimator, refined',
        'The input has the errors of a simulated estimator.',
        '`handpose test pdtm/synthetic pdtm_synthetic --draw 4` ([PDTM](systems/pdtm.md))',
        pdtm,
    ),
    Entry(
        'ghtt',
        SECTION,
        'G-HTT: sampled futures',
        'Two observed moments and the futures after them; dashed and green is what followed.',
        '`handpose forecast hands.npz -o future.npz --draw` ([forecast your own motion](guides/forecast.md))',
        ghtt,
    ),
    Entry(
        'ghtt_futures',
        SECTION,
        'G-HTT: the same as a video',
        'Samples are translucent. They lie close together: they show much less than all that may happen.',
        '`handpose forecast hands.npz -o future.npz --draw future.mp4` ([G-HTT](systems/ghtt.md))',
        futures,
        moves=True,
    ),
    Entry(
        'mvexonet',
        SECTION,
        'MVExoNet: rounds of refinement on all views',
        'One hand after each round, in three of eight cameras; the truth is white. In the first camera, round 1 '
        'looks at the other hand.',
        '`handpose annotate ... --model mvexonet_synthetic` '
        '([AssemblyHands](systems/assemblyhands.md#annotation-from-several-views))',
        mvexonet,
    ),
    Entry(
        'svegonet',
        SECTION,
        'SVEgoNet: hands in images of a headset',
        'Boxes are given; the predicted joints are in the frame of the camera.',
        '`handpose test assemblyhands/synthetic_svegonet svegonet_synthetic` '
        '([AssemblyHands](systems/assemblyhands.md))',
        svegonet,
    ),
    Entry(
        'verbs',
        SECTION,
        'MS-G3D: verbs from the joints of two hands',
        'Each panel shows one motion, from its start (faint) to its end (bold).',
        '`handpose test assemblyhands/synthetic_verbs verbs_synthetic` ([verbs from poses](systems/assemblyhands.md))',
        verbs,
    ),
)
