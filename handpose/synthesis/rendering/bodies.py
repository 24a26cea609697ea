"""What a scene gives the renderers: posed, coloured bodies, frame by frame. Table frame, metres."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.transform import Rotation

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.objects.shapes import Mesh, Revolved
from handpose.synthesis.rendering.appearance import Look
from handpose.synthesis.rendering.drawing import HAND_ID, Body
from handpose.synthesis.scene import Scene

_ARM_LENGTH = 0.32
_REGION_TINTS = np.array(
    [[1.03, 0.98, 0.96], [0.97, 0.97, 0.97], [1.0, 1.0, 1.0], [1.06, 0.94, 0.92], [1.1, 1.04, 1.02]]
)


class SceneBodies:
    """Makes the bodies of a scene.

    Args:
        scene: posed hands and objects.
        look: how they look; its textures are the objects'.
        model: the hand model that posed the hands.
    """

    def __init__(self, scene: Scene, look: Look, model: ProceduralHand) -> None:
        self.scene, self.look, self.model = scene, look, model
        self.skin = np.clip(look.skin * _REGION_TINTS[model.skin_regions.numpy()] * look.skin_noise[:, None], 0.02, 1)
        self._meshes = [o.mesh() for o in scene.objects]
        self._normals = [mesh_normals(m.vertices[None], m.faces)[0] for m in self._meshes]
        self._texture_points = [_texture_points(m.vertices) for m in self._meshes]
        self._arm = _arm_mesh()
        self._arm_normals = mesh_normals(self._arm.vertices[None], self._arm.faces)[0]
        self._arm_colours = np.broadcast_to(look.arm, (len(self._arm.vertices), 3))

    @cached_property
    def _hands(self) -> list[tuple[NDArray, NDArray]]:
        """Faces and normals (F, V, 3) of each hand."""
        faces = [self.model.faces_of(int(side)).numpy() for side in self.scene.sides]
        return [(f, mesh_normals(self.scene.vertices[:, hand], f)) for hand, f in enumerate(faces)]

    def hand(self, hand: int, frame: int) -> Body:
        """A hand."""
        faces, normals = self._hands[hand]
        return Body(self.scene.vertices[frame, hand], normals[frame], faces, HAND_ID, colours=self.skin)

    def arm(self, hand: int, frame: int) -> Body:
        """The forearm or sleeve behind a hand's wrist (not a hand for the labels)."""
        scene = self.scene
        rotation = Rotation.from_rotvec(scene.hand_pose[frame, hand, 0]).as_matrix()
        is_right = scene.sides[hand] == Side.RIGHT
        flip = np.array([1.0 if is_right else -1.0, 1, 1])
        faces = self._arm.faces if is_right else self._arm.faces[:, ::-1]
        vertices = (self._arm.vertices * flip) @ rotation.T + scene.joints[frame, hand, 0]
        return Body(vertices, (self._arm_normals * flip) @ rotation.T, faces, 0, colours=self._arm_colours)

    def object(self, index: int, frame: int) -> Body:
        """An object; the grasped one is the first."""
        mesh, pose = self._meshes[index], self.scene.object_poses[frame, index]
        return Body(
            mesh.vertices @ pose[:3, :3].T + pose[:3, 3],
            self._normals[index] @ pose[:3, :3].T,
            mesh.faces,
            self.scene.objects[index].class_id,
            texture=self.look.textures[index],
            texture_points=self._texture_points[index],
        )

    def still(self) -> list[Body]:
        """All objects but the first."""
        return [self.object(index, 0) for index in range(1, len(self._meshes))]


def _texture_points(vertices: NDArray) -> NDArray:
    """Where vertices (V, 3) lie in a solid texture that the object just fits into, 0 to 1."""
    low, high = vertices.min(0), vertices.max(0)
    return (vertices - (low + high) / 2) / (high - low).max() + 0.5


def mesh_normals(vertices: NDArray, faces: NDArray) -> NDArray:
    """Unit vertex normals (F, V, 3) of a mesh in several poses (F, V, 3), by summing the faces around each vertex."""
    cross = np.cross(
        vertices[:, faces[:, 1]] - vertices[:, faces[:, 0]], vertices[:, faces[:, 2]] - vertices[:, faces[:, 0]]
    )
    count = vertices.shape[1]
    around = sparse.csr_array(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), (count, len(faces))
    )
    flat = around @ cross.transpose(1, 0, 2).reshape(len(faces), -1)
    normals = flat.reshape(count, len(vertices), 3).transpose(1, 0, 2)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def _arm_mesh() -> Mesh:
    """A tapered tube along the right hand's +x from just inside the wrist's stump: forearm, or sleeve over it."""
    start = 0.012
    profile = (
        (0.0, start),
        (0.024, start),
        (0.029, start + 0.03),
        (0.036, 0.12),
        (0.04, _ARM_LENGTH),
        (0.0, _ARM_LENGTH),
    )
    mesh = Revolved(profile).mesh()
    # The profile's axis z becomes the model's x (backwards from the fingers); a wrist is flatter than wide.
    x, y, z = mesh.vertices.T
    flat = 0.72 + 0.2 * np.clip((z - start) / 0.1, 0, 1)
    return mesh._replace(vertices=np.stack([z, y * flat, -x], 1))
