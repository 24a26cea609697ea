"""Small built-in data in the layouts of pose sequences, and what the generator itself says about it."""

import json

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.hands import ProceduralHand
from handpose.synthesis import MultiViewOptions, write_dataset
from handpose.synthesis.writer import open_dataset

FRAMES, CAMERAS, SUBJECTS, SEQUENCES = 36, 2, 3, 5


def options(root, layout, **changes):
    values = dict(subjects=SUBJECTS, sequences=SEQUENCES, frames=FRAMES, cameras=CAMERAS, seed=3, workers=1)
    return MultiViewOptions(str(root), layout=layout, **{**values, **changes})


def write(root, layout, **changes):
    """Writes the data; returns the layout, which reads the generator's own motion."""
    chosen = options(root, layout, **changes)
    summary = write_dataset(chosen)
    assert summary.frames == chosen.subjects * chosen.sequences * chosen.frames * chosen.cameras
    return open_dataset(chosen)[0]


def true_joints(motion, camera):
    """Joints (F, H, 21, 3) float64 of a `Scene` in a camera's frame, by scipy."""
    rigid = motion.extrinsics[0, camera]
    return (
        Rotation.from_matrix(rigid[:3, :3]).apply(motion.joints.reshape(-1, 3)).reshape(motion.joints.shape)
        + (rigid[:3, 3])
    )


def check_hands_of_clip(clip):
    """Joints follow from the hand-model parameters, and pixels from the joints, computed apart."""
    mesh = ProceduralHand()(
        clip.hand_pose, clip.hand_shape.expand(len(clip.frame_valid), -1, 10), clip.hand_transl, clip.hand_side
    )
    hands = clip.hand_pose_valid
    assert hands.any() and (hands == clip.hand_valid).all()
    assert (mesh.joints - clip.joints_3d)[hands].abs().max() < 2e-6
    check_pixels(clip)


def check_pixels(clip):
    x, y, z = clip.joints_3d.double().numpy().transpose(3, 0, 1, 2)
    k = clip.intrinsics[:, 0].double().numpy()[:, None, None]
    pixels = np.stack([k[..., 0, 0] * x + k[..., 0, 2] * z, k[..., 1, 1] * y + k[..., 1, 2] * z], -1)
    valid = clip.joints_2d_valid[:, 0].numpy()
    assert (valid == clip.joints_valid.numpy()).all()
    difference = clip.joints_2d[:, 0].double().numpy()[valid] - pixels[valid] / z[valid][:, None]
    assert np.abs(difference).max() < 1e-2
    assert torch.equal(clip.extrinsics, torch.eye(4).expand_as(clip.extrinsics)) and clip.frame == 'camera'


def change(path, edit):
    """Rewrites a JSON file after `edit(content)`."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def digest(root):
    import hashlib

    files = sorted(p for p in root.rglob('*') if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
