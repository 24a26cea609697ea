"""Deformer: dynamic fusion transformer for hand pose in video (Fu et al., ICCV 2023).

Legend: B clips, T frames, C channels, h w image size, J = 21 joints, V mesh vertices, D = 96 (16 rotations in 6D).
Choices where the paper and its published code differ are listed in docs/deformer.md.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from handpose.geometry import rot6d_to_rotmat, rotmat_to_rot6d, rotmat_to_rotvec, scale_boxes
from handpose.models.heads import RegressedHand, linear_from
from handpose.models.layers import mirror_poses, pose_to_rotmat, roi_align
from handpose.registry import HAND_MODELS, MODELS
from handpose.structures import HandSequence, centred_windows, fill_masked_values, strided_windows

TEST_MODES = ('all', 'centre', 'overlap')


class DeformerOutput(NamedTuple):
    """What one forward pass gives. Poses are D = 96 numbers in the head's rotation space."""

    pose: torch.Tensor  # (B, T, D), fused: the result
    frame_pose: torch.Tensor  # (B, T, D), of each frame before fusion
    forward_motion: torch.Tensor  # (B, T, D), from t to t + 1
    backward_motion: torch.Tensor  # (B, T, D), from t to t - 1
    votes: torch.Tensor  # (B, T, T), [:, i, j] the weight of frame i in the result of frame j
    shape: torch.Tensor  # (B, 10), one for the clip
    joints_2d: torch.Tensor  # (B, T, J, 2), in [0, 1] of the box
    monocular_pose: torch.Tensor | None  # (B, T, D), from the frame alone; None without a monocular head
    monocular_shape: torch.Tensor | None  # (B, T, 10), from the frame alone


@MODELS.register_module()
class Deformer(nn.Module):
    """Estimates the pose of one hand in every frame of a clip (paper Fig. 2).

    Args:
        backbone: config of the image backbone, e.g. `ResNetFPN`; gives one map at stride 4.
        spatial_transformer: config of `SpatialTransformer`.
        temporal_transformer: config of `TemporalTransformer`.
        head: config of `DynamicFusionHead`.
        monocular_head: config of `HandRegressionHead`, which supervises the features of each frame alone; None leaves
            it out, as the published code does, and then the loss needs monocular_weight=0.
        hand_model: config of the hand model that turns pose and shape into a mesh.
        loss: config of `DeformerLoss`.
        normalizer: config of `ImageNormalizer`.
        channels: C of the frame features. roi_size: side of the grid of features cut out of the box.
        roi_sampling: samples along each side of a cell of it; -1 takes as many as the box needs (published), which
            asks the device for a number; any other needs no answer, as export and compile want it.
        box_scale: enlarges the batch's boxes, which fit the joints, to hold the whole hand (published: 1.5).
        num_frames: T of a test window. frame_gap: frames from one position of it to the next.
        test_mode: 'all' predicts every frame of a window at once, so that as few windows as can hold a track are
            enough (the paper's 105 FPS), and keeps each frame's prediction of the window where it is nearest to the
            centre; 'centre' predicts the centre of one window around each frame; 'overlap' (ours) predicts every
            frame in all windows that can hold it and averages the rotations, weighted by how near to the centre of
            each window it is, so that the answer changes smoothly from frame to frame of a window.
        joints_to_head: feeds the 2D joints to the pose regression too, as the published code does.
        mirror_left_hands: shows the network left hands in a mirror and mirrors its answer, so that it only ever learns
            right hands. Ours; the paper does not.
    """

    def __init__(
        self,
        backbone: dict,
        spatial_transformer: dict,
        temporal_transformer: dict,
        head: dict,
        monocular_head: dict | None,
        hand_model: dict,
        loss: dict,
        normalizer: dict | None = None,
        channels: int = 256,
        roi_size: int = 32,
        roi_sampling: int = -1,
        box_scale: float = 1.5,
        num_frames: int = 7,
        frame_gap: int = 10,
        test_mode: str = 'all',
        joints_to_head: bool = False,
        mirror_left_hands: bool = False,
    ):
        super().__init__()
        if test_mode not in TEST_MODES:
            raise ValueError(f'test_mode must be one of {", ".join(map(repr, TEST_MODES))}, got {test_mode!r}')
        self.normalizer = MODELS.build(normalizer or {'type': 'ImageNormalizer'})
        self.backbone = MODELS.build(backbone)
        self.spatial_transformer = MODELS.build(spatial_transformer)
        self.temporal_transformer = MODELS.build(temporal_transformer)
        self.head = MODELS.build(head)
        self.monocular_head = None if monocular_head is None else MODELS.build(monocular_head)
        self.hand_model = HAND_MODELS.build(hand_model)
        self.shape_regression = linear_from(channels, torch.zeros(10))
        self.loss_function = MODELS.build(loss)
        self.roi_size, self.roi_sampling, self.box_scale = roi_size, roi_sampling, box_scale
        self.num_frames, self.frame_gap, self.test_mode = num_frames, frame_gap, test_mode
        self.joints_to_head, self.mirror_left_hands = joints_to_head, mirror_left_hands

    def init_weights(self):
        """Starts the backbone from its pretrained weights, if its config names any."""
        self.backbone.init_weights()

    def forward(self, images, boxes, hand_side, frame_valid=None, visibility=None):
        """Runs the whole network.

        Args:
            images: (B, T, 3, h, w) RGB in [0, 255].
            boxes: (B, T, 4) xyxy of the hand, pixels.
            hand_side: (B,) int, 0 left, 1 right.
            frame_valid: (B, T) bool, False where a frame is padding; None = all true.
            visibility: (B, T) share of the hand that is seen, for a head whose fusion is weighted by it.

        Returns:
            `DeformerOutput`.
        """
        mirrored = hand_side == 0  # (B,)
        if self.mirror_left_hands:
            images, boxes = mirror_images(images, boxes, mirrored)
        features_btc, joints_2d = self.encode(images, boxes)  # (B, T, C), (B, T, J, 2)
        return self.mirror_back(self.decode(features_btc, joints_2d, frame_valid, visibility), mirrored)

    def encode(self, images, boxes):
        """Sees each frame alone: (B, T, 3, h, w), (B, T, 4) -> features (B, T, C) and 2D joints (B, T, J, 2)."""
        leading = images.shape[:2]
        features = self.backbone(self.normalizer(images.flatten(0, 1)))  # (B*T, C, h/4, w/4)
        tokens = roi_align(features, boxes.flatten(0, 1), self.roi_size, 0.25, self.roi_sampling)
        spatial = self.spatial_transformer(tokens)  # (B*T, C, roi, roi) -> (B*T, C)
        return spatial.feature.unflatten(0, leading), spatial.joints_2d.unflatten(0, leading)

    def decode(self, features_btc, joints_2d, frame_valid=None, visibility=None):
        """Reasons over time: features (B, T, C) and 2D joints (B, T, J, 2) of a window -> `DeformerOutput`."""
        temporal = self.temporal_transformer(features_btc, frame_valid)  # (B, T, C) and (B, C)
        attended = temporal.features
        if self.joints_to_head:
            attended = torch.cat([attended, joints_2d.flatten(-2)], dim=-1)  # (B, T, C + 2J)
        fused = self.head(attended, frame_valid, visibility)
        monocular = RegressedHand(None, None) if self.monocular_head is None else self.monocular_head(features_btc)
        return DeformerOutput(
            pose=fused.fused_pose,
            frame_pose=fused.pose,
            forward_motion=fused.forward_motion,
            backward_motion=fused.backward_motion,
            votes=fused.weights,
            shape=self.shape_regression(temporal.shape_feature),
            joints_2d=joints_2d,
            monocular_pose=monocular.pose,
            monocular_shape=monocular.shape,
        )

    def mirror_back(self, output, mirrored):
        """The answer for the real hands where the network saw `mirrored` (B,) ones."""
        if not self.mirror_left_hands:
            return output
        where = mirrored[:, None, None]
        space = self.head.rotation_space
        poses = ('pose', 'frame_pose', 'forward_motion', 'backward_motion', 'monocular_pose')
        changes = {name: getattr(output, name) for name in poses if getattr(output, name) is not None}
        changes = {name: torch.where(where, mirror_poses(pose, space), pose) for name, pose in changes.items()}
        joints_2d = torch.where(where[..., None], _mirror_points(output.joints_2d), output.joints_2d)
        return output._replace(joints_2d=joints_2d, **changes)

    def loss(self, batch):
        """Losses of a (B, T, K=1, H=1, ...) batch: a dict of scalars, of which those named `loss...` are summed."""
        batch = fill_masked_values(batch)
        images, boxes, valid = self._inputs(batch)
        output = self(images, boxes, batch.hand_side[:, 0], valid, self._visibility(batch))
        fused_frames = self.head.fused_frames(valid.shape[1], valid.device)
        return self.loss_function(output, batch, boxes, self.hand_model, self.head.rotation_space, fused_frames)

    @torch.no_grad()
    def predict(self, batch):
        """Predicts whole tracks: each frame is encoded once, then windows of features are decoded.

        Args:
            batch: (B, T, K=1, H=1, ...), T frames of any number; hand_valid says which of them have a hand.

        Returns:
            `HandSequence` batch in the 'wrist' frame with joints_3d, vertices, hand-model parameters (one shape a
            track: the mean over its windows), joints_2d and, in frame_confidence, each frame's own vote.
        """
        batch = fill_masked_values(batch)
        images, boxes, valid = self._inputs(batch)
        visibility = self._visibility(batch)
        mirrored = batch.hand_side[:, 0] == 0
        seen_images, seen_boxes = mirror_images(images, boxes, mirrored) if self.mirror_left_hands else (images, boxes)
        tracks = []
        for b in range(len(images)):
            features, joints_2d = self._encode_in_chunks(seen_images[b], seen_boxes[b])
            track_visibility = None if visibility is None else visibility[b]
            tracks.append(self._decode_track(features, joints_2d, mirrored[b], valid[b], track_visibility))
        rotations, shape, joints_2d, own_vote = (torch.stack(parts) for parts in zip(*tracks, strict=True))
        return self._to_sequence(batch, boxes, rotations, shape, joints_2d, own_vote)

    def _encode_in_chunks(self, images, boxes, chunk=32):
        parts = [self.encode(i[None], b[None]) for i, b in zip(images.split(chunk), boxes.split(chunk), strict=True)]
        return tuple(torch.cat([part[n][0] for part in parts]) for n in range(2))

    def _decode_track(self, features, joints_2d, mirrored, valid, visibility):
        """Decodes the windows of one track and assembles what they predict.

        Args:
            features: (T, C). joints_2d: (T, J, 2). mirrored: () bool. valid: (T,) bool. visibility: (T,) or None.

        Returns:
            rotations (T, 16, 3, 3), shape (10,), joints_2d (T, J, 2) and each frame's own vote (T,).
        """
        index, present, weights = (torch.as_tensor(x, device=valid.device) for x in self._windows(valid.cpu().numpy()))
        seen = None if visibility is None else visibility[index]
        output = self.decode(features[index], joints_2d[index], present, seen)
        output = self.mirror_back(output, mirrored.expand(len(index)))
        poses = rotmat_to_rot6d(pose_to_rotmat(output.pose, self.head.rotation_space))  # (W, T', 16, 6)
        own_vote = output.votes.diagonal(dim1=1, dim2=2)  # (W, T')
        taken = weights > 0
        index, weights = index[taken], weights[taken].to(poses.dtype)
        pose = poses.new_zeros(len(valid), *poses.shape[2:])
        pose.index_add_(0, index, weights[:, None, None] * poses[taken])
        vote = own_vote.new_zeros(len(valid)).index_add_(0, index, weights * own_vote[taken])
        vote = vote / vote.new_zeros(len(valid)).index_add_(0, index, weights).clamp_min(1e-6)
        if self.mirror_left_hands:
            joints_2d = torch.where(mirrored, _mirror_points(joints_2d), joints_2d)
        # Gram-Schmidt does not need the sum of weights: the scale of the six numbers has no effect.
        return rot6d_to_rotmat(pose), output.shape.mean(0), joints_2d, vote

    def _windows(self, valid):
        """The windows of a track with `valid` (T,) frames: index, present and weight of each prediction, all (W, T').

        The weights are 0 where a window's prediction is not kept. A track without a valid frame is decoded whole.
        """
        if not valid.any():
            valid = np.ones_like(valid)  # nothing that is predicted counts, but it must be finite
        half = (self.num_frames - 1) / 2
        place = np.arange(self.num_frames)
        if self.test_mode == 'centre':
            index, present = centred_windows(len(valid), self.num_frames, self.frame_gap, usable=valid)
            return index, present, present * (place == half)
        stride = 1 if self.test_mode == 'overlap' else None
        index, present, predicted = strided_windows(len(valid), self.num_frames, self.frame_gap, valid, stride)
        nearness = 1 - np.abs(place - half) / (half + 1)
        return index, present, present * nearness if self.test_mode == 'overlap' else predicted * 1.0

    def _to_sequence(self, batch, boxes, rotations, shape, joints_2d, own_vote):
        num_frames = rotations.shape[1]  # of (B, T, 16, 3, 3)
        side = batch.hand_side[:, :1].expand(-1, num_frames)
        shapes = shape[:, None].expand(-1, num_frames, -1)
        # The wrist goes to the origin of its own frame of reference.
        transl = -self.hand_model.rest_wrist(shapes, side)
        mesh = self.hand_model(rotations, shapes, transl, side)
        hand_valid = batch.hand_valid & batch.frame_valid[..., None]
        corner, size = boxes[..., None, :2], boxes[..., None, 2:] - boxes[..., None, :2]
        return HandSequence(
            meta=batch.meta,
            frame='wrist',
            batched=True,
            frame_valid=batch.frame_valid,
            hand_side=batch.hand_side,
            hand_valid=hand_valid,
            joints_3d=mesh.joints[:, :, None],
            joints_valid=hand_valid[..., None].expand(-1, -1, -1, 21).contiguous(),
            joints_2d=(corner + joints_2d * size)[:, :, None, None],
            joints_2d_valid=hand_valid[:, :, None, :, None].expand(-1, -1, -1, -1, 21).contiguous(),
            vertices=mesh.vertices[:, :, None],
            hand_pose=rotmat_to_rotvec(rotations)[:, :, None],
            hand_shape=shape[:, None],
            hand_transl=transl[:, :, None],
            hand_pose_valid=hand_valid,
            frame_confidence=own_vote[..., None],
        )

    def _inputs(self, batch):
        if batch.images is None or batch.boxes is None:
            raise ValueError('Deformer needs images and hand boxes; the pipeline must load images and crop the hand')
        if batch.images.shape[2] != 1 or batch.hand_side.shape[1] != 1:
            raise ValueError(
                f'Deformer sees one hand with one camera, got {batch.hand_side.shape[1]} hands and '
                f'{batch.images.shape[2]} cameras; crop each hand into a clip of its own'
            )
        boxes = scale_boxes(batch.boxes[:, :, 0, 0], self.box_scale)
        return batch.images[:, :, 0], boxes, batch.frame_valid & batch.hand_valid[..., 0]

    def _visibility(self, batch):
        if self.head.mode != 'occlusion':
            return None
        if batch.occlusion is None:
            raise ValueError("fusion weighted by occlusion needs the field 'occlusion', which this dataset lacks")
        occlusion = batch.occlusion[:, :, 0, 0]
        if occlusion.isnan()[batch.frame_valid & batch.hand_valid[..., 0]].all():
            names = ', '.join(sorted({str(meta.get('dataset', 'unnamed dataset')) for meta in batch.meta}))
            raise ValueError(
                f"head.mode='occlusion' needs to know how hidden each hand is, but 'occlusion' is unknown (NaN) "
                f'in every annotated frame of a batch of {names}, so that all frames would vote alike; use data that '
                f"states it (DexYCB), or head.mode='average' or 'dynamic'"
            )
        return 1 - occlusion


def mirror_images(images, boxes, mirrored):
    """Images (B, T, 3, h, w) and boxes (B, T, 4) flipped left to right where `mirrored` (B,)."""
    flipped = torch.where(mirrored[:, None, None, None, None], images.flip(-1), images)
    # Pixel centres lie at integers, so x becomes w - 1 - x; the left edge of a box becomes its right edge.
    x1, y1, x2, y2 = boxes.unbind(-1)
    last = images.shape[-1] - 1
    mirror = torch.stack([last - x2, y1, last - x1, y2], dim=-1)
    return flipped, torch.where(mirrored[:, None, None], mirror, boxes)


def _mirror_points(points):
    """Points (..., 2) in [0, 1] of a box, seen in a mirror."""
    return torch.cat([1 - points[..., :1], points[..., 1:]], dim=-1)
