"""The interface that all registered estimators share; see handpose/models/estimators/base.py."""

import action_clips
import egocentric
import motion_clips
import multi_view
import pytest
import smooth_clips
import torch
from test_deformer import PROCEDURAL, SMALL
from test_deformer import make_batch as deformer_batch

from handpose.engine import load_config
from handpose.models import EncodedFrames, Estimator, Forecaster, Gives, Reads, TrainingStep, VideoEstimator
from handpose.registry import MODELS
from handpose.structures import SPECS, HandSequence
from handpose.structures.sequence import FRAMES

# Names of `SPECS` that hold scores, by the key of `Gives.classes`.
SCORES = {'objects': 'object_scores', 'actions': 'action_scores'}


def registered():
    """{name: class} of all estimators in the registry."""
    MODELS.import_from_location()
    found = {name: kind for name, kind in MODELS.module_dict.items() if isinstance(kind, type)}
    return {name: kind for name, kind in found.items() if issubclass(kind, Estimator) and is_ours(kind)}


def is_ours(kind):
    return kind.__module__.startswith('handpose.')


def motion_batch():
    return HandSequence.stack([motion_clips.clip(12, 2, (0, 1), seed=1), motion_clips.clip(9, 2, (0, 1), seed=2)])


HAND = dict(type='ProceduralHand')
REFINER = {**motion_clips.SIZES, 'loss': motion_clips.LOSS}
BLOCK = dict(channels=16, num_layers=1, num_heads=2, feedforward_channels=16)
ACTION_BLOCK = dict(num_layers=1, num_heads=2, feedforward_channels=16)
TOKENIZER = dict(vqvae=dict(code_channels=8, num_codes=8, **BLOCK))
# Arguments of the constructors that have no defaults, or whose defaults are large: config, and a batch.
ARGUMENTS = {
    'Deformer': (lambda: load_config(SMALL, {'frame_step': 2, **PROCEDURAL}).model.to_dict(), deformer_batch),
    'HTT': (action_clips.model_config, lambda: action_clips.make_batch(frames=20)),
    'FrameHandObject': (action_clips.frame_config, lambda: action_clips.make_batch(frames=20)),
    'PDTM': (lambda: dict(groups=4, **REFINER), motion_batch),
    'DSTformer': (lambda: REFINER, motion_batch),
    'SmoothNet': (
        lambda: dict(frame_rate=30.0, num_frames=9, stride=4, fitted_hand=HAND, loss=motion_clips.LOSS),
        motion_batch,
    ),
    'HandModelTrackFit': (lambda: dict(meshes=True), motion_batch),
    'KernelSmoother': (
        lambda: dict(half_width=4, channels=8, fitted_hand=HAND, loss=dict(type='LogErrorLoss')),
        motion_batch,
    ),
    'ConstantHand': (dict, deformer_batch),
    'MotionActionTransformer': (lambda: dict(num_actions=3, **BLOCK), smooth_clips.smooth_batch),
    'VerbClassifier': (
        lambda: dict(
            network=dict(type='MSG3D', channels=(6,), gcn_scales=2, g3d_scales=2, windows=(3,)),
            num_actions=3,
            num_frames=8,
        ),
        smooth_clips.smooth_batch,
    ),
    'PoseVQVAE': (lambda: dict(tokenizer=TOKENIZER), smooth_clips.smooth_batch),
    'PoseGPT': (
        lambda: dict(tokenizer=TOKENIZER, transformer=dict(num_codes=8, **BLOCK), actions=('stir', 'pour')),
        smooth_clips.smooth_batch,
    ),
    'FlatMotionVAE': (
        lambda: dict(block=BLOCK, actions=('stir', 'pour'), objects=('cup', 'jug')),
        smooth_clips.smooth_batch,
    ),
    'GHTTPose': (lambda: dict(pose_block=BLOCK), smooth_clips.smooth_batch),
    'GHTT': (
        lambda: dict(
            pose_block=BLOCK,
            action_block=ACTION_BLOCK,
            aggregator=ACTION_BLOCK,
            actions=('stir', 'pour'),
            objects=('cup', 'jug'),
        ),
        smooth_clips.smooth_batch,
    ),
    'MVExoNet': (multi_view.small_config, multi_view.multi_view_batch),
    'SVEgoNet': (egocentric.small_config, egocentric.egocentric_batch),
    'LastPose': (dict, smooth_clips.smooth_batch),
    'ConstantVelocity': (dict, smooth_clips.smooth_batch),
    'DampedVelocity': (dict, smooth_clips.smooth_batch),
}


def build(name):
    make_config, make_batch = ARGUMENTS.get(name, (dict, motion_batch))
    torch.manual_seed(0)
    batch = make_batch()
    if name in ('PDTM', 'DSTformer', 'SmoothNet'):  # they train on clips that fit one window
        train = HandSequence.stack([motion_clips.clip(9, 2, (0, 1), seed=3)])
    else:
        train = batch
    return MODELS.build({**make_config(), 'type': name}), batch, train


@pytest.mark.parametrize('name', registered())
def test_what_it_reads_and_gives(name):
    """Both are filled in, and predictions are what `gives` says."""
    estimator, batch, _ = build(name)
    reads, gives = estimator.reads, estimator.gives
    assert isinstance(reads, Reads) and isinstance(gives, Gives)
    assert reads.fields and set(reads.fields) <= set(SPECS)
    assert gives.frame is None or gives.frame in FRAMES
    assert reads.num_frames is None or reads.num_frames >= reads.min_frames >= 1
    assert reads.frame_step >= 1 and reads.num_cameras in (None, 1)
    assert (reads.image_mean is None) == (reads.image_std is None)
    if 'images' in reads.fields:
        assert len(reads.image_mean) == len(reads.image_std) == 3
    prediction = estimator.eval().predict(batch, generator=torch.Generator().manual_seed(0)).validate()
    assert prediction.batched and prediction.meta == batch.meta
    assert prediction.frame == (gives.frame or batch.frame)
    assert prediction.joints_3d.shape[:2] == batch.frame_valid.shape
    assert (prediction.vertices is None) == (gives.hand_model is None)
    if gives.hand_model is not None:
        assert prediction.vertices.shape[3] == gives.hand_model.num_vertices
    for kind, field in SCORES.items():
        scores = prediction.present().get(field)
        assert (scores is None) == (kind not in gives.classes)
        assert scores is None or scores.shape[-1] == gives.classes[kind]
    assert not any(value.requires_grad for value in prediction.present().values())


@pytest.mark.parametrize('name', registered())
def test_it_reads_no_more_than_it_says(name):
    """`predict` gives the same from a batch of `reads.fields` alone."""
    estimator, batch, _ = build(name)
    estimator.eval()
    present, reads = batch.present(), set(estimator.reads.fields)
    kept = {field for field in present if field in reads or SPECS[field].shape == ()}
    bare = batch.replace(**dict.fromkeys(set(present) - kept - {'timestamps'}))
    expected, found = estimator.predict(batch), estimator.predict(bare)
    torch.testing.assert_close(found.joints_3d, expected.joints_3d)


@pytest.mark.parametrize('name', registered())
def test_loss_takes_the_step(name):
    """Training gives finite scalars and draws nothing from the global generator; others say that there is nothing."""
    estimator, _, batch = build(name)
    step = TrainingStep(3, 0.25)
    if not any(True for _ in estimator.parameters()):
        with pytest.raises(NotImplementedError, match=f'{name} has nothing to train'):
            estimator.loss(batch, step)
        return
    losses = estimator.eval().loss(batch, step)  # without dropout
    assert losses and all(value.ndim == 0 and value.isfinite() for value in losses.values())
    torch.manual_seed(1)
    again = estimator.loss(batch, step)
    assert all(torch.equal(again[term], value) for term, value in losses.items())


@pytest.mark.parametrize('name', [name for name, kind in registered().items() if not issubclass(kind, Forecaster)])
def test_deterministic_estimators_refuse_samples(name):
    estimator, batch, _ = build(name)
    torch.testing.assert_close(
        estimator.eval().predict(batch, num_samples=1).joints_3d, estimator.predict(batch).joints_3d
    )
    with pytest.raises(ValueError, match=f'{name} is deterministic and gives one prediction, got num_samples=4'):
        estimator.predict(batch, num_samples=4)


VIDEO = [name for name, kind in registered().items() if issubclass(kind, VideoEstimator)]


@pytest.mark.parametrize('name', VIDEO)
def test_tracks_are_decoded_from_frames_encoded_once(name):
    """Frames encoded in pieces, then decoded as a track: what `predict` gives of the batch."""
    estimator, batch, _ = build(name)
    estimator.eval()
    whole = estimator.predict(batch)
    for b in range(len(batch.meta)):
        boxes = None if batch.boxes is None else batch.boxes[b, :, 0]
        cut = 5
        pieces = [slice(0, cut), slice(cut, None)]
        encoded = EncodedFrames.cat(
            [
                estimator.encode_frames(
                    batch.images[b, piece, 0], None if boxes is None else boxes[piece], batch.hand_side[b]
                )
                for piece in pieces
            ]
        )
        track = estimator.decode_track(
            encoded,
            hand_side=batch.hand_side[b],
            intrinsics=None if batch.intrinsics is None else batch.intrinsics[b, :, 0],
            occlusion=None if batch.occlusion is None else batch.occlusion[b, :, 0],
        ).validate()
        assert not track.batched and track.frame == whole.frame
        expected = whole.unstack()[b].present()
        for field, value in track.present().items():
            torch.testing.assert_close(value, expected[field], rtol=1e-4, atol=1e-5, msg=field)
        # A window of the same frames needs nothing but their rows.
        part = encoded.select(slice(2, 6))
        assert len(part.features) == 4


@pytest.mark.parametrize('name', VIDEO)
def test_video_estimators_say_what_they_need(name):
    estimator, batch, _ = build(name)
    estimator.eval()
    images = batch.images[0, :, 0]
    if 'boxes' in estimator.reads.fields:
        with pytest.raises(ValueError, match='boxes'):
            estimator.encode_frames(images)
        encoded = estimator.encode_frames(images, batch.boxes[0, :, 0], batch.hand_side[0])
    else:
        encoded = estimator.encode_frames(images)
    with pytest.raises(ValueError, match=f'{name} needs'):
        estimator.decode_track(encoded)


def test_incomplete_classes_are_refused_when_they_are_defined():
    with pytest.raises(TypeError, match='Half is not a complete estimator: it must define loss, predict, reads'):

        class Half(Estimator):
            @property
            def gives(self):
                return Gives(frame='wrist')

    with pytest.raises(TypeError, match='must define decode_track, encode_frames, gives, loss, predict, reads'):

        class Nothing(VideoEstimator):
            pass

    class Base(Estimator, abstract=True):
        """May leave things out."""

        @property
        def reads(self):
            return Reads(fields=('images',))

    with pytest.raises(TypeError, match='Derived is not a complete estimator: it must define gives, loss, predict'):

        class Derived(Base):
            pass
