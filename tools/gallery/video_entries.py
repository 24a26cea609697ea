"""Entries about videos, recordings and files: hands that are found, refined, annotated, shown and exported."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

import handpose
from gallery.browser_pages import screenshot, viewer_screenshot
from gallery.entry import Clip, Entry, Sources
from handpose.hands import ProceduralHand
from handpose.inference import load_refiner
from handpose.inference.tracking.tracker import TrackedHand
from handpose.structures import Predictions
from handpose.structures.fitted_hands import FittedHands, fit_predictions, recording_hands
from handpose.synthesis.gesture_videos import write_gesture_videos
from handpose.video import SeekableVideo, VideoFrame, VideoReader
from handpose.visualization import add_caption, contact_sheet, draw_hands, draw_mesh, draw_predictions, side_by_side
from handpose.visualization.draw import BACKGROUND
from handpose.visualization.recording_images import RecordingImages, draw_recording_image

SECTION = 'Videos and recordings'
INFER, ANNOTATE, VIEW = '(guides/infer.md)', '(guides/annotate.md)', '(guides/view.md)'
WIDTH = 380  # of a panel
SKIN = (224, 172, 140)


def infer(sources: Sources) -> Clip:
    """The video beside the hands drawn on it."""
    images, found = sources.images[0], sources.found
    frames = []
    for t in range(0, len(images), 2):
        panels = [('video', images[t]), ('hands', draw_predictions(images[t], found, t, labels=False))]
        frames.append(side_by_side([add_caption(_scaled(image), text) for text, image in panels], pad=4))
    return Clip(frames, 15)


def infer_row(sources: Sources) -> NDArray[np.uint8]:
    """Four frames with the hands drawn on them, around the hand."""
    images, found = sources.images[0], sources.found
    chosen = np.linspace(0, len(images) - 1, 4).round().astype(int)
    drawn = [draw_predictions(images[t], found, t, labels=False) for t in chosen]
    return side_by_side([_scaled(image) for image in drawn], pad=4)


def infer_failures(sources: Sources) -> NDArray[np.uint8]:
    """A gloved hand, a small hand, and two images in which one of two hands is found, or none."""
    (glove,) = write_gesture_videos(sources.folder / 'glove', frames=16, seed=2, skin=(0.02, 0.05, 0.35)).videos
    gloved = next(iter(VideoReader(glove))).image
    (far,) = write_gesture_videos(sources.folder / 'far', frames=16, seed=2, distance=6.0).videos
    small = next(iter(VideoReader(far))).image
    options = dict(subjects=3, sequences=1, frames=16 if sources.quick else 40, exo_cameras=4, ego_cameras=4)
    root = sources.data(layout='assemblyhands', seed=1, **options)
    images = [next(iter(VideoReader(path))).image for path in sorted(root.glob('videos/*/*/*.mp4'))]
    found = [_hands_of(image) for image in images]
    missed = [found.index(next(hands for hands in found if len(hands) == count)) for count in (1, 0)]
    titles = ('a glove', 'two hands', 'two hands', 'far away')
    cells = []
    for title, image in zip(titles, [gloved, *(images[i] for i in missed), small], strict=True):
        hands = _hands_of(image)
        points, sides = [hand.estimate.joints_2d for hand in hands], [hand.side for hand in hands]
        drawn = draw_hands(image, np.array(points), np.array(sides)) if hands else image
        cells.append(
            add_caption(cv2.resize(drawn, (380, 285), interpolation=cv2.INTER_AREA), f'{title}: {len(hands)} found')
        )
    return side_by_side(cells, pad=4)


def _hands_of(image: NDArray[np.uint8]) -> list[TrackedHand]:
    """The hands that are found in one image."""
    return handpose.Session(keep=False).push(VideoFrame(0, 0.0, image)).hands


def refine(sources: Sources) -> Clip:
    """Jittering hands before and after refining, drawn on the video."""
    images, before = sources.images[0], jittering(sources.found)
    after = load_refiner().refine(before)
    frames = []
    for t in range(0, min(len(images), 72), 2):
        panels = []
        for title, hands in (('jitter added', before), ('refined', after)):
            panels.append(add_caption(_scaled(draw_predictions(images[t], hands, t, labels=False)), title))
        frames.append(side_by_side(panels, pad=4))
    return Clip(frames, 15)


def jittering(found: Predictions) -> Predictions:
    """Predictions with the errors of a worse estimator, which loses the hand for a fifth of a second."""
    rng, valid = np.random.default_rng(0), found.valid.copy()
    valid[len(found) // 3 : len(found) // 3 + 6] = False
    joints = found.joints + rng.normal(0, 0.005, found.joints.shape).astype(np.float32)
    joints_2d = found.joints_2d + rng.normal(0, 7, found.joints_2d.shape)
    return replace(found, joints=joints - joints[:, :, :1], joints_2d=joints_2d, valid=valid)


def annotate(sources: Sources) -> Clip:
    """Both cameras with detections and reprojected joints."""
    recording, names = sources.recording, sources.gestures.calibration.names
    frames = []
    for t in range(0, len(recording), 2):
        panels = [draw_recording_image(sources.images[k][t], recording, t, k, WIDTH) for k in range(2)]
        frames.append(side_by_side([add_caption(i, f'camera {n}') for i, n in zip(panels, names, strict=True)], pad=4))
    return Clip(frames, 15)


def fit(sources: Sources) -> NDArray[np.uint8]:
    """The fitted mesh as both cameras see it."""
    recording, model = sources.recording, ProceduralHand()
    vertices, _ = recording_hands(recording, model).mesh(0)
    cells = []
    for k, camera in enumerate(recording.calibration):
        for t in np.linspace(0, len(recording) - 1, 4).round().astype(int):
            local = vertices[t] @ camera.extrinsics[:3, :3].numpy().T + camera.extrinsics[:3, 3].numpy()
            pixels = local @ camera.intrinsics.numpy().T
            image = draw_mesh(
                sources.images[k][t], pixels[:, :2] / pixels[:, 2:], local[:, 2], model.faces_of(1).numpy(), alpha=0.85
            )
            cells.append(add_caption(_scaled(image), f'camera {camera.name}, {recording.timestamps[t]:.1f} s'))
    return contact_sheet(cells, 4, pad=4)


def report(sources: Sources) -> NDArray[np.uint8]:
    """The beginning of the report of a recording."""
    assert sources.recording is not None  # the report is written with it
    url = (sources.folder / 'annotated_report.html').resolve().as_uri()
    return screenshot(url, (1000, 1700), '[...document.images].every(image => image.complete)')


def view(sources: Sources) -> NDArray[np.uint8]:
    """The page of `handpose view` for a recording."""
    from handpose.visualization.recording_viewer import RecordingViewer

    recording = sources.recording
    viewer = RecordingViewer(
        recording,
        RecordingImages(recording, sources.folder),
        sources.folder / 'annotated_marks.json',
        fitted=recording_hands(recording, ProceduralHand()),
        title='annotated.npz',
        port=8931,
    )
    return viewer_screenshot(viewer, (1280, 900))


def view_video(sources: Sources) -> NDArray[np.uint8]:
    """The page of `handpose view` for the hands of a video."""
    from handpose.visualization.viewer import HandViewer

    found = sources.found
    viewer = HandViewer(found, None, SeekableVideo(sources.gestures.videos[0]), title='hands.npz', port=8931)
    viewer.add_meshes(fit_predictions(found))
    return viewer_screenshot(viewer, (1280, 800))


def export(sources: Sources) -> NDArray[np.uint8]:
    """The fitted hand that GLB and BVH files hold, seen from the front and from the side."""
    found = sources.found
    fitted = fit_predictions(found)
    chosen = np.linspace(0, len(found) - 1, 6).round().astype(int)
    cells = [
        add_caption(_mesh_view(fitted, t, axes), f'{title}, {found.timestamps[t]:.1f} s')
        for title, axes in (('front', (0, 1, 2)), ('side', (2, 1, 0)))
        for t in chosen
    ]
    return contact_sheet(cells, len(chosen), pad=4)


def _mesh_view(fitted: FittedHands, t: int, axes: tuple[int, int, int], size: int = 220) -> NDArray[np.uint8]:
    """An orthographic view (size, size, 3) of the mesh; `axes` are those to the right, down and away."""
    vertices, _ = fitted.mesh(0, slice(t, t + 1))
    points = vertices[0][:, list(axes)]
    scale = size / 0.26
    middle = (points.max(0) + points.min(0)) / 2
    pixels = (points[:, :2] - middle[:2]) * scale + size / 2
    side, away = int(fitted.hand_side[0]), points[:, 2]
    faces = fitted.hand_model.faces_of(side).numpy()
    if axes != (0, 1, 2):  # a mirror image, seen from the other side
        pixels[:, 0], away = size - pixels[:, 0], away
    paper = np.full((size, size, 3), BACKGROUND, np.uint8)
    return draw_mesh(paper, pixels, away - away.min() + 1, faces, SKIN, 1.0, scale)


def _scaled(image: NDArray[np.uint8], width: int = WIDTH) -> NDArray[np.uint8]:
    height = round(image.shape[0] * width / image.shape[1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


VIDEO = (
    Entry(
        'infer',
        SECTION,
        'Hands of a video',
        'The 21 joints of each hand in 3D and in pixels, here in a rendered video.',
        f'`handpose infer hands.mp4 -o hands.npz --draw drawn.mp4` ([your first video]{INFER})',
        infer,
        moves=True,
    ),
    Entry(
        'infer_frames',
        SECTION,
        'Hands drawn on the frames',
        'Left hands are blue and right hands orange; the discs have the colour of the finger, the thumb is red.',
        f'`draw_predictions` ([draw on your own images]{VIEW[:-1]}#draw-on-your-own-images))',
        infer_row,
    ),
    Entry(
        'infer_failures',
        SECTION,
        'Hands that are not found',
        'Gloves, hands that touch or hide each other, and hands of a few pixels.',
        f'([when it fails]{INFER[:-1]}#when-it-fails))',
        infer_failures,
    ),
    Entry(
        'refine',
        SECTION,
        'Refined motion',
        'Jitter was added to the hands of a video, and the hand was taken away for a fifth of a second.',
        '`handpose refine hands.npz -o refined.npz --draw refined.mp4` ([when it helps](guides/refine.md#accuracy))',
        refine,
        moves=True,
    ),
    Entry(
        'annotate',
        SECTION,
        'A recording of two cameras',
        'Broad lines are the detections, thin white ones the joints in 3D, in metres, as each camera sees them.',
        '`handpose annotate REC/ --calibration calibration.json -o annotated.npz` '
        f'([annotate your own recording]{ANNOTATE})',
        annotate,
        moves=True,
    ),
    Entry(
        'fit',
        SECTION,
        'A hand model fitted to all views',
        'One shape for the whole recording, and a pose for each frame.',
        f'`handpose annotate ... --fit` ([what the command does]{ANNOTATE[:-1]}#what-the-command-does))',
        fit,
    ),
    Entry(
        'report',
        SECTION,
        'The report of a recording',
        'Errors of each camera and joint, bone lengths and the worst frames, in one HTML file.',
        f'`handpose annotate` writes it ([the report]{VIEW[:-1]}#the-report))',
        report,
    ),
    Entry(
        'view',
        SECTION,
        'A recording in the browser',
        'Cameras, images, skeletons and meshes in 3D; bad frames are marked here and left out by the next run.',
        f'`handpose view annotated.npz` ([look at hands]{VIEW[:-1]}#recordings-of-several-cameras))',
        view,
    ),
    Entry(
        'view_video',
        SECTION,
        'A video in the browser',
        'The frame of the video with the hands on it, and skeleton and mesh in 3D.',
        f'`handpose view hands.npz --video hands.mp4` ([look at hands]{VIEW})',
        view_video,
    ),
    Entry(
        'export',
        SECTION,
        'Exported hands',
        'A hand model fitted to the joints of a video, as GLB and BVH files hold it.',
        '`handpose export hands.npz -o hands.glb` ([export](guides/export.md))',
        export,
    ),
)
