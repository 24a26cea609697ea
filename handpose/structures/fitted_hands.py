"""`FittedHands`: hand-model parameters fitted to predictions, for exports and viewers that need bones or a mesh.

Legend: T frames, H hands, V vertices.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from handpose.hands.fit import MIN_JOINTS, HandFit, fit_hand
from handpose.hands.fit_model import fit_hand_model
from handpose.hands.model import HandModel
from handpose.hands.procedural import ProceduralHand
from handpose.structures.annotated_recording import AnnotatedRecording
from handpose.structures.prediction_checks import PredictionsError
from handpose.structures.predictions import Predictions

CHUNK = 500  # frames fitted at a time; what a longer track needs of memory does not grow
MEDIAN_FRAMES = 5  # around a frame
JUMP = 0.5  # radians from the median of these frames, beyond which a finger is fitted again
FARTHER = 0.5e-3  # metres (root mean square) that the second fit of a frame may lie further off
SHAPE_FRAMES = 200  # frames that tell the shape of a longer track


@dataclass(frozen=True, eq=False)
class FittedHands:
    """One hand model per hand, of one shape, posed in every frame.

    Attributes:
        pose: (T, H, 16, 3) rotation vectors in MANO's order, the mean pose included; the wrist's is continuous in time,
            so its angle may exceed pi. Zeros where not valid.
        shape: (H, 10).
        transl: (T, H, 3) metres, the model's translation, in the frame of the predictions. Zeros where not valid.
        valid: (T, H) bool. Frames without a hand stay without one, and those with too few joints.
        residual: (T, H, 21) metres from each given joint to the model's, NaN where there is none.
        timestamps: (T,) seconds.
        hand_side: (H,) values of `Side`.
        frame: 'camera' or 'wrist', as in `Predictions`, or 'world'.
        scale: 'metric' or 'relative', as in `Predictions`.
        hand_model: the model of these parameters.
    """

    pose: NDArray
    shape: NDArray
    transl: NDArray
    valid: NDArray
    residual: NDArray
    timestamps: NDArray
    hand_side: NDArray
    frame: str
    scale: str
    hand_model: HandModel

    def __len__(self) -> int:
        return len(self.pose)

    def mesh(self, hand: int, frames: slice = slice(None)) -> tuple[NDArray, NDArray]:
        """Poses the model.

        Args:
            hand: the hand's position, from 0 to H - 1.
            frames: the frames, T' in number.

        Returns:
            Vertices (T', V, 3) and joints (T', 21, 3) in metres, float32; NaN where not valid.
        """
        side = torch.tensor(int(self.hand_side[hand]))
        values = [torch.from_numpy(v).float() for v in (self.pose[frames, hand], self.transl[frames, hand])]
        with torch.no_grad():
            posed = self.hand_model(values[0], torch.from_numpy(self.shape[hand]).float(), values[1], side)
        missing = ~self.valid[frames, hand, None, None]
        vertices, joints = (np.where(missing, np.float32(np.nan), v.numpy()) for v in posed)
        return vertices, joints

    def joints(self) -> NDArray:
        """Returns the model's joints.

        Returns:
            (T, H, 21, 3) metres in the common order, NaN where not valid.
        """
        parts = [
            [self.mesh(hand, slice(start, start + CHUNK))[1] for start in range(0, len(self), CHUNK)]
            for hand in range(len(self.hand_side))
        ]
        return np.stack([np.concatenate(part) for part in parts], 1)

    def typical_residual(self) -> float:
        """Returns the median distance of the given joints from the model's, in metres; NaN without a valid frame."""
        known = self.residual[np.isfinite(self.residual)]
        return float(np.median(known)) if len(known) else float('nan')


def fit_predictions(
    predictions: Predictions,
    hand_model: HandModel | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FittedHands:
    """Fits a hand model to predicted joints: one shape per hand, a pose and a translation in every frame with a hand.

    A track that is longer than `CHUNK` gets its shape from frames spread over it, and is then fitted in pieces. Torch
    is held to one thread meanwhile: the matrices are small, and two threads take several times longer.

    Args:
        predictions: the joints; where `joints_valid` is given, only those count.
        hand_model: the model that is fitted. `ProceduralHand`, the default, has a licence-free skeleton and mesh.
        progress: called with the number of fitted frames and their total.

    Returns:
        The parameters, in the frame of the predictions.

    Raises:
        PredictionsError: no frame has a hand with at least four known joints.
    """
    hand_model = ProceduralHand() if hand_model is None else hand_model
    known = np.isfinite(predictions.joints).all(-1)
    valid = predictions.valid & (known.sum(-1) >= MIN_JOINTS)
    if not valid.any():
        raise PredictionsError(f'no frame has a hand with at least {MIN_JOINTS} known joints, so none can be fitted')
    frames, hands = valid.shape
    pose, transl = np.zeros((frames, hands, 16, 3)), np.zeros((frames, hands, 3))
    shape, residual = np.zeros((hands, 10)), np.full((frames, hands, 21), np.nan)
    done, total = 0, int(valid.sum())
    with one_thread():
        for hand in np.flatnonzero(valid.any(0)):
            track = _Track(hand_model, int(predictions.hand_side[hand]), predictions.joints[:, hand], known[:, hand])
            where = np.flatnonzero(valid[:, hand])
            fixed = track.shape(where) if len(where) > CHUNK else None
            for start in range(0, len(where), CHUNK):
                chosen = where[start : start + CHUNK]
                fit = track.fit(chosen, fixed)
                pose[chosen, hand], transl[chosen, hand] = fit.hand_pose.numpy(), fit.hand_transl.numpy()
                shape[hand], residual[chosen, hand] = fit.hand_shape.numpy(), fit.error.numpy()
                done += len(chosen)
                if progress is not None:
                    progress(done, total)
            track.smooth_over_jumps(where, pose[:, hand], transl[:, hand], residual[:, hand], shape[hand])
            pose[where, hand, 0] = continuous_rotvecs(pose[where, hand, 0])
    values = (predictions.timestamps, predictions.hand_side, predictions.frame, predictions.scale)
    return FittedHands(pose, shape, transl, valid, residual, *values, hand_model)


def recording_hands(recording: AnnotatedRecording, hand_model: HandModel) -> FittedHands:
    """Takes the hands of an annotated recording that has a fitted hand model.

    Args:
        recording: the recording.
        hand_model: the model of its parameters.

    Returns:
        The parameters, in the world.

    Raises:
        PredictionsError: the recording has no parameters, or those of another hand model.
    """
    pose, shape, transl, valid = (
        recording.hand_pose,
        recording.hand_shape,
        recording.hand_transl,
        recording.hand_pose_valid,
    )
    if pose is None or shape is None or transl is None or valid is None or recording.hand_model != hand_model.name:
        found = f'those of {recording.hand_model!r}' if recording.hand_model else 'none'
        raise PredictionsError(f'expected a recording with parameters of {hand_model.name!r}, it has {found}')
    joints = recording.joints_3d
    return FittedHands(
        pose=np.nan_to_num(pose),
        shape=shape,
        transl=np.nan_to_num(transl),
        valid=valid,
        residual=np.full(joints.shape[:-1], np.nan),
        timestamps=recording.timestamps,
        hand_side=recording.hand_side,
        frame='world',
        scale='metric',
        hand_model=hand_model,
    )


@dataclass(frozen=True)
class _Track:
    """The joints (T, 21, 3) of one hand, which of them are known (T, 21), and the model to fit."""

    model: HandModel
    side: int
    joints: NDArray
    known: NDArray

    def fit(self, frames: NDArray, shape: torch.Tensor | None = None) -> HandFit:
        """Fits some frames, all of them with a hand."""
        joints, known = torch.from_numpy(self.joints[frames]), torch.from_numpy(self.known[frames])
        function = fit_hand if isinstance(self.model, ProceduralHand) else fit_hand_model
        return function(self.model, joints, known, self.side, hand_shape=shape)

    def smooth_over_jumps(
        self, frames: NDArray, pose: NDArray, transl: NDArray, residual: NDArray, shape: NDArray
    ) -> None:
        """Refits, in place, frames whose fingers are unlike those of the frames around.

        Joints of a bent finger can be met about as well by another bend; which of the two a frame gets is chance. Such
        a frame is fitted again from the median pose around it, and keeps the result if that is hardly less close.
        """
        if not isinstance(self.model, ProceduralHand):
            return
        usual = median_filter(pose[frames], size=(MEDIAN_FRAMES, 1, 1), mode='nearest')
        odd = np.flatnonzero(np.linalg.norm(pose[frames] - usual, axis=-1)[:, 1:].max(1) > JUMP)
        if not len(odd):
            return
        again, known = frames[odd], torch.from_numpy(self.known[frames[odd]])
        start, joints = torch.from_numpy(usual[odd]), torch.from_numpy(self.joints[again])
        known_shape = torch.from_numpy(shape)
        fit = fit_hand(self.model, joints, known, self.side, hand_shape=known_shape, start_pose=start)
        before, after = (np.sqrt(np.nanmean(error**2, 1)) for error in (residual[again], fit.error.numpy()))
        kept = after <= before + FARTHER
        pose[again[kept]], transl[again[kept]] = fit.hand_pose.numpy()[kept], fit.hand_transl.numpy()[kept]
        residual[again[kept]] = fit.error.numpy()[kept]

    def shape(self, frames: NDArray) -> torch.Tensor:
        """Fits the shape to frames spread evenly over the track."""
        spread = frames[np.linspace(0, len(frames) - 1, SHAPE_FRAMES).round().astype(np.int64)]
        return self.fit(spread).hand_shape


def continuous_rotvecs(rotvecs: NDArray) -> NDArray:
    """Chooses among the rotation vectors of the same rotations those that change least from frame to frame.

    Args:
        rotvecs: (T, 3) radians.

    Returns:
        (T, 3) of the same rotations; angles may exceed pi.
    """
    result = rotvecs.copy()
    for t in range(1, len(result)):
        angle = np.linalg.norm(result[t])
        if angle > 0:
            axis = result[t] / angle
            turns = np.rint((result[t - 1] @ axis - angle) / (2 * np.pi))
            result[t] += 2 * np.pi * turns * axis
    return result


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds torch to one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
