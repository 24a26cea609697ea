"""Refines the predictions of another estimator, for whole files and for live frames.

    refiner = load_refiner()            # the default weights; or load_refiner(method='gaussian'), a filter
    save_predictions('refined.npz', refiner.refine(load_predictions('hands.npz')))

Legend: T frames, H hands, W frames of a window.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.engine import load_weights
from handpose.inference.constant_bones import BONE_LENGTHS, constant_bones
from handpose.inference.model_config import model_config
from handpose.inference.online_refiners import frames_ahead
from handpose.inference.point_tracks import (
    LiveTrack,
    PointTrack,
    RefinedArrays,
    known_points,
    last_known,
    point_tracks,
    refine_segment,
)
from handpose.models.estimators.motion_filters import MotionFilter
from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.models.layers.hand_motion import frame_positions
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.structures import Predictions, PredictionsError
from handpose.structures.prediction_orders import missing_joints
from handpose.structures.predictions import PER_FRAME, PER_HAND
from handpose.text import did_you_mean
from handpose.zoo.find import find_weights

# Parameters in seconds and hertz; docs/guides/refine.md describes how they were chosen.
METHODS: dict[str, dict[str, Any]] = {
    'gaussian': dict(type='GaussianFilter', sigma=0.08, order=3),
    'savitzky_golay': dict(type='SavitzkyGolayFilter', window=1 / 3, order=3),
    'one_euro': dict(type='OneEuroFilter', min_cutoff=5.0, beta=300.0, derivative_cutoff=5.0),
    'kalman': dict(type='KalmanSmoother', acceleration=0.3, noise=0.003),
    'interpolate': dict(type='InputMotion'),
}
"""Refiners without learned parameters, by name; 'interpolate' fills short gaps and changes nothing else."""
DEFAULT_METHOD = 'gaussian'
"""The key of `METHODS` that is used where a filter is needed."""
DEFAULT_REFINER = 'kernel_smoother_synthetic'
"""The weights of the model zoo that refine where nothing else is named."""
"""Weights that come with the package; docs/guides/refine.md reports how they were chosen."""
LONGEST_GAP = 0.9  # seconds


def load_refiner(
    path: str | Path | None = None,
    method: str | None = None,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    hand_model: Mapping[str, Any] | None = None,
    latency: int | None = None,
    longest_gap: float | None = None,
    fps: float | None = None,
    device: torch.device | str = 'cpu',
    bones: str = 'as_given',
) -> 'Refiner':
    """Creates a `Refiner`.

    Args:
        path: weights: a file, or a name in the zoo. A published `.safetensors` file describes its model; a training
            checkpoint `.pth` needs `config`. None means `method`.
        method: a filter without learned parameters, a key of `METHODS`; None means the weights `DEFAULT_REFINER`.
        config: path of the config that the checkpoint was trained with.
        options: {key: value} that override the config.
        hand_model: config of the hand model, if the weights were trained with one that needs files:
            dict(type='MANO', model_path=...).
        latency: see `Refiner`.
        longest_gap: see `Refiner`.
        fps: see `Refiner`.
        device: of the model.
        bones: see `Refiner`.

    Returns:
        The refiner.

    Raises:
        ValueError: an unknown method, a checkpoint without its config, or weights that are not a refiner's.
    """
    if path is None and method is not None:
        if method not in METHODS:
            raise ValueError(
                f'method must be one of {", ".join(METHODS)}, got {method!r}.{did_you_mean(method, METHODS)}'
            )
        estimator = MODELS.build(METHODS[method])
        return Refiner(estimator, latency, longest_gap, fps, type(estimator).__name__, bones)
    path = find_weights(DEFAULT_REFINER if path is None else path)
    estimator = MODELS.build(model_config(path, config, options, hand_model))
    if not isinstance(estimator, MotionRefiner):
        raise ValueError(
            f'{path} contains weights of {type(estimator).__name__}, which refines no motion; give weights of a refiner'
        )
    load_weights(estimator, path)
    name = f'{type(estimator).__name__} ({Path(path).name})'
    return Refiner(prepare_for_prediction(estimator.to(device)), latency, longest_gap, fps, name, bones)


class Refiner:
    """Refines predictions: a whole track with `refine`, or frame by frame with `push` and `finish`.

    Missing frames of a hand (not valid, or skipped in time) are filled if the hand is missing for at most `longest_gap`
    seconds. Longer gaps stay missing and split the hand's track into segments, which are refined independently; frames
    before the first and after the last detection of the hand stay missing too. A change of `track_ids` splits a track
    as well, and the gap before it is not filled. Each hand is refined independently.

    Args:
        estimator: the refiner.
        latency: of `push`: a frame is returned once this number of later frames has arrived. The default is the number
            that determines the output of a model (`exact_latency`), or that a filter looks ahead. The default is known
            once two frames have shown the frame rate, or from the beginning if `fps` is given.
        longest_gap: seconds for which the hand is missing; default 0.9.
        fps: of `push`: frames per second; None means as the first two frames show.
        name: that the source of a refined file states.
        bones: their lengths: 'as_given', as the estimator has them; or 'constant', see `constant_bones`, which takes a
            whole track, so only `refine` has it.

    Attributes:
        latency: frames, or None while it is unknown.
        exact_latency: frames with which `push` has the output of `refine` for a hand without gaps, or None while it is
            unknown. For 2D joints next to a refiner with learned weights it is at least that of the Gaussian filter.

    Raises:
        ValueError: an invalid latency, gap or frame rate.
    """

    def __init__(
        self,
        estimator: MotionRefiner,
        latency: int | None = None,
        longest_gap: float | None = None,
        fps: float | None = None,
        name: str | None = None,
        bones: str = 'as_given',
    ) -> None:
        self.estimator = estimator.eval()
        self._filter = estimator if isinstance(estimator, MotionFilter) else None
        self._pixel_filter, self._box_filter = (MODELS.build(METHODS[key]) for key in (DEFAULT_METHOD, 'interpolate'))
        self.name = name or type(estimator).__name__
        self.longest_gap = LONGEST_GAP if longest_gap is None else longest_gap
        if self.longest_gap < 0 or not (latency is None or latency >= 0) or not (fps is None or fps > 0):
            raise ValueError(
                f'latency and longest_gap must be at least 0 and fps positive, got {latency}, {longest_gap}, {fps}'
            )
        if bones not in BONE_LENGTHS:
            raise ValueError(f'bones must be one of {", ".join(BONE_LENGTHS)}, got {bones!r}')
        self.bones = bones
        self._requested_latency, self._requested_fps = latency, fps
        self._newest: Predictions | None = None  # the frame that was pushed last
        self.reset()

    def notes(self, predictions: Predictions) -> list[str]:
        """Checks what the frame rate of a track means for the refiner.

        Args:
            predictions: the track.

        Returns:
            Messages; empty if the frame rate fits.
        """
        if predictions.period is None:
            return []
        fps, estimator = 1 / predictions.period, self.estimator
        rate = estimator.working_rate(torch.from_numpy(predictions.timestamps))
        if rate is not None:
            steps = frame_positions(torch.from_numpy(predictions.timestamps), rate).diff()
            if ((steps == 1) if estimator.interpolates_gaps else (steps == steps.round())).all():
                return []
            return [
                f'the model works at {rate:g} frames per second and the track has {fps:.4g} or skips frames: it is '
                f'resampled linearly to the frame rate of the model and back'
            ]
        in_seconds = self._filter is not None and self._filter.unit == 'seconds'
        if in_seconds and predictions.period > self._filter.idle_above():
            return [
                f'at {fps:.4g} frames per second the window of {self.name} contains too few frames to smooth '
                f'anything: the filter only fills short gaps'
            ]
        return []

    def refine(self, predictions: Predictions) -> Predictions:
        """Refines a whole track of any length.

        Args:
            predictions: the track.

        Returns:
            The same frames: joints refined, `valid` True also where a short gap was filled (the confidence is 0 there).
            A filter does not change a track of one frame. 2D joints are refined too, boxes interpolated where a gap was
            filled, and other fields stay; see docs/guides/refine.md.

        Raises:
            PredictionsError: nothing to refine, a wrong unit, ... (see `Predictions.check`); or missing joints, which
                only filters accept.
        """
        predictions.check()
        self._check_joints(predictions)
        refined = RefinedArrays(predictions)
        is_long_gap = partial(self._is_long_gap, period=predictions.period)
        for track in point_tracks(predictions, self._each_joint(predictions)):
            for segment in self._segments(predictions, track):
                points = refine_segment(self._estimator_of(track), track, predictions, segment)
                frames = np.arange(segment[0], segment[-1] + 1)
                known = known_points(track.given(predictions)[frames], predictions.timestamps[frames], is_long_gap)
                refined.write(track, frames, points, known)
        result = self._refined(refined, {})
        return constant_bones(result) if self.bones == 'constant' else result

    def push(self, frame: Predictions) -> Predictions | None:
        """Adds the next frame, and returns the one that arrived `latency` frames before it.

        The output is based on the frames so far: of the windows that `refine` averages, those that end no later than
        the last detection of the hand. A frame that no such window contains, at the beginning, is refined with the
        track so far. With `exact_latency` the output is therefore that of `refine` for a hand without gaps, and with
        `exact_latency + longest_gap` also for one with gaps. A hand that has not been detected again by then is
        missing.

        Args:
            frame: one frame, with the same hands as the frames before; hands that are not detected have valid False.

        Returns:
            One frame, or None while there is none.

        Raises:
            PredictionsError: not one frame, other hands or another coordinate frame than before, a time that does not
                increase, a wrong unit, or bones='constant'.
        """
        if self.bones == 'constant':
            raise PredictionsError("bones='constant' needs the lengths of a whole track: use refine(), not push()")
        self._check_next(frame)
        time = float(frame.timestamps[0])
        if self._tracks is None:
            self._begin(frame)
        elif self._period is None:
            self._set_frame_rate(1 / (time - float(self._newest.timestamps[0])))
        self._newest = frame
        self._pending.append(frame)
        for live in self._tracks:
            live.push(frame, self._is_long_gap)
        return self._pop_output() if self.latency is not None and len(self._pending) > self.latency else None

    def finish(self) -> list[Predictions]:
        """Ends the track; the next `push` begins a new one.

        Returns:
            The frames that `push` has not returned yet.
        """
        for live in self._tracks or ():
            live.end_segment()
        rest = [self._pop_output() for _ in range(len(self._pending))]
        self.reset()
        return rest

    def reset(self) -> None:
        """Discards all frames that were pushed."""
        self._pending: deque[Predictions] = deque()
        self._tracks: list[LiveTrack] | None = None
        self._known: dict[str, NDArray] = {}  # marks of the frame that was returned last
        self._newest = None
        self._checked = False
        self._period: float | None = None
        self.latency: int | None = None
        self.exact_latency: int | None = None
        if self._requested_fps is not None:
            self._set_frame_rate(self._requested_fps)
        elif self._requested_latency is not None:
            self.latency = self._requested_latency
        elif self._filter is not None and self._filter.look_ahead == 0:
            self.latency = 0

    def _set_frame_rate(self, fps: float) -> None:
        self._period = 1 / fps
        used = {id(live.estimator): live.estimator for live in self._tracks or () if live.track.field != 'boxes'}
        frames = [frames_ahead(estimator, fps) for estimator in (self.estimator, *used.values())]
        ahead, self.exact_latency = (max(numbers) for numbers in zip(*frames, strict=True))
        self.latency = ahead if self._requested_latency is None else self._requested_latency

    def _begin(self, frame: Predictions) -> None:
        if self._filter is not None and self._filter.unit == 'frames' and self._filter.look_ahead:
            raise PredictionsError(f"{self.name} counts frames; push needs a filter with unit='seconds'")
        self._tracks = [
            LiveTrack(track, self._estimator_of(track), int(frame.hand_side[track.hand]))
            for track in point_tracks(frame, self._each_joint(frame))
        ]
        if self._requested_fps is not None:
            self._set_frame_rate(self._requested_fps)

    def _estimator_of(self, track: PointTrack) -> MotionRefiner:
        if track.field == 'boxes':
            return self._box_filter
        return self.estimator if track.field == 'joints' or self._filter is not None else self._pixel_filter

    def _each_joint(self, predictions: Predictions) -> bool:
        """Whether each joint is refined by itself, as filters do with a skeleton that lacks joints."""
        return self._filter is not None and predictions.joints_valid is not None

    def _is_long_gap(self, seconds: float, period: float | None = None) -> bool:
        """Whether the time from one detection of a hand to the next is too long to be filled."""
        return seconds > self.longest_gap + 1.5 * (period or self._period)

    def _segments(self, predictions: Predictions, track: PointTrack) -> list[NDArray[np.int64]]:
        """The frames with a detection, split at long gaps and where another hand follows."""
        detected = np.flatnonzero(track.detected(predictions))
        if len(detected) < 2:
            return [detected] if len(detected) else []
        gaps = np.diff(predictions.timestamps[detected])
        ends = np.array([self._is_long_gap(gap, predictions.period) for gap in gaps])
        if predictions.track_ids is not None:
            ends |= np.diff(predictions.track_ids[detected, track.hand]) != 0
        return np.split(detected, np.flatnonzero(ends) + 1)

    def _pop_output(self) -> Predictions:
        """The output for the oldest frame that was not returned yet."""
        refined = RefinedArrays(self._pending.popleft())
        for live in self._tracks:
            popped = live.pop(float(refined.predictions.timestamps[0]))
            if popped is None:
                refined.write(live.track, np.zeros(1, np.int64), None)
            else:
                refined.write(live.track, np.zeros(1, np.int64), popped[0][None], popped[1][None])
        return self._refined(refined, self._known)

    def _refined(self, arrays: RefinedArrays, known_marks: dict[str, NDArray]) -> Predictions:
        """The predictions with refined points; marks of filled frames are those of the last detection.

        `known_marks` holds those of the frame before, and those of the last frame afterwards.
        """
        before, joints_valid = arrays.predictions, arrays.joints_valid
        changed: dict[str, Any] = dict(arrays.values)
        if not np.isfinite(changed['joints'][joints_valid]).all():
            raise PredictionsError(f'{self.name} returned NaN or infinity; the weights are corrupt')
        if before.frame == 'wrist':
            changed['joints'] = changed['joints'] - changed['joints'][:, :, :1]
        for name, known in (('joints_inferred', before.given_joints()), ('track_ids', before.valid)):
            value = getattr(before, name)
            if value is not None:
                changed[name] = last_known(value, known, known_marks.get(name, value[0]))
                known_marks[name] = changed[name][-1]
        if before.joints_valid is not None:
            changed['joints_valid'] = joints_valid
        source = f'{before.source or "predictions"}, refined by {self.name}'
        return replace(before, **changed, valid=np.asarray(joints_valid.any(-1)), source=source)

    def _check_joints(self, predictions: Predictions) -> None:
        """Refuses skeletons that lack joints, if the refiner has windows of whole hands."""
        lacking = missing_joints(predictions.given_joints(), predictions.valid)
        if lacking and not self.estimator.partial_skeletons:
            raise PredictionsError(
                f'{self.name} needs all 21 joints, and the predictions lack {", ".join(lacking)}: '
                f'infer_missing_joints(predictions) or `handpose refine --infer-missing` computes them from the '
                f'others, and a filter refines the joints that are there'
            )

    def _check_next(self, frame: Predictions) -> None:
        if len(frame) != 1:
            raise PredictionsError(f'push expects one frame, got {len(frame)}; predictions.select([t]) is one')
        if not self._checked and frame.valid.any():
            frame.check()
            self._checked = True
        self._check_joints(frame)
        last = self._newest
        if last is None:
            return
        if frame.frame != last.frame or list(frame.hand_side) != list(last.hand_side):
            raise PredictionsError(
                f'a frame has hands {frame.hand_side.tolist()} in {frame.frame!r} and the one before it '
                f'{last.hand_side.tolist()} in {last.frame!r}; a hand that is not detected stays, with valid False, '
                f'and reset() begins a new track'
            )
        names = (*PER_HAND, *PER_FRAME)
        optional = [[name for name in names if getattr(one, name) is not None] for one in (last, frame)]
        if optional[0] != optional[1]:
            raise PredictionsError(
                f'a frame has {", ".join(optional[1])}, and the one before it {", ".join(optional[0])}: all frames of '
                f'a track have the same'
            )
        if frame.timestamps[0] <= last.timestamps[0]:
            raise PredictionsError(
                f'times must increase: {frame.timestamps[0]:g} s came after {last.timestamps[0]:g} s; reset() begins '
                f'a new track'
            )
