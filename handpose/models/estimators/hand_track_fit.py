"""`HandModelTrackFit`: a refiner that fits a hand model to a whole track: constant bones, joints within their limits.

Legend: N hands, T frames, H hands of a track, J = 21 joints.
"""

from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from handpose.geometry import rotmat_to_rot6d, rotvec_to_rotmat
from handpose.hands.fit import MIN_JOINTS, HandFit, fit_hand
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import Side
from handpose.models.estimators.motion_filters import GaussianFilter
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.hand_motion import motion_to_joints
from handpose.registry import HAND_MODELS, MODELS

SHAPE_FRAMES = 300  # of a track, evenly spread, that decide the shape of the hand
FRAMES_AT_ONCE = 1000


@MODELS.register_module()
class HandModelTrackFit(MotionRefiner):
    """Smooths the joints and fits `ProceduralHand` to them: one shape for the track, a pose for each frame.

    The fit is robust, and its joint angles stay near the limits of the hand model; see `fit_hand`. So the bones have
    the same lengths in all frames. What the hand model cannot represent is lost: proportions of the person's hand, and
    where an estimator has its joints.

    Args:
        smoothness: sigma in seconds of the `GaussianFilter` (order 3) by which the joints are smoothed first; 0 fits
            each frame to its own joints.
        hand_model: config of the hand model, a `ProceduralHand`; None means that one.
        meshes: whether `predict` gives vertices and hand-model parameters.

    Raises:
        ValueError: a negative smoothness, or another hand model.
    """

    partial_skeletons = True

    def __init__(self, smoothness: float = 0.08, hand_model: dict | None = None, meshes: bool = False) -> None:
        super().__init__(num_frames=None, mirror_left_hands=True)
        if not 0 <= smoothness < float('inf'):
            raise ValueError(f'smoothness must be at least 0 seconds, got {smoothness}')
        fitted = HAND_MODELS.build(hand_model or dict(type='ProceduralHand'))
        if not isinstance(fitted, ProceduralHand):
            raise ValueError(f'HandModelTrackFit fits ProceduralHand, got a {type(fitted).__name__}')
        self.smoother = GaussianFilter(smoothness, 3) if smoothness else None
        self.fitted_hand = fitted
        self.hand_model = fitted if meshes else None

    def frames_ahead(self, fps: float) -> NoReturn:
        """Refuses online refinement.

        Args:
            fps: ignored.

        Raises:
            ValueError: always: the shape is that of the whole track.
        """
        raise ValueError('HandModelTrackFit fits one hand shape to a whole track: use refine(), not push()')

    def forward(
        self, motion: Tensor, frame_valid: Tensor | None = None, joints_valid: Tensor | None = None
    ) -> RefinedMotion:
        """Fits right hands to motions, without smoothing them.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: (N, T) bool, False where a frame is padding; None means all are valid.
            joints_valid: (N, T, J) bool, the given joints, at least four; None means all.

        Returns:
            `RefinedMotion` of the N hands: joints (N, T, J, 3), poses and shapes.

        Raises:
            ValueError: fewer than four joints.
        """
        given = torch.ones(motion.shape[:3], dtype=torch.bool) if joints_valid is None else joints_valid.cpu()
        given = given if frame_valid is None else given & frame_valid.cpu()[..., None]
        joints = motion_to_joints(motion, motion.new_zeros(len(motion), 1, 3)).double().cpu()
        fits = [self._fit(*hand) for hand in zip(joints, given, strict=True)]
        fitted = torch.stack([fit.joints for fit in fits])
        poses = rotmat_to_rot6d(rotvec_to_rotmat(torch.stack([fit.hand_pose for fit in fits])))
        relative = torch.cat([fitted[..., :1, :], fitted[..., 1:, :] - fitted[..., :1, :]], 2)
        shapes = torch.stack([fit.hand_shape for fit in fits])
        return RefinedMotion(relative.to(motion), poses.to(motion), shapes.to(motion))

    @torch.no_grad()
    def refine(
        self,
        joints: Tensor,
        given: Tensor,
        hand_side: Tensor,
        frame_valid: Tensor | None = None,
        wrist_at_origin: bool = False,
        times: Tensor | None = None,
    ) -> RefinedMotion:
        """See `MotionRefiner.refine`; the joints are smoothed first, at their own times."""
        if self.smoother is not None:
            joints = self.smoother.refine(joints, given, hand_side, frame_valid, wrist_at_origin, times).joints
            given = given.any(0, keepdim=True).expand_as(given)  # gaps are filled
        return super().refine(joints, given, hand_side, frame_valid, wrist_at_origin, times)

    def _fit(self, joints: Tensor, given: Tensor) -> HandFit:
        """Fits one right hand to joints (T, J, 3), of which (T, J) are given: the shape first, then the poses."""
        frames = given.any(1).nonzero()[:, 0]
        if not len(frames) or int(given[frames].sum(1).min()) < MIN_JOINTS:
            raise ValueError(f'HandModelTrackFit needs {MIN_JOINTS} joints of a hand, and the input lacks more')
        some = frames[np.linspace(0, len(frames) - 1, min(SHAPE_FRAMES, len(frames))).round().astype(np.int64)]
        shape = fit_hand(self.fitted_hand, joints[some], given[some], Side.RIGHT).hand_shape
        parts = [joints.new_zeros(len(joints), *size) for size in ((16, 3), (3,), (21, 3), (21,))]
        for rows in frames.split(FRAMES_AT_ONCE):
            fit = fit_hand(self.fitted_hand, joints[rows], given[rows], Side.RIGHT, hand_shape=shape)
            for whole, values in zip(parts, (fit.hand_pose, fit.hand_transl, fit.joints, fit.error), strict=True):
                whole[rows] = values
        pose, transl, fitted, error = parts
        return HandFit(pose, shape, transl, fitted, error)
