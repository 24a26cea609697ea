"""`Forecast`: possible futures of an observed motion.

Legend: S samples (one random future each), N observed frames, T future frames, H hands, A actions.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handpose.structures.prediction_checks import PredictionsError, as_numbers
from handpose.structures.prediction_clips import joint_clip
from handpose.structures.predictions import Predictions
from handpose.structures.sequence import HandSequence


@dataclass
class Forecast:
    """The observed frames of one or two hands, and samples of how their motion goes on.

    Lengths are metres and joints the common 21, in the coordinate frame of `observed`.

    Args:
        observed: (N, H, ...) what the forecaster was given: frames at its frame rate. Futures go on from the last.
        joints: (S, T, H, 21, 3) metres; stored as NaN where the joint is not valid.
        joints_valid: (S, T, H, 21) bool, the joints that the forecaster gives.
        timestamps: (T,) seconds, increasing, after the last of `observed`.
        model: text about the forecaster.
        seed: of the random numbers; None for the mean future, which has no random numbers and is one sample.
        action: name of the action that all samples were asked to show; '' for none.
        object: name of the object that the hands hold, as given; '' for none.
        action_scores: {action: score} that the forecaster recognizes in the observed frames; empty where it does not.

    Raises:
        PredictionsError: an array that does not fit or a number that is none; the message names it.
    """

    observed: Predictions
    joints: NDArray
    joints_valid: NDArray
    timestamps: NDArray
    model: str = ''
    seed: int | None = None
    action: str = ''
    object: str = ''
    action_scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.joints = as_numbers('joints', self.joints, np.float32)
        self.timestamps = as_numbers('timestamps', self.timestamps, np.float64)
        self.joints_valid = np.array(self.joints_valid)
        self._check()
        self.joints = np.where(self.joints_valid[..., None], self.joints, np.float32(np.nan))

    def __len__(self) -> int:
        return len(self.joints)

    def sample(self, number: int, with_observed: bool = True) -> Predictions:
        """Takes one sample.

        Args:
            number: of the sample, from 0.
            with_observed: begin with the observed frames; False gives the future alone.

        Returns:
            The predictions, in frames of the forecaster; `source` names the sample, `confidence` is None.

        Raises:
            PredictionsError: there is no such sample.
        """
        if not 0 <= number < len(self):
            raise PredictionsError(
                f'the forecast has {len(self)} samples, numbered from 0 to {len(self) - 1}; there is no sample {number}'
            )
        observed, given = self.observed, self.joints_valid[number]
        joints, times = self.joints[number], self.timestamps
        if with_observed:
            joints = np.concatenate([observed.joints, joints])
            given = np.concatenate([observed.given_joints(), given])
            times = np.concatenate([observed.timestamps, times])
        valid = given.any(-1)
        which = 'the mean future' if self.seed is None else f'sample {number} of {len(self)}, seed {self.seed}'
        return Predictions(
            joints=joints,
            valid=valid,
            timestamps=times,
            hand_side=observed.hand_side,
            frame=observed.frame,
            intrinsics=observed.intrinsics,
            image_size=observed.image_size,
            source=f'{observed.source or "predictions"}; future by {self.model or "a forecaster"}: {which}',
            licence=observed.licence,
            scale=observed.scale,
            joints_valid=None if (given == valid[..., None]).all() else given,
        )

    def to_sequence(self) -> HandSequence:
        """Makes a clip of the observed frames whose `future` is the batch of the S samples.

        Returns:
            The clip, with joints_3d; what is not valid is zero.
        """
        samples = [joint_clip(self.sample(number, with_observed=False)) for number in range(len(self))]
        return joint_clip(self.observed).replace(future=HandSequence.stack(samples))

    def spread(self) -> NDArray[np.float64]:
        """Measures how far the samples lie apart: the mean distance of a joint from its mean over the samples.

        Returns:
            (T,) metres; NaN in frames without any valid joint, zeros for a single sample.
        """
        mask = self.joints_valid[..., None]
        joints, count = np.where(mask, self.joints, 0).astype(np.float64), mask.sum(0)
        distances = np.linalg.norm(joints - joints.sum(0) / count.clip(1), axis=-1)
        total = self.joints_valid.sum((0, 2, 3))
        return np.where(total > 0, (distances * self.joints_valid).sum((0, 2, 3)) / total.clip(1), np.nan)

    def _check(self) -> None:
        hands, shape = len(self.observed.hand_side), self.joints.shape
        if len(shape) != 5 or shape[2:] != (hands, 21, 3) or 0 in shape:
            raise PredictionsError(
                f'joints must have shape (S, T, H, 21, 3) with H = {hands}, as the observed frames have, and at least '
                f'one sample and one frame; got {shape}'
            )
        if self.joints_valid.shape != shape[:4] or self.joints_valid.dtype != bool:
            raise PredictionsError(
                f'joints_valid must be bool of shape {shape[:4]}, got {self.joints_valid.dtype} of '
                f'{self.joints_valid.shape}'
            )
        if not np.isfinite(self.joints[self.joints_valid]).all():
            raise PredictionsError(
                'joints must be finite where joints_valid is True, and there is NaN or infinity: the weights of the '
                'forecaster may be corrupt'
            )
        if self.timestamps.shape != (shape[1],):
            raise PredictionsError(f'timestamps must have shape {(shape[1],)}, got {self.timestamps.shape}')
        times = np.concatenate([self.observed.timestamps[-1:], self.timestamps])
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise PredictionsError(
                f'timestamps must be numbers that increase, from the {times[0]:g} s of the last observed frame on'
            )
        if self.seed is None and len(self) > 1:
            raise PredictionsError(f'{len(self)} samples need the seed that they were drawn with, got None')
