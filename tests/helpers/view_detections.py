"""What detectors of several cameras would find of moving hands: with errors, losses, wrong sides and false detections.

Legend: T frames, K cameras, N detections of an image.
"""

from dataclasses import replace

import numpy as np
import torch
from annotated_recordings import camera_ring
from predicted_hands import hand_motion

from handpose.inference.annotation.view_hands import ViewHands

ERROR = 0.01  # of a detected joint, relative to the size of the hand in the image


def hands_in_front(frames, sides=('left', 'right'), apart=0.2, places=None):
    """(T, H, 21, 3) metres, world of `camera_ring`: hands next to each other, the right one at larger x."""
    places = np.linspace(-0.5, 0.5, len(sides)) * apart if places is None else places
    moved = [hand_motion(frames, side, seed) + [places[seed], 0, 0] for seed, side in enumerate(sides)]
    return np.stack(moved, 1).astype(np.float64)


def detect(joints, calibration, sides=('left', 'right'), error=ERROR, certainty=0.95, seed=0):
    """`ViewHands` of all hands (T, H, 21, 3) in all views, in random order, and whose hand each is: (T, K, N)."""
    rng = np.random.default_rng(seed)
    frames, hands = joints.shape[:2]
    uv = np.stack([camera.project(torch.from_numpy(joints)).numpy() for camera in calibration], 1)
    size = (uv.max(-2) - uv.min(-2)).max(-1)[..., None, None]
    uv = uv + error * size * rng.normal(size=uv.shape)
    owner = np.argsort(rng.random((frames, len(calibration), hands)), -1)
    right = np.array([certainty if side == 'right' else 1 - certainty for side in sides])
    view_hands = ViewHands(
        joints_2d=np.take_along_axis(uv, owner[..., None, None], 2),
        valid=np.ones(owner.shape, bool),
        right=right[owner],
        presence=np.full(owner.shape, 0.9),
        track_ids=owner,
        image_valid=np.ones(owner.shape[:2], bool),
    )
    return view_hands, owner


def with_faults(view_hands, owner, lost=0.2, swapped=0.05, false=0.0, seed=0):
    """The same detections with losses, wrong sides, and false detections in place of lost ones, which own no hand."""
    rng = np.random.default_rng(seed)
    valid = view_hands.valid & (rng.random(owner.shape) >= lost)
    right = np.where(rng.random(owner.shape) < swapped, 1 - view_hands.right, view_hands.right)
    invented = view_hands.valid & ~valid & (rng.random(owner.shape) < false / max(lost, 1e-9))
    centre = rng.uniform(50, 400, (*owner.shape, 1, 2))
    joints = np.where(
        invented[..., None, None], centre + 40 * rng.normal(size=view_hands.joints_2d.shape), view_hands.joints_2d
    )
    faulty = replace(
        view_hands,
        joints_2d=joints,
        valid=valid | invented,
        right=np.where(invented, rng.random(owner.shape), right),
        track_ids=np.where(invented, 1000, view_hands.track_ids),
    )
    return faulty, np.where(valid, owner, -1)


def scene(frames=30, cameras=4, sides=('left', 'right'), **options):
    """Truth (T, H, 21, 3), calibration, detections, and their owners."""
    calibration = camera_ring(cameras, distortion=(-0.1, 0.05, 0.001, -0.001))
    joints = hands_in_front(frames, sides)
    return joints, calibration, *detect(joints, calibration, sides, **options)


def owners(matched, owner):
    """(T, K, H) whose hand the detections of each matched hand are; -2 where there is none."""
    found = np.take_along_axis(owner, np.maximum(matched.detections, 0), -1)
    return np.where(matched.valid, found, -2)
