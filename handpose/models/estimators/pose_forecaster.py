"""What G-HTT's systems share (Wen et al., section 3.3): refining tracks with block P, and decoding clip after clip.

Legend: B clips, t = 16 frames of a clip, T frames of a track, W windows, F future frames, D = 147 features, C channels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handpose.geometry.alignment import fit_rigid
from handpose.geometry.rigid import compose_rigid, invert_rigid, transform_points
from handpose.models.estimators.base import Gives, Reads
from handpose.models.estimators.forecaster import (
    Forecaster,
    TwoHands,
    check_forecast,
    future_batch,
    input_joints,
    last_frames,
    two_hands,
)
from handpose.models.estimators.forecaster_parts import (
    DECODE,
    ENCODE,
    feature_notes,
    motion_tensors,
    pose_code,
    pose_parts,
)
from handpose.models.estimators.ghtt_blocks import GHTTPoseBlock, PoseCode
from handpose.models.estimators.joint_clips import check_still_frame
from handpose.models.estimators.motion_decoding import restore_joint_flags
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.layers.two_hand_motion import PALM_JOINTS, THUMB_BASE, TwoHandFeatures
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values, overlapping_windows

WINDOWS_AT_ONCE = 256


class ClipEnd(NamedTuple):
    """Where a clip of t frames ends and the next one goes on."""

    last: Tensor  # (B, D), normalized features of the last frame
    palms: Tensor  # (B, 2, 4, 4), of the last frame
    origin: Tensor  # (B, 2, 3), of the clip's features
    thumb_base: Tensor  # (B, 2, 3), in the frame of the palm

    def repeat(self, count: int) -> 'ClipEnd':
        """Each clip `count` times, one after the other."""
        return ClipEnd(*(x.repeat_interleave(count, 0) for x in self))


class ObservedClip(NamedTuple):
    """Clips of t frames as P sees them."""

    code: PoseCode
    end: ClipEnd


class PoseForecaster(Forecaster, abstract=True):
    """What G-HTT's systems share: they hold a `GHTTPoseBlock`, refine windows of a track with it, and decode clips.

    Args:
        pose_block: config of `GHTTPoseBlock`.
        frame_rate: frames per second of the motion it is trained on.
        stride: frames from the start of one window that is refined to the next; where they overlap they are averaged.
        mirror_single_hands: clips of a single left hand are seen in a mirror.
        std_scale: k of the samples (mu, k sigma), in standard deviations.
        test_samples: see `Forecaster`.
        seed: see `Forecaster`.
    """

    def __init__(
        self,
        pose_block: dict[str, Any],
        frame_rate: float,
        stride: int,
        mirror_single_hands: bool,
        std_scale: float,
        test_samples: int | None,
        seed: int,
    ) -> None:
        super().__init__(test_samples, seed)
        self.pose_block: GHTTPoseBlock = MODELS.build({'type': 'GHTTPoseBlock', **pose_block})
        self.frame_rate, self.stride, self.mirror_single_hands = frame_rate, stride, mirror_single_hands
        self.std_scale = std_scale
        if not 1 <= stride <= self.pose_block.num_frames:
            raise ValueError(f'stride must be from 1 to num_frames = {self.pose_block.num_frames}, got {stride}')

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        return Reads(
            fields=('joints_3d', 'joints_valid', 'hand_side'),
            num_frames=self.pose_block.num_frames,
            frame_rate=self.frame_rate,
            min_frames=self.pose_block.num_frames,
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`: those of block P."""
        return pose_parts(self.pose_block)

    def export_notes(self) -> dict[str, Any]:
        """See `Estimator.export_notes`."""
        return feature_notes(self.pose_block.normalizer)

    def encode_motion(self, features: TwoHandFeatures) -> PoseCode:
        """Encodes clips with block P, in whatever runtime computes it; without gradients.

        Args:
            features: of B clips of t frames.

        Returns:
            The code.
        """
        return pose_code(self.run_part(ENCODE, *motion_tensors(features, self.pose_block.context)), features)

    def hands_of(self, batch: HandSequence) -> TwoHands:
        """The input of a batch in two slots."""
        check_still_frame(batch)
        return two_hands(*input_joints(batch), batch.require('hand_side'), self.mirror_single_hands)

    @torch.no_grad()
    def observed(self, batch: HandSequence) -> HandSequence:
        """Refines the observed frames; hands that no frame of a window shows stay missing. See `Forecaster`."""
        batch = fill_masked_values(batch)
        hands = self.hands_of(batch)
        length = [hands.joints.shape[1]] * len(hands.joints)
        if batch.frame_valid is not None:
            length = [int(mask.nonzero()[-1]) + 1 if mask.any() else 1 for mask in batch.frame_valid]
        rows = [self._refine_track(j, v, n) for j, v, n in zip(hands.joints, hands.valid, length, strict=True)]
        joints = hands.restore(torch.stack([row[0] for row in rows]))
        known = hands.restore_hands(torch.stack([row[1] for row in rows]))
        valid = known[..., None] & input_joints(batch)[1].any(1, keepdim=True)
        return (
            super()
            .observed(batch)
            .replace(joints_3d=torch.where(valid[..., None], joints, 0), joints_valid=valid, hand_valid=known)
        )

    def _refine_track(self, joints: Tensor, valid: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(T, 2, J, 3), (T, 2, J) -> refined joints (T, 2, J, 3), and which hands are known (T, 2)."""
        size = self.pose_block.num_frames
        index, present = (
            torch.as_tensor(part, device=joints.device) for part in overlapping_windows(length, size, self.stride)
        )
        total, count = torch.zeros_like(joints), joints.new_zeros(len(joints), 2)
        for rows, inside in zip(index.split(WINDOWS_AT_ONCE), present.split(WINDOWS_AT_ONCE), strict=True):
            features = self.pose_block.motion(joints[rows], valid[rows] & inside[..., None, None])
            shown = valid[rows] & inside[..., None, None]
            refined, _ = self.refine_clips(joints[rows], shown, features, self.encode_motion(features))
            known = features.palm_valid.any(1, keepdim=True) & inside[..., None]  # (W, t, 2)
            weights = known[inside].to(joints.dtype)
            total.index_add_(0, rows[inside], refined[inside].to(joints.dtype) * weights[..., None, None])
            count.index_add_(0, rows[inside], weights)
        return total / count.clamp_min(1)[..., None, None], count > 0

    def refine_clips(
        self, joints: Tensor, valid: Tensor, features: TwoHandFeatures, code: PoseCode
    ) -> tuple[Tensor, ObservedClip]:
        """The refined joints of clips of t frames.

        Palms follow the refined motions from a first pose that fits all observed palms in the least-squares sense, so
        that the noise of the first frame does not move the whole clip.

        Args:
            joints: (B, t, 2, J, 3), the input.
            valid: (B, t, 2, J) bool.
            features: of the input.
            code: of the features.

        Returns:
            Joints (B, t, 2, J, 3), and what the future goes on from.
        """
        block = self.pose_block
        values = block.normalizer.denormalize(code.refined)
        motions = self._motions_from_first(values)
        palms = self._fit_palms(motions, features)
        local = transform_points(joints[..., THUMB_BASE : THUMB_BASE + 1, :], invert_rigid(features.palms))[..., 0, :]
        seen = (features.palm_valid & valid[..., THUMB_BASE])[..., None]
        thumb_base = torch.where(seen, local, 0).sum(1) / seen.sum(1).clamp_min(1)
        end = ClipEnd(code.refined[:, -1], palms[:, -1], features.origin, thumb_base)
        return block.motion.to_joints(values, palms, thumb_base), ObservedClip(code, end)

    def _motions_from_first(self, values: Tensor) -> Tensor:
        """Accumulated refined motions (B, t, 2, 4, 4) from the first frame, where they are the identity."""
        later = self.pose_block.motion.accumulate(values[:, 1:])
        first = torch.eye(4, dtype=later.dtype, device=later.device).expand(len(later), 1, 2, 4, 4)
        return torch.cat([first, later], 1)

    def _fit_palms(self, motions: Tensor, features: TwoHandFeatures) -> Tensor:
        """Palms (B, t, 2, 4, 4) that move by `motions` and fit the observed ones."""
        motion = self.pose_block.motion
        points = motion.template.to(motions.dtype)  # (2, 5, 3)
        weights = features.palm_valid[..., None].expand(*features.palm_valid.shape, len(PALM_JOINTS))
        shift = torch.zeros_like(features.palms)
        if motion.motion_frame == 'world':
            shift[..., :3, 3] = features.origin[:, None]
        seen = features.palms - shift
        if motion.motion_frame == 'world':  # X_i = S_i X_1
            source = points.expand(*motions.shape[:3], -1, -1)
            target = transform_points(points, compose_rigid(invert_rigid(motions), seen))
        else:  # X_i = X_1 S_i
            source, target = transform_points(points, motions), transform_points(points, seen)
        source, target, mask = (x.transpose(1, 2).flatten(2, 3) for x in (source, target, weights))
        first = fit_rigid(source, target, mask)[:, None]  # (B, 1, 2, 4, 4)
        palms = compose_rigid(motions, first) if motion.motion_frame == 'world' else compose_rigid(first, motions)
        return palms + shift

    def observe(self, joints: Tensor, valid: Tensor) -> ObservedClip:
        """Encodes the last frames of clips.

        Args:
            joints: (B, t, 2, J, 3).
            valid: (B, t, 2, J).
        """
        features = self.pose_block.motion(joints, valid)
        return self.refine_clips(joints, valid, features, self.encode_motion(features))[1]

    def next_clip(
        self, end: ClipEnd, latent: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> tuple[Tensor, ClipEnd]:
        """Decodes the t frames after a clip.

        Args:
            end: of B clips.
            latent: (B, C), the mid-level feature of the clip.
            memory: (B, t, C), the features of the clip's frames; None decodes from the mid-level feature alone.
            memory_valid: (B, t) bool; None means all.

        Returns:
            Joints (B, t, 2, J, 3), and where they end.
        """
        block = self.pose_block
        (normalized,) = self.run_part(DECODE, latent, end.last, memory, memory_valid)
        values = block.normalizer.denormalize(normalized)
        palms = block.motion.move_palms(values, end.palms, end.origin)
        joints = block.motion.to_joints(values, palms, end.thumb_base)
        return joints, ClipEnd(normalized[:, -1], palms[:, -1], palms[:, 0, :, :3, 3], end.thumb_base)

    def continue_clips(
        self,
        joints: Tensor,
        valid: Tensor,
        num_frames: int,
        num_samples: int | None,
        generator: torch.Generator | None,
        skip: bool,
    ) -> tuple[Tensor, ClipEnd]:
        """Path P.a: predicts clip after clip, each the input of the next.

        Args:
            joints: (B, t, 2, J, 3).
            valid: (B, t, 2, J) bool.
            num_frames: F; predicted are whole clips, so as many frames or more.
            num_samples: S, or None for the mean.
            generator: source of random numbers.
            skip: the decoder attends to the features of a clip's frames.

        Returns:
            Joints (B * S, F or more, 2, J, 3), and where they end.
        """
        count = num_samples or 1
        seen = self.observe(joints, valid)
        code, end = seen.code.repeat(count), seen.end.repeat(count)
        known = valid.any(1, keepdim=True).repeat_interleave(count, 0)
        clips: list[Tensor] = []
        while sum(clip.shape[1] for clip in clips) < num_frames:
            if clips:
                code, end = self.observe(clips[-1], known.expand(clips[-1].shape[:-1]))
            latent = code.latent.sample(self.std_scale if num_samples else 0.0, generator)
            memory = (code.latent.features, code.memory_valid) if skip else (None, None)
            clip, end = self.next_clip(end, latent, *memory)
            clips.append(clip)
        return torch.cat(clips, 1), end

    @torch.no_grad()
    def blend(self, first: HandSequence, second: HandSequence, shares: Sequence[float]) -> HandSequence:
        """Decodes blends of the mid-level features of two observed clips (paper, section 4.5, "mid-level regularity").

        A motion is decoded from m = (1 - s) m_1 + s m_2 alone, the means of the last t frames of each clip, without the
        skip connection. Each of them goes on from where the first clip ends, in pose and place, so that they differ by
        what the mid-level feature says only. Share 0 is the plain decoding of the first clip, share 1 that of the
        second one's mid-level feature. A block P that was trained without `skip_drop` never learned to decode so.

        Args:
            first: a clip of at least t observed frames, with the fields that `forecast` reads of a batch.
            second: another one, with hands of the same sides. Its coordinate frame may be another.
            shares: s of each blend, from 0 to 1.

        Returns:
            Batch of len(shares) futures of t frames in the frame of the first clip, whose timestamps go on from it.
            Joints that one of the clips lacks are not valid.

        Raises:
            ValueError: batches, clips that are too short or of other hands, or no share or one that is not from 0 to 1.
        """
        if not shares or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f'shares must be numbers from 0 to 1, at least one, got {list(shares)}')
        if first.batched or second.batched:
            raise ValueError('blend takes two clips, got a batch: call it with one of its unstack()')
        batches = [fill_masked_values(HandSequence.stack([clip.replace(future=None)])) for clip in (first, second)]
        sides = [clip.require('hand_side').tolist() for clip in (first, second)]
        if sides[0] != sides[1]:
            raise ValueError(f'blend needs clips of the same hands, got the sides {sides[0]} and {sides[1]}')
        size = self.pose_block.num_frames
        (hands, known), (others, known_too) = (self.forecast_inputs(batch, size, None) for batch in batches)
        seen, other = (
            self.observe(*last_frames(given.joints, given.valid, batch.frame_valid, size))
            for given, batch in zip((hands, others), batches, strict=True)
        )
        means = seen.code.latent.mean, other.code.latent.mean
        share = means[0].new_tensor(shares)[:, None]
        joints, _ = self.next_clip(seen.end.repeat(len(shares)), (1 - share) * means[0] + share * means[1])
        return self.give_future(batches[0], hands, joints, known & known_too)

    def forecast_inputs(self, batch: HandSequence, num_frames: int, num_samples: int | None) -> tuple[TwoHands, Tensor]:
        """Checks a request; gives the hands and which joints (B, 2, J) the future has: those that are observed."""
        check_forecast(num_frames, num_samples)
        hands, size = self.hands_of(batch), self.pose_block.num_frames
        frames = [hands.joints.shape[1]] if batch.frame_valid is None else batch.frame_valid.sum(1).tolist()
        if min(frames) < size:
            raise ValueError(
                f'{type(self).__name__} needs at least {size} observed frames, got {min(frames)}: give a longer clip'
            )
        _, valid = last_frames(hands.joints, hands.valid, batch.frame_valid, size)
        return hands, valid.any(1)

    def give_future(self, batch: HandSequence, hands: TwoHands, joints: Tensor, known: Tensor) -> HandSequence:
        """The futures (B * S, F, 2, J, 3) of hands that are known (B, 2, J), as `forecast` returns them."""
        count = len(joints) // len(known)
        repeated = TwoHands(*(x.repeat_interleave(count, 0) for x in hands))
        valid = restore_joint_flags(repeated, known.repeat_interleave(count, 0))  # (B * S, H, J)
        return future_batch(batch, repeated.restore(joints), valid, self.frame_rate)
