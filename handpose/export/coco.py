"""COCO keypoint JSON, for annotation tools, FiftyOne and mmpose: of predictions, and of recordings of many cameras."""

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
from handpose.structures import AnnotatedRecording, Predictions

_SEEN, _INFERRED, _UNKNOWN = 2, 1, 0  # visibility of a keypoint


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
    document = _empty_document(predictions.source, predictions.licence, predictions.scale)
    document['images'] = [
        dict(id=t, file_name=f'{name}_{t:06d}.jpg', width=width, height=height, timestamp=float(time))
        for t, time in enumerate(predictions.timestamps)
    ]
    for t, hand in np.argwhere(predictions.valid):
        if np.isfinite(pixels[t, hand]).any():
            number = len(document['annotations']) + 1
            document['annotations'].append(dict(id=number, **_annotation(predictions, pixels, int(t), int(hand))))
    return document


def write_recording_coco(path: Path, recording: AnnotatedRecording, licence: str = '') -> ExportReport:
    """Writes an image per camera and frame, and an annotation per hand in it.

    Keypoints are the joints in 3D, projected by the calibration with its lens distortion. Those outside of the image
    are unknown (visibility 0), those of hands that the detector found in this image are seen (2), others 1. An image
    has the name of its camera as `camera` and its number in the camera's video as `frame_index`.

    Args:
        path: the file.
        recording: what is exported.
        licence: text about what may be done with it.

    Returns:
        The file and notes.
    """
    document = recording_document(recording, licence)
    atomic_write(path, json.dumps(document))
    images, hands = len(document['images']), len(document['annotations'])
    name = document['images'][0]['file_name']
    return ExportReport(
        [path],
        [
            f'{images} images, {hands} annotations; file names are {name} and so on: a folder for each camera, '
            f"with the frames of its video, counted from 0 (ffmpeg -i VIDEO -start_number 0 'CAMERA/%06d.jpg')"
        ],
    )


def recording_document(recording: AnnotatedRecording, licence: str = '') -> dict[str, Any]:
    """Makes the document of a recording, see `write_recording_coco`.

    Args:
        recording: what is exported.
        licence: text about what may be done with it.

    Returns:
        The COCO dictionary; categories as in `coco_document`.
    """
    document = _empty_document(recording.method, licence, 'metric')
    pixels = recording.project(recording.joints_3d)
    sizes = np.array([camera.image_size for camera in recording.calibration])
    inside = recording.joints_in_view()
    for t, k in np.argwhere(recording.frame_indices >= 0).tolist():
        camera, index = recording.calibration.names[k], int(recording.frame_indices[t, k])
        document['images'].append(
            dict(
                id=len(document['images']),
                file_name=f'{camera}/{index:06d}.jpg',
                width=int(sizes[k, 0]),
                height=int(sizes[k, 1]),
                timestamp=float(recording.timestamps[t]),
                camera=camera,
                frame_index=index,
            )
        )
        for hand, side in enumerate(recording.hand_side.tolist()):
            known = inside[t, k, hand]
            if known.any():
                visibility = np.where(known, _SEEN if recording.joints_2d_valid[t, k, hand] else _INFERRED, _UNKNOWN)
                points = pixels[t, k, hand]
                low, high = points[known].min(0), points[known].max(0)
                row = _keypoints(points, visibility, low, high)
                row |= dict(image_id=len(document['images']) - 1, category_id=side + 1, track_id=hand)
                document['annotations'].append(dict(id=len(document['annotations']) + 1, **row))
    return document


def _empty_document(description: str, licence: str, scale: str) -> dict[str, Any]:
    skeleton = [[a + 1, b + 1] for a, b in BONES]
    return {
        'info': dict(description=description, scale=scale),
        'licenses': [dict(id=1, name=licence, url='')] if licence else [],
        'categories': [
            dict(
                id=side + 1,
                name=f'{label}_hand',
                supercategory='hand',
                keypoints=list(COMMON_JOINTS),
                skeleton=skeleton,
            )
            for side, label in enumerate(SIDE_LABELS)
        ],
        'images': [],
        'annotations': [],
    }


def _keypoints(points: NDArray, visibility: NDArray, low: NDArray, high: NDArray) -> dict[str, Any]:
    """The keypoints (21, 2) of a hand and the box from `low` to `high`, pixels."""
    points = np.where(visibility[:, None] > _UNKNOWN, points, 0)
    return dict(
        keypoints=np.concatenate([points.round(3), visibility[:, None]], 1).reshape(-1).tolist(),
        num_keypoints=int((visibility > _UNKNOWN).sum()),
        bbox=[*low.round(3).tolist(), *(high - low).round(3).tolist()],
        area=float(np.prod(high - low).round(3)),
        iscrowd=0,
    )


def _annotation(predictions: Predictions, pixels: NDArray, t: int, hand: int) -> dict[str, Any]:
    """One hand in one frame; joints that were inferred from others are not seen."""
    points = pixels[t, hand].astype(np.float64)
    known = np.isfinite(points).all(-1)
    visibility = np.where(known, _SEEN, _UNKNOWN)
    if predictions.joints_inferred is not None:
        visibility[known & predictions.joints_inferred[t, hand]] = _INFERRED
    if predictions.boxes is not None and np.isfinite(predictions.boxes[t, hand]).all():
        low, high = predictions.boxes[t, hand].astype(np.float64).reshape(2, 2)
    else:
        low, high = points[known].min(0), points[known].max(0)
    annotation = dict(
        image_id=t,
        category_id=int(predictions.hand_side[hand]) + 1,
        **_keypoints(points, visibility, low, high),
        track_id=hand if predictions.track_ids is None else int(predictions.track_ids[t, hand]),
    )
    if predictions.confidence is not None:
        annotation['score'] = float(predictions.confidence[t, hand][known].mean())
    return annotation
