"""Exported networks give what torch gives, for any number of clips and frames."""

import json

import numpy as np
import onnx_parts
import pytest
import torch

from handpose.export.network import TOLERANCE, ExportFailed, export_network, largest_difference
from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor
from handpose.runtime import ExportedModel, RuntimeFileError
from handpose.runtime.onnx_file import read_metadata

pytestmark = [
    pytest.mark.skipif(
        not onnx_parts.CAN_EXPORT,
        reason="needs handpose[runtime] and onnxruntime: pip install 'handpose[runtime]'",
    ),
    pytest.mark.timeout(300),
]


def sizes_of(part, offset):
    """Other sizes of the axes than those of the export."""
    fixed, largest = part.usual or {}, part.largest or {}
    names = [name for name in part.example_sizes() if name not in fixed]
    return {name: max(1, min(offset + n, largest.get(name, 1 << 30))) for n, name in enumerate(names)}


@pytest.mark.parametrize(('name', 'part_name'), onnx_parts.PARTS)
def test_every_part_agrees_with_torch(name, part_name, tmp_path):
    estimator = onnx_parts.build(name)
    part = next(part for part in estimator.network_parts() if part.name == part_name)
    path = tmp_path / 'model.onnx'
    metadata = export_network(estimator, path, part=part_name)
    model = ExportedModel(path, 'onnxruntime')
    assert model.metadata == json.loads(json.dumps(metadata))
    assert list(model.inputs) == [spec.name for spec in part.inputs]
    assert model.metadata['estimator'] == name and model.metadata['units']['length'] == 'metre'
    for sizes in (None, sizes_of(part, 5), sizes_of(part, 1)):
        assert largest_difference(part, model, sizes, seed=3) < TOLERANCE


def test_every_estimator_with_a_network_has_parts_or_says_that_it_has_none(tmp_path):
    exported = {name for name, _ in onnx_parts.PARTS}
    for name in onnx_parts.WITHOUT_PARTS:
        estimator = onnx_parts.build(name)
        with pytest.raises(ValueError, match=f'{name} (has no network part|computes without a network)'):
            export_network(estimator, tmp_path / 'model.onnx')
    assert exported | set(onnx_parts.WITHOUT_PARTS) == set(onnx_parts.registered())


def test_a_size_that_became_a_number_is_refused(tmp_path):
    estimator = onnx_parts.build('SmoothNet')

    def fixed(values):
        return (values + torch.arange(len(values))[:, None],)

    batch = (PartTensor('values', ('batch', 3), 'numbers'),)
    part = NetworkPart(WHOLE, fixed, batch, (PartTensor('sums', ('batch', 3), 'numbers'),))
    estimator.network_parts = lambda: (part,)
    with pytest.raises(ExportFailed, match=r'the axis .batch. of values became 2|SmoothNet cannot be exported'):
        export_network(estimator, tmp_path / 'model.onnx')
    assert not (tmp_path / 'model.onnx').exists()


def test_missing_joints_are_filled_as_in_torch(tmp_path):
    """By the last place of each, for which ONNX has no operator."""
    estimator = onnx_parts.build('VerbClassifier')
    estimator.missing = 'last'
    (part,) = estimator.network_parts()
    export_network(estimator, tmp_path / 'model.onnx')
    model = ExportedModel(tmp_path / 'model.onnx', 'onnxruntime')
    for sizes in (None, {'batch': 4, 'time': 19}):
        assert largest_difference(part, model, sizes, seed=5) < TOLERANCE


def test_boxes_that_are_sampled_more_coarsely_are_reported_once(tmp_path, caplog):
    estimator = onnx_parts.build('Deformer')
    parts = {part.name: part for part in estimator.network_parts()}
    limit = 8 * 4 * estimator.roi_size
    assert parts['network'].notes == {'largest_box': limit / estimator.box_scale}
    export_network(estimator, tmp_path / 'encode.onnx', part='encode')
    model = ExportedModel(tmp_path / 'encode.onnx', 'onnxruntime')
    assert model.metadata['largest_box'] == limit
    caplog.clear()  # of what torch's exporter says
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)

    def difference(side):
        boxes = np.array([[32 - side / 2, 32 - side / 2, 32 + side / 2, 32 + side / 2]], np.float32)
        expected, _ = parts['encode'].function(torch.from_numpy(images), torch.from_numpy(boxes))
        found = model.run({'images': images, 'boxes': boxes})['features']
        return float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max())

    with torch.no_grad():
        assert difference(limit) < TOLERANCE and not caplog.records
        assert difference(2 * limit) > TOLERANCE
        difference(2 * limit)
    (record,) = caplog.records
    assert f'a box has a side of {2 * limit} pixels, and beyond {limit} this network samples' in record.getMessage()


@pytest.fixture(scope='module')
def smoothnet(tmp_path_factory):
    path = tmp_path_factory.mktemp('exported') / 'model.onnx'
    export_network(onnx_parts.build('SmoothNet'), path)
    return path


def test_the_file_is_one_and_onnx_accepts_it(smoothnet):
    onnx = pytest.importorskip('onnx')
    onnx.checker.check_model(str(smoothnet), full_check=True)
    assert [path.name for path in smoothnet.parent.iterdir()] == ['model.onnx']
    model = onnx.load(str(smoothnet))
    assert json.loads({entry.key: entry.value for entry in model.metadata_props}['handpose']) == read_metadata(
        smoothnet
    )


def test_wrong_inputs_are_refused(smoothnet):
    model = ExportedModel(smoothnet, 'onnxruntime')
    joints = np.zeros((2, 9, 21, 3), np.float32)
    assert model.run({'joints': joints})['refined_joints'].shape == joints.shape
    with pytest.raises(ValueError, match=r"has no input 'joint'; it has joints, .* Did you mean 'joints'"):
        model.run({'joint': joints})
    with pytest.raises(ValueError, match=r'joints must have the shape \(batch, 9, 21, 3\), got \(2, 8, 21, 3\)'):
        model.run({'joints': joints[:, 1:]})
    with pytest.raises(ValueError, match='joints must be float32, got int64'):
        model.run({'joints': joints.astype(np.int64)})
    with pytest.raises(ValueError, match=r"frame_valid must have .* the first inputs have \{'batch': 2\}"):
        model.run({'joints': joints, 'frame_valid': np.ones((3, 9), bool)})
    with pytest.raises(ValueError, match="needs the input 'joints'"):
        model.run({})


def test_damaged_files_are_refused(smoothnet, tmp_path):
    data = smoothnet.read_bytes()
    cut = tmp_path / 'cut.onnx'
    for content in (
        b'',
        data[: len(data) // 2],
        data[:-3],
        b'\xff' * 64,
        data.replace(b'handpose-onnx', b'handpose-onny'),
    ):
        cut.write_bytes(content)
        with pytest.raises(RuntimeFileError, match=r'cut\.onnx'):
            ExportedModel(cut, 'onnxruntime')
    with pytest.raises(RuntimeFileError, match='does not exist'):
        ExportedModel(tmp_path / 'none.onnx', 'onnxruntime')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format_version': float('inf')}, 'metadata that cannot be read'),
        ({'largest': {'batch': 'many'}}, 'does not describe its inputs'),
        ({'largest': [1]}, 'does not describe its inputs'),
        ({'outputs': [{'name': 'other', 'axes': [], 'dtype': 'float32', 'meaning': ''}]}, 'describes other inputs or'),
        ({'inputs': [{'name': 'other', 'axes': [], 'dtype': 'float32', 'meaning': ''}]}, 'describes other inputs or'),
        (
            {'inputs': [{'name': 'joints', 'axes': [], 'dtype': 'float32', 'meaning': '', 'default': []}]},
            'does not describe its inputs',
        ),
    ],
)
def test_wrong_descriptions_are_refused(smoothnet, tmp_path, change, message):
    onnx = pytest.importorskip('onnx')
    model = onnx.load(str(smoothnet))
    (entry,) = (entry for entry in model.metadata_props if entry.key == 'handpose')
    entry.value = json.dumps({**json.loads(entry.value), **change})
    onnx.save(model, str(tmp_path / 'changed.onnx'))
    with pytest.raises(RuntimeFileError, match=rf'changed\.onnx .*{message}'):
        ExportedModel(tmp_path / 'changed.onnx', 'onnxruntime')


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'must end in \.onnx'):
        export_network(onnx_parts.build('SmoothNet'), tmp_path / 'model.pt')
