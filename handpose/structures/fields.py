"""The fields of `HandSequence`: each is declared once, here, with its shape, type, mask and meaning.

`SPECS` holds the declarations. Validation, stacking, the selection of frames and the table in
docs/data/data_contract.md are derived from it.
"""
# ruff: noqa: RUF009 - the calls declare fields, as `dataclasses.field` does

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

FRAMES = ('camera', 'world', 'wrist')
NUM_JOINTS = 21
SYMBOLS = {
    'T': 'frames',
    'K': 'cameras (1 for monocular)',
    'H': 'hands (1, or 2 with left 0 and right 1)',
    'h': 'height of the images',
    'w': 'width of the images',
    'C': 'feature channels',
    'V': 'mesh vertices',
    'O': 'object classes',
    'A': 'actions',
    'E': 'numbers of a text feature',
}
"""What the letters in the shapes of `SPECS` stand for; a batch of B clips has a leading B in every field."""


class SequenceError(ValueError):
    """A `HandSequence` that breaks the data contract; the message names the sample, the field and what to do."""


class FieldSpec(NamedTuple):
    """The declaration of one field.

    Attributes:
        shape: of a clip, letters from `SYMBOLS` and fixed sizes.
        dtype: the only type that the field may have.
        meaning: one line for the documentation, unit and frame included.
        mask: the boolean field that says where this one holds data.
        unknown: the value that means "unknown" in this field itself.
        predicted: only estimators fill it.
    """

    shape: tuple[str | int, ...]
    dtype: torch.dtype
    meaning: str
    mask: str | None = None
    unknown: float | None = None
    predicted: bool = False


def _declare(
    *shape: str | int,
    meaning: str,
    dtype: torch.dtype = torch.float32,
    mask: str | None = None,
    unknown: float | None = None,
    predicted: bool = False,
) -> Any:
    return field(default=None, metadata={'spec': FieldSpec(shape, dtype, meaning, mask, unknown, predicted)})


@dataclass(kw_only=True)
class SequenceFields:
    """The tensors of a clip, or of a batch with a leading B. What is absent is None, never zeros."""

    frame_valid: Tensor | None = _declare('T', dtype=torch.bool, meaning='False: the frame is padding')
    timestamps: Tensor | None = _declare('T', dtype=torch.float64, meaning='seconds')
    hand_side: Tensor | None = _declare('H', dtype=torch.int64, meaning='0 left, 1 right (`handpose.hands.Side`)')
    hand_valid: Tensor | None = _declare('T', 'H', dtype=torch.bool, meaning='the hand is annotated in this frame')
    images: Tensor | None = _declare('T', 'K', 3, 'h', 'w', dtype=torch.uint8, meaning='RGB')
    features: Tensor | None = _declare('T', 'K', 'C', meaning='image features of a frozen backbone')
    intrinsics: Tensor | None = _declare('T', 'K', 3, 3, meaning='pinhole, pixels, after every crop and resize')
    extrinsics: Tensor | None = _declare('T', 'K', 4, 4, meaning='rigid transform from `frame` to each camera, metres')
    boxes: Tensor | None = _declare('T', 'K', 'H', 4, meaning='hands, xyxy pixels in `images`')
    object_boxes: Tensor | None = _declare('T', 'K', 4, meaning='the object, xyxy pixels in `images`')
    joints_3d: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, 3, mask='joints_valid', meaning='metres in `frame`, common joint order'
    )
    joints_valid: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, dtype=torch.bool, meaning='the 3D joint is annotated or predicted'
    )
    joints_2d: Tensor | None = _declare(
        'T', 'K', 'H', NUM_JOINTS, 2, mask='joints_2d_valid', meaning='pixels in `images`'
    )
    joints_2d_valid: Tensor | None = _declare(
        'T', 'K', 'H', NUM_JOINTS, dtype=torch.bool, meaning='the 2D joint is annotated or predicted'
    )
    hand_pose: Tensor | None = _declare(
        'T', 'H', 16, 3, mask='hand_pose_valid', meaning="rotation vectors in MANO's joint order, mean pose included"
    )
    hand_shape: Tensor | None = _declare(
        'H', 10, mask='hand_pose_valid', meaning='shape parameters, the same in all frames'
    )
    hand_transl: Tensor | None = _declare(
        'T', 'H', 3, mask='hand_pose_valid', meaning='translation of the hand model (not the wrist), metres in `frame`'
    )
    hand_pose_valid: Tensor | None = _declare('T', 'H', dtype=torch.bool, meaning='hand-model parameters are given')
    occlusion: Tensor | None = _declare(
        'T', 'K', 'H', unknown=float('nan'), meaning='fraction of the hand hidden by something else, 0 to 1'
    )
    input_joints_3d: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, 3, mask='input_valid', meaning="a per-frame estimator's joints: the input of refiners"
    )
    input_confidence: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, mask='input_valid', meaning="that estimator's confidence, 0 to 1"
    )
    input_valid: Tensor | None = _declare('T', 'H', dtype=torch.bool, meaning='that estimator gave the hand')
    input_joints_valid: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, dtype=torch.bool, unknown=True, meaning='joints of such a hand that it gave; default all'
    )
    object_label: Tensor | None = _declare('T', dtype=torch.int64, unknown=-1, meaning='class of the object')
    action_label: Tensor | None = _declare(dtype=torch.int64, unknown=-1, meaning='class of the action')
    verb_label: Tensor | None = _declare(dtype=torch.int64, unknown=-1, meaning='class of the verb')
    vertices: Tensor | None = _declare('T', 'H', 'V', 3, predicted=True, meaning='mesh on request, metres in `frame`')
    joint_confidence: Tensor | None = _declare(
        'T', 'H', NUM_JOINTS, predicted=True, meaning='confidence of each joint, 0 to 1'
    )
    frame_confidence: Tensor | None = _declare(
        'T', 'H', predicted=True, meaning='weight of each frame in the fusion, 0 to 1'
    )
    hand_scores: Tensor | None = _declare('T', 'H', predicted=True, meaning='whether the hand is in the image, 0 to 1')
    object_scores: Tensor | None = _declare('T', 'O', predicted=True, meaning='scores of the object classes')
    object_features: Tensor | None = _declare(
        'T', 'E', unknown=0.0, predicted=True, meaning='of the object, in the space of the text features of its label'
    )
    action_scores: Tensor | None = _declare('A', predicted=True, meaning='scores of the actions')

    def present(self) -> dict[str, Tensor]:
        """Returns {name: tensor} of the fields that are not None, in the order of `SPECS`."""
        return {name: getattr(self, name) for name in SPECS if getattr(self, name) is not None}


SPECS: dict[str, FieldSpec] = {f.name: f.metadata['spec'] for f in fields(SequenceFields)}
"""{field: declaration} in the order of `SequenceFields`."""
MASKS = frozenset(spec.mask for spec in SPECS.values() if spec.mask)
"""The fields that are masks of others."""


def sample_name(meta: Mapping[str, Any]) -> str:
    """Names a sample in error messages.

    Args:
        meta: `meta` of a clip; read are dataset, sequence, cameras and frame_indices, as far as given.

    Returns:
        Text such as 'DexYCB 20200709-subject-01/1 camera 836 frame 3'.
    """
    words = [str(meta[key]) for key in ('dataset', 'sequence') if key in meta]
    words += ['camera ' + '+'.join(map(str, meta['cameras']))] if meta.get('cameras') else []
    words += [f'frame {meta["frame_indices"][0]}'] if meta.get('frame_indices') else []
    return ' '.join(words) or 'unnamed sample'
