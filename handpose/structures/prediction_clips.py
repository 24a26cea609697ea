"""`Predictions` made of clips, and clips made of `Predictions`.

Legend: T frames, H hands, K cameras.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.structures.fields import SequenceError, sample_name
from handpose.structures.prediction_checks import PredictedArrays, PredictionsError
from handpose.structures.prediction_orders import missing_joints
from handpose.structures.sequence import HandSequence


def predicted_arrays(sequence: HandSequence, field: str, with_2d: bool) -> dict[str, Any]:
    """Takes the arrays of `Predictions` from a clip.

    Args:
        sequence: the clip.
        field: 'input_joints_3d' or 'joints_3d'.
        with_2d: take `joints_2d` and `boxes` too.

    Returns:
        {name: array}, arguments of `Predictions`.

    Raises:
        PredictionsError: the clip lacks the field, its mask or its times, or has joints in 3D that are not in 2D.
        SequenceError: it is a batch.
    """
    where = 'a batch' if sequence.batched else sample_name(sequence.meta)
    if sequence.batched:
        raise SequenceError(f'{where}: Predictions are made of one clip; call unstack() first')
    if field not in ('input_joints_3d', 'joints_3d'):
        raise PredictionsError(f"field must be 'input_joints_3d' or 'joints_3d', got {field!r}")
    mask = 'input_valid' if field == 'input_joints_3d' else 'joints_valid'
    for name in (field, mask, 'hand_side'):
        if getattr(sequence, name) is None:
            raise PredictionsError(f'{where} has no {name}, which predictions are made of')
    joints = sequence.require(field)
    given = torch.ones(len(joints), dtype=torch.bool)
    given = given if sequence.frame_valid is None else sequence.frame_valid.cpu()

    def taken(values: Tensor) -> NDArray:
        return values.detach().cpu()[given].numpy()

    joints_valid = taken(sequence.require(mask))
    joints_valid = joints_valid if joints_valid.ndim == 3 else np.repeat(joints_valid[..., None], 21, 2)
    valid = np.asarray(joints_valid.any(-1))
    arrays: dict[str, Any] = dict(joints=taken(joints), valid=valid)
    if not (joints_valid == valid[..., None]).all():
        arrays['joints_valid'] = joints_valid
    confidence = sequence.input_confidence if mask == 'input_valid' else sequence.joint_confidence
    if confidence is not None:
        arrays['confidence'] = taken(confidence)
    arrays |= dict(hand_side=sequence.require('hand_side').cpu().numpy(), frame=sequence.frame)
    arrays['timestamps'] = _times(sequence, where)[given.numpy()]
    if sequence.intrinsics is not None:
        arrays['intrinsics'] = sequence.intrinsics[0, 0].cpu().numpy()
    if with_2d and sequence.joints_2d is not None:
        if (joints_valid & ~taken(sequence.require('joints_2d_valid')[:, 0])).any():
            raise PredictionsError(
                f'{where} has joints that are valid in 3D and not in 2D (joints_2d_valid): leave the 2D joints and '
                f'boxes out with with_2d=False'
            )
        arrays['joints_2d'] = taken(sequence.joints_2d[:, 0])
    if with_2d and sequence.boxes is not None:
        arrays['boxes'] = taken(sequence.boxes[:, 0])
    if sequence.object_features is not None:
        arrays['object_features'] = taken(sequence.object_features)
    if sequence.object_scores is not None:
        arrays['object_scores'] = taken(sequence.object_scores)
        if 'objects' in sequence.meta:
            arrays['object_names'] = np.array(sequence.meta['objects'])
    return arrays


def as_sequence(predictions: PredictedArrays, name: str) -> HandSequence:
    """Makes a clip of `Predictions`; see `Predictions.to_sequence`.

    Args:
        predictions: what becomes the input of a refiner.
        name: becomes `meta['sequence']`.

    Returns:
        The clip.

    Raises:
        PredictionsError: joints are missing.
    """
    valid, frames = predictions.valid, len(predictions.joints)
    lacking = missing_joints(predictions.given_joints(), valid)
    if lacking:
        raise PredictionsError(
            f'a clip holds all 21 joints of a hand, and these predictions lack {", ".join(lacking)}; '
            f'infer_missing_joints fills them in'
        )
    meta: dict[str, Any] = dict(dataset='predictions', sequence=name, cameras=['camera'], hand_model=None)
    period = predictions.period
    meta |= dict(frame_indices=predictions.frame_numbers().tolist(), fps=None if period is None else 1 / period)
    optional: dict[str, Any] = {}
    if predictions.confidence is not None:
        optional['input_confidence'] = torch.from_numpy(predictions.confidence.copy())
    if predictions.intrinsics is not None and predictions.frame == 'camera':
        intrinsics = torch.from_numpy(predictions.intrinsics).float()
        optional['intrinsics'] = intrinsics.expand(frames, 1, 3, 3).clone()
        optional['extrinsics'] = torch.eye(4).expand(frames, 1, 4, 4).clone()
    if predictions.joints_2d is not None:
        optional['joints_2d'] = _filled(predictions.joints_2d, valid)[:, None]
        optional['joints_2d_valid'] = torch.from_numpy(valid).expand(21, 1, *valid.shape).permute(2, 1, 3, 0).clone()
    if predictions.boxes is not None:
        optional['boxes'] = _filled(predictions.boxes, valid)[:, None]
    if predictions.object_scores is not None:
        optional['object_scores'] = torch.from_numpy(predictions.object_scores.copy())
    if predictions.object_names is not None:
        meta['objects'] = predictions.object_names.tolist()
    if predictions.object_features is not None:
        optional['object_features'] = torch.from_numpy(predictions.object_features.copy())
    return HandSequence(
        meta=meta,
        frame=predictions.frame,
        frame_valid=torch.ones(frames, dtype=torch.bool),
        timestamps=torch.from_numpy(predictions.timestamps.copy()),
        hand_side=torch.from_numpy(predictions.hand_side.copy()),
        input_joints_3d=_filled(predictions.joints, valid),
        input_valid=torch.from_numpy(valid.copy()),
        **optional,
    )


def joint_clip(predictions: PredictedArrays) -> HandSequence:
    """Makes a clip whose joints are those of `Predictions`; skeletons may lack joints.

    Args:
        predictions: of one or two hands.

    Returns:
        A clip with joints_3d, joints_valid, hand_valid, frame_valid and timestamps.
    """
    frames, given = len(predictions.joints), torch.from_numpy(predictions.given_joints())
    period = predictions.period
    return HandSequence(
        meta=dict(
            dataset='predictions',
            sequence='predictions',
            cameras=['camera'],
            frame_indices=predictions.frame_numbers().tolist(),
            fps=None if period is None else 1 / period,
            hand_model=None,
        ),
        frame=predictions.frame,
        frame_valid=torch.ones(frames, dtype=torch.bool),
        timestamps=torch.from_numpy(predictions.timestamps.copy()),
        hand_side=torch.from_numpy(predictions.hand_side.copy()),
        hand_valid=given.any(-1),
        joints_3d=torch.where(given[..., None], torch.from_numpy(predictions.joints), 0),
        joints_valid=given,
    )


def _filled(values: NDArray, valid: NDArray) -> Tensor:
    """(T, H, ...) with zeros where the hand is not valid."""
    return torch.from_numpy(np.where(valid.reshape(*valid.shape, *[1] * (values.ndim - 2)), values, 0))


def _times(sequence: HandSequence, where: str) -> NDArray:
    if sequence.timestamps is not None:
        return sequence.timestamps.cpu().numpy()
    numbers, fps = sequence.meta.get('frame_indices'), sequence.meta.get('fps')
    if not numbers or not fps:
        raise PredictionsError(f"{where} has neither timestamps nor meta['frame_indices'] and meta['fps']")
    return np.asarray(numbers, np.float64) / fps
