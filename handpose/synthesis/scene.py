"""The scene model: posed hands and objects over time, and the cameras that see them. Table frame: z up, metres.

Legend: F frames, H hands, K cameras, N objects, V hand vertices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handpose.synthesis.motion.posing import PosedHand
from handpose.synthesis.objects.shapes import SceneObject

Place = tuple[int, int]  # (subject, sequence) of a sequence, both from 0
Size = tuple[int, int]  # (width, height), pixels


@dataclass
class Scene:
    """Hands, objects and cameras of one sequence. The hands are one person's.

    Attributes:
        name: what happens in it.
        sides: (H,) 0 left, 1 right.
        hand_shape: (10,).
        hand_pose: (F, H, 16, 3) rotvecs.
        hand_transl: (F, H, 3).
        rest_wrist: (H, 3), of the shaped hands at rest.
        vertices: (F, H, V, 3).
        joints: (F, H, 21, 3), common order.
        hand_valid: (F, H) bool: the hand is labelled.
        objects: the grasped one first.
        object_poses: (F, N, 4, 4) to the table frame.
        holding: (F,) bool: the first object is in the hand.
        moving: (F,) bool: the first object moved since the frame before.
        intrinsics: (K, 3, 3).
        extrinsics: (F, K, 4, 4) table frame to camera.
        image_sizes: (width, height) of each camera.
        visible: (F, K, H) bool: part of the hand is in the camera's image.
        facts: what the maker of the scene reports about it, plain values.
        measurements: arrays over frames that the maker of the scene reports.
    """

    name: str
    sides: NDArray
    hand_shape: NDArray
    hand_pose: NDArray
    hand_transl: NDArray
    rest_wrist: NDArray
    vertices: NDArray
    joints: NDArray
    hand_valid: NDArray
    objects: tuple[SceneObject, ...]
    object_poses: NDArray
    holding: NDArray
    moving: NDArray
    intrinsics: NDArray
    extrinsics: NDArray
    image_sizes: tuple[Size, ...]
    visible: NDArray
    facts: dict[str, object] = field(default_factory=dict)
    measurements: dict[str, NDArray] = field(default_factory=dict)

    @classmethod
    def of_hands(cls, name: str, hand_shape: NDArray, hands: Mapping[int, PosedHand]) -> 'Scene':
        """A scene without objects and cameras.

        Args:
            name: what happens in it.
            hand_shape: (10,).
            hands: {side: PosedHand}, all of F frames.
        """
        vertices, joints, pose, transl = (np.stack(values, 1) for values in list(zip(*hands.values(), strict=True))[:4])
        frames = len(pose)
        return cls(
            name=name, sides=np.array(list(hands)), hand_shape=hand_shape, hand_pose=pose, hand_transl=transl,
            rest_wrist=np.stack([hand.rest_wrist for hand in hands.values()]), vertices=vertices, joints=joints,
            hand_valid=np.ones((frames, len(hands)), bool), objects=(), object_poses=np.zeros((frames, 0, 4, 4)),
            holding=np.zeros(frames, bool), moving=np.zeros(frames, bool), intrinsics=np.zeros((0, 3, 3)),
            extrinsics=np.zeros((frames, 0, 4, 4)), image_sizes=(), visible=np.zeros((frames, 0, len(hands)), bool),
        )  # fmt: skip

    def add_objects(self, objects: Sequence[SceneObject], poses: NDArray) -> None:
        """Adds objects with their poses, (F, N, 4, 4), or (N, 4, 4) of objects that stand still."""
        poses = np.broadcast_to(poses, (len(self.joints), len(objects), 4, 4))
        self.objects = (*self.objects, *objects)
        self.object_poses = np.concatenate([self.object_poses, poses], 1)

    def set_cameras(self, intrinsics: NDArray, extrinsics: NDArray, image_sizes: Sequence[Size]) -> None:
        """Sets the cameras, and which hands they see.

        Args:
            intrinsics: (K, 3, 3).
            extrinsics: (F, K, 4, 4), or (K, 4, 4) of cameras that stand still.
            image_sizes: (width, height) of each camera.
        """
        self.intrinsics, self.image_sizes = intrinsics, tuple(image_sizes)
        # A copy: old versions of scipy refuse the read-only arrays of broadcast_to.
        self.extrinsics = np.broadcast_to(extrinsics, (len(self.joints), len(intrinsics), 4, 4)).copy()
        hands = range(len(self.sides))
        seen = [np.stack([self._in_image(k, h) for h in hands], 1) for k in range(len(intrinsics))]
        self.visible = np.stack(seen, 1)

    def _in_image(self, camera: int, hand: int) -> NDArray:
        """(F,) bool: some vertex of a hand falls into a camera's image."""
        rotation, transl = self.extrinsics[:, camera, :3, :3], self.extrinsics[:, camera, None, :3, 3]
        local = self.vertices[:, hand] @ rotation.transpose(0, 2, 1) + transl
        uv = local @ self.intrinsics[camera].T
        uv = uv[..., :2] / np.maximum(local[..., 2:], 1e-6)
        inside = (uv > -0.5) & (uv < np.asarray(self.image_sizes[camera]) - 0.5) & (local[..., 2:] > 0)
        return inside.all(-1).any(-1)
