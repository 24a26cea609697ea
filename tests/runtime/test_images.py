"""Images prepared with NumPy and OpenCV are those that torch's path prepares."""

import inspect
from types import SimpleNamespace

import egocentric
import numpy as np
import onnx_parts
import pytest
import torch
from test_without_torch import run

from handpose.datasets.transforms.crop import HandCrop
from handpose.export.network import WeightsSource, describe, export_network
from handpose.models.estimators.svegonet_crops import crop_affines, sample_crops
from handpose.registry import MODELS
from handpose.runtime import RuntimeFileError, prepare_image
from handpose.runtime.images import HAND_CROP_DEFAULTS
from handpose.structures import HandSequence
from handpose.video import crop_square, letterbox

BOXES = ([40.0, 30, 90, 100], [-20.0, 70, 60, 110], [100.2, 50.7, 100.4, 50.8], [10.0, -5, 300, 20])
INTRINSICS = np.array([[200.0, 1, 79.5], [0, 210, 59.5], [0, 0, 1]], np.float32)
CROP = {'type': 'HandCrop', 'size': 48, 'scale': 1.4, 'union_object': False}


def random_image(size=(160, 120), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def described(name, estimator=None, **options):
    """What `prepare_image` reads of an exported estimator."""
    estimator = onnx_parts.build(name) if estimator is None else estimator
    (part, *_) = estimator.network_parts()
    metadata = describe(estimator, part, WeightsSource(header={'test_pipeline': [{'type': 'LoadImages'}, CROP]}))
    return SimpleNamespace(path='model.onnx', metadata={**metadata, **options})


@pytest.mark.parametrize('size', [(64, 64), (320, 100), (256, 512), (160, 120), (40, 30), (54, 40)])
def test_whole_images_are_those_of_letterbox(size):
    image = random_image()
    prepared = prepare_image(described('HTT', image_size=list(size)), image)
    expected, warp = letterbox(image, size)
    np.testing.assert_array_equal(prepared.pixels, expected.transpose(2, 0, 1))
    np.testing.assert_allclose(prepared.affine, warp.affine, atol=1e-5)
    np.testing.assert_allclose(
        prepared.intrinsics(INTRINSICS), warp.intrinsics(torch.from_numpy(INTRINSICS)), rtol=1e-5
    )


@pytest.mark.parametrize('box', BOXES)
def test_crops_are_those_of_training(box):
    image = random_image()
    prepared = prepare_image(described('Deformer'), image, box)
    expected, warp = crop_square(image, box, 48, 1.4)
    np.testing.assert_allclose(prepared.affine, warp.affine, rtol=1e-5, atol=1e-4)
    # OpenCV interpolates at 1/32 of a pixel: rounding of the affine may change that of a source pixel.
    assert (np.abs(prepared.pixels.astype(int) - expected.transpose(2, 0, 1)) > 0).mean() < 0.01
    np.testing.assert_allclose(prepared.box(box), warp.boxes(torch.tensor([box]))[0], rtol=1e-4, atol=1e-3)
    points = np.array([[1.0, 2.0], [30.0, 40.5]], np.float32)
    np.testing.assert_allclose(prepared.source_points(points), warp.source_points(torch.from_numpy(points)), atol=1e-3)


@pytest.mark.parametrize('side', [0, 1])
@pytest.mark.parametrize('box', BOXES)
def test_crops_of_svegonet_are_those_of_its_predictions(box, side):
    estimator = MODELS.build(egocentric.small_config(mirror_left_hands=True)).eval()
    image = np.ascontiguousarray(random_image((40, 30)).repeat(4, 0).repeat(4, 1))
    prepared = prepare_image(described('SVEgoNet', estimator), image, box, side)
    least = torch.tensor([estimator.min_box / estimator.box_scale])
    centre, half = (np.add(box[:2], box[2:]) / 2, np.subtract(box[2:], box[:2]) / 2)
    half = half * max(1.0, float(least) / max(2 * half.max(), 1e-6))
    enlarged = torch.tensor(np.concatenate([centre - half, centre + half]), dtype=torch.float32)[None]
    affine = crop_affines(enlarged, estimator.box_scale, 32, torch.zeros(1), torch.tensor([side == 0]))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    view = sample_crops(pixels, torch.from_numpy(INTRINSICS)[None], affine, 32)
    np.testing.assert_allclose(prepared.affine, affine[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(prepared.intrinsics(INTRINSICS), view.intrinsics[0], rtol=1e-4, atol=1e-2)
    assert prepared.pixels.dtype == np.float32
    # Places are rounded to 1/32 of a pixel by OpenCV, across edges of up to 255.
    assert np.abs(prepared.pixels - view.images[0].numpy()).max() < 255 / 16


CODE = """
import numpy as np
from handpose.runtime import ExportedModel, prepare_image

folder, side = sys.argv[1], int(sys.argv[2])
model = ExportedModel(f'{folder}/deformer.onnx', 'onnxruntime')
frame, box = np.load(f'{folder}/frame.npy'), [40.0, 30, 90, 100]
prepared = prepare_image(model, frame, box)
found = model.run(
    {
        'images': prepared.pixels[None, None],
        'boxes': prepared.box(box)[None, None],
        'hand_side': np.array([side]),
    }
)
np.savez(f'{folder}/found.npz', joints=found['joints'][0, 0], uv=prepared.source_points(found['joints_2d'][0, 0]))
print('torch' in sys.modules)
"""


@pytest.mark.skipif(not onnx_parts.CAN_EXPORT, reason=onnx_parts.NEEDS)
@pytest.mark.timeout(300)
def test_from_a_frame_and_a_box_to_joints_without_torch(tmp_path):
    estimator, frame, box = onnx_parts.build('Deformer'), random_image(), BOXES[0]
    source = WeightsSource(header={'test_pipeline': [{'type': 'LoadImages'}, CROP]})
    export_network(estimator, tmp_path / 'deformer.onnx', source)
    np.save(tmp_path / 'frame.npy', frame)
    crop, warp = crop_square(frame, box, CROP['size'], CROP['scale'])
    for side in (0, 1):
        assert run(CODE, tmp_path, side) == 'False'
        shown = torch.ones(1, 1, 1, dtype=torch.bool)
        batch = HandSequence(
            meta=[{}],
            batched=True,
            frame_valid=shown[..., 0],
            hand_side=torch.tensor([[side]]),
            hand_valid=shown,
            images=torch.from_numpy(crop).permute(2, 0, 1)[None, None, None],
            boxes=warp.boxes(torch.tensor([box]))[None, None, None],
        )
        expected = estimator.predict(batch)
        found = np.load(tmp_path / 'found.npz')
        np.testing.assert_allclose(found['joints'], expected.joints_3d[0, 0, 0], atol=1e-5)
        pixels = warp.source_points(expected.joints_2d[0, 0, 0, 0])
        np.testing.assert_allclose(found['uv'], pixels, atol=0.02)


@pytest.mark.parametrize(
    ('name', 'options', 'given', 'error', 'message'),
    [
        ('Deformer', {}, {}, ValueError, r'Deformer sees one hand: give its box \(4,\) .* got none'),
        ('Deformer', {}, {'box': [1.0, 2, 3]}, ValueError, 'give its box'),
        ('Deformer', {}, {'box': [1.0, 2, 3, np.nan]}, ValueError, 'give its box'),
        (
            'Deformer',
            {'test_pipeline': None},
            {'box': BOXES[0]},
            RuntimeFileError,
            'does not say how hands are cropped',
        ),
        (
            'Deformer',
            {'test_pipeline': [{**CROP, 'size': 1 << 20}]},
            {'box': BOXES[0]},
            RuntimeFileError,
            'a crop must have a size from 1 to 2048 pixels',
        ),
        ('SVEgoNet', {'mirror_left_hands': True}, {'box': BOXES[0]}, ValueError, 'give hand_side, 0 left or 1 right'),
        ('SVEgoNet', {'min_box': 'a'}, {'box': BOXES[0], 'hand_side': 1}, RuntimeFileError, "at least 'a' pixels"),
        ('MVExoNet', {}, {'box': BOXES[0]}, ValueError, 'MVExoNet .* no single image is prepared'),
        ('SmoothNet', {}, {'box': BOXES[0]}, ValueError, 'SmoothNet .* no single image is prepared'),
        ('HTT', {'image_size': [64]}, {}, RuntimeFileError, r'images have the size \[64\]'),
    ],
)
def test_what_is_wrong_is_an_error_message(name, options, given, error, message):
    with pytest.raises(error, match=message):
        prepare_image(described(name, **options), random_image(), **given)


def test_an_image_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r'must be \(height, width, 3\) uint8 RGB, got \(120, 160\) uint8'):
        prepare_image(described('HTT'), random_image()[..., 0])


def test_crops_have_the_defaults_of_the_transform():
    defaults = inspect.signature(HandCrop).parameters
    assert {name: defaults[name].default for name in HAND_CROP_DEFAULTS} == HAND_CROP_DEFAULTS
