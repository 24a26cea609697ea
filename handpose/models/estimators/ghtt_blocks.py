"""The two blocks of G-HTT (Wen et al., section 3.2): P from poses to a mid-level feature, A from these to action.

Both are transformer VAEs of the same components. Legend: B clips, t = 16 frames of a clip of P, n clips observed by A,
m clips predicted by A, D = 147 features of a frame, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry.rotations import rotmat_to_rot6d
from handpose.models.layers.checks import check_features, check_option
from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.mlp import MLP
from handpose.models.layers.position import sine_position_1d
from handpose.models.layers.two_hand_motion import NUM_FEATURES, TwoHandFeatures, TwoHandMotion
from handpose.models.necks.motion_vae import LatentDistribution, MotionVAEDecoder, MotionVAEEncoder
from handpose.registry import MODELS

CONTEXTS = {'none': 0, 'orientation': 12, 'pose': 18}  # numbers that each context adds to a frame
_MOTIONS = slice(120, 138)  # of the features: palm motions
FADING = 6.0  # frames after which the motion that future frames are compared with has faded to 1 / e


def frame_inputs(features: TwoHandFeatures, values: Tensor, context: str, difference_gain: float = 0.0) -> Tensor:
    """What a network sees of each frame.

    Args:
        features: of B clips of t frames.
        values: (B, t, D), their normalized values, zero where not valid.
        context: one of `CONTEXTS`, see `GHTTPoseBlock`.
        difference_gain: see `GHTTPoseBlock`.

    Returns:
        (B, t, `num_inputs(context, difference_gain)`): values; a flag for each part of them that is valid, which are
        both hands' joints, both palm motions and the relative palm pose; the differences from the last frame; and the
        context.
    """
    flags = torch.stack([features.valid[..., part].any(-1) for part in _PARTS], -1)
    parts, palms, valid = [values, flags.to(values.dtype)], features.palms, features.palm_valid[..., None]
    if difference_gain:
        both = features.valid & features.valid[:, -1:]
        parts.append(torch.where(both, difference_gain * (values - values[:, -1:]), 0))
    if context != 'none':
        parts.append(torch.where(valid, rotmat_to_rot6d(palms[..., :3, :3]), 0).flatten(2))
    if context == 'pose':
        parts.append(torch.where(valid, palms[..., :3, 3], 0).flatten(2))
    return torch.cat(parts, -1)


def num_inputs(context: str, difference_gain: float) -> int:
    """How many numbers of a frame `frame_inputs` gives.

    Args:
        context: see `GHTTPoseBlock`.
        difference_gain: see `GHTTPoseBlock`.
    """
    return NUM_FEATURES * (1 + bool(difference_gain)) + len(_PARTS) + CONTEXTS[context]


def coasting_frames(last: Tensor, frame: Tensor) -> Tensor:
    """What residual blocks add future frames to: the pose of the last frame, and its palm motion, which fades.

    Args:
        last: (B, D), normalized.
        frame: (F,), numbers of future frames, from 0.

    Returns:
        (B, F, D), normalized.
    """
    frames = last[:, None].repeat(1, frame.shape[0], 1)
    frames[..., _MOTIONS] *= torch.exp(-(frame + 1) / FADING).to(last.dtype)[:, None]
    return frames


def correction_head(channels: int) -> nn.Module:
    """The head (.., C) -> (.., D) of residual blocks for observed frames, which are corrections of the input.

    They begin near zero. Else training first makes all tokens alike, which lowers this loss where the input is good,
    and nothing can be predicted from such tokens.

    Args:
        channels: C.
    """
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), small_linear(channels, NUM_FEATURES))


def unit_variance(text: Tensor) -> Tensor:
    """Text features (..., E) of unit length as numbers of unit variance, like all else in a token.

    Args:
        text: (..., E).
    """
    return text * text.shape[-1] ** 0.5


def small_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose output begins near zero.

    Args:
        inputs: channels in.
        outputs: channels out.
    """
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer


class PoseCode(NamedTuple):
    """What the encoder of P gives."""

    latent: LatentDistribution  # of the mid-level feature m^P, and gamma (B, t, C)
    refined: Tensor  # (B, t, D), normalized
    memory_valid: Tensor  # (B, t) bool, frames that show a hand

    def repeat(self, count: int) -> 'PoseCode':
        """Each clip `count` times, one after the other."""
        latent = LatentDistribution(*(x.repeat_interleave(count, 0) for x in self.latent))
        return PoseCode(latent, *(x.repeat_interleave(count, 0) for x in self[1:]))


@MODELS.register_module()
class GHTTPoseBlock(nn.Module):
    """The short-term block P: refines t frames, compresses them to a mid-level feature, and predicts the next t.

    Args:
        num_frames: t (paper: 16).
        channels: C (paper: 512).
        num_layers: of the encoder and of the decoder (paper: 9).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of the transformers.
        motion_frame: see `TwoHandMotion`.
        context: what a frame's token holds beside its 147 features, in the axes of the input: 'none' (the paper),
            'orientation' of both palms, or their 'pose', which assumes that the scene stays where it is.
        difference_gain: a frame's token also holds how its normalized features differ from those of the last frame,
            times this; 0 leaves this out (the paper). Within half a second a hand changes little, and without this
            small networks take far longer to tell the frames of a clip apart.
        residual: predicts the observed frames as corrections of the input, and future frames as
            differences from the last frame; the paper does not say.
        linear_shortcut: future frames are also a linear function of the mid-level feature, to which the decoder adds
            what is not linear; the paper has the decoder alone. Small networks learn several times faster with it.
        normalizer_batches: training batches that the mean and deviation of the features are taken from.
    """

    def __init__(
        self,
        num_frames: int = 16,
        channels: int = 512,
        num_layers: int = 9,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        motion_frame: str = 'world',
        context: str = 'none',
        difference_gain: float = 0.0,
        residual: bool = False,
        linear_shortcut: bool = False,
        normalizer_batches: int = 100,
    ) -> None:
        super().__init__()
        check_option('context', context, tuple(CONTEXTS))
        self.num_frames, self.channels = num_frames, channels
        self.context, self.difference_gain = context, difference_gain
        sizes = (channels, num_layers, num_heads, feedforward_channels, dropout)
        self.motion = TwoHandMotion(motion_frame)
        self.normalizer = FeatureNormalizer(NUM_FEATURES, normalizer_batches)
        self.embedding = nn.Linear(num_inputs(context, difference_gain), channels)
        self.encoder = MotionVAEEncoder(*sizes)
        self.decoder = MotionVAEDecoder(*sizes)
        self.head = MLP(channels, [channels, NUM_FEATURES])  # MLP_1, of refined and of predicted frames
        self.correction = correction_head(channels) if residual else None
        self.shortcut: nn.Module | None = None
        if linear_shortcut:
            self.shortcut = nn.Sequential(
                small_linear(channels, num_frames * NUM_FEATURES), nn.Unflatten(-1, (num_frames, NUM_FEATURES))
            )

    def encode(self, features: TwoHandFeatures) -> PoseCode:
        """Encodes observed frames.

        Args:
            features: of t frames; what is not valid is hidden from the network.

        Returns:
            The distribution of the mid-level feature, and the refined frames.

        Raises:
            ValueError: another number of frames.
        """
        check_features('features', features.values, 'B T D', NUM_FEATURES)
        if features.values.shape[1] != self.num_frames:
            raise ValueError(f'expected clips of {self.num_frames} frames, got {features.values.shape[1]}')
        values = torch.where(features.valid, self.normalizer(features.values), 0)
        tokens = self.embedding(frame_inputs(features, values, self.context, self.difference_gain))
        visible = features.palm_valid.any(-1)
        tokens = tokens + self._positions(tokens)
        latent = self.encoder(tokens, visible)
        if self.correction is None:
            return PoseCode(latent, self.head(latent.features), visible)
        return PoseCode(latent, values + self.correction(latent.features), visible)

    def decode(
        self, latent: Tensor, last: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> Tensor:
        """Predicts the t frames after those that a mid-level feature encodes.

        Args:
            latent: (B, C), m^P or m^A.
            last: (B, D), normalized features of the last frame before, which a residual block goes on from.
            memory: (B, t, C), gamma: the skip connection; None decodes from the mid-level feature alone.
            memory_valid: (B, t) bool, which of it to attend to; None means all.

        Returns:
            (B, t, D), normalized.
        """
        queries = self._positions(latent).expand(latent.shape[0], -1, -1)
        future = self.head(self.decoder(latent, queries, None, memory, memory_valid))
        if self.shortcut is not None:
            future = future + self.shortcut(latent)
        if self.correction is None:
            return future
        return future + coasting_frames(last, torch.arange(self.num_frames, device=last.device))

    def _positions(self, like: Tensor) -> Tensor:
        return sine_position_1d(self.num_frames, self.channels, like.device).to(like.dtype)


class ActionCode(NamedTuple):
    """What the encoder of A gives."""

    latent: LatentDistribution  # of alpha; its features are those of the observed clips' motion, eta_m (B, n, C)
    clip_valid: Tensor  # (B, n) bool


@MODELS.register_module()
class GHTTActionBlock(nn.Module):
    """The long-term block A: mid-level features of observed clips to an action feature, and to those of future clips.

    Mid-level features are normalized inside, in and out. Text features have unit length, and are scaled to unit
    variance. Those that are as wide as the tokens are the tokens of objects, as in the paper; a narrower block maps
    them by a linear layer.

    Args:
        channels: C, that of the mid-level features (paper: 512).
        num_layers: of the encoder and of the decoder (paper: 9).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of the transformers.
        text_channels: of the text features of actions and objects (paper: CLIP's 512).
        max_clips: clips, observed and predicted together, that the phase encodings cover (paper: 256 frames, 16 clips,
            observed; 96 frames predicted).
        skip: the decoder attends to the features of observed clips too; optional in the paper.
        type_embedding: tells motion and object tokens apart by a learned vector; in the paper they share all but their
            content.
        normalizer_batches: training batches that the mean and deviation of mid-level features are taken from.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 9,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        text_channels: int = 512,
        max_clips: int = 64,
        skip: bool = True,
        type_embedding: bool = False,
        normalizer_batches: int = 100,
    ) -> None:
        super().__init__()
        self.channels, self.max_clips, self.skip = channels, max_clips, skip
        sizes = (channels, num_layers, num_heads, feedforward_channels, dropout)
        self.normalizer = FeatureNormalizer(channels, normalizer_batches)
        self.object_embedding = nn.Identity() if text_channels == channels else nn.Linear(text_channels, channels)
        self.types = nn.Parameter(torch.randn(2, channels) * 0.02) if type_embedding else None
        self.encoder = MotionVAEEncoder(*sizes)
        self.decoder = MotionVAEDecoder(*sizes)
        self.future = nn.Linear(channels, channels)
        self.action_embedding = nn.Linear(text_channels, channels)  # FC_1

    def encode(
        self, clips: Tensor, clip_valid: Tensor, phase: Tensor, objects: Tensor, object_valid: Tensor
    ) -> ActionCode:
        """Encodes observed clips and the object.

        Args:
            clips: (B, n, C), normalized mid-level features.
            clip_valid: (B, n) bool.
            phase: (B, n) int, number of clips since the action began.
            objects: (B, n, text_channels), omega, comparable to the text feature of the object's name.
            object_valid: (B, n) bool, whether the object is known.

        Returns:
            The distribution of the action feature, and the features of the clips.

        Raises:
            ValueError: shapes that do not fit, or more clips than the phase encodings cover.
        """
        check_features('clips', clips, 'B n C', self.channels)
        codes = self._phases(phase).to(clips.dtype)
        motion, things = clips + codes, self.object_embedding(unit_variance(objects).to(clips.dtype)) + codes
        if self.types is not None:
            motion, things = motion + self.types[0], things + self.types[1]
        latent = self.encoder(torch.cat([motion, things], 1), torch.cat([clip_valid, object_valid & clip_valid], 1))
        return ActionCode(latent._replace(features=latent.features[:, : clips.shape[1]]), clip_valid)

    def decode(
        self, latent: Tensor, phase: Tensor, phase_valid: Tensor | None = None, code: ActionCode | None = None
    ) -> Tensor:
        """Predicts the mid-level features of future clips.

        Args:
            latent: (B, C), alpha.
            phase: (B, m) int, number of clips since the action began.
            phase_valid: (B, m) bool; None means all.
            code: of the observed clips, for the skip connection; None decodes from alpha alone.

        Returns:
            (B, m, C), m^A, normalized.
        """
        memory, memory_valid = (
            (None, None) if code is None or not self.skip else (code.latent.features, code.clip_valid)
        )
        queries = self._phases(phase).to(latent.dtype)
        return self.future(self.decoder(latent, queries, phase_valid, memory, memory_valid))

    def embed_actions(self, text: Tensor) -> Tensor:
        """The embeddings a = FC_1(text) of action labels: (A, text_channels) -> (A, C)."""
        return self.action_embedding(unit_variance(text))

    def _phases(self, phase: Tensor) -> Tensor:
        """Sine codes (B, n, C) of phases (B, n); those beyond the last one get its code."""
        table = sine_position_1d(self.max_clips, self.channels, phase.device)
        return table[phase.clamp(0, self.max_clips - 1)]


_PARTS = (slice(0, 60), slice(60, 120), slice(120, 129), slice(129, 138), slice(138, 147))
