"""GLB files, read by a few lines of our own that evaluate nodes and skins as the glTF 2.0 specification says."""

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from predicted_hands import make_predictions
from scipy.spatial.transform import Rotation

from handpose.export import export
from handpose.export.motion import Y_UP
from handpose.structures.fitted_hands import fit_predictions

DTYPES = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}
WIDTHS = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}
CAMERA = dict(intrinsics=[[300, 0, 160], [0, 300, 120], [0, 0, 1]], image_size=[320, 240])


class Glb:
    def __init__(self, path):
        data = Path(path).read_bytes()
        magic, version, length = struct.unpack('<4sII', data[:12])
        assert (magic, version, length) == (b'glTF', 2, len(data))
        size, kind = struct.unpack('<I4s', data[12:20])
        assert kind == b'JSON' and size % 4 == 0
        self.json = json.loads(data[20 : 20 + size])
        binary_size, kind = struct.unpack('<I4s', data[20 + size : 28 + size])
        assert kind == b'BIN\0' and binary_size == self.json['buffers'][0]['byteLength']
        self.binary = data[28 + size :]

    def array(self, number):
        accessor = self.json['accessors'][number]
        view = self.json['bufferViews'][accessor['bufferView']]
        dtype, width = DTYPES[accessor['componentType']], WIDTHS[accessor['type']]
        assert view['byteOffset'] % np.dtype(dtype).itemsize == 0
        values = np.frombuffer(self.binary, dtype, accessor['count'] * width, view['byteOffset'])
        return values.reshape(accessor['count'], width)

    def local(self, key):
        """The local matrices of all nodes at one key of the animation."""
        nodes = [dict(node) for node in self.json['nodes']]
        animation = self.json['animations'][0]
        for channel in animation['channels']:
            values = self.array(animation['samplers'][channel['sampler']]['output'])
            nodes[channel['target']['node']][channel['target']['path']] = values[key]
        matrices = np.tile(np.eye(4), (len(nodes), 1, 1))
        for matrix, node in zip(matrices, nodes, strict=True):
            matrix[:3, :3] = Rotation.from_quat(node.get('rotation', (0, 0, 0, 1))).as_matrix()
            matrix[:3, 3] = node.get('translation', (0, 0, 0))
        return matrices

    def world(self, key):
        matrices, local = [None] * len(self.json['nodes']), self.local(key)

        def visit(node, above):
            matrices[node] = above @ local[node]
            for child in self.json['nodes'][node].get('children', ()):
                visit(child, matrices[node])

        for node in self.json['scenes'][0]['nodes']:
            visit(node, np.eye(4))
        return matrices

    def skinned(self, key):
        """The vertices of every skinned mesh at one key, by name."""
        world, found = self.world(key), {}
        for node in self.json['nodes']:
            if 'skin' in node:
                skin = self.json['skins'][node['skin']]
                inverse = self.array(skin['inverseBindMatrices']).reshape(-1, 4, 4).transpose(0, 2, 1)
                motion = np.stack([world[j] for j in skin['joints']]) @ inverse
                (primitive,) = self.json['meshes'][node['mesh']]['primitives']
                parts = {name: self.array(number) for name, number in primitive['attributes'].items()}
                np.testing.assert_allclose(parts['WEIGHTS_0'].sum(1), 1, atol=1e-6)
                blended = (motion[parts['JOINTS_0']] * parts['WEIGHTS_0'][..., None, None]).sum(1)
                points = np.concatenate([parts['POSITION'], np.ones((len(blended), 1))], 1)
                found[node['name']] = (blended @ points[..., None])[:, :3, 0]
        return found


def test_skinning_gives_the_mesh_of_the_model(tmp_path):
    predictions = make_predictions(12, ('left', 'right'), missing=[4], licence='CC0', **CAMERA)
    report = export(predictions, tmp_path / 'x.glb')
    assert 'left hand: 1 of 12 frames have no hand' in ' '.join(report.notes)
    glb, fitted = Glb(tmp_path / 'x.glb'), fit_predictions(predictions)
    for key in (0, 5, 11):
        world, meshes = glb.world(key), glb.skinned(key)
        for hand, (side, letter) in enumerate((('left', 'L'), ('right', 'R'))):
            vertices, joints = fitted.mesh(hand, slice(key, key + 1))
            np.testing.assert_allclose(meshes[f'{side}_hand'], vertices[0] @ Y_UP.T, atol=2e-6)
            names = [node['name'] for node in glb.json['nodes']]
            for joint, name in ((0, 'wrist'), (8, 'index_tip'), (3, 'thumb_ip')):
                position = world[names.index(f'{name}_{letter}')][:3, 3]
                np.testing.assert_allclose(position, Y_UP @ joints[0, joint], atol=2e-6)
    np.testing.assert_array_equal(glb.skinned(4)['left_hand'], glb.skinned(3)['left_hand'])
    assert glb.json['asset']['copyright'] == 'CC0' and glb.json['asset']['extras']['scale'] == 'metric'
    camera = glb.json['cameras'][0]['perspective']
    assert camera['yfov'] == pytest.approx(2 * np.arctan(120 / 300))


def test_keys_and_faces(tmp_path):
    export(make_predictions(40, ('left',), noise=0.0), tmp_path / 'x.glb')
    glb = Glb(tmp_path / 'x.glb')
    animation = glb.json['animations'][0]
    times = glb.array(animation['samplers'][0]['input'])[:, 0]
    np.testing.assert_allclose(times, np.arange(40) / 30, atol=1e-6)
    for channel in animation['channels']:
        values = glb.array(animation['samplers'][channel['sampler']]['output'])
        if channel['target']['path'] == 'rotation':
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
            assert (values[1:] * values[:-1]).sum(1).min() > 0  # no turn the long way round between keys
    (primitive,) = glb.json['meshes'][0]['primitives']
    points, normals = (glb.array(primitive['attributes'][name]) for name in ('POSITION', 'NORMAL'))
    faces = glb.array(primitive['indices']).reshape(-1, 3)
    corners = points[faces]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum('fc,fc->f', outward, normals[faces].mean(1)) > 0).mean() > 0.99
    volume = np.einsum('fc,fc->f', corners[:, 0], outward).sum() / 6
    assert 2e-4 < volume < 2e-3  # cubic metres: closed, and seen from outside counter-clockwise
    assert 'cameras' not in glb.json


THREE = Path(os.environ.get('HANDPOSE_THREE_JS', ''))
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
PAGE = """<!doctype html><body style="margin:0"><script type="importmap">
{"imports": {"three": "./three.module.js", "three/addons/": "./addons/"}}</script><script type="module">
import * as THREE from 'three';
import {GLTFLoader} from 'three/addons/loaders/GLTFLoader.js';
const renderer = new THREE.WebGLRenderer({preserveDrawingBuffer: true});
renderer.setSize(640, 480); document.body.append(renderer.domElement);
const scene = new THREE.Scene(); scene.background = new THREE.Color(0xffffff);
scene.add(new THREE.HemisphereLight(0xffffff, 0x888888, 3));
new GLTFLoader().load('x.glb', gltf => {
  scene.add(gltf.scene);
  const mixer = new THREE.AnimationMixer(gltf.scene);
  mixer.clipAction(gltf.animations[0]).play(); mixer.setTime(TIME);
  gltf.scene.traverse(node => { node.frustumCulled = false; });
  renderer.render(scene, gltf.cameras[0]); document.title = 'done';
}, undefined, error => { document.title = 'error ' + error; });
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason='needs Chromium')
@pytest.mark.skipif(
    not (THREE / 'examples' / 'jsm').is_dir(), reason='needs HANDPOSE_THREE_JS, the folder of the npm package three'
)
def test_a_browser_shows_the_hands_where_the_video_has_them(tmp_path, local_server):
    cv2 = pytest.importorskip('cv2')
    predictions = make_predictions(12, ('right',), noise=0.0, **CAMERA)
    export(predictions, tmp_path / 'x.glb')
    (tmp_path / 'index.html').write_text(PAGE.replace('TIME', str(6 / 30)))
    for source in (THREE / 'build').glob('three.*.js'):
        shutil.copy(source, tmp_path)
    shutil.copytree(THREE / 'examples' / 'jsm', tmp_path / 'addons')
    shot = tmp_path / 'shot.png'
    options = ['--headless=new', '--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--window-size=640,600']
    options += ['--enable-unsafe-swiftshader', f'--user-data-dir={tmp_path / "profile"}', '--virtual-time-budget=20000']
    subprocess.run(
        [CHROMIUM, *options, f'--screenshot={shot}', f'{local_server(tmp_path)}/index.html'],
        check=True,
        capture_output=True,
        timeout=240,
    )
    image = cv2.imread(str(shot))[:480, :640].astype(int)
    hand = (image < 235).any(-1)
    x, y, z = predictions.joints[6, 0].T
    pixels = np.stack([300 * x / z + 160, 300 * y / z + 120], 1) * 2  # the page is twice the video's size
    rows, columns = np.nonzero(hand)
    assert 3000 < hand.sum() < 100_000
    inside = pixels[[0, 5, 9, 13, 17]].round().astype(int)  # wrist and knuckles
    assert hand[inside[:, 1], inside[:, 0]].all()
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    tips = pixels[[4, 8, 12, 16, 20]]
    assert (tips >= box[:2] - 5).all() and (tips <= box[2:] + 5).all()
