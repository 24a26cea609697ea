"""GLB (binary glTF 2.0): the skinned, animated mesh of `ProceduralHand`, for Blender, game engines and web pages.

The file has, for each hand, a mesh with linear blend skinning by at most four bones a vertex, 21 bones (the tips carry
no skin) and one animation for all. glTF's axes: metres, y up, the camera at the origin looking along -z.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose import __version__
from handpose.export.bvh import bone_name
from handpose.export.motion import HandAnimation, regular_motions
from handpose.export.source import ExportReport, ExportSource
from handpose.files.atomic import atomic_write
from handpose.geometry.rotations import rotmat_to_quat
from handpose.hands import COMMON_JOINTS, FINGERTIPS, MANO_JOINTS, PARENTS_21, ProceduralHand, vertex_normals
from handpose.structures import Predictions
from handpose.structures.fitted_hands import FittedHands

_COLOURS = ((0.55, 0.65, 0.85, 1.0), (0.87, 0.68, 0.57, 1.0))  # base colours of left and right hands
_TYPES = {1: 'SCALAR', 3: 'VEC3', 4: 'VEC4', 16: 'MAT4'}
_COMPONENTS = {'u1': 5121, 'u2': 5123, 'f4': 5126}
_VERTEX_DATA, _INDICES = 34962, 34963


def write_glb(path: Path, source: ExportSource) -> ExportReport:
    """Writes the hands as one GLB file.

    Args:
        path: the file.
        source: what is exported.

    Returns:
        The file and notes.

    Raises:
        ExportError: another hand model than `ProceduralHand` was asked for.
    """
    fitted = source.procedural('a GLB file')
    motions, notes = regular_motions(fitted)
    scene = _Scene(source.predictions)
    for motion in motions:
        scene.add_hand(motion, _Skin.of(fitted, motion.side))
    has_camera = scene.add_camera(source.predictions)
    atomic_write(path, scene.to_bytes())
    return ExportReport(
        [path],
        [
            f'lengths are in metres; y is up; keys at {1 / motions[0].period:.4g} frames per second',
            *(['the camera of the video is in the file, without its principal point'] if has_camera else []),
            *notes,
            *source.fit_notes(),
            *source.scale_notes(),
        ],
    )


class _Skin(NamedTuple):
    """The resting mesh of one hand and how its bones move it; bones in the common order, tips included.

    Attributes:
        vertices: (V, 3).
        faces: (F, 3).
        normals: (V, 3).
        joints: (21, 3).
        bones: (V, 4) the bones of each vertex.
        weights: (V, 4) their shares.
    """

    vertices: NDArray
    faces: NDArray
    normals: NDArray
    joints: NDArray
    bones: NDArray
    weights: NDArray

    @classmethod
    def of(cls, fitted: FittedHands, side: int) -> '_Skin':
        """The skin of the fitted shape."""
        model, hand = ProceduralHand(), list(fitted.hand_side).index(side)
        shape, number = torch.from_numpy(fitted.shape[hand]).float(), torch.tensor(side)
        vertices, joints = model(torch.zeros(16, 3), shape, torch.zeros(3), number)
        faces = model.faces_of(side)
        weights, bones = model.weights.topk(4)  # no vertex has more
        common = torch.tensor([COMMON_JOINTS.index(name) for name in MANO_JOINTS])[bones]
        arrays = (vertices, faces, vertex_normals(vertices, faces), joints, common * (weights > 0), weights)
        return cls(*(array.numpy() for array in arrays))


class _Scene:
    """A glTF document in the making: its JSON and its binary buffer."""

    def __init__(self, predictions: Predictions) -> None:
        self.buffer = bytearray()
        asset: dict[str, Any] = {'version': '2.0', 'generator': f'handpose {__version__}'}
        if predictions.licence:
            asset['copyright'] = predictions.licence
        asset['extras'] = {'source': predictions.source, 'scale': predictions.scale, 'frame': predictions.frame}
        self.document: dict[str, Any] = {
            'asset': asset,
            'scene': 0,
            'scenes': [{'nodes': []}],
            **{key: [] for key in ('nodes', 'meshes', 'materials', 'skins', 'accessors', 'bufferViews')},
            'animations': [{'name': 'hands', 'channels': [], 'samplers': []}],
        }

    def add_hand(self, motion: HandAnimation, skin: _Skin) -> None:
        """Adds a mesh, its bones and their motion."""
        nodes, first = self.document['nodes'], len(self.document['nodes'])
        for joint, name in enumerate(COMMON_JOINTS):
            parent = PARENTS_21[joint]
            offset = skin.joints[joint] - (skin.joints[parent] if parent >= 0 else 0)
            nodes.append({'name': bone_name(name, motion.side), 'translation': [float(x) for x in offset]})
            if parent >= 0:
                nodes[first + parent].setdefault('children', []).append(first + joint)
        inverse = np.tile(np.eye(4, dtype=np.float32), (21, 1, 1))
        inverse[:, 3, :3] = -skin.joints  # column-major: the translation is the last row here
        bones = dict(joints=list(range(first, first + 21)), skeleton=first)
        inverse_bind = self.accessor(inverse.reshape(21, 16))
        name = f'{motion.label}_hand'
        number = self._append('skins', dict(name=name, **bones, inverseBindMatrices=inverse_bind))
        nodes.append(dict(name=name, mesh=self._add_mesh(motion, skin), skin=number))
        self.document['scenes'][0]['nodes'] += [first, first + 21]
        self._animate(motion, first)

    def _add_mesh(self, motion: HandAnimation, skin: _Skin) -> int:
        material = {'baseColorFactor': list(_COLOURS[motion.side]), 'metallicFactor': 0.0, 'roughnessFactor': 0.7}
        number = self._append('materials', dict(name=f'{motion.label}_skin', pbrMetallicRoughness=material))
        attributes = {
            'POSITION': self.accessor(skin.vertices, _VERTEX_DATA, bounds=True),
            'NORMAL': self.accessor(skin.normals, _VERTEX_DATA),
            'JOINTS_0': self.accessor(skin.bones.astype(np.uint8), _VERTEX_DATA),
            'WEIGHTS_0': self.accessor(skin.weights, _VERTEX_DATA),
        }
        indices = self.accessor(skin.faces.astype(np.uint16).reshape(-1, 1), _INDICES)
        primitive = dict(attributes=attributes, indices=indices, material=number)
        return self._append('meshes', dict(name=f'{motion.label}_hand', primitives=[primitive]))

    def _animate(self, motion: HandAnimation, first: int) -> None:
        """Adds the keys: the wrist's path and the rotation of every bone but the tips."""
        times = (motion.period * np.arange(len(motion), dtype=np.float64)).astype(np.float32)
        keys = self.accessor(times[:, None], bounds=True)
        self._add_channel(first, 'translation', keys, motion.wrist)
        quats = rotmat_to_quat(torch.from_numpy(motion.rotmats)).numpy()
        flips = np.sign((quats[1:] * quats[:-1]).sum(-1))  # q and -q rotate alike, but keys between them do not
        signs = np.concatenate([np.ones((1, 16)), np.where(flips == 0, 1, flips).cumprod(0)])
        quats = (quats * signs[..., None])[..., [1, 2, 3, 0]]  # glTF has w last
        for joint, name in enumerate(COMMON_JOINTS):
            if joint not in FINGERTIPS:
                self._add_channel(first + joint, 'rotation', keys, quats[:, MANO_JOINTS.index(name)])

    def _add_channel(self, node: int, what: str, keys: int, values: NDArray) -> None:
        animation = self.document['animations'][0]
        animation['samplers'].append(dict(input=keys, output=self.accessor(values), interpolation='LINEAR'))
        animation['channels'].append(dict(sampler=len(animation['samplers']) - 1, target=dict(node=node, path=what)))

    def add_camera(self, predictions: Predictions) -> bool:
        """Adds the camera of the video where it is known."""
        matrix, size = predictions.intrinsics, predictions.image_size
        if matrix is None or size is None or predictions.frame != 'camera':
            return False
        width, height = (float(value) for value in size)
        view = dict(yfov=float(2 * np.arctan(height / 2 / matrix[1, 1])), aspectRatio=width / height, znear=0.01)
        self.document['cameras'] = [dict(name='video_camera', type='perspective', perspective=view)]
        self.document['scenes'][0]['nodes'].append(self._append('nodes', dict(name='video_camera', camera=0)))
        return True

    def accessor(self, values: NDArray, target: int | None = None, bounds: bool = False) -> int:
        """Appends an array (N, C) to the buffer; floats are stored in single precision.

        Returns:
            The number of its accessor.
        """
        values = np.ascontiguousarray(values, values.dtype if values.dtype.kind == 'u' else np.float32)
        self.buffer += b'\0' * (-len(self.buffer) % 4)
        view: dict[str, Any] = dict(buffer=0, byteOffset=len(self.buffer), byteLength=values.nbytes)
        if target is not None:
            view['target'] = target
        number = self._append('bufferViews', view)
        self.buffer += values.astype(values.dtype.newbyteorder('<')).tobytes()
        limits = dict(min=values.min(0).tolist(), max=values.max(0).tolist()) if bounds else {}
        kinds = dict(componentType=_COMPONENTS[values.dtype.str[1:]], type=_TYPES[values.shape[1]])
        return self._append('accessors', dict(bufferView=number, count=len(values), **kinds, **limits))

    def _append(self, what: str, entry: dict[str, Any]) -> int:
        """Appends to a list of the document; returns the number of the new entry."""
        self.document[what].append(entry)
        return len(self.document[what]) - 1

    def to_bytes(self) -> bytes:
        """The file: a header, then the JSON and the buffer as chunks of a multiple of four bytes."""
        binary = bytes(self.buffer) + b'\0' * (-len(self.buffer) % 4)
        self.document['buffers'] = [dict(byteLength=len(binary))]
        text = json.dumps(self.document, separators=(',', ':')).encode()
        text += b' ' * (-len(text) % 4)
        chunks = struct.pack('<I4s', len(text), b'JSON') + text + struct.pack('<I4s', len(binary), b'BIN\0') + binary
        return struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks
