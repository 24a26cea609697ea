"""The report on an annotated recording: one HTML file that shows how good the annotation is, and where it is bad.

The page contains everything that it shows: no scripts, and nothing that is loaded from elsewhere. Texts that come from
files, such as the names of cameras, are escaped.
Legend: T frames, K cameras, H hands.
"""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_write
from handpose.hands.joints import BONES, COMMON_JOINTS
from handpose.hands.sides import SIDE_LABELS
from handpose.structures import AnnotatedRecording
from handpose.structures.recording_marks import RecordingMarks
from handpose.visualization.recording_images import RecordingImages, crop_recording_image
from handpose.visualization.recording_page import STYLE, format_number, paragraph, section, table
from handpose.visualization.recording_statistics import (
    RecordingStatistics,
    describe_quality,
    frames_without_hand,
    quantiles,
    recording_statistics,
    worst_frames,
)
from handpose.visualization.svg_charts import (
    UNKNOWN_COLOR,
    bar_chart,
    color_strip,
    group_frames,
    heat_cell,
    heat_colors,
    line_chart,
)

_JPEG_QUALITY = 82
_CROP, _SMALL_CROP, _MANY_CAMERAS = 240, 160, 8  # pixels; crops are smaller with many cameras
_MOST_LOST = 3  # frames without a hand in 3D that are shown
_STRIP = 480  # colours of a strip at most
_NO_IMAGE, _NOT_DETECTED = (60, 62, 66), UNKNOWN_COLOR


def write_recording_report(
    path: str | Path,
    recording: AnnotatedRecording,
    *,
    title: str = 'recording',
    folder: str | Path = '.',
    marks: RecordingMarks | None = None,
    worst: int = 8,
) -> list[str]:
    """Writes the report on an annotated recording as one HTML file.

    Args:
        path: the .html file.
        recording: the recording.
        title: its name in the page.
        folder: of the recording's file, see `RecordingImages`.
        marks: ranges that were marked as bad, which are listed; None lists none.
        worst: how many of the worst frames are shown with their images; 0 reads no images.

    Returns:
        One message for each camera without images, which the page says too.

    Raises:
        ValueError: the name does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in ('.html', '.htm'):
        raise ValueError(f'{path}: the name of a report must end in .html')
    images = RecordingImages(recording, folder)
    atomic_write(path, recording_report(recording, images, title=title, marks=marks, worst=worst))
    return [f'no images of camera {name} in the report: {why}' for name, why in images.problems.items()]


def recording_report(
    recording: AnnotatedRecording,
    images: RecordingImages,
    *,
    title: str = 'recording',
    marks: RecordingMarks | None = None,
    worst: int = 8,
) -> str:
    """Makes the page of `write_recording_report`.

    Args:
        recording: the recording.
        images: its images.
        title: its name in the page.
        marks: ranges that were marked as bad.
        worst: how many of the worst frames are shown.

    Returns:
        HTML.
    """
    statistics = recording_statistics(recording)
    sections = [
        _summary(recording, statistics),
        _notes(recording, statistics, marks),
        _cameras(recording, statistics),
        _over_time(recording, statistics),
        _joints(recording, statistics),
        _views(recording, statistics),
        _bones(recording, statistics),
        _worst(recording, statistics, images, worst),
    ]
    name = html.escape(title)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{name}</h1>\n' + '\n'.join(sections) + '\n</main></body></html>\n'
    )


def _summary(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    duration = recording.timestamps[-1] - recording.timestamps[0]
    tiles = [
        (f'{len(recording):,}', f'frames, {duration:.1f} s'),
        (str(len(recording.calibration)), 'cameras'),
        (f'{format_number(statistics.median_error, 1)} px', 'reprojection error, median'),
        (f'{format_number(statistics.percentile_error, 1)} px', 'reprojection error, 95 % are below'),
    ]
    for h, side in enumerate(recording.hand_side.tolist()):
        name = f'{SIDE_LABELS[side]} hand'
        tiles.append((f'{100 * statistics.has_hand[:, h].mean():.1f} %', f'of the frames have the {name} in 3D'))
        spread = float(quantiles(statistics.bone_spreads[h], (0.5,), (0,))[0])
        tiles.append((f'{format_number(100 * spread, 1)} %', f'spread of bone lengths, {name} (median)'))
    boxes = ''.join(f'<div><b>{html.escape(value)}</b>{html.escape(label)}</div>' for value, label in tiles)
    return f'<div class="tiles">{boxes}</div>{paragraph(f"Method: {recording.method}.")}'


def _notes(recording: AnnotatedRecording, statistics: RecordingStatistics, marks: RecordingMarks | None) -> str:
    notes = [*describe_quality(recording, statistics), *recording.notes]
    entries = ''.join(f'<li>{html.escape(note)}</li>' for note in notes) or '<li>Nothing unusual.</li>'
    page = section('Notes', '', f'<ul>{entries}</ul>')
    if marks is not None and len(marks):
        listed = ''.join(f'<li>{html.escape(str(mark))}</li>' for mark in marks.marks)
        page += section('Marked by hand', '', f'<ul>{listed}</ul>')
    return page


def _cameras(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    top = _heat_top(statistics)
    rows = []
    for k, name in enumerate(recording.calibration.names):
        present = int((recording.frame_indices[:, k] >= 0).sum())
        cells = [f'<td>{present:,}</td>', f'<td>{_percent(statistics.detected[k])}</td>']
        cells += [f'<td>{_percent(statistics.kept[k])}</td>']
        cells += [heat_cell(error, top, format_number(error, 1)) for error in statistics.camera_errors[k].tolist()]
        rows.append((name, cells))
    text = (
        'Reprojection error: the distance between a joint that was detected in an image and the 3D joint projected '
        'into it. "Joints kept" are the detected joints that the triangulation used; the others did not agree with '
        'the other cameras, or no other camera saw the hand.'
    )
    head = ['images', 'with a hand', 'joints kept', 'median error (px)', '95 % below (px)']
    return section('Cameras', text, table(head, rows))


def _over_time(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    sides = [f'{SIDE_LABELS[side]} hand' for side in recording.hand_side.tolist()]
    top = _heat_top(statistics)
    errors = {name: statistics.frame_errors[:, h] for h, name in enumerate(sides)}
    text = (
        f'Median over cameras and joints. Below, the error of each camera: from light (0 px) to dark red ({top:.1f} px '
        f'and more); grey: no hand was detected; black: the camera has no image.'
    )
    chart = line_chart(errors, 'frame', 'reprojection error (px)', length=len(recording))
    rows = []
    for k, name in enumerate(recording.calibration.names):
        colors = _camera_strip(statistics.camera_frame_errors[:, k], recording.frame_indices[:, k] >= 0, top)
        rows.append(f'<div class="row"><span>{html.escape(name)}</span>{color_strip(colors, name)}</div>')
    return section('Error over time', text, chart + ''.join(rows))


def _joints(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    top = _heat_top(statistics)
    names = recording.calibration.names
    everything = quantiles(statistics.errors, (0.5,), (0, 1, 2))[0]
    rows = []
    for j, joint in enumerate(COMMON_JOINTS):
        errors = [*statistics.joint_errors[:, j].tolist(), float(everything[j])]
        rows.append((joint.replace('_', ' '), [heat_cell(error, top, format_number(error, 1)) for error in errors]))
    return section(
        'Error of each joint', 'Median reprojection error, px.', table([*names, 'all cameras'], rows, 'heat')
    )


def _views(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    counts = statistics.views[statistics.views >= 0]
    total = max(len(counts), 1)
    most = len(recording.calibration)
    shares = {str(n): float((counts == n).sum() / total) for n in range(int(min(counts, default=2)), most + 1)}
    sides = [f'{SIDE_LABELS[side]} hand' for side in recording.hand_side.tolist()]
    known = np.where(statistics.views >= 0, statistics.views, np.nan)
    present = (statistics.views >= 0).sum(2)
    means = np.divide(np.nansum(known, 2), present, out=np.zeros(present.shape), where=present > 0)
    lines = {name: means[:, h] for h, name in enumerate(sides)}
    text = 'How many cameras a joint was triangulated from. Two are the least; each further one finds errors.'
    return section(
        'Views',
        text,
        bar_chart(shares, 'cameras', 'joints (%)')
        + line_chart(lines, 'frame', 'cameras (mean)', length=len(recording), height=150, top=float(most)),
    )


def _bones(recording: AnnotatedRecording, statistics: RecordingStatistics) -> str:
    sides = [SIDE_LABELS[side] for side in recording.hand_side.tolist()]
    head = [f'{side}, {what}' for side in sides for what in ('length (mm)', 'spread (%)')]
    rows = []
    for b, (parent, child) in enumerate(BONES):
        cells = []
        for h in range(len(sides)):
            cells.append(f'<td>{format_number(1000 * statistics.bone_lengths[h, b], 1)}</td>')
            spread = 100 * float(statistics.bone_spreads[h, b])
            cells.append(heat_cell(spread, 12.0, format_number(spread, 1)))
        rows.append((f'{COMMON_JOINTS[parent]} to {COMMON_JOINTS[child]}'.replace('_', ' '), cells))
    lines = {f'{side} hand': 100 * statistics.bone_deviation[:, h] for h, side in enumerate(sides)}
    text = (
        'Bones do not change their length, so what a length varies by is error. Length: median over frames; spread: '
        'standard deviation over mean.'
    )
    chart = line_chart(lines, 'frame', 'off by (%)', length=len(recording), height=150)
    return section('Bone lengths', text, chart + table(head, rows, 'heat'))


def _worst(recording: AnnotatedRecording, statistics: RecordingStatistics, images: RecordingImages, count: int) -> str:
    if count == 0:
        return ''
    worst = [(t, _worst_hand(statistics, t)) for t in worst_frames(statistics, count)]
    lost = frames_without_hand(recording, statistics, min(count, _MOST_LOST))
    shown = _read_crops(recording, images, sorted({*worst, *lost}))
    text = (
        'Broad lines are detections (left hand blue, right hand orange), thin white lines the 3D joints projected into '
        'the image. Where they differ, a detection is wrong, or the camera does not fit the others.'
    )
    problems = ''.join(paragraph(f'No images of camera {name}: {why}.') for name, why in images.problems.items())
    figures = ''.join(_frame(recording, statistics, place, shown[place]) for place in worst)
    page = section('Worst frames', text, problems + figures)
    if lost:
        figures = ''.join(_frame(recording, statistics, place, shown[place]) for place in lost)
        page += section('Detected, but not in 3D', 'The middle of the longest gaps of a hand.', figures)
    return page


def _worst_hand(statistics: RecordingStatistics, t: int) -> int:
    return int(np.nan_to_num(statistics.frame_errors[t], nan=-1.0).argmax())


def _read_crops(
    recording: AnnotatedRecording, images: RecordingImages, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], dict[str, str]]:
    """{(frame, hand): {name of a camera: its crop as a data URI}}, read camera by camera in the order of time."""
    size = _CROP if len(recording.calibration) <= _MANY_CAMERAS else _SMALL_CROP
    crops: dict[tuple[int, int], dict[str, str]] = {place: {} for place in places}
    for k, name in enumerate(recording.calibration.names):
        for t, hand in places:
            image = images.read(t, k)
            if image is not None:
                crops[t, hand][name] = _jpeg(crop_recording_image(image, recording, t, k, hand, size))
    return crops


def _frame(
    recording: AnnotatedRecording, statistics: RecordingStatistics, place: tuple[int, int], crops: dict[str, str]
) -> str:
    t, hand = place
    side = SIDE_LABELS[recording.hand_side[hand]]
    errors = quantiles(statistics.errors[t, :, hand], (0.5,), (1,))[0]
    cells = []
    for k, name in enumerate(recording.calibration.names):
        if recording.frame_indices[t, k] < 0:
            words = 'no image'
        elif not recording.joints_2d_valid[t, k, hand]:
            words = 'not detected'
        else:
            words = f'{errors[k]:.1f} px' if np.isfinite(errors[k]) else 'detected'
        label = html.escape(f'{name}: {words}')
        picture = f'<img src="{crops[name]}" alt="{label}">' if name in crops else '<div class="none"></div>'
        cells.append(f'<figure>{picture}<figcaption>{label}</figcaption></figure>')
    error = statistics.frame_errors[t, hand]
    words = 'not in 3D' if np.isnan(error) else f'error {error:.1f} px'
    seen = f'{recording.num_views[t, hand]} of {len(recording.calibration)} views'
    title = f'Frame {t}, {recording.timestamps[t]:.2f} s: {side} hand, {words}, detected in {seen}'
    return f'<h3>{html.escape(title)}</h3><div class="crops">{"".join(cells)}</div>'


def _camera_strip(errors: NDArray[np.float64], present: NDArray[np.bool_], top: float) -> NDArray[np.uint8]:
    """(N, 3) colours: of a group of frames that of its largest error; a gap is shown where it is more than half."""
    colors = []
    for values, there in zip(group_frames(errors, _STRIP), group_frames(present, _STRIP), strict=True):
        known = values[np.isfinite(values)]
        if 2 * there.sum() < len(there):
            colors.append(np.array(_NO_IMAGE, np.uint8))
        elif 2 * len(known) < len(values):
            colors.append(np.array(_NOT_DETECTED, np.uint8))
        else:
            colors.append(heat_colors(known.max(), top))
    return np.stack(colors)


def _heat_top(statistics: RecordingStatistics) -> float:
    """Pixels of the darkest red: as much for all tables and strips of a page."""
    return float(np.nan_to_num(max(2 * statistics.percentile_error, 4.0), nan=4.0))


def _percent(share: float) -> str:
    return '-' if np.isnan(share) else f'{100 * share:.1f} %'


def _jpeg(image: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode("ascii")}'
