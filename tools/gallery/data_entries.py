"""Entries about the built-in data."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gallery.entry import Entry, Sources
from handpose.datasets import Assembly101
from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.structures import HandSequence
from handpose.synthesis import contact_sheet as data_sheet
from handpose.synthesis.motion.gestures import posture_angles
from handpose.synthesis.motion.posing import angles_to_rotvecs
from handpose.video import VideoReader
from handpose.visualization import add_caption, contact_sheet, draw_mesh, motion_row
from handpose.visualization.draw import BACKGROUND

SECTION = 'Built-in data'
GUIDE = 'data/synthetic.md'
MOTIONS = ('open lotion', 'read book', 'knead sponge', 'put in letter')
POSTURES = ('fist', 'point', 'victory', 'thumb_up', 'claw')
SKIN = (224, 172, 140)


def dexycb(sources: Sources) -> NDArray[np.uint8]:
    """Grasps in the layout of DexYCB: rows are sequences, columns time, seen by several cameras."""
    options = dict(subjects=1, sequences=5, frames=24, cameras=1) if sources.quick else dict(
        subjects=1, sequences=15, frames=36, cameras=2
    )  # fmt: skip
    return _sheet(sources, 4, 7, layout='dexycb', size=256, seed=1, **options)


def h2o(sources: Sources) -> NDArray[np.uint8]:
    """Two hands that act on objects, seen from the head."""
    actions = ['open milk', 'read book', 'pour milk', 'put in cocoa']
    options = dict(
        subjects=2, videos=1, test_videos=1, width=320, height=180, actions=actions[: 2 if sources.quick else 4]
    )
    return _sheet(sources, 4, 5, layout='h2o', seed=1, **options)


def _sheet(sources: Sources, rows: int, columns: int, **options: object) -> NDArray[np.uint8]:
    """A contact sheet of built-in data."""
    path = sources.data(**options).with_suffix('.png')
    data_sheet(path.with_suffix(''), path, rows, columns, tile=200)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def assemblyhands(sources: Sources) -> NDArray[np.uint8]:
    """One moment seen by the cameras around the table and on the headset."""
    frames = 16 if sources.quick else 40
    options = dict(subjects=3, sequences=1, frames=frames, exo_cameras=4, ego_cameras=4)
    root = sources.data(layout='assemblyhands', seed=1, **options)
    sequence = sorted(root.glob('images/ego_images_rectified/*/*'))[0]
    cells = []
    for path in sorted((root / 'videos' / 'exo_videos_rectified' / sequence.name).glob('*.mp4')):
        images = [frame.image for frame in VideoReader(path)]
        cells.append(add_caption(cv2.resize(images[frames // 2], (360, 203)), f'around the table: {path.stem}'))
    for folder in sorted(sequence.iterdir()):
        paths = sorted(folder.iterdir())
        if len(paths) == frames:  # it sees the hands all the time
            image = cv2.cvtColor(cv2.imread(str(paths[frames // 2])), cv2.COLOR_BGR2RGB)
            cells.append(add_caption(cv2.resize(image, (360, 270)), f'headset: {folder.name}'))
    return contact_sheet(cells, 3, pad=4)


def poses(sources: Sources) -> NDArray[np.uint8]:
    """Actions of two hands in the layout of Assembly101."""
    dataset = Assembly101(data_root=sources.data(layout='assembly101', subjects=3, repetitions=1, seed=1), split='test')
    names, found = dataset.metainfo['actions'], map(dataset.read, range(len(dataset)))
    clips = {names[int(clip.action_label)]: clip for clip in found}
    return motion_row(HandSequence.stack([clips[name] for name in MOTIONS]), MOTIONS)


def hand_model(sources: Sources) -> NDArray[np.uint8]:
    """Shapes and poses of the hand model."""
    model, size = ProceduralHand(), 230
    shape, pose = torch.zeros(10, 10), torch.zeros(10, 16, 3)
    for number, (component, value) in enumerate(((0, -2), (0, 2), (1, -2), (1, 2), (2, 2))):
        shape[number, component] = value
    limits, rng = model.joint_limits.double().numpy(), np.random.default_rng(0)
    angles = torch.from_numpy(np.stack([posture_angles(rng, posture, limits) for posture in POSTURES]))
    pose[5:, 1:] = angles_to_rotvecs(model, angles).float()
    with torch.no_grad():
        vertices = model(pose, shape, torch.zeros(10, 3), torch.ones(10, dtype=torch.int64)).vertices.numpy()
    titles = [f'shape {number + 1}' for number in range(5)] + [posture.replace('_', ' ') for posture in POSTURES]
    cells = []
    for points, title in zip(vertices, titles, strict=True):
        # Fingers point upwards, and the palm is seen.
        pixels, away = points[:, [2, 0]] * size / 0.26, points[:, 1]
        pixels += size / 2 - (pixels.max(0) + pixels.min(0)) / 2
        paper = np.full((size, size, 3), BACKGROUND, np.uint8)
        faces, scale = model.faces_of(Side.RIGHT).numpy(), size / 0.26
        cells.append(add_caption(draw_mesh(paper, pixels, away - away.min() + 1, faces, SKIN, 1.0, scale), title))
    return contact_sheet(cells, 5, pad=4)


DATA = (
    Entry(
        'data_dexycb',
        SECTION,
        'Grasps, in the layout of DexYCB',
        'Rows are sequences, columns are time; cameras change along a row.',
        f'`handpose make-data --layout dexycb --sheet sheet.png` ([contents and guarantees]({GUIDE}#contents))',
        dexycb,
    ),
    Entry(
        'data_h2o',
        SECTION,
        'Egocentric actions, in the layout of H2O',
        'Two hands act on objects, filmed by a camera on the head; the second action of a pair is the first played '
        'backwards.',
        f'`handpose make-data --layout h2o` ([egocentric actions]({GUIDE}#egocentric-actions))',
        h2o,
    ),
    Entry(
        'data_assemblyhands',
        SECTION,
        'Cameras around a table and on a headset, in the layout of AssemblyHands',
        'One moment, seen by four of the cameras around the table and by those of the headset that look at the hands.',
        f'`handpose make-data --layout assemblyhands` ([more]({GUIDE}#cameras-around-a-table-and-on-a-headset))',
        assemblyhands,
    ),
    Entry(
        'data_assembly101',
        SECTION,
        'Poses of two hands, in the layout of Assembly101',
        'Each panel is one action, from its start (faint) to its end (bold); left hands are blue, right hands orange.',
        f'`handpose make-data --layout assembly101` ([two-hand pose sequences]({GUIDE}#two-hand-pose-sequences))',
        poses,
    ),
    Entry(
        'hand_model',
        SECTION,
        'The licence-free hand model',
        '`ProceduralHand` in different shapes and poses, with 1328 vertices and 21 joints.',
        'Used in place of MANO wherever no MANO files are given ([data contract](data/data_contract.md))',
        hand_model,
    ),
)
