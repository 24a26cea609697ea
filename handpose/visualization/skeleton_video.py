"""Frames of a video that shows predictions before and after refining, side by side."""

import itertools

import cv2
import numpy as np
import torch

from handpose.hands.joints import FINGERTIPS
from handpose.visualization.draw import BACKGROUND, FINGER_COLORS, add_caption, contact_sheet, draw_skeleton, put_label
from handpose.visualization.overlays import draw_hands

_GRID, _AXIS_LINE = (44, 47, 53), (64, 68, 76)
_TRAIL = 12  # frames that fingertips leave a trace of
_APART = 0.13  # metres to each side, of two hands that have no place of their own
_FOLLOW = 31  # frames over which the view follows the hands


class ComparisonVideo:
    """Draws frame after frame of two versions of a track.

    Columns are `before` and `after`; rows are the view along z and the view along x. Both are orthographic and, in
    frame 'camera', follow the hands. With pictures and a camera, skeletons are projected into the picture in place of
    the view along z.

    Args:
        before, after: `Predictions` of the same frames and hands. panel: pixels of a square panel.
        names: captions of the columns.
    """

    def __init__(self, before, after, panel=320, names=('before', 'after')):
        self.versions = (before, after)
        self.panel, self.names = panel, names
        self.placed = [_placed(version) for version in self.versions]
        self.centre = _followed(self.placed[1], after.valid, fixed=after.frame == 'wrist')
        spread = np.abs(self.placed[1] - self.centre[:, None, None])[after.valid]
        self.scale = 0.45 * panel / max(np.percentile(spread, 99) if len(spread) else 0.1, 0.02)
        self.paper = _paper(panel, self.scale)

    def draw(self, t, picture=None):
        """Frame t as (h, w, 3) uint8 RGB; `picture` is the video's frame, or None."""
        before = self.versions[0]
        projects = picture is not None and before.intrinsics is not None and before.frame == 'camera'
        columns = []
        for version, placed, name in zip(self.versions, self.placed, self.names, strict=True):
            if projects:
                upper = self._over(picture, version, t)
            else:
                upper = self._label(self._view(placed, version.valid, t, (0, 1)), 'front: x right, y down', version, t)
            side = self._label(self._view(placed, version.valid, t, (2, 1)), 'side: z right, y down', version, t)
            upper = add_caption(upper, f'{name}, {version.timestamps[t] - version.timestamps[0]:.2f} s')
            columns.append([upper, _fitted(side, upper.shape[1])])
        cells = [column[row] for row in range(2) for column in columns]
        if picture is not None and not projects:  # nothing can be projected, but it shows what was seen
            width = round(picture.shape[1] * self.panel / picture.shape[0])
            seen = add_caption(cv2.resize(picture, (width, self.panel), interpolation=cv2.INTER_AREA), 'video')
            sheet = contact_sheet(cells, 2)
            return np.hstack([_padded(seen, sheet.shape[0]), sheet])
        return np.vstack([np.hstack(cells[:2]), np.hstack(cells[2:])]) if projects else contact_sheet(cells, 2)

    def _view(self, placed, valid, t, axes):
        """An orthographic view (panel, panel, 3) along the third axis, with the trails of the fingertips."""
        image = self.paper.copy()
        points = (placed - self.centre[t])[..., axes] * self.scale + (self.panel - 1) / 2  # (T, H, 21, 2)
        for h in range(placed.shape[1]):
            for finger, tip in enumerate(FINGERTIPS):
                _trail(image, points[max(0, t - _TRAIL) : t + 1, h, tip], FINGER_COLORS[finger])
        for h in np.flatnonzero(valid[t]):
            image = draw_skeleton(image, points[t, h])
        return image

    def _over(self, picture, version, t):
        joints = torch.from_numpy(version.joints[t, version.valid[t]])
        intrinsics = torch.from_numpy(version.intrinsics).float()
        return self._label(draw_hands(picture, joints, intrinsics, round(1.6 * self.panel)), '', version, t)

    def _label(self, image, text, version, t):
        if text:
            image = put_label(image, text, (6, 6), (190, 195, 205))
        hands = [(('left', 'right')[side], h) for h, side in enumerate(version.hand_side)]
        lacking = [side for side, h in hands if not version.valid[t, h]]
        filled = [side for side, h in hands if version.valid[t, h] and not self.versions[0].valid[t, h]]
        words = [f'no {side} hand' for side in lacking] + [f'{side} hand filled in' for side in filled]
        return put_label(image, ', '.join(words), (6, image.shape[0]), (255, 190, 90)) if words else image


def _placed(predictions):
    """(T, H, 21, 3) float64; two hands relative to their wrists are put side by side."""
    joints = predictions.joints.astype(np.float64)
    if predictions.frame == 'wrist' and joints.shape[1] == 2:
        joints[:, 0, :, 0] -= _APART
        joints[:, 1, :, 0] += _APART
    return joints


def _followed(joints, valid, fixed):
    """(T, 3) what the view is centred on: the middle of the hands, slowly; or the middle of the whole track."""
    frames = len(joints)
    known = valid.any(1)
    if not known.any():
        return np.zeros((frames, 3))
    middle = np.full((frames, 3), np.nan)
    for t in np.flatnonzero(known):
        middle[t] = joints[t, valid[t]].mean((0, 1))
    if fixed:
        return np.tile(np.median(middle[known], axis=0), (frames, 1))
    at = np.flatnonzero(known)
    filled = np.stack([np.interp(np.arange(frames), at, middle[at, axis]) for axis in range(3)], 1)
    half = min(_FOLLOW, frames) // 2
    edges = np.pad(filled, ((half, half), (0, 0)), mode='edge')
    return np.lib.stride_tricks.sliding_window_view(edges, 2 * half + 1, axis=0).mean(-1)


def _paper(panel, scale):
    """The empty panel: a grid of 5 cm about the centre."""
    image = np.full((panel, panel, 3), BACKGROUND, np.uint8)
    step, middle = 0.05 * scale, (panel - 1) / 2
    lines = np.arange(-int(middle / step), int(middle / step) + 1)
    for line in lines:
        place = round(middle + line * step)
        color = _AXIS_LINE if line == 0 else _GRID
        image[place], image[:, place] = color, color
    return image


def _trail(image, points, color):
    for k, (a, b) in enumerate(itertools.pairwise(points)):
        if np.isfinite(a).all() and np.isfinite(b).all():
            share = (k + 1) / len(points)
            faded = tuple(int(share * c * 0.8 + (1 - share * 0.8) * d) for c, d in zip(color, BACKGROUND, strict=True))
            ends = [tuple(np.round(16 * np.clip(p, -2000, 4000)).astype(int).tolist()) for p in (a, b)]
            cv2.line(image, *ends, faded, 2, cv2.LINE_AA, 4)


def _fitted(image, width):
    """The image between plain margins, `width` pixels wide."""
    margin = max(0, width - image.shape[1])
    return cv2.copyMakeBorder(image, 0, 0, margin // 2, margin - margin // 2, cv2.BORDER_CONSTANT, value=BACKGROUND)


def _padded(image, height):
    margin = max(0, height - image.shape[0])
    return cv2.copyMakeBorder(image, margin // 2, margin - margin // 2, 8, 0, cv2.BORDER_CONSTANT, value=BACKGROUND)
