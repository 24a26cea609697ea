"""Deformer: dynamic fusion transformer for hand pose in video (Fu et al., ICCV 2023).

Legend: B clips, T frames, C channels, h w image size, J = 21 joints, V mesh vertices, D = 96 (16 rotations in 6D).
Choices where the paper and its published code differ are listed in docs/systems/deformer.md.
"""

import torch
from torch import Tensor, nn

from handpose.geometry import rotmat_to_rotvec, scale_boxes
from handpose.hands import HandModel
from handpose.hands.sides import is_left
from handpose.models.estimators.base import FRAMES_AT_ONCE, EncodedFrames, Gives, Reads, TrainingStep, VideoEstimator
from handpose.models.estimators.deformer_components import (
    ClipTransformer,
    DeformerOutput,
    FeatureMapBackbone,
    FrameTransformer,
    FusionHead,
    ParameterHead,
)
from handpose.models.estimators.deformer_parts import deformer_parts
from handpose.models.estimators.deformer_windows import TEST_MODES, TrackPoses, assemble_track, track_windows
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.estimators.video_parts import DECODE, ENCODE
from handpose.models.heads import linear_from
from handpose.models.layers import mirror_poses, pose_to_rotmat, roi_align
from handpose.models.layers.checks import check_option
from handpose.models.layers.mirror import mirror_images, mirror_points
from handpose.models.losses.targets import HandTarget
from handpose.registry import HAND_MODELS, MODELS
from handpose.structures import HandSequence, fill_masked_values


@MODELS.register_module()
class Deformer(VideoEstimator):
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
        channels: C of the frame features.
        roi_size: side of the grid of features cut out of the box.
        roi_sampling: samples along each side of a cell of it; -1 takes as many as the box needs (published), which
            asks the device for a number; any other needs no answer, as export and compile want it.
        box_scale: enlarges the batch's boxes, which fit the joints, to hold the whole hand (published: 1.5).
        num_frames: T of a test window.
        frame_step: frames of the track from one position of a window to the next.
        test_mode: 'all' predicts every frame of a window at once, so that as few windows as can hold a track are
            enough (the paper's 105 FPS), and keeps each frame's prediction of the window where it is nearest to the
            centre; 'centre' predicts the centre of one window around each frame; 'overlap' (ours) predicts every
            frame in all windows that can hold it and averages the rotations, weighted by how near to the centre of
            each window it is, so that the answer changes smoothly from frame to frame of a window.
        joints_to_head: feeds the 2D joints to the pose regression too, as the published code does.
        mirror_left_hands: shows the network left hands in a mirror and mirrors its answer, so that it only ever learns
            right hands. Ours; the paper does not.

    Raises:
        ValueError: an unknown test_mode.
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
        frame_step: int = 10,
        test_mode: str = 'all',
        joints_to_head: bool = False,
        mirror_left_hands: bool = False,
    ) -> None:
        super().__init__()
        check_option('test_mode', test_mode, TEST_MODES)
        self.normalizer = MODELS.build(normalizer or {'type': 'ImageNormalizer'})
        self.backbone: FeatureMapBackbone = MODELS.build(backbone)
        self.spatial_transformer: FrameTransformer = MODELS.build(spatial_transformer)
        self.temporal_transformer: ClipTransformer = MODELS.build(temporal_transformer)
        self.head: FusionHead = MODELS.build(head)
        self.monocular_head: ParameterHead | None = None if monocular_head is None else MODELS.build(monocular_head)
        self.hand_model: HandModel = HAND_MODELS.build(hand_model)
        self.shape_regression = linear_from(channels, torch.zeros(10))
        self.loss_function: nn.Module = MODELS.build(loss)
        self.roi_size, self.roi_sampling, self.box_scale = roi_size, roi_sampling, box_scale
        self.num_frames, self.frame_step, self.test_mode = num_frames, frame_step, test_mode
        self.joints_to_head, self.mirror_left_hands = joints_to_head, mirror_left_hands

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('images', 'boxes', 'hand_side', 'hand_valid', 'frame_valid')
        return Reads(
            fields=(*fields, 'occlusion') if self.head.mode == 'occlusion' else fields,
            num_frames=self.num_frames,
            frame_step=self.frame_step,
            num_hands=1,
            num_cameras=1,
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
            min_frames=self.num_frames,
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame='wrist', hand_model=self.hand_model)

    def init_weights(self) -> None:
        """Starts the backbone from its pretrained weights, if its config names any."""
        self.backbone.init_weights()

    def forward(
        self,
        images: Tensor,
        boxes: Tensor,
        hand_side: Tensor,
        frame_valid: Tensor | None = None,
        visibility: Tensor | None = None,
    ) -> DeformerOutput:
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
        mirrored = is_left(hand_side)  # (B,)
        if self.mirror_left_hands:
            images, boxes = mirror_images(images, boxes, mirrored)
        features_btc, joints_2d = self.encode(images, boxes)  # (B, T, C), (B, T, J, 2)
        return self.mirror_back(self.decode(features_btc, joints_2d, frame_valid, visibility), mirrored)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        return deformer_parts(self, self.box_scale, self.head.mode == 'occlusion', self.head.rotation_space)

    def encode(self, images: Tensor, boxes: Tensor, most_samples: int | None = None) -> tuple[Tensor, Tensor]:
        """Sees each frame alone: (B, T, 3, h, w), (B, T, 4) -> features (B, T, C) and 2D joints (B, T, J, 2).

        `most_samples` is that of `roi_align`.
        """
        leading = images.shape[:2]
        features = self.backbone(self.normalizer(images.flatten(0, 1)))  # (B*T, C, h/4, w/4)
        sampling = self.roi_sampling, False, most_samples
        tokens = roi_align(features, boxes.flatten(0, 1), self.roi_size, 0.25, *sampling)
        spatial = self.spatial_transformer(tokens)  # (B*T, C, roi, roi) -> (B*T, C)
        return spatial.feature.unflatten(0, leading), spatial.joints_2d.unflatten(0, leading)

    def decode(
        self,
        features_btc: Tensor,
        joints_2d: Tensor,
        frame_valid: Tensor | None = None,
        visibility: Tensor | None = None,
    ) -> DeformerOutput:
        """Reasons over time: features (B, T, C) and 2D joints (B, T, J, 2) of a window -> `DeformerOutput`."""
        temporal = self.temporal_transformer(features_btc, frame_valid)  # (B, T, C) and (B, C)
        attended = temporal.features
        if self.joints_to_head:
            attended = torch.cat([attended, joints_2d.flatten(-2)], dim=-1)  # (B, T, C + 2J)
        fused = self.head(attended, frame_valid, visibility)
        monocular = None if self.monocular_head is None else self.monocular_head(features_btc)
        return DeformerOutput(
            pose=fused.fused_pose,
            frame_pose=fused.pose,
            forward_motion=fused.forward_motion,
            backward_motion=fused.backward_motion,
            votes=fused.weights,
            shape=self.shape_regression(temporal.shape_feature),
            joints_2d=joints_2d,
            monocular_pose=None if monocular is None else monocular.pose,
            monocular_shape=None if monocular is None else monocular.shape,
        )

    def mirror_back(self, output: DeformerOutput, mirrored: Tensor) -> DeformerOutput:
        """The output for the real hands where the network saw `mirrored` (B,) ones."""
        if not self.mirror_left_hands:
            return output
        where = mirrored[:, None, None]

        def restored(pose: Tensor) -> Tensor:
            return torch.where(where, mirror_poses(pose, self.head.rotation_space), pose)

        return output._replace(
            pose=restored(output.pose),
            frame_pose=restored(output.frame_pose),
            forward_motion=restored(output.forward_motion),
            backward_motion=restored(output.backward_motion),
            joints_2d=torch.where(where[..., None], mirror_points(output.joints_2d), output.joints_2d),
            monocular_pose=None if output.monocular_pose is None else restored(output.monocular_pose),
        )

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a (B, T, K=1, H=1, ...) batch; see `Estimator.loss`."""
        batch = fill_masked_values(batch)
        images, boxes, valid, side = self._inputs(batch)
        output = self(images, scale_boxes(boxes, self.box_scale), side, valid, self._visibility(batch, valid))
        fused_frames = self.head.fused_frames(valid.shape[1], valid.device)
        target = self.targets_from(batch)
        return self.loss_function(output, target, step, self.hand_model, self.head.rotation_space, fused_frames)

    def targets_from(self, batch: HandSequence) -> HandTarget:
        """The targets of a (B, T, K=1, H=1, ...) batch."""
        _, boxes, valid, side = self._inputs(batch)
        boxes = scale_boxes(boxes, self.box_scale)[:, :, None]
        corner, size = boxes[..., :2], (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-6)
        has_parameters = batch.hand_pose is not None
        return HandTarget(
            side=side,
            frame_valid=valid,
            joints=batch.require('joints_3d')[:, :, 0],
            joints_valid=batch.require('joints_valid')[:, :, 0],
            joints_2d=(batch.require('joints_2d')[:, :, 0, 0] - corner) / size,
            joints_2d_valid=batch.require('joints_2d_valid')[:, :, 0, 0],
            pose=batch.require('hand_pose')[:, :, 0] if has_parameters else None,
            shape=batch.require('hand_shape')[:, 0] if has_parameters else None,
            pose_valid=batch.require('hand_pose_valid')[..., 0] if has_parameters else None,
        )

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts whole tracks: each frame is encoded once, then windows of features are decoded.

        Args:
            batch: (B, T, K=1, H=1, ...), T frames of any number; hand_valid says which of them have a hand.
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the 'wrist' frame with joints_3d, vertices, hand-model parameters (one shape a track: the mean
            over its windows), joints_2d and, in frame_confidence, each frame's own vote.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        images, boxes, valid, side = self._inputs(batch)
        visibility = self._visibility(batch, valid)
        tracks = []
        for b in range(len(images)):
            encoded = self.encode_frames(images[b], boxes[b, :, None], side[b : b + 1])
            track_visibility = None if visibility is None else visibility[b]
            tracks.append(self._decode_windows(encoded, side[b], valid[b], track_visibility))
        whole = TrackPoses(*(torch.stack(column) for column in zip(*tracks, strict=True)))
        regions = scale_boxes(boxes, self.box_scale)
        sequence = self._to_sequence(whole, regions, side, valid)
        return sequence.replace(meta=batch.meta, frame_valid=batch.frame_valid)

    @torch.no_grad()
    def encode_frames(
        self, images: Tensor, boxes: Tensor | None = None, hand_side: Tensor | None = None
    ) -> EncodedFrames:
        """Encodes frames of one hand; see `VideoEstimator.encode_frames`. Needs boxes and hand_side."""
        if boxes is None or hand_side is None:
            raise ValueError('Deformer sees one hand in its box: give encode_frames boxes (T, 1, 4) and hand_side (1,)')
        regions = scale_boxes(boxes[:, 0], self.box_scale)  # (T, 4)
        seen, seen_regions = images, regions
        if self.mirror_left_hands:
            seen, seen_regions = (x[0] for x in mirror_images(images[None], regions[None], is_left(hand_side)))
        chunks = zip(seen.split(FRAMES_AT_ONCE), seen_regions.split(FRAMES_AT_ONCE), strict=True)
        parts = [self.run_part(ENCODE, *chunk) for chunk in chunks]
        features, joints_2d = (torch.cat(column) for column in zip(*parts, strict=True))
        return EncodedFrames(features, joints_2d[:, None], regions[:, None])

    @torch.no_grad()
    def decode_track(
        self,
        encoded: EncodedFrames,
        *,
        frame_valid: Tensor | None = None,
        hand_side: Tensor | None = None,
        intrinsics: Tensor | None = None,
        occlusion: Tensor | None = None,
    ) -> HandSequence:
        """Predicts a track of one hand; see `VideoEstimator.decode_track`. Needs hand_side, ignores intrinsics."""
        if hand_side is None or encoded.boxes is None:
            raise ValueError('Deformer needs hand_side (1,) and what its own encode_frames gave')
        shown = encoded.features.new_ones(len(encoded.features), dtype=torch.bool)
        shown = shown if frame_valid is None else frame_valid
        visibility = self._visible_share(None if occlusion is None else occlusion[:, 0], shown, 'the track')
        track = self._decode_windows(encoded, hand_side[0], shown, visibility)
        whole = TrackPoses(*(x[None] for x in track))
        sequence = self._to_sequence(whole, encoded.boxes[None, :, 0], hand_side, shown[None])
        return sequence.replace(meta=[{}]).unstack()[0]

    def _decode_windows(
        self, encoded: EncodedFrames, side: Tensor, valid: Tensor, visibility: Tensor | None
    ) -> TrackPoses:
        """Decodes the windows of one track and assembles what they predict.

        Args:
            encoded: of T frames.
            side: () int.
            valid: (T,) bool.
            visibility: (T,), or None.
        """
        windows = track_windows(valid.cpu().numpy(), self.num_frames, self.frame_step, self.test_mode)
        index, present, weights = (torch.as_tensor(x, device=valid.device) for x in windows)
        if encoded.joints_2d is None:
            raise ValueError('Deformer decodes what its own encode_frames gave, with joints_2d')
        joints_2d, mirrored = encoded.joints_2d[:, 0], is_left(side)
        visible = [] if visibility is None else [visibility[index]]
        pose, shape, own_votes = self.run_part(DECODE, encoded.features[index], joints_2d[index], present, *visible)
        if self.mirror_left_hands:
            joints_2d = torch.where(mirrored, mirror_points(joints_2d), joints_2d)
            pose = torch.where(mirrored, mirror_poses(pose, self.head.rotation_space), pose)
        rotations = pose_to_rotmat(pose, self.head.rotation_space)  # (W, T', 16, 3, 3)
        rotation, vote = assemble_track(rotations, own_votes, index, weights, len(valid))
        return TrackPoses(rotation, shape.mean(0), joints_2d, vote)

    def _to_sequence(self, track: TrackPoses, boxes: Tensor, side: Tensor, valid: Tensor) -> HandSequence:
        """A batch of the predictions (B, T, ...) of hands `side` (B,) in boxes (B, T, 4), where `valid` (B, T)."""
        num_frames = track.rotations.shape[1]
        sides = side[:, None].expand(-1, num_frames)
        shapes = track.shape[:, None].expand(-1, num_frames, -1)
        # The wrist goes to the origin of its own frame of reference.
        transl = -self.hand_model.rest_wrist(shapes, sides)
        mesh = self.hand_model(track.rotations, shapes, transl, sides)
        hand_valid = valid[..., None]
        corner, size = boxes[..., None, :2], boxes[..., None, 2:] - boxes[..., None, :2]
        return HandSequence(
            frame='wrist',
            batched=True,
            frame_valid=torch.ones_like(valid),
            hand_side=side[:, None],
            hand_valid=hand_valid,
            joints_3d=mesh.joints[:, :, None],
            joints_valid=hand_valid[..., None].expand(-1, -1, -1, 21).contiguous(),
            joints_2d=(corner + track.joints_2d * size)[:, :, None, None],
            joints_2d_valid=hand_valid[:, :, None, :, None].expand(-1, -1, -1, -1, 21).contiguous(),
            vertices=mesh.vertices[:, :, None],
            hand_pose=rotmat_to_rotvec(track.rotations)[:, :, None],
            hand_shape=track.shape[:, None],
            hand_transl=transl[:, :, None],
            hand_pose_valid=hand_valid,
            frame_confidence=track.own_vote[..., None],
        )

    def _inputs(self, batch: HandSequence) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (B, T, 3, h, w), boxes (B, T, 4), the frames with a hand (B, T) and its side (B,)."""
        if batch.images is None or batch.boxes is None:
            raise ValueError('Deformer needs images and hand boxes; the pipeline must load images and crop the hand')
        side = batch.require('hand_side')
        if batch.images.shape[2] != 1 or side.shape[1] != 1:
            raise ValueError(
                f'Deformer sees one hand with one camera, got {side.shape[1]} hands and '
                f'{batch.images.shape[2]} cameras; crop each hand into a clip of its own'
            )
        valid = batch.require('frame_valid') & batch.require('hand_valid')[..., 0]
        return batch.images[:, :, 0], batch.boxes[:, :, 0, 0], valid, side[:, 0]

    def _visibility(self, batch: HandSequence, valid: Tensor) -> Tensor | None:
        """The visible share (B, T) of each hand, for a head whose fusion is weighted by it."""
        occlusion = None if batch.occlusion is None else batch.occlusion[:, :, 0, 0]
        names = ', '.join(sorted({str(meta.get('dataset', 'unnamed dataset')) for meta in batch.meta}))
        return self._visible_share(occlusion, valid, f'a batch of {names}')

    def _visible_share(self, occlusion: Tensor | None, valid: Tensor, where: str) -> Tensor | None:
        if self.head.mode != 'occlusion':
            return None
        if occlusion is None:
            raise ValueError(f"head.mode='occlusion' needs the field 'occlusion', which {where} lacks")
        if occlusion.isnan()[valid].all():
            raise ValueError(
                f"head.mode='occlusion' needs to know how hidden each hand is, but 'occlusion' is unknown (NaN) "
                f'in every annotated frame of {where}, so that all frames would vote alike; use data that '
                f"states it (DexYCB), or head.mode='average' or 'dynamic'"
            )
        return 1 - occlusion
