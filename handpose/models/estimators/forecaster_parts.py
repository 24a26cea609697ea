"""The networks of forecasters as functions of tensors, for `Estimator.network_parts`.

Palms are fitted by a singular value decomposition, and futures are sampled and decoded clip after clip; both stay
outside, in the estimators.

Legend: B clips, T observed frames, t = 16 frames of a clip of block P, F future frames, n observed clips, m future
clips, L steps of codes, G codebooks, D = 147 features of a frame, C channels, E text channels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from handpose.models.estimators.base import Estimator
from handpose.models.estimators.flat_motion_block import FlatInputs, FlatMotionBlock
from handpose.models.estimators.ghtt_blocks import ActionCode, GHTTActionBlock, GHTTPoseBlock, PoseCode
from handpose.models.estimators.motion_tokenizer import MotionTokenizer
from handpose.models.estimators.network_parts import NetworkPart, PartTensor
from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.two_hand_motion import NUM_FEATURES, TwoHandFeatures
from handpose.models.necks.code_transformer import CodeTransformer
from handpose.models.necks.motion_vae import LatentDistribution

ENCODE, DECODE = 'encode', 'decode'
ENCODE_ACTIONS, DECODE_ACTIONS, AGGREGATE = 'encode_actions', 'decode_actions', 'aggregate_objects'
NEXT_STATE = 'next_state'
_VALUES = (
    'motion of two hands: 2 x 20 joints in the frames of the palms (wrist, then from the thumb on without its base), '
    'the motions of the palms since the frame before, and the pose of the left palm in the right one, each as 6 '
    'rotation numbers and 3 metres'
)
_NORMALIZED = f'{_VALUES}; less feature_mean, over feature_std'
_PHASE = 'number of clips of 16 frames since the action began'
_FRAME = 'number of frames since the action began'


def motion_inputs(frames: str | int, context: str = 'none') -> tuple[PartTensor, ...]:
    """What an encoder takes of `TwoHandFeatures`.

    Args:
        frames: how many, or the name of the axis.
        context: see `GHTTPoseBlock`.

    Returns:
        values (B, T, D), values_valid (B, T, D), palm_valid (B, T, 2), and with a context palms (B, T, 2, 4, 4).
    """
    inputs = (
        PartTensor('values', ('batch', frames, NUM_FEATURES), _VALUES, example=(-1.0, 1.0)),
        PartTensor('values_valid', ('batch', frames, NUM_FEATURES), 'false for numbers that are unknown', torch.bool),
        PartTensor('palm_valid', ('batch', frames, 2), 'whether the palm of each hand is known', torch.bool),
    )
    if context == 'none':
        return inputs
    pose = PartTensor('palms', ('batch', frames, 2, 4, 4), 'poses of the palms, metres', example=(-1.0, 1.0))
    return (*inputs, pose)


def motion_tensors(features: TwoHandFeatures, context: str = 'none') -> tuple[Tensor, ...]:
    """The tensors of `motion_inputs`.

    Args:
        features: of B clips.
        context: see `GHTTPoseBlock`.

    Returns:
        As many as `motion_inputs` lists.
    """
    given = features.values, features.valid, features.palm_valid
    return given if context == 'none' else (*given, features.palms)


def pose_parts(block: GHTTPoseBlock) -> tuple[NetworkPart, ...]:
    """The parts of block P.

    Args:
        block: the block.

    Returns:
        'encode' and 'decode'.
    """

    def encode(*inputs: Tensor) -> tuple[Tensor, ...]:
        code = block.encode(_features(*inputs))
        return (*code.latent, code.refined)

    def decode(latent: Tensor, last: Tensor, memory: Tensor | None, memory_valid: Tensor | None) -> tuple[Tensor, ...]:
        return (block.decode(latent, last, memory, memory_valid),)

    size, channels = block.num_frames, block.channels
    refined = PartTensor('refined', ('batch', size, NUM_FEATURES), f'{_NORMALIZED}; refined')
    future = PartTensor('future', ('batch', size, NUM_FEATURES), f'{_NORMALIZED}; of the frames after the clip')
    return (
        NetworkPart(
            ENCODE, encode, motion_inputs(size, block.context), (*_distribution('batch', size, channels), refined)
        ),
        NetworkPart(DECODE, decode, (*_decoded('batch', channels), *_memory(size, channels)), (future,)),
    )


def pose_code(outputs: tuple[Tensor, ...], features: TwoHandFeatures) -> PoseCode:
    """The outputs of 'encode' of a `GHTTPoseBlock` or a `FlatMotionBlock`.

    Args:
        outputs: of the part.
        features: that were encoded.

    Returns:
        The code.
    """
    mean, log_variance, memory, refined = outputs
    return PoseCode(LatentDistribution(mean, log_variance, memory), refined, features.palm_valid.any(-1))


def action_parts(block: GHTTActionBlock, text_channels: int, aggregator: nn.Module | None) -> tuple[NetworkPart, ...]:
    """The parts of block A, which take and give mid-level features in the units of P.

    Args:
        block: the block.
        text_channels: E.
        aggregator: of object features; None for systems without.

    Returns:
        'encode_actions', 'decode_actions' and, with an aggregator, 'aggregate_objects'.
    """

    def encode(
        clips: Tensor, clip_valid: Tensor, phase: Tensor, objects: Tensor, object_valid: Tensor
    ) -> tuple[Tensor, ...]:
        normalized = torch.where(clip_valid[..., None], block.normalizer(clips), 0)
        return tuple(block.encode(normalized, clip_valid, phase, objects, object_valid).latent)

    def decode(
        latent: Tensor, phase: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        code = None
        if memory is not None and memory_valid is not None:
            code = ActionCode(LatentDistribution(latent, latent, memory), memory_valid)
        return (block.normalizer.denormalize(block.decode(latent, phase, None, code)),)

    channels = block.channels
    inputs = (
        PartTensor('clips', ('batch', 'clips', channels), 'means of the mid-level features of 16 frames each'),
        PartTensor('clip_valid', ('batch', 'clips'), 'false for clips that show no hand', torch.bool),
        PartTensor('phase', ('batch', 'clips'), _PHASE, torch.int64, example=(0.0, float(block.max_clips))),
        PartTensor('objects', ('batch', 'clips', text_channels), 'text feature of the object, or what is like it'),
        PartTensor('object_valid', ('batch', 'clips'), 'whether the object is known', torch.bool),
    )
    latent = PartTensor('latent', ('batch', channels), 'action feature: the mean, a sample or an embedding')
    phase = PartTensor('phase', ('batch', 'future'), _PHASE, torch.int64, example=(0.0, float(block.max_clips)))
    memory = _memory('clips', channels) if block.skip else ()
    future = PartTensor('mid_levels', ('batch', 'future', channels), 'mid-level features of future clips')
    parts = (
        NetworkPart(ENCODE_ACTIONS, encode, inputs, _distribution('batch', 'clips', channels)),
        NetworkPart(DECODE_ACTIONS, decode, (latent, phase, *memory), (future,)),
    )
    return parts if aggregator is None else (*parts, _aggregator_part(aggregator, text_channels))


def _aggregator_part(aggregator: nn.Module, channels: int) -> NetworkPart:
    def aggregate(features: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
        return (aggregator(features, valid),)

    inputs = (
        PartTensor('features', ('batch', 'time', channels), 'features of the object in the frames of a clip'),
        PartTensor('features_valid', ('batch', 'time'), 'false for frames without', torch.bool),
    )
    return NetworkPart(AGGREGATE, aggregate, inputs, (PartTensor('objects', ('batch', channels), 'one of the clip'),))


def flat_parts(block: FlatMotionBlock) -> tuple[NetworkPart, ...]:
    """The parts of the flattened baseline.

    Args:
        block: the block.

    Returns:
        'encode' and 'decode'.
    """

    def encode(frame: Tensor, objects: Tensor, object_valid: Tensor, *motion: Tensor) -> tuple[Tensor, ...]:
        code = block.encode(FlatInputs(_features(*motion), frame, objects, object_valid))
        return (*code.latent, code.refined)

    def decode(
        latent: Tensor, last: Tensor, frame: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        # Without a skip connection there is no memory, and the block reads none.
        features, valid = (latent, latent > 0) if memory is None or memory_valid is None else (memory, memory_valid)
        code = PoseCode(LatentDistribution(latent, latent, features), last[:, None], valid)
        return (block.decode(latent, frame, code),)

    channels, longest = block.channels, float(block.max_frames)
    inputs = (
        PartTensor('frame', ('batch', 'time'), _FRAME, torch.int64, example=(0.0, longest)),
        PartTensor('objects', ('batch', block.text_channels), 'text feature of the object, or what is like it'),
        PartTensor('object_valid', ('batch',), 'whether the object is known', torch.bool),
    )
    refined = PartTensor('refined', ('batch', 'time', NUM_FEATURES), f'{_NORMALIZED}; refined')
    frame = PartTensor('frame', ('batch', 'future'), _FRAME, torch.int64, example=(0.0, longest))
    memory = _memory('time', channels) if block.skip else ()
    future = PartTensor('future', ('batch', 'future', NUM_FEATURES), f'{_NORMALIZED}; of future frames')
    return (
        NetworkPart(
            ENCODE,
            encode,
            (*inputs, *motion_inputs('time', block.context)),
            (*_distribution('batch', 'time', channels), refined),
        ),
        NetworkPart(DECODE, decode, (*_decoded('batch', channels), frame, *memory), (future,)),
    )


def tokenizer_parts(tokenizer: MotionTokenizer) -> tuple[NetworkPart, ...]:
    """The parts of PoseGPT's first stage.

    Args:
        tokenizer: the tokenizer.

    Returns:
        'encode' and 'decode'; both take and give frames by the step of a code: (B, L, t, D).
    """

    def encode(values: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
        normalized = tokenizer.normalizer(values.flatten(1, 2))
        return (tokenizer.vqvae.encode(normalized, valid.flatten(1, 2)),)

    def decode(codes: Tensor) -> tuple[Tensor, ...]:
        return (tokenizer.decode(codes).unflatten(1, (-1, tokenizer.frames_per_code)),)

    axes: tuple[str | int, ...] = ('batch', 'steps', tokenizer.frames_per_code, NUM_FEATURES)
    quantizer = tokenizer.vqvae.quantizer
    codes = _codes(quantizer.num_codebooks, quantizer.num_codes)
    inputs = (
        PartTensor('values', axes, _VALUES, example=(-1.0, 1.0)),
        PartTensor('values_valid', axes, 'false for numbers that are unknown', torch.bool),
    )
    return (
        NetworkPart(ENCODE, encode, inputs, (codes,)),
        NetworkPart(DECODE, decode, (codes,), (PartTensor('values', axes, _VALUES),)),
    )


def encode_codes(estimator: Estimator, features: TwoHandFeatures, step: int) -> Tensor:
    """The codes of motions, by the part 'encode' of `tokenizer_parts`.

    Args:
        estimator: that has the part.
        features: of B clips of L t frames.
        step: t.

    Returns:
        (B, L, G) int64.
    """
    return estimator.run_part(ENCODE, *(x.unflatten(1, (-1, step)) for x in (features.values, features.valid)))[0]


def decode_codes(estimator: Estimator, codes: Tensor) -> Tensor:
    """The motions that codes stand for, by the part 'decode' of `tokenizer_parts`.

    Args:
        estimator: that has the part.
        codes: (B, L, G) int64.

    Returns:
        Features (B, L t, D).
    """
    return estimator.run_part(DECODE, codes)[0].flatten(1, 2)


def next_state_part(transformer: CodeTransformer) -> NetworkPart:
    """The network that a new step of codes is drawn from.

    Args:
        transformer: the transformer.

    Returns:
        'next_state': all but the linear layers in which a draw follows on another.
    """

    def state(codes: Tensor, action: Tensor, length: Tensor) -> tuple[Tensor, ...]:
        return (transformer.next_state(codes, action, length),)

    inputs = (
        _codes(transformer.num_codebooks, transformer.num_codes),
        PartTensor(
            'action', ('batch',), 'class, -1 unknown', torch.int64, example=(-1.0, float(transformer.num_actions))
        ),
        PartTensor(
            'length',
            ('batch',),
            'steps of the whole motion, the future included',
            torch.int64,
            example=(1.0, float(transformer.max_steps)),
        ),
    )
    output = PartTensor(
        'state', ('batch', transformer.action.embedding_dim), 'what the logits of the next codes are made of'
    )
    return NetworkPart(NEXT_STATE, state, inputs, (output,), {'steps': transformer.max_steps})


def feature_notes(normalizer: FeatureNormalizer) -> dict[str, Any]:
    """What normalized features are, for `Estimator.export_notes`.

    Args:
        normalizer: of the features.

    Returns:
        feature_mean and feature_std, 147 numbers each.
    """
    return {'feature_mean': normalizer.mean.tolist(), 'feature_std': normalizer.std.tolist()}


def _features(values: Tensor, valid: Tensor, palm_valid: Tensor, palms: Tensor | None = None) -> TwoHandFeatures:
    """What an encoder reads; of the rest, zeros."""
    if palms is None:
        palms = values.new_zeros(*palm_valid.shape, 4, 4)
    return TwoHandFeatures(values, valid, palms, palm_valid, values.new_zeros(values.shape[0], 2, 3))


def _distribution(batch: str, tokens: str | int, channels: int) -> tuple[PartTensor, ...]:
    return (
        PartTensor('mean', (batch, channels), 'of the latent'),
        PartTensor('log_variance', (batch, channels), 'of the latent'),
        PartTensor('features', (batch, tokens, channels), 'of the tokens, the memory of the decoder'),
    )


def _decoded(batch: str, channels: int) -> tuple[PartTensor, ...]:
    return (
        PartTensor('latent', (batch, channels), 'mean + k exp(log_variance / 2) noise, or the mean'),
        PartTensor('last', (batch, NUM_FEATURES), f'{_NORMALIZED}; of the last frame before'),
    )


def _memory(tokens: str | int, channels: int) -> tuple[PartTensor, ...]:
    """The skip connection; left out where its size is fixed, only the latent is decoded."""
    optional = isinstance(tokens, int)
    return (
        PartTensor('memory', ('batch', tokens, channels), 'features', default=0.0 if optional else None),
        PartTensor(
            'memory_valid',
            ('batch', tokens),
            'which of them are attended to',
            torch.bool,
            default=False if optional else None,
        ),
    )


def _codes(num_codebooks: int, num_codes: int) -> PartTensor:
    return PartTensor(
        'codes',
        ('batch', 'steps', num_codebooks),
        'entries of the codebooks',
        torch.int64,
        example=(0.0, float(num_codes)),
    )
