"""Running exported networks with NumPy and a runtime, without torch.

    from handpose.runtime import ExportedModel

    model = ExportedModel('model.onnx')
    outputs = model.run({'joints': joints, 'frame_valid': frame_valid})   # {name: array}

`handpose export-model` writes the files; docs/guides/export_model.md says how to use them.
"""

from handpose.runtime.errors import RuntimeFileError, RuntimeUnavailable
from handpose.runtime.exported_model import ExportedModel, TensorInfo
from handpose.runtime.images import PreparedImage, prepare_image
from handpose.runtime.refining import refine_track
from handpose.runtime.sessions import PRECISIONS, RUNTIMES, installed_runtimes

__all__ = [
    'PRECISIONS',
    'RUNTIMES',
    'ExportedModel',
    'PreparedImage',
    'RuntimeFileError',
    'RuntimeUnavailable',
    'TensorInfo',
    'installed_runtimes',
    'prepare_image',
    'refine_track',
]
