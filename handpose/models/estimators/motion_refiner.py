"""`MotionRefiner`: what all estimators share that repair the hand motion of another estimator.

A refiner sees a hand's *motion*: 21 points a frame, of which the first is the wrist relative to its mean over the
window and the others are relative to the wrist. So the wrist's path is refined as one more joint, up to a constant
shift, which stays as it came. Where the input is in the 'wrist' frame, so is the answer: its wrist is put back to zero.

Legend: B clips, N hands, W windows, T frames, H hands of a clip, J = 21 joints.
"""

from abc import abstractmethod
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from handpose.geometry import rot6d_to_rotmat, rotmat_to_rotvec
from handpose.hands import HandModel
from handpose.hands.sides import is_left
from handpose.models.estimators.base import Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.network_parts import WHOLE, NetworkPart
from handpose.models.estimators.predicted_meshes import add_mesh, fit_meshes
from handpose.models.estimators.refiner_batches import (
    average_windows,
    frame_rates_of,
    motion_targets,
    refiner_input,
    rows_of_hands,
    seconds_of,
    time_first,
)
from handpose.models.estimators.refiner_part import RefinedMotion, join_motions, refiner_part
from handpose.models.layers.hand_motion import frame_positions, joints_to_motion, mirror_joints
from handpose.models.layers.missing_frames import (
    fill_missing_joints,
    interpolate_frames,
    interpolate_joints,
    near_given,
)
from handpose.models.layers.pose_fusion import mirror_poses
from handpose.structures import HandSequence, fill_masked_values, overlapping_windows, sample_name

WINDOWS_AT_ONCE = 64
RATE_TOLERANCE = 0.05  # by which the frame rate of training clips may differ from the model's


class MotionRefiner(Estimator, abstract=True):
    """Base of refiners; a subclass defines `forward` and, if it learns, sets `loss_function`.

    Args:
        num_frames: T of a window; None means the whole track at once.
        stride: frames from the start of one window to that of the next; what overlapping windows say is averaged.
        mirror_left_hands: the refiner is shown left hands in a mirror, so that it only ever sees right ones.
        frame_rate: frames per second that the refiner is trained on; tracks with other rates are resampled to it.
            Every refiner with windows must state it.

    Attributes:
        interpolates_gaps: a joint that is missing in some frames is interpolated and then counts as given.
        partial_skeletons: takes hands that lack joints throughout.
        look_around: seconds of a track that decide a frame, for refiners without windows.
        predicts_pose: `forward` gives pose and shape, rather than joints alone.
        any_length: `forward` takes windows of fewer than num_frames frames.

    Raises:
        ValueError: windows without a frame_rate, or a stride that leaves frames out.
    """

    interpolates_gaps = True
    partial_skeletons = False
    look_around = 0.0
    predicts_pose = False
    any_length = True

    def __init__(
        self,
        num_frames: int | None = None,
        stride: int = 1,
        mirror_left_hands: bool = True,
        frame_rate: float | None = None,
    ) -> None:
        super().__init__()
        if num_frames is not None and not (frame_rate is not None and 0 < frame_rate < float('inf')):
            raise ValueError(
                f'{type(self).__name__} needs frame_rate, the frames per second of the motion it is trained on '
                f'(frame_rate=30.0), got {frame_rate}: set it in the model of the config'
            )
        self.frame_rate = frame_rate
        if num_frames is not None and not 1 <= stride <= num_frames:
            raise ValueError(f'stride must be from 1 to num_frames = {num_frames}, got {stride}')
        self.num_frames, self.stride, self.mirror_left_hands = num_frames, stride, mirror_left_hands
        self.hand_model: HandModel | None = None  # of the predicted meshes; a subclass sets it
        self.loss_function: nn.Module | None = None

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('input_joints_3d', 'input_valid', 'frame_valid', 'hand_side')
        return Reads(
            fields=fields if self.frame_rate is None else (*fields, 'timestamps'),
            num_frames=self.num_frames,
            frame_rate=self.frame_rate,
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None, hand_model=self.hand_model)

    def working_rate(self, times: Tensor) -> float | None:
        """Frames per second at which a track is refined.

        Args:
            times: (T,) seconds.

        Returns:
            The rate; None means the frames are taken as they come.
        """
        return self.frame_rate

    def frames_ahead(self, fps: float) -> int:
        """Later frames that decide the output of a frame, for refiners without windows.

        Args:
            fps: frames per second of the track.

        Returns:
            Their number.
        """
        raise NotImplementedError(f'{type(self).__name__} must say how many later frames it looks at: frames_ahead')

    @abstractmethod
    def forward(
        self, motion: Tensor, frame_valid: Tensor | None = None, joints_valid: Tensor | None = None
    ) -> RefinedMotion:
        """Refines motions.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: (N, T) bool, False where a frame is padding; None means all are valid.
            joints_valid: (N, T, J) bool, the given joints, for refiners with `partial_skeletons`; None means all.

        Returns:
            `RefinedMotion` of the N hands: joints (N, T, J, 3), and pose and shape if the refiner predicts them.
        """

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a (B, T, H, ...) batch with inputs and true joints; see `Estimator.loss`."""
        if self.loss_function is None:
            self._refuse_training()
        batch = fill_masked_values(batch)
        joints, given, side = refiner_input(batch)
        self._check_frame_rate(batch)
        self._check_flips(batch)
        annotated = batch.require('joints_valid').any(3)
        b, h = (given.any(3) & annotated).any(1).nonzero(as_tuple=True)  # the N hands there are
        frame_valid, given = batch.require('frame_valid')[b], given[b, :, h]
        mirrored = is_left(side[b, h]) & self.mirror_left_hands
        seen = mirror_joints(fill_missing_joints(joints[b, :, h], given), mirrored)
        motion, origin = joints_to_motion(seen, frame_valid)
        masks = None if frame_valid.all() else frame_valid, self._joints_valid(given, given)
        rates = frame_rates_of(batch)
        output = self.run(motion, *masks, None if rates is None else rates[b], step)
        target = motion_targets(batch, (b, h), mirrored, origin)
        # A joint that the estimator never gives is not refined.
        target = target._replace(joints_valid=target.joints_valid & given.any(1, keepdim=True))
        return self.loss_function(output, target, step, self.hand_model)

    def run(
        self,
        motion: Tensor,
        frame_valid: Tensor | None,
        joints_valid: Tensor | None,
        frame_rate: Tensor | None,
        step: TrainingStep | None = None,
    ) -> RefinedMotion:
        """Calls `forward`; a refiner overrides it if it reads the frame rate, or varies what it sees in training.

        Args:
            motion: see `forward`.
            frame_valid: see `forward`.
            joints_valid: see `forward`.
            frame_rate: (N,) frames per second; None where it is unknown.
            step: in training, to derive random draws from.

        Returns:
            See `forward`.
        """
        if joints_valid is None:
            return self(motion, frame_valid)
        return self(motion, frame_valid, joints_valid)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        masks, rates = self.partial_skeletons, self._reads_frame_rate()
        return (refiner_part(self.run, self.num_frames, self.any_length, masks, rates, self.predicts_pose),)

    def _reads_frame_rate(self) -> bool:
        return type(self).run is not MotionRefiner.run

    def export_notes(self) -> dict[str, Any]:
        """See `Estimator.export_notes`."""
        return {'stride': self.stride, 'mirror_left_hands': self.mirror_left_hands}

    def _joints_valid(self, given: Tensor, seen: Tensor) -> Tensor | None:
        """The mask that `forward` gets: given (N, T, J) in the track's frames, seen (N, S, J) on the time line."""
        if self.interpolates_gaps:
            seen = given.any(1, keepdim=True).expand_as(seen)
        if seen.all():
            return None
        if not self.partial_skeletons and not given.any(1).all():
            raise ValueError(
                f'{type(self).__name__} needs all 21 joints, and the input lacks some: infer_missing_joints computes '
                f'them, and KernelSmoother and the filters take hands that lack joints'
            )
        return seen

    def _refuse_training(self) -> NoReturn:
        name = type(self).__name__
        if not any(True for _ in self.parameters()):
            raise NotImplementedError(f'{name} has nothing to train; test it with `handpose test`')
        raise ValueError(f'this {name} was built without a loss; give its config one, e.g. dict(type="RefinementLoss")')

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Refines whole tracks.

        Args:
            batch: (B, T, H, ...) with `input_joints_3d`.
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the input's frame: joints_3d of every frame of each hand that has any valid input, and, from
            refiners with a hand model, vertices and hand-model parameters.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        joints, given, side = refiner_input(batch)
        times = seconds_of(batch)
        if self.frame_rate is not None and any(when is None for when in times):
            raise ValueError(
                f'{type(self).__name__} works at {self.frame_rate:g} frames per second and needs timestamps, '
                f"or meta['frame_indices'] and meta['fps']"
            )
        frame_valid, relative = batch.require('frame_valid'), batch.frame == 'wrist'
        tracks = zip(joints, given, side, frame_valid, times, strict=True)
        refined = join_motions([self.refine(j, g, s, f, relative, when) for j, g, s, f, when in tracks], torch.stack)
        known = given.any(1, keepdim=True)  # (B, 1, H, J)
        predicted = frame_valid[..., None] & known.any(3)
        prediction = HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=batch.frame_valid,
            timestamps=batch.timestamps,
            hand_side=batch.hand_side,
            hand_valid=predicted,
            joints_3d=refined.joints,
            joints_valid=frame_valid[..., None, None] & known,
        )
        if self.hand_model is None:
            return prediction
        if refined.pose is None or refined.shape is None:
            return fit_meshes(prediction, self.hand_model)
        rotvecs = rotmat_to_rotvec(rot6d_to_rotmat(refined.pose.float()))
        return add_mesh(prediction, self.hand_model, rotvecs, refined.shape.float())

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
        """Refines one track of any length and frame rate.

        A track that does not come at `frame_rate` is resampled to it by linear interpolation, refined, and resampled
        back to its own times, which is exact for linear motion; see `frame_positions`. After the last frame of the
        model's time line, its last correction goes on.

        Args:
            joints: (T, H, J, 3) metres.
            given: (T, H) or (T, H, J) bool, frames of each hand or joint that the estimator gave; others are
                interpolated first.
            hand_side: (H,) 0 left, 1 right.
            frame_valid: (T,) bool, False for padding at the end.
            wrist_at_origin: the input is relative to the wrist, and so is the answer.
            times: (T,) seconds; None means the track comes at `frame_rate`.

        Returns:
            `RefinedMotion` with joints (T, H, J, 3) in the frame of the input, pose (T, H, 16, 6), shape (H, 10); zeros
            for a hand or joint without any given frame and in padding.

        Raises:
            ValueError: a hand that lacks joints throughout, for a refiner without `partial_skeletons`.
        """
        num_frames = len(joints)
        length = num_frames if frame_valid is None else int(frame_valid.sum())
        given = given[..., None].expand(joints.shape[:3]) if given.ndim == 2 else given
        given = given[:length].transpose(0, 1)  # (H, T, J)
        known, mirrored = given.any((1, 2)), is_left(hand_side) & self.mirror_left_hands
        positions = torch.arange(length, device=joints.device, dtype=torch.float64)
        times = None if times is None else torch.as_tensor(times[:length], device=joints.device)
        rate = None if times is None else self.working_rate(times)
        if times is not None and rate is not None:
            positions = frame_positions(times, rate)
        track = joints[:length].transpose(0, 1), given, positions
        count = int(positions[-1] + 1e-6) + 1  # frames of the model's time line
        line = torch.arange(count, device=joints.device, dtype=torch.float64)
        filled = interpolate_joints(*track, line)  # (H, S, J, 3)
        seen = self._joints_valid(given[known], near_given(given[known], positions, line))
        window = self.num_frames or count
        index, present = (
            torch.as_tensor(part, device=joints.device)
            for part in overlapping_windows(count, window, min(self.stride, window))
        )
        windows = mirror_joints(filled, mirrored)[known][:, index].flatten(0, 1)  # (H * W, T, J, 3)
        seen = None if seen is None else seen[:, index].flatten(0, 1)
        output = self._refine_windows(windows, present.repeat(int(known.sum()), 1), seen, rate)
        motion = average_windows(output.joints, index, present, count, known)
        motion = mirror_joints(motion, mirrored)
        pose, shape = output.pose, output.shape
        back = torch.ones(len(known), count, dtype=torch.bool, device=joints.device), line, positions
        if pose is not None and shape is not None:
            pose = average_windows(pose, index, present, count, known)
            pose = torch.where(mirrored[:, None, None, None], mirror_poses(pose, 'rot6d_add'), pose)
            pose = time_first(interpolate_frames(pose, *back), num_frames)
            shape = rows_of_hands(shape.unflatten(0, (-1, len(index))).mean(1), known)
        motion = interpolate_frames(motion, *back)
        late = positions > count - 1
        if late.any():
            motion[:, late] += interpolate_joints(*track, positions[late]) - filled[:, -1:]
        if wrist_at_origin:
            motion = motion - motion[..., :1, :]
        motion = torch.where(given.any(1)[:, None, :, None], motion, 0)
        return RefinedMotion(time_first(motion, num_frames), pose, shape)

    def _check_flips(self, batch: HandSequence) -> None:
        """Refuses flips that `mirror_left_hands` would undo."""
        for meta in batch.meta if self.mirror_left_hands else ():
            flip = meta.get('motion_augmentation', {}).get('flip', 0)
            if flip > 0:
                raise ValueError(
                    f'{sample_name(meta)}: MotionAugmentation has flip={flip}, but {type(self).__name__} has '
                    f'mirror_left_hands=True and mirrors every flipped hand back: set flip=0, or '
                    f'mirror_left_hands=False to train on hands of both sides'
                )

    def _check_frame_rate(self, batch: HandSequence) -> None:
        """Refuses to train on clips whose frames come at another rate than the model's."""
        if self.frame_rate is None or batch.timestamps is None:
            return
        for times, valid, meta in zip(batch.timestamps, batch.require('frame_valid'), batch.meta, strict=True):
            times = times[valid]
            if len(times) > 1:
                rate = 1 / float(times.diff().median())
                if abs(rate / self.frame_rate - 1) > RATE_TOLERANCE:
                    raise ValueError(
                        f'{sample_name(meta)} comes at {rate:.4g} frames per second, and {type(self).__name__} is '
                        f'configured for {self.frame_rate:g}: set frame_rate of the model to what it is trained on'
                    )

    def _refine_windows(
        self, joints: Tensor, present: Tensor, seen: Tensor | None, rate: float | None
    ) -> RefinedMotion:
        """(W, T, J, 3), (W, T), (W, T, J) in the input's frame -> `RefinedMotion` in it."""
        whole = bool(present.all())
        rates = None if rate is None else joints.new_full((len(joints),), rate)
        parts = []
        for rows in torch.arange(len(joints), device=joints.device).split(WINDOWS_AT_ONCE):
            options = [None if seen is None else seen[rows]] if self.partial_skeletons else []
            options += [None if rates is None else rates[rows]] if self._reads_frame_rate() else []
            found = self.run_part(WHOLE, joints[rows], None if whole else present[rows], *options)
            parts.append(RefinedMotion(*found))
        if not parts:  # no hand at all
            return RefinedMotion(joints)
        return join_motions(parts, torch.cat)
