"""Figures of multi-view annotation: rounds of refinement on the images, and errors by round, views and occlusion.

Every function returns an RGB image (h, w, 3) uint8. Plots use Matplotlib, without its global state.
Legend: R rounds, K views.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.geometry.boxes import boxes_from_points, scale_boxes, square_boxes
from handpose.geometry.triangulation import projection_matrices
from handpose.structures import HandSequence
from handpose.visualization.draw import (
    add_caption,
    check_image,
    contact_sheet,
    draw_skeleton,
    paint_thin_skeleton,
    put_label,
)
from handpose.visualization.figures import figure_image, figure_with_axes

_TRUTH_COLOR = (255, 255, 255)
_MARGIN = 1.35  # of a crop, times the larger side of the hand
_LEAST_PIXELS = 16  # along a crop
Errors = Mapping[str, Mapping[float, Sequence[float]]]


def refinement_rounds(
    images: Sequence[NDArray[np.uint8]],
    joints: ArrayLike,
    projections: ArrayLike,
    *,
    truth: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    size: int = 220,
) -> NDArray[np.uint8]:
    """One hand in the rounds of its refinement: a row for each view, a column for each round (AssemblyHands, Fig. 4).

    Skeletons have the colours of the fingers, the truth is thin and white. With the truth, the head of a column states
    the mean error of its round.

    Args:
        images: K images (h, w, 3) uint8 RGB without lens distortion, of any sizes.
        joints: (R, 21, 3) metres, the result of each round.
        projections: (K, 3, 4) from the frame of the joints to pixels of the images.
        truth: (21, 3) metres, NaN where a joint is not known; None draws none.
        boxes: (R, K, 4) xyxy pixels, the crops that the network saw in each round; a box without area leaves its cell
            empty. None shows the same crop in all rounds, around all of their joints.
        labels: R titles of the columns; default 'round 1', 'round 2', ...
        names: K names of the views; default none.
        size: of a cell, pixels.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: shapes that do not fit.
    """
    points, matrices = np.asarray(joints, np.float64), np.asarray(projections, np.float64)
    rounds, views = len(points), len(images)
    true = np.full((21, 3), np.nan) if truth is None else np.asarray(truth, np.float64)
    shown = None if boxes is None else np.asarray(boxes, np.float64)
    for what, array, shape in (
        ('joints', points, (rounds, 21, 3)),
        ('projections', matrices, (views, 3, 4)),
        ('truth', true, (21, 3)),
        *([] if shown is None else [('boxes', shown, (rounds, views, 4))]),
    ):
        if array.shape != shape or not rounds or not views:
            raise ValueError(f'{what} must have shape {shape} for {rounds} rounds and {views} views, got {array.shape}')
    titles = [f'round {r + 1}' for r in range(rounds)] if labels is None else list(labels)
    if len(titles) != rounds or (names is not None and len(names) != views):
        raise ValueError(f'expected {rounds} labels and {views} names, got {len(titles)} and {names}')
    error = 1000 * np.linalg.norm(points - true, axis=-1)  # (R, 21)
    known = np.isfinite(error)
    cells = []
    for k, image in enumerate(images):
        check_image(image)
        pixels, true_pixels = _project(points, matrices[k]), _project(true, matrices[k])
        common = _crop_around(np.concatenate([pixels.reshape(-1, 2), true_pixels]))
        for r in range(rounds):
            cell = _cell(image, pixels[r], true_pixels, common if shown is None else shown[r, k], size)
            cell = put_label(cell, names[k]) if names is not None and r == 0 else cell
            mean = f', {error[r][known[r]].mean():.1f} mm' if known[r].any() else ''
            cells.append(add_caption(cell, f'{titles[r]}{mean}') if k == 0 else cell)
    return _rows(cells, rounds)


def draw_rounds(
    batch: HandSequence,
    rounds: Sequence[HandSequence],
    *,
    clip: int = 0,
    frame: int = 0,
    hand: int = 0,
    views: Sequence[int] | None = None,
    size: int = 220,
) -> NDArray[np.uint8]:
    """Draws what `MVExoNet.predict_rounds` returns, see `refinement_rounds`.

    Args:
        batch: what it predicted, with images, intrinsics, extrinsics, and the truth in `joints_3d` if it is known.
        rounds: the result of each round, with `joints_3d` and, if the crops are to be shown, `boxes`.
        clip: index into B.
        frame: index into T.
        hand: index into H.
        views: indices into K, in the order of the rows; default those of all cameras that see the hand.
        size: of a cell, pixels.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no view is left.
    """
    joints = torch.stack([result.require('joints_3d')[clip, frame, hand] for result in rounds]).double()
    matrices = projection_matrices(
        batch.require('intrinsics')[clip, frame].double(), batch.require('extrinsics')[clip, frame].double()
    )
    seen = batch.boxes[clip, frame, :, hand] if batch.boxes is not None else None
    if views is None:
        there = torch.ones(len(matrices)) if seen is None else (seen[:, 2:] - seen[:, :2]).amin(-1)
        views = torch.nonzero(there > 0)[:, 0].tolist()
    if not views:
        raise ValueError(f'no camera sees hand {hand} in frame {frame} of clip {clip}')
    chosen = list(views)
    crops = [result.boxes for result in rounds]
    boxes = [crop[clip, frame, :, hand][chosen] for crop in crops if crop is not None]
    truth = None
    if batch.joints_3d is not None and batch.joints_valid is not None:
        known = batch.joints_valid[clip, frame, hand].unsqueeze(-1)
        truth = torch.where(known, batch.joints_3d[clip, frame, hand].double(), torch.nan).numpy()
    cameras = batch.meta[clip].get('cameras') if isinstance(batch.meta, list) else None
    return refinement_rounds(
        [batch.require('images')[clip, frame][k].permute(1, 2, 0).contiguous().numpy() for k in chosen],
        joints.numpy(),
        matrices[chosen].numpy(),
        truth=truth,
        boxes=torch.stack(boxes).numpy() if len(boxes) == len(rounds) else None,
        names=None if cameras is None else [str(cameras[k]) for k in chosen],
        size=size,
    )


def error_by_views(
    errors: Errors, ylabel: str = 'MPJPE (mm)', title: str = 'error by number of views'
) -> NDArray[np.uint8]:
    """Curves of an error against the number of views, one for each method; the range over seeds is a band.

    Args:
        errors: {method: {number of views: error of each seed}}.
        ylabel: name and unit of the error.
        title: above the plot.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no method, or a method without a value.
    """
    return _curves(errors, 'number of views', ylabel, title)


def error_by_round(errors: Errors, ylabel: str = 'MPJPE (mm)', title: str = 'error by round') -> NDArray[np.uint8]:
    """Curves of an error against the round of refinement, one for each dataset or method; see `error_by_views`.

    Args:
        errors: {name: {round: error of each seed}}; round 0 is what the first round begins with.
        ylabel: name and unit of the error.
        title: above the plot.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no name, or a name without a value.
    """
    return _curves(errors, 'round', ylabel, title)


def error_by_occlusion(
    errors: Mapping[str, Mapping[str, Sequence[float]]],
    ylabel: str = 'MPJPE (mm)',
    title: str = 'error by share of the hand hidden',
) -> NDArray[np.uint8]:
    """Grouped bars: a group for each share of occlusion, a bar for each method, with the range over seeds.

    Args:
        errors: {method: {group such as '25-50 %': error of each seed}}; an empty group has no bar.
        ylabel: name and unit of the error.
        title: above the bars.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no method.
    """
    if not errors:
        raise ValueError('error_by_occlusion needs at least one method')
    figure, axes = figure_with_axes(title)
    groups = list(dict.fromkeys(group for values in errors.values() for group in values))
    width = 0.8 / len(errors)
    for i, (name, values) in enumerate(errors.items()):
        present = [
            (g, np.asarray(values[group], float)) for g, group in enumerate(groups) if len(values.get(group, ()))
        ]
        places = [g + (i - (len(errors) - 1) / 2) * width for g, _ in present]
        means = np.array([v.mean() for _, v in present])
        spans = np.array([(v.mean() - v.min(), v.max() - v.mean()) for _, v in present]).reshape(-1, 2).T
        bars = axes.bar(places, means, 0.92 * width, label=name, yerr=spans, error_kw=dict(lw=1, ecolor='0.25'))
        axes.bar_label(bars, fmt='%.1f', size=8, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(xlabel='share of the hand hidden', ylabel=ylabel)
    axes.margins(y=0.12)
    figure.legend(loc='outside lower center', ncols=min(4, len(errors)), frameon=False)
    return figure_image(figure)


def _curves(errors: Errors, xlabel: str, ylabel: str, title: str) -> NDArray[np.uint8]:
    if not errors or not all(values and all(map(len, values.values())) for values in errors.values()):
        raise ValueError(f'a curve needs at least one {xlabel} with an error, got {dict(errors)}')
    figure, axes = figure_with_axes(title)
    for i, (name, values) in enumerate(errors.items()):
        x = sorted(values)
        seeds = [np.asarray(values[place], float) for place in x]
        axes.plot(x, [v.mean() for v in seeds], color=f'C{i}', lw=2, marker='osD^vP'[i % 6], ms=6, label=name)
        axes.fill_between(x, [v.min() for v in seeds], [v.max() for v in seeds], color=f'C{i}', alpha=0.18, lw=0)
    axes.set_xticks(sorted({place for values in errors.values() for place in values}))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_ylim(bottom=0)
    most = max(len(v) for values in errors.values() for v in values.values())
    if most > 1:
        note = f'mean and range over {most} seeds'
        axes.annotate(note, (1, 1), (-6, -14), 'axes fraction', 'offset points', ha='right', size=8, color='0.35')
    figure.legend(loc='outside lower center', ncols=min(3, len(errors)), frameon=False)
    return figure_image(figure)


def _project(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 21, 3) to pixels, NaN behind the camera."""
    local = points @ matrix[:, :3].T + matrix[:, 3]
    return np.where(local[..., 2:] > 0, local[..., :2] / np.where(local[..., 2:] > 0, local[..., 2:], 1), np.nan)


def _crop_around(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) square around the points that are known; without area if there is none."""
    known = points[np.isfinite(points).all(-1)]
    if not len(known):
        return np.zeros(4)
    return scale_boxes(square_boxes(boxes_from_points(torch.from_numpy(known))), _MARGIN).numpy()


def _cell(
    image: NDArray[np.uint8],
    pixels: NDArray[np.float64],
    true_pixels: NDArray[np.float64],
    box: NDArray[np.float64],
    size: int,
) -> NDArray[np.uint8]:
    """The part of an image in a box, with the joints on it."""
    extent = box[2:] - box[:2]
    if not np.isfinite(box).all() or extent.min() <= 0:
        return put_label(np.full((size, size, 3), 40, np.uint8), 'not seen', (0, size))
    side = max(float(extent.max()), _LEAST_PIXELS)
    scale, corner = size / side, (box[:2] + box[2:]) / 2 - side / 2
    affine = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell = np.asarray(cv2.warpAffine(image, affine, (size, size), flags=method), np.uint8)
    cell = draw_skeleton(cell, (pixels - corner) * scale)
    paint_thin_skeleton(cell, (true_pixels - corner) * scale, _TRUTH_COLOR, 1)
    return cell


def _rows(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Rows of cells, the first of which is higher by its captions."""
    first = contact_sheet(cells[:columns], columns, pad=4)
    if len(cells) == columns:
        return first
    return np.vstack([first, contact_sheet(cells[columns:], columns, pad=4)[4:]])
