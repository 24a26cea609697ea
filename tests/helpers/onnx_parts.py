"""The estimators whose networks are exported in tests, small, and the parts of each."""

import importlib.util
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / 'models' / 'estimators'))

import test_interface

from handpose.export.network import is_torch_new_enough

CAN_EXPORT = is_torch_new_enough() and all(
    importlib.util.find_spec(name) for name in ('onnx', 'onnxscript', 'onnxruntime')
)
NEEDS = "needs torch 2.7 or later, and pip install 'handpose[runtime]'"
ENCODED = ('network', 'encode', 'decode')
PARTS = [
    *(('HTT', part) for part in ENCODED),
    *(('Deformer', part) for part in ENCODED),
    *(('MVExoNet', part) for part in ENCODED),
    *(('FrameHandObject', part) for part in ENCODED[:2]),
    *((name, part) for name in ('FlatMotionVAE', 'GHTTPose', 'PoseVQVAE') for part in ENCODED[1:]),
    *(('GHTT', part) for part in ('encode_actions', 'decode_actions', 'aggregate_objects')),
    ('MotionActionTransformer', 'classify'),
    ('PoseGPT', 'next_state'),
    *((name, 'network') for name in ('DSTformer', 'KernelSmoother', 'PDTM', 'SVEgoNet', 'SmoothNet', 'VerbClassifier')),
]
WITHOUT_PARTS = sorted(set(test_interface.registered()) - {name for name, _ in PARTS})
registered = test_interface.registered


def build(name):
    """A small estimator with random weights, in evaluation mode."""
    return test_interface.build(name)[0].eval()


def batch_of(name):
    """A batch that it predicts."""
    return test_interface.build(name)[1]
