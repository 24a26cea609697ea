"""COCO keypoint JSON, for annotation tools, FiftyOne and mmpose."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.export.source import ExportError, ExportReport, ExportSource
from handpose.files.atomic import atomic_write
from handpose.geometry import project_points
from handpose.hands import BONES, COMMON_JOINTS, SIDE_LABELS
from handpose.structures import Predictions


def write_coco(path: Path, source: ExportSource) -> ExportReport:
    """Writes an image per frame and an annotation per hand.

    Args:
        path: the file.
        source: what is exported.

    Returns:
        The file and notes.

    Raises:
        ExportError: the positions in the image or the size of the image are not known.
    """
    predictions = source.predictions
    pixels, note = pixel_positions(predictions)
    if predictions.image_size is None:
        raise ExportError('COCO images have a width and a height: the predictions need image_size')
    document = coco_document(predictions, pixels, source.name)
    atomic_write(path, json.dumps(document))
    images, hands = len(document['images']), len(document['annotations'])
    return ExportReport(
        [path],
        [
            f'{images} images, {hands} annotations; file names are {document["images"][0]["file_name"]} and so on: '
            f"the frames of the video, counted from 0 (ffmpeg -i VIDEO -start_number 0 '{source.name}_%06d.jpg')",
            note,
        ],
    )


def pixel_positions(predictions: Predictions) -> tuple[NDArray, str]:
    """Returns the joints in the image: those of the predictions, or else projected with their camera.

    Args:
        predictions: the predictions.

    Returns:
        (T, H, 21, 2) pixels, NaN where unknown, and a line about where they come from.

    Raises:
        ExportError: there are no 2D joints and no camera.
    """
    if predictions.joints_2d is not None:
        return predictions.joints_2d, 'keypoints are the 2D joints of the predictions, in pixels'
    if predictions.intrinsics is None or predictions.frame != 'camera':
        raise ExportError(
            "this needs 2D joints: predictions with joints_2d, or in frame 'camera' with intrinsics, by which the 3D "
            'joints are projected'
        )
    joints, matrix = torch.from_numpy(predictions.joints).double(), torch.from_numpy(predictions.intrinsics)
    pixels = project_points(joints, matrix).numpy()
    in_front = predictions.joints[..., 2:] > 0
    return np.where(in_front, pixels, np.nan), 'keypoints are the 3D joints projected with the intrinsics'


def coco_document(predictions: Predictions, pixels: NDArray, name: str) -> dict[str, Any]:
    """Makes the document.

    Args:
        predictions: the predictions, with `image_size`.
        pixels: (T, H, 21, 2), NaN where unknown.
        name: how the files of the images begin.

    Returns:
        The COCO dictionary; categories are 'left_hand' (1) and 'right_hand' (2), images are numbered as the frames.
    """
    width, height = (int(value) for value in np.asarray(predictions.image_size))
    names, skeleton = list(COMMON_JOINTS), [[a + 1, b + 1] for a, b in BONES]
    info = dict(description=predictions.source, scale=predictions.scale)
    document: dict[str, Any] = {
        'info': info,
        'licenses': [dict(id=1, name=predictions.licence, url='')] if predictions.licence else [],
        'categories': [
            dict(
                id=side + 1,
                name=f'{label}_hand',
                supercategory='hand',
                keypoints=names,
                skeleton=skeleton,
            )
            for side, label in enumerate(SIDE_LABELS)
        ],
        'images': [
            dict(id=t, file_name=f'{name}_{t:06d}.jpg', width=width, height=height, timestamp=float(time))
            for t, time in enumerate(predictions.timestamps)
        ],
        'annotations': [],
    }
    for t, hand in np.argwhere(predictions.valid):
        if np.isfinite(pixels[t, hand]).any():
            number = len(document['annotations']) + 1
            document['annotations'].append(dict(id=number, **_annotation(predictions, pixels, int(t), int(hand))))
    return document


def _annotation(predictions: Predictions, pixels: NDArray, t: int, hand: int) -> dict[str, Any]:
    """One hand in one frame; visibility is 2, 1 for joints inferred from others, and 0 for unknown ones."""
    points = pixels[t, hand].astype(np.float64)
    known = np.isfinite(points).all(-1)
    visibility = np.where(known, 2, 0)
    if predictions.joints_inferred is not None:
        visibility[known & predictions.joints_inferred[t, hand]] = 1
    if predictions.boxes is not None and np.isfinite(predictions.boxes[t, hand]).all():
        low, high = predictions.boxes[t, hand].astype(np.float64).reshape(2, 2)
    else:
        low, high = points[known].min(0), points[known].max(0)
    keypoints = np.concatenate([np.where(known[:, None], points, 0).round(3), visibility[:, None]], 1)
    annotation: dict[str, Any] = dict(
        image_id=t,
        category_id=int(predictions.hand_side[hand]) + 1,
        keypoints=keypoints.reshape(-1).tolist(),
        num_keypoints=int(known.sum()),
        bbox=[*low.round(3).tolist(), *(high - low).round(3).tolist()],
        area=float(np.prod(high - low).round(3)),
        iscrowd=0,
        track_id=hand if predictions.track_ids is None else int(predictions.track_ids[t, hand]),
    )
    if predictions.confidence is not None:
        annotation['score'] = float(predictions.confidence[t, hand][known].mean())
    return annotation
