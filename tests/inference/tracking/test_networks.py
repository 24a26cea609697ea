"""MediaPipe's networks, where they are on this machine: wrong files, and images that the library renders itself."""

import shutil

import cv2
import numpy as np
import pytest
from zoo_files import needs_opencv, network_or_skip

from handpose.hands.sides import Side
from handpose.inference.session import Session
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.network import ImageNetwork, NetworkError, _read
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.synthesis import MultiViewOptions, write_dataset
from handpose.video.images import ImageReader

PALM, HAND = 'mediapipe_palm_full', 'mediapipe_hand_full'


@needs_opencv
@pytest.mark.parametrize('data', [b'', b'not a network', bytes(1000), np.random.default_rng(0).bytes(5000)])
@pytest.mark.parametrize('network', [PalmDetector, LandmarkEstimator])
def test_files_that_are_no_network(tmp_path, network, data):
    path = tmp_path / 'a.tflite'
    path.write_bytes(data)
    with pytest.raises(NetworkError, match=r'a\.tflite is not .* OpenCV cannot run it .*handpose zoo get'):
        network(path)


@needs_opencv
@pytest.mark.parametrize('network', [PalmDetector, LandmarkEstimator])
def test_a_missing_file(tmp_path, network):
    for path in (tmp_path / 'a.tflite', tmp_path):
        with pytest.raises(NetworkError, match=r'there is no network file .*; `handpose zoo get` downloads'):
            network(path)


@needs_opencv
@pytest.mark.parametrize('part', [0.0005, 0.05, 0.5])
def test_a_network_that_is_cut_off(tmp_path, part):
    whole = network_or_skip(PALM).read_bytes()
    (tmp_path / 'a.tflite').write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(NetworkError, match=r'a\.tflite is not the network that was expected: OpenCV cannot run it'):
        PalmDetector(tmp_path / 'a.tflite')


@needs_opencv
def test_another_network(tmp_path):
    palm, hand = network_or_skip(PALM), network_or_skip(HAND)
    with pytest.raises(NetworkError, match=r"its outputs are .*, not {'Identity': 36288, 'Identity_1': 2016}"):
        PalmDetector(hand)
    with pytest.raises(NetworkError, match='is not the network that was expected'):
        LandmarkEstimator(palm)
    shutil.copy(hand, tmp_path / 'renamed.bin')  # the name does not matter
    LandmarkEstimator(tmp_path / 'renamed.bin')


@needs_opencv
def test_an_image_without_a_hand():
    network_or_skip(HAND)
    detector = PalmDetector(network_or_skip(PALM))
    rng = np.random.default_rng(0)
    for image in (np.zeros((48, 64, 3), np.uint8), rng.integers(0, 256, (300, 200, 3), np.uint8)):
        assert detector.detect(image) == []


@needs_opencv
def test_values_from_0_to_1_go_in():
    """RGB, channel by channel, as the network was trained."""
    network = ImageNetwork(network_or_skip(HAND), 224, {'Identity_1': 1})
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    reference = _read(str(network.path))
    reference.setInput(np.ascontiguousarray(image.transpose(2, 0, 1)[None] / np.float32(255)))
    (expected,) = reference.forward(['Identity_1'])
    assert network.run(image)['Identity_1'].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.fixture(scope='module')
def renderings(tmp_path_factory):
    """A left and a right procedural hand that grasp something: {side: (images, pixels of joints)}."""
    root = tmp_path_factory.mktemp('synthetic')
    write_dataset(
        MultiViewOptions(str(root), subjects=1, sequences=5, frames=24, cameras=1, size=384, seed=0, workers=1)
    )
    found = {}
    for side in Side:
        metas = [path for path in sorted(root.glob('*/*/meta.yml')) if f'[{side.name.lower()}]' in path.read_text()]
        images = sorted(metas[0].parent.glob('*/color_*.jpg'))
        labels = [np.load(str(p).replace('color_', 'labels_').replace('.jpg', '.npz'))['joint_2d'][0] for p in images]
        found[side] = images, np.stack(labels)
    return found


@needs_opencv
@pytest.mark.parametrize('side', list(Side))
@pytest.mark.parametrize('mirrored', [False, True])
def test_rendered_hands(renderings, side, mirrored):
    """The networks find the procedural hand in about half of the images; in mirrored ones it is of the other side."""
    detector, estimator = PalmDetector(network_or_skip(PALM)), LandmarkEstimator(network_or_skip(HAND))
    session = Session(detector, estimator)
    paths, joints = renderings[side]
    errors = []
    for frame in ImageReader(paths, 30):
        truth = joints[frame.index]
        if mirrored:
            frame = type(frame)(frame.index, frame.time, np.ascontiguousarray(frame.image[:, ::-1]))
            truth = truth * [-1, 1] + [frame.image.shape[1] - 1, 0]
        for hand in session.push(frame):
            error = np.linalg.norm(hand.estimate.joints_2d - truth, axis=1)
            errors.append(np.median(error) / np.ptp(truth, axis=0).max())
    predictions = session.finish()
    assert len(errors) >= 8 and np.median(errors) < 0.1
    expected = Side.LEFT if (side is Side.RIGHT) is mirrored else Side.RIGHT
    best = predictions.hand_side[predictions.valid.sum(0).argmax()]
    assert best == expected


@pytest.mark.parametrize('version', ['4.8.1', '4.14.0-pre'])
def test_an_opencv_that_is_too_old(monkeypatch, tmp_path, version):
    monkeypatch.setattr(cv2, '__version__', version)
    with pytest.raises(NetworkError, match=rf"OpenCV {version} is installed.*pip install 'opencv-python>=5'"):
        PalmDetector(tmp_path / 'a.tflite')
