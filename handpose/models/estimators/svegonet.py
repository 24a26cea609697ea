"""SVEgoNet: hands from single egocentric images (Ohkawa et al., AssemblyHands, CVPR 2023, section 4).

Legend: B clips, T frames, F frames of all clips, H' hands of a clip (1 or 2), H = 2 hands that a crop may show (left,
right), N crops, J = 21 joints, s side of a crop, C channels.
Choices where the paper is silent or the dataset's toolkit differs are listed in docs/systems/assemblyhands.md.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from handpose.geometry import project_points, scale_boxes, unproject_points
from handpose.hands.sides import is_left
from handpose.models.estimators.action_targets import valid_frames
from handpose.models.estimators.base import FRAMES_AT_ONCE, Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.crop_parts import svegonet_part
from handpose.models.estimators.mvexonet_views import boxes_with_area, jitter_boxes
from handpose.models.estimators.network_parts import WHOLE, NetworkPart
from handpose.models.estimators.svegonet_components import DepthHead, IdentityHead, JointHead, MapBackbone
from handpose.models.estimators.svegonet_crops import CropTarget, HandView, crop_affines, crop_target, sample_crops
from handpose.models.estimators.svegonet_loss import SVEgoNetLoss, SVEgoNetOutput
from handpose.models.heads import identity_scores
from handpose.models.layers.checks import check_option
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError, fill_masked_values, sample_name

DEPTHS = ('network', 'input_joints')
OUTPUT_FRAMES = ('camera', 'wrist')
_IMAGE_FIELDS = ('images', 'boxes', 'intrinsics')
_INPUT_FIELDS = ('input_joints_3d', 'input_valid')


class _Frames(NamedTuple):
    """The F frames of a batch, seen by one camera."""

    images: Tensor  # (F, 3, h, w)
    boxes: Tensor  # (F, H', 4), pixels
    intrinsics: Tensor  # (F, 3, 3)
    side: Tensor  # (F, H') int, 0 left and 1 right
    seen: Tensor  # (F, H') bool, boxes that show something, in frames that are no padding


@MODELS.register_module()
class SVEgoNet(Estimator):
    """Estimates each hand in the crop of its box: 2.5D joints, which hands the crop shows, and how far they are.

    The box of each hand is cropped alone, and the network says of every crop where the joints of a left and of a right
    hand would be. Of these, the hand of the box is taken. Depths are relative to the wrist; with the depth of the
    wrist, which the paper does not estimate, positions in the image become joints in metres. A frame without a box of a
    hand has no prediction of it.

    Args:
        backbone: config of an image backbone that gives one map, e.g. `ResNetMap`.
        joint_head: config of `Heatmap25DHead` or `Distribution25DHead`.
        identity_head: config of `HandIdentityHead`.
        wrist_depth_head: config of `WristDepthHead`; None leaves it out, with wrist_depth='input_joints'.
        loss: config of `SVEgoNetLoss`, or None: a network that only predicts.
        normalizer: config of `ImageNormalizer`.
        crop_size: s, pixels.
        box_scale: factor of the longer side of the boxes, which fit the joints.
        min_box: longer side that boxes have at least, after box_scale, pixels.
        depth_range: metres of depth that joints can have, the wrist in the middle.
        wrist_depth: where predictions have the depth of the wrist from: 'network', or 'input_joints', the wrist of
            `input_joints_3d`, e.g. the true one, as the dataset's toolkit has it.
        output_frame: of predictions, 'camera' or 'wrist'.
        other_hand: crops that show at least half of the other hand's joints are of the identity 'both', and train the
            joints of that hand too (the paper); False: every crop is of one hand (the dataset's toolkit).
        mirror_left_hands: shows the network left hands in a mirror, so that the hand of the box is always a right one.
            Ours; the paper does not.
        min_joints: annotated joints that a hand has at least to be trained on.
        box_noise: of boxes in training, see `jitter_boxes`.
        max_rotation: angle up to which crops are rotated in training, radians.

    Raises:
        ValueError: an unknown wrist_depth or output_frame; 'network' without a head of it; a loss of positions for a
            head without a gradient.
    """

    def __init__(
        self,
        backbone: dict,
        joint_head: dict,
        identity_head: dict,
        wrist_depth_head: dict | None = None,
        loss: dict | None = None,
        normalizer: dict | None = None,
        crop_size: int = 256,
        box_scale: float = 1.75,
        min_box: float = 100.0,
        depth_range: float = 0.4,
        wrist_depth: str = 'network',
        output_frame: str = 'camera',
        other_hand: bool = True,
        mirror_left_hands: bool = False,
        min_joints: int = 10,
        box_noise: float = 0.0,
        max_rotation: float = 0.0,
    ) -> None:
        super().__init__()
        check_option('wrist_depth', wrist_depth, DEPTHS)
        check_option('output_frame', output_frame, OUTPUT_FRAMES)
        if wrist_depth == 'network' and wrist_depth_head is None:
            raise ValueError("wrist_depth='network' needs a wrist_depth_head, e.g. dict(type='WristDepthHead')")
        self.normalizer = MODELS.build(normalizer or {'type': 'ImageNormalizer'})
        self.backbone: MapBackbone = MODELS.build(backbone)
        self.joint_head: JointHead = MODELS.build(joint_head)
        self.identity_head: IdentityHead = MODELS.build(identity_head)
        self.wrist_depth_head: DepthHead | None = None if wrist_depth_head is None else MODELS.build(wrist_depth_head)
        self.loss_function: SVEgoNetLoss | None = None if loss is None else MODELS.build(loss)
        if self.loss_function is not None and self.loss_function.position_weight and not self.joint_head.differentiable:
            raise ValueError(
                'the positions of this joint_head have no gradient, so a loss with position_weight trains nothing: '
                "give the head decode='soft_argmax', or the loss position_weight=0 and a joint_loss"
            )
        self.crop_size, self.box_scale, self.min_box, self.depth_range = crop_size, box_scale, min_box, depth_range
        self.wrist_depth, self.output_frame = wrist_depth, output_frame
        self.other_hand, self.mirror_left_hands, self.min_joints = other_hand, mirror_left_hands, min_joints
        self.box_noise, self.max_rotation = box_noise, max_rotation

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields: tuple[str, ...] = (*_IMAGE_FIELDS, 'hand_side')
        return Reads(
            fields=(*fields, *_INPUT_FIELDS) if self.wrist_depth == 'input_joints' else fields,
            num_cameras=1,
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=self.output_frame)

    def init_weights(self) -> None:
        """Starts the backbone from its pretrained weights, if its config names any."""
        self.backbone.init_weights()

    def forward(self, crops: Tensor, intrinsics: Tensor) -> SVEgoNetOutput:
        """Runs the whole network.

        Args:
            crops: (N, 3, s, s) RGB in [0, 255].
            intrinsics: (N, 3, 3) of the crops.

        Returns:
            `SVEgoNetOutput`.
        """
        maps = self.backbone(self.normalizer(crops))  # (N, C, h', w')
        feature = maps.mean((2, 3))  # (N, C)
        focal = torch.linalg.det(intrinsics[:, :2, :2].float()).abs().sqrt() / crops.shape[-1]
        return SVEgoNetOutput(
            joints=self.joint_head(maps),  # positions (N, H, J, 3)
            identity=self.identity_head(feature),  # (N, 3), or (N, 2)
            wrist_depth=None if self.wrist_depth_head is None else self.wrist_depth_head(feature, focal),  # (N, H)
        )

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""

        def compute(crops: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
            output = self(crops, intrinsics)
            found = output.joints.positions, identity_scores(output.identity)
            return found if output.wrist_depth is None else (*found, output.wrist_depth)

        return (svegonet_part(compute, self.crop_size, self.depth_range, self.wrist_depth_head is not None),)

    def export_notes(self) -> dict[str, Any]:
        """See `Estimator.export_notes`."""
        names = 'crop_size', 'box_scale', 'min_box', 'depth_range', 'mirror_left_hands'
        return {name: vars(self)[name] for name in names}

    def lift(self, positions: Tensor, wrist_depth: Tensor, intrinsics: Tensor) -> Tensor:
        """Lifts positions in crops to camera space, in float32 under autocast too.

        Args:
            positions: (N, ..., J, 3) in [0, 1].
            wrist_depth: (N, ...), metres.
            intrinsics: (N, 3, 3) of the crops.

        Returns:
            (N, ..., J, 3), metres, camera.
        """
        with without_autocast(positions):
            uv = positions[..., :2] * self.crop_size - 0.5
            depth = wrist_depth[..., None] + (positions[..., 2] - 0.5) * self.depth_range
            cameras = intrinsics.reshape(len(intrinsics), *(1,) * (positions.ndim - 3), 3, 3)
            return unproject_points(uv, depth, cameras)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of the annotated hands of a batch (B, T, K=1, H', ...); see `Estimator.loss`."""
        if self.loss_function is None:
            raise ValueError(
                'this SVEgoNet was built without a loss; give its config one, e.g. dict(type="SVEgoNetLoss", ...)'
            )
        batch = fill_masked_values(batch)
        frames = self._frames(batch)
        joints, valid = self._true_joints(batch, frames)
        generator = torch.Generator().manual_seed(step.iteration)
        frames = frames._replace(boxes=jitter_boxes(frames.boxes, self.box_noise, generator))
        annotated = valid.gather(1, frames.side[..., None].expand(-1, -1, 21)).sum(-1) >= max(1, self.min_joints)
        hands = frames.seen & annotated  # (F, H')
        angle = (2 * torch.rand(int(hands.sum()), generator=generator) - 1) * self.max_rotation
        if not len(angle):
            # Every parameter stays in the graph, as processes that train together need it.
            zero = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0.0
            return dict.fromkeys(self.loss_function.names(self.wrist_depth_head is not None), zero)
        view, mirrored = self._view(frames, hands, angle.to(frames.boxes))
        frame = hands.nonzero()[:, 0]
        target = crop_target(
            joints[frame],
            valid[frame],
            frames.side[hands],
            view.intrinsics,
            self.crop_size,
            self.depth_range,
            self.other_hand,
        )
        target = CropTarget(*(_swap(values, mirrored) for values in target))
        return self.loss_function(self(view.images, view.intrinsics), target, step)

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts each hand that has a box, in each frame alone.

        Args:
            batch: (B, T, K=1, H', ...).
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the frame `output_frame`: joints_3d, joints_2d, the boxes, and hand_scores: of a hand with a box
            the probability that its crop shows it, of another one the largest of the crops of its frame, 0 without any.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        frames = self._frames(batch)
        if self.wrist_depth == 'input_joints':
            wrists = batch.require('input_joints_3d').flatten(0, 1)[..., 0, 2]
            frames = frames._replace(seen=frames.seen & batch.require('input_valid').flatten(0, 1))
        else:
            wrists = frames.boxes.new_zeros(frames.seen.shape)
        parts = [
            self._predict_frames(_Frames(*(value[start : start + FRAMES_AT_ONCE] for value in frames)), wrist)
            for start, wrist in zip(range(0, len(wrists), FRAMES_AT_ONCE), wrists.split(FRAMES_AT_ONCE), strict=True)
        ]
        joints, scores = (torch.cat(column) for column in zip(*parts, strict=True))
        return self._to_sequence(batch, frames, joints, scores)

    def _predict_frames(self, frames: _Frames, wrists: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (F, H', J, 3) in the camera's frame and scores (F, H'), zeros where there is no box."""
        count = frames.seen.shape[1]
        joints = frames.boxes.new_zeros(*frames.seen.shape, 21, 3)
        scores = frames.boxes.new_zeros(*frames.seen.shape, count)  # of hand j, by the crop of hand i
        if frames.seen.any():
            view, mirrored = self._view(frames, frames.seen, frames.boxes.new_zeros(int(frames.seen.sum())))
            found_joints, shown, *depths = self.run_part(WHOLE, view.images, view.intrinsics)
            side, rows = frames.side[frames.seen], torch.arange(len(view.images), device=wrists.device)
            depth = wrists[frames.seen]
            if self.wrist_depth == 'network' and depths:
                depth = _swap(depths[0], mirrored)[rows, side].to(depth.dtype)
            positions = _swap(found_joints, mirrored)[rows, side]  # (N, J, 3)
            found = self.lift(positions, depth, view.intrinsics)
            joints = joints.index_put((frames.seen,), found.to(joints.dtype))
            of_hands = _swap(shown, mirrored).gather(1, frames.side[frames.seen.nonzero()[:, 0]])  # (N, H')
            scores = scores.index_put((frames.seen,), of_hands.to(scores.dtype))
        own = scores.diagonal(dim1=1, dim2=2)
        return joints, torch.where(frames.seen, own, scores.amax(1))

    def _to_sequence(self, batch: HandSequence, frames: _Frames, joints: Tensor, scores: Tensor) -> HandSequence:
        """A batch of joints (F, H', J, 3) in the camera's frame."""
        clips, valid = len(batch.meta), frames.seen[..., None].expand(joints.shape[:-1])
        uv = torch.where(valid[..., None], project_points(joints, frames.intrinsics[:, None]), 0.0)
        shaped = {
            'hand_valid': frames.seen,
            'joints_3d': joints - joints[..., :1, :] if self.output_frame == 'wrist' else joints,
            'joints_valid': valid,
            'joints_2d': uv[:, None],
            'joints_2d_valid': (valid & (joints[..., 2] > 0))[:, None],
            'boxes': torch.where(frames.seen[..., None], frames.boxes, 0.0)[:, None],
            'hand_scores': scores,
        }
        return HandSequence(
            meta=batch.meta,
            frame=self.output_frame,
            batched=True,
            frame_valid=valid_frames(batch),
            timestamps=batch.timestamps,
            hand_side=frames.side.unflatten(0, (clips, -1))[:, 0].contiguous(),
            **{name: value.unflatten(0, (clips, -1)).contiguous() for name, value in shaped.items()},
        )

    def _view(self, frames: _Frames, hands: Tensor, angle: Tensor) -> tuple[HandView, Tensor]:
        """Crops of the N `hands` (F, H'), and which of them are mirrored (N,)."""
        frame, boxes = hands.nonzero()[:, 0], frames.boxes[hands]
        mirrored = is_left(frames.side[hands]) & self.mirror_left_hands
        side = (boxes[:, 2:] - boxes[:, :2]).amax(-1) * self.box_scale
        boxes = scale_boxes(boxes, (self.min_box / side.clamp_min(1e-6)).clamp_min(1.0))
        affines = crop_affines(boxes, self.box_scale, self.crop_size, angle, mirrored)
        view = sample_crops(frames.images[frame], frames.intrinsics[frame], affines, self.crop_size)
        return view, mirrored

    def _true_joints(self, batch: HandSequence, frames: _Frames) -> tuple[Tensor, Tensor]:
        """Joints (F, H, J, 3) of a left and a right hand, and which are known (F, H, J)."""
        if batch.frame != 'camera':
            raise SequenceError(
                f"{sample_name(batch.meta[0])}: SVEgoNet learns joints in the 'camera' frame, got {batch.frame!r}"
            )
        joints = batch.require('joints_3d').flatten(0, 1)
        valid = batch.require('joints_valid').flatten(0, 1) & valid_frames(batch).flatten()[:, None, None]
        if batch.hand_valid is not None:
            valid = valid & batch.hand_valid.flatten(0, 1)[..., None]
        index = frames.side[..., None].expand_as(valid)
        both = joints.new_zeros(len(joints), 2, 21, 3).scatter(1, index[..., None].expand_as(joints), joints)
        return both, valid.new_zeros(len(joints), 2, 21).scatter(1, index, valid)

    def _frames(self, batch: HandSequence) -> _Frames:
        """The frames of a batch, checked."""
        where = sample_name(batch.meta[0])
        missing = [name for name in self.reads.fields if name not in batch.present()]
        if missing:
            raise SequenceError(f'{where}: SVEgoNet needs {", ".join(missing)}; the pipeline must load them')
        images, boxes, intrinsics = (batch.require(name) for name in _IMAGE_FIELDS)
        if images.shape[2] != 1:
            raise SequenceError(f'{where}: SVEgoNet sees one camera, got {images.shape[2]}; choose one')
        boxes = boxes[:, :, 0].flatten(0, 1)
        side = batch.require('hand_side')[:, None].expand(-1, images.shape[1], -1).flatten(0, 1)
        seen = boxes_with_area(boxes, (images.shape[-1], images.shape[-2])) & valid_frames(batch).flatten()[:, None]
        return _Frames(images[:, :, 0].flatten(0, 1), boxes, intrinsics[:, :, 0].flatten(0, 1), side, seen)


def _swap(values: Tensor, mirrored: Tensor) -> Tensor:
    """Exchanges the left and the right hand (N, H, ...) of the crops that are `mirrored` (N,)."""
    return torch.where(mirrored.reshape(-1, *(1,) * (values.ndim - 1)), values.flip(1), values)
