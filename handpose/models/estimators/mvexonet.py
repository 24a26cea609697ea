"""MVExoNet: joints of a hand from several calibrated views (Ohkawa et al., AssemblyHands, CVPR 2023, section 4.2).

Legend: N hands, K cameras, B clips, T frames, F frames of all clips, H hands of a frame, J = 21 joints, h w size of the
images, s side of a crop, C channels, D voxels along an edge of a cube.
Nobody has published code of this network; what the paper leaves open follows learnable triangulation (Iskakov et al.,
ICCV 2019), which it builds on.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.geometry import cube_voxels, fuse_views
from handpose.hands.sides import is_left
from handpose.models.estimators.action_targets import valid_frames
from handpose.models.estimators.base import FRAMES_AT_ONCE, Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.crop_parts import DECODE, ENCODE, mvexonet_parts
from handpose.models.estimators.mvexonet_components import PyramidBackbone, VolumeNetwork
from handpose.models.estimators.mvexonet_loss import HandCubes, JointMaps, JointTarget, MVExoNetOutput
from handpose.models.estimators.mvexonet_views import (
    HandRegions,
    ViewedFrames,
    box_centres_in_space,
    boxes_of_joints,
    boxes_with_area,
    choose_views,
    crop_hands,
    flip,
    jitter_boxes,
    least_and_most,
    project_hands,
    random_rotations,
    sides_of,
)
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.layers.checks import check_option
from handpose.models.layers.volumetric import volumetric_soft_argmax
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError, fill_masked_values, sample_name

CENTRES = ('input_joints', 'boxes')
NUM_JOINTS = 21
MIDDLE_MCP = 9  # the root of the volume
_CAMERA_FIELDS = ('images', 'boxes', 'intrinsics', 'extrinsics')


@MODELS.register_module()
class MVExoNet(Estimator):
    """Estimates each hand from its crops in all views, in a cube of voxels around the base of its middle finger.

    Each crop becomes a map of C features; the voxels of the cube are projected into all views, and the features found
    there are fused by a softmax over the views that see the voxel. A network of 3D convolutions turns them into one
    volume for each joint, and the joint is its mean position. The hands of a frame are estimated one by one by the
    same network. Afterwards the boxes of the projected joints and the new middle MCP start another round, with the
    same weights. A view in which the detector found no hand, a box without an area, has no part in the first round.

    Joints are in the frame from which `extrinsics` maps to the cameras.

    Args:
        backbone: config of the image backbone, e.g. `EfficientNet`; its maps are reduced to C channels by 1x1
            convolutions, enlarged to the size of the finest one and added.
        volume_network: config of the network of 3D convolutions, e.g. `V2VNet`; says what C is (published: 32).
        loss: config of `MVExoNetLoss`, or None: a network that only predicts.
        normalizer: config of `ImageNormalizer`.
        crop_size: s, pixels (not published).
        box_scale: enlarges the boxes, which fit the joints ("slightly"; the number is not published).
        cube_size: edge of the cube, metres.
        resolution: D (published by learnable triangulation: 64).
        num_rounds: of a prediction; the paper's R1, R2 and R3 are 1, 2 and 3.
        first_centre: the middle MCP of the first round: 'input_joints' takes it from `input_joints_3d` of the batch,
            e.g. triangulated detections as published; 'boxes' triangulates the centres of the boxes.
        min_views: views that must see a hand. In later rounds a hand that fewer views would see keeps its boxes and
            its cube.
        centre_noise: standard deviation along each axis by which the cube is displaced in training, metres (not
            published).
        max_rotation: angle up to which the cube is turned about a random axis in training, radians.
        box_noise: of boxes in training, see `jitter_boxes`.
        train_views: cameras of a training batch, drawn anew for each: how many, or the least and the largest number of
            them; None means all.
        mirror_left_hands: shows the network left hands in a mirror, and mirrors its volume: it only ever learns right
            hands, and knows which of two it looks for. Ours; the paper does not.
        joint_maps: in training, a 1x1 convolution predicts the joints from the features of each view alone, which
            teaches the backbone directly: small networks learn faster. Predictions do not use it. Ours.

    Raises:
        ValueError: an unknown first_centre; a resolution that the volume network cannot halve often enough; numbers
            below their least; 'boxes' with min_views=1.
    """

    def __init__(
        self,
        backbone: dict,
        volume_network: dict,
        loss: dict | None,
        normalizer: dict | None = None,
        crop_size: int = 256,
        box_scale: float = 1.3,
        cube_size: float = 0.3,
        resolution: int = 64,
        num_rounds: int = 3,
        first_centre: str = 'input_joints',
        min_views: int = 2,
        centre_noise: float = 0.02,
        max_rotation: float = math.pi,
        box_noise: float = 0.0,
        train_views: int | Sequence[int] | None = None,
        mirror_left_hands: bool = False,
        joint_maps: bool = False,
    ) -> None:
        super().__init__()
        check_option('first_centre', first_centre, CENTRES)
        least, most = least_and_most(train_views)
        if min(num_rounds, min_views) < 1 or not min_views <= least <= most:
            raise ValueError(
                f'num_rounds and min_views must be at least 1 and train_views at least min_views, got {num_rounds}, '
                f'{min_views} and {train_views}'
            )
        if first_centre == 'boxes' and min_views < 2:
            raise ValueError("first_centre='boxes' triangulates, which takes two views: give min_views=2")
        self.normalizer = MODELS.build(normalizer or {'type': 'ImageNormalizer'})
        self.backbone: PyramidBackbone = MODELS.build(backbone)
        self.volume_network: VolumeNetwork = MODELS.build(volume_network)
        if resolution % self.volume_network.divisor:
            raise ValueError(
                f'resolution must be a multiple of {self.volume_network.divisor}, which the volume network needs for '
                f'its levels of pooling, got {resolution}'
            )
        channels = self.volume_network.in_channels
        self.reductions = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in self.backbone.channels)
        self.joint_maps = nn.Conv2d(channels, NUM_JOINTS, 1) if joint_maps else None
        self.loss_function: nn.Module | None = None if loss is None else MODELS.build(loss)
        self.crop_size, self.box_scale = crop_size, box_scale
        self.cube_size, self.resolution = cube_size, resolution
        self.num_rounds, self.first_centre, self.min_views = num_rounds, first_centre, min_views
        self.centre_noise, self.max_rotation, self.box_noise = centre_noise, max_rotation, box_noise
        self.train_views, self.mirror_left_hands = train_views, mirror_left_hands

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields: tuple[str, ...] = _CAMERA_FIELDS
        if self.first_centre == 'input_joints':
            fields = (*fields, 'input_joints_3d', 'input_valid')
        return Reads(
            fields=(*fields, 'hand_side') if self.mirror_left_hands else fields,
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None)

    def init_weights(self) -> None:
        """Starts the backbone from its pretrained weights, if its config names any."""
        self.backbone.init_weights()

    def forward(
        self,
        crops: Tensor,
        projections: Tensor,
        centres: Tensor,
        rotmat: Tensor | None = None,
        view_valid: Tensor | None = None,
        mirrored: Tensor | None = None,
    ) -> MVExoNetOutput:
        """Runs the whole network.

        Args:
            crops: (N, K, 3, s, s) RGB in [0, 255].
            projections: (N, K, 3, 4), from metres to pixels of the crops.
            centres: (N, 3) of the cubes, metres.
            rotmat: (N, 3, 3) whose columns are the axes of the cubes; None means those of the joints' frame.
            view_valid: (N, K) bool, views that see the hand; None means all.
            mirrored: (N,) bool, hands to be seen in a mirror; None means none.

        Returns:
            `MVExoNetOutput`.
        """
        if view_valid is None:
            view_valid = torch.ones(crops.shape[:2], dtype=torch.bool, device=crops.device)
        found, maps = self._maps(self.encode, crops, view_valid, mirrored)
        size = crops.shape[-1], crops.shape[-2]
        logits = self._volumes(maps, projections, centres, rotmat, view_valid, mirrored, size)  # (N, J, D, D, D)
        joints = volumetric_soft_argmax(logits, centres, self.cube_size, rotmat)  # (N, J, 3)
        joint_maps = None
        if self.training and self.joint_maps is not None:
            hands = view_valid.nonzero()[:, 0]
            joint_maps = JointMaps(self.joint_maps(found), hands, projections[view_valid], crops.shape[-1])
        return MVExoNetOutput(joints, logits, HandCubes(centres, rotmat, self.cube_size), joint_maps)

    def _maps(
        self, encode: Callable[[Tensor], Tensor], crops: Tensor, view_valid: Tensor, mirrored: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The maps of the M views that see their hand (M, C, h', w'), and those of all views (N, K, C, h', w')."""
        flipped = None if mirrored is None else mirrored[:, None].expand_as(view_valid)[view_valid]
        found = flip(encode(flip(crops[view_valid], flipped, -1)), flipped, -1)
        return found, found.new_zeros(*view_valid.shape, *found.shape[1:]).index_put((view_valid,), found)

    def _volumes(
        self,
        maps: Tensor,
        projections: Tensor,
        centres: Tensor,
        rotmat: Tensor | None,
        view_valid: Tensor,
        mirrored: Tensor | None,
        size: tuple[int, int],
    ) -> Tensor:
        """Maps (N, K, C, h', w') of crops of a size (width, height) -> logits (N, J, D, D, D)."""
        voxels = cube_voxels(centres, self.cube_size, self.resolution, rotmat)  # (N, D, D, D, 3)
        volume = fuse_views(maps, voxels, projections, size, view_valid)  # (N, C, D, D, D)
        # A mirror in the plane x = 0 of the cube; the cameras are mirrored with it, since their images are.
        return flip(self.volume_network(flip(volume, mirrored, 2)), mirrored, 2)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""

        def fuse(maps: Tensor, projections: Tensor, centres: Tensor, seen: Tensor, mirrored: Tensor | None) -> Tensor:
            size = self.crop_size, self.crop_size
            logits = self._volumes(maps, projections, centres, None, seen, mirrored, size)
            return volumetric_soft_argmax(logits, centres, self.cube_size)

        return mvexonet_parts(self.encode, fuse, self.crop_size, self.volume_network.in_channels)

    def export_notes(self) -> dict[str, Any]:
        """See `Estimator.export_notes`."""
        names = 'crop_size', 'box_scale', 'cube_size', 'num_rounds', 'min_views', 'mirror_left_hands'
        return {name: vars(self)[name] for name in names}

    def encode(self, crops: Tensor) -> Tensor:
        """Computes the features of crops: (M, 3, s, s) -> (M, C, h', w') at the finest stride of the backbone."""
        levels = self.backbone(self.normalizer(crops))
        maps = self.reductions[-1](levels[-1])
        for reduction, level in zip(self.reductions[-2::-1], levels[-2::-1], strict=True):
            maps = F.interpolate(maps, level.shape[-2:], mode='bilinear', align_corners=False) + reduction(level)
        return maps

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a (B, T, K, H, ...) batch, around the annotated middle MCP; see `Estimator.loss`."""
        if self.loss_function is None:
            raise ValueError(
                'this MVExoNet was built without a loss; give its config one, e.g. dict(type="MVExoNetLoss")'
            )
        batch = fill_masked_values(batch)
        generator = torch.Generator().manual_seed(step.iteration)
        frames, boxes, is_left_hand = self._views(batch)
        frames, boxes = choose_views(frames, boxes, least_and_most(self.train_views), generator)
        boxes = jitter_boxes(boxes, self.box_noise, generator)
        target = self._targets(batch)
        seen = boxes_with_area(boxes, frames.image_size()).sum(1) >= self.min_views  # (F, H)
        hands = target.valid[..., MIDDLE_MCP] & seen
        joints, valid = target.joints[hands], target.valid[hands]  # (N, J, 3) and (N, J)
        noise = self.centre_noise * torch.randn(len(joints), 3, generator=generator)
        rotmat = random_rotations(len(joints), self.max_rotation, generator).to(joints)
        if not len(joints):
            return self.loss_function(*self._no_hands(), step)
        crops = crop_hands(frames, boxes, hands, self.box_scale, self.crop_size)
        centres = joints[:, MIDDLE_MCP] + noise.to(joints)
        left = is_left_hand[hands] if self.mirror_left_hands else None
        output = self(crops.images, crops.projections, centres, rotmat, crops.seen, left)
        return self.loss_function(output, JointTarget(joints, valid), step)

    def _no_hands(self) -> tuple[MVExoNetOutput, JointTarget]:
        """A stand-in for a batch without an annotated hand: its losses are zero, with every parameter in the graph."""
        zero = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0.0
        output = MVExoNetOutput(
            joints=zero.expand(1, 21, 3),
            logits=zero.expand(1, 21, 1, 1, 1),
            cubes=HandCubes(zero.new_zeros(1, 3), None, self.cube_size),
        )
        nothing = torch.zeros(1, 21, dtype=torch.bool, device=zero.device)
        return output, JointTarget(output.joints.detach(), nothing)

    def _targets(self, batch: HandSequence) -> JointTarget:
        """The joints (F, H, J, 3) of all frames, valid where their frame and their hand are."""
        valid = batch.require('joints_valid') & valid_frames(batch)[..., None, None]
        if batch.hand_valid is not None:
            valid = valid & batch.hand_valid[..., None]
        return JointTarget(batch.require('joints_3d').flatten(0, 1), valid.flatten(0, 1))

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts all frames of clips in `num_rounds` rounds.

        Args:
            batch: (B, T, K, H, ...).
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the frame of the input: joints_3d, their projections joints_2d, and the boxes that the last round
            saw. A hand that fewer than `min_views` views see, or whose first centre is unknown, is not valid.
        """
        self._refuse_samples(num_samples)
        return self.predict_rounds(batch)[-1]

    @torch.no_grad()
    def predict_rounds(self, batch: HandSequence) -> list[HandSequence]:
        """Predicts as `predict` does, and keeps the prediction of each round.

        Args:
            batch: (B, T, K, H, ...).

        Returns:
            `num_rounds` batches, the paper's R1, R2, ...
        """
        batch = fill_masked_values(batch)
        frames, boxes, is_left_hand = self._views(batch)
        start = self._first_hands(batch, frames, boxes)
        at_once = max(1, FRAMES_AT_ONCE // (boxes.shape[1] * boxes.shape[2]))
        parts = []
        for first in range(0, len(boxes), at_once):
            part = slice(first, first + at_once)
            hands = HandRegions(*(x[part] for x in start))
            parts.append(self._rounds(frames.select(part), hands, is_left_hand[part]))
        rounds = []
        for pieces in zip(*parts, strict=True):
            joints, seen_boxes = (torch.cat(column) for column in zip(*pieces, strict=True))
            rounds.append(self._to_sequence(batch, frames, joints, seen_boxes, start.known))
        return rounds

    def _first_hands(self, batch: HandSequence, frames: ViewedFrames, boxes: Tensor) -> HandRegions:
        """Boxes and centres of the first round."""
        if self.first_centre == 'boxes':
            centres, known = box_centres_in_space(frames, boxes)
        else:
            centres = batch.require('input_joints_3d').flatten(0, 1)[..., MIDDLE_MCP, :]
            known = batch.require('input_valid').flatten(0, 1)
        seen = boxes_with_area(boxes, frames.image_size()).sum(1) >= self.min_views
        return HandRegions(boxes, centres, known & seen & valid_frames(batch).flatten()[:, None])

    def _rounds(self, frames: ViewedFrames, hands: HandRegions, is_left_hand: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The joints (F, H, J, 3) after each round, 0 for hands that are not known, and the boxes that it saw."""
        done: list[tuple[Tensor, Tensor]] = []
        boxes, centres, known = hands
        joints = centres.new_zeros(*known.shape, 21, 3)
        for _ in range(self.num_rounds if known.any() else 0):
            if done:
                around = boxes_of_joints(frames, joints)  # (F, K, H, 4)
                enough = boxes_with_area(around, frames.image_size()).sum(1) >= self.min_views
                boxes = torch.where(enough[:, None, :, None], around, boxes)
                centres = torch.where(enough[..., None], joints[..., MIDDLE_MCP, :], centres)
            crops = crop_hands(frames, boxes, known, self.box_scale, self.crop_size)
            left = is_left_hand[known] if self.mirror_left_hands else None
            _, maps = self._maps(lambda x: self.run_part(ENCODE, x)[0], crops.images, crops.seen, left)
            (found,) = self.run_part(DECODE, maps, crops.projections, centres[known], crops.seen, left)
            joints = joints.index_put((known,), found.to(joints.dtype))
            done.append((joints, boxes))
        return done or [(joints, boxes)] * self.num_rounds

    def _to_sequence(
        self, batch: HandSequence, frames: ViewedFrames, joints: Tensor, boxes: Tensor, known: Tensor
    ) -> HandSequence:
        """A batch of the joints (F, H, J, 3) of one round."""
        clips = len(batch.meta)
        uv, in_front = project_hands(frames, joints)
        valid = known[..., None].expand(joints.shape[:-1])
        shaped = {
            'hand_valid': known,
            'joints_3d': joints,
            'joints_valid': valid,
            'joints_2d': uv,
            'joints_2d_valid': in_front & valid[:, None],
            'boxes': torch.where(known[:, None, :, None], boxes, 0.0),
        }
        return HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=valid_frames(batch),
            timestamps=batch.timestamps,
            hand_side=sides_of(batch),
            **{name: value.unflatten(0, (clips, -1)).contiguous() for name, value in shaped.items()},
        )

    def _views(self, batch: HandSequence) -> tuple[ViewedFrames, Tensor, Tensor]:
        """The F frames of a batch, the boxes (F, K, H, 4), and which hands are left (F, H), checked."""
        where = sample_name(batch.meta[0])
        fields = {name: batch.present().get(name) for name in _CAMERA_FIELDS}
        missing = [name for name, value in fields.items() if value is None]
        if missing:
            raise SequenceError(f'{where}: MVExoNet needs {", ".join(missing)}; the pipeline must load them')
        images, boxes, intrinsics, extrinsics = (batch.require(name).flatten(0, 1) for name in _CAMERA_FIELDS)
        if images.shape[1] < self.min_views:
            raise SequenceError(
                f'{where}: MVExoNet needs at least {self.min_views} cameras, got {images.shape[1]}: choose more '
                f'cameras of the dataset, or another min_views'
            )
        if batch.frame == 'wrist':
            raise SequenceError(f"{where}: MVExoNet needs the 'camera' or 'world' frame, got {batch.frame!r}")
        left = is_left(sides_of(batch))[:, None].expand(-1, batch.require('boxes').shape[1], -1).flatten(0, 1)
        return ViewedFrames(images, intrinsics, extrinsics), boxes, left
