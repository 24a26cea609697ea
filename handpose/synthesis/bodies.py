"""What a scene gives the renderer: posed, coloured bodies, frame by frame. Table frame, metres."""

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from handpose.synthesis.objects import Revolved
from handpose.synthesis.render import HAND_ID, Body

_ARM_LENGTH = 0.32
_REGION_TINTS = np.array(
    [[1.03, 0.98, 0.96], [0.97, 0.97, 0.97], [1.0, 1.0, 1.0], [1.06, 0.94, 0.92], [1.1, 1.04, 1.02]]
)


class SceneBodies:
    """Makes the bodies of a `Scene` in a `Look`; `model` is the hand model that posed it."""

    def __init__(self, scene, look, model):
        self.scene, self.look = scene, look
        self._hand_normals = mesh_normals(scene.vertices, scene.faces)
        self._skin = colour_skin(model, look)
        self._meshes = [o.mesh() for o in scene.objects]
        self._normals = [mesh_normals(m.vertices[None], m.faces)[0] for m in self._meshes]
        self._arm = Arm(look)

    def hand(self, frame):
        """The hand."""
        return Body(
            self.scene.vertices[frame], self._hand_normals[frame], self.scene.faces, HAND_ID, colours=self._skin
        )

    def arm(self, frame):
        """The forearm or sleeve behind the wrist (not a hand for the labels)."""
        return self._arm.body(self.scene.hand_pose[frame, 0], self.scene.joints[frame, 0], self.scene.side)

    def grasped(self, frame):
        """The object that the hand takes."""
        return self._object(0, frame)

    def still(self):
        """The objects that nobody touches."""
        return [self._object(i, 0) for i in range(1, len(self._meshes))]

    def _object(self, index, frame):
        pose, label = self.scene.object_poses[frame, index], self.scene.objects[index].class_id
        return textured_body(self._meshes[index], self._normals[index], pose, label, self.look.textures[index])


def textured_body(mesh, normals, pose, label, texture):
    """A `Mesh` with its normals (V, 3) placed by `pose` (4, 4), cut out of a solid texture that it just fits into."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    return Body(
        mesh.vertices @ pose[:3, :3].T + pose[:3, 3], normals @ pose[:3, :3].T, mesh.faces, label, texture=texture,
        texture_points=(mesh.vertices - (low + high) / 2) / (high - low).max() + 0.5,
    )  # fmt: skip


class Arm:
    """Makes forearms, or sleeves over them, in a `Look`."""

    def __init__(self, look):
        self._mesh = _arm_mesh()
        self._normals = mesh_normals(self._mesh.vertices[None], self._mesh.faces)[0]
        self._colours = np.broadcast_to(look.arm, (len(self._mesh.vertices), 3))

    def body(self, wrist_rotvec, position, side):
        """The arm behind a wrist that is turned by `wrist_rotvec` (3,) at `position` (3,); `side` 0 left, 1 right."""
        rotation = Rotation.from_rotvec(wrist_rotvec).as_matrix()
        flip = np.array([1.0 if side else -1.0, 1, 1])
        faces = self._mesh.faces if side else self._mesh.faces[:, ::-1]
        vertices = (self._mesh.vertices * flip) @ rotation.T + position
        return Body(vertices, (self._normals * flip) @ rotation.T, faces, 0, colours=self._colours)


def colour_skin(model, look):
    """Colours (V, 3) of a hand's vertices: the look's skin, tinted by region, with its noise."""
    tint = _REGION_TINTS[model.skin_regions.numpy()]
    return np.clip(look.skin * tint * look.skin_noise[:, None], 0.02, 1)


def mesh_normals(vertices, faces):
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


def _arm_mesh():
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
