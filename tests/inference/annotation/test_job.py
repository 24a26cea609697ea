"""Whole jobs on recordings of scripted hands, good and bad: what is written, noted or refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from annotated_recordings import camera_ring
from scripted_cameras import scripted_recording

from handpose.inference.annotation.job import ALL_OUTPUTS, AnnotateJob, annotate_recording
from handpose.inference.annotation.recording_source import AnnotationError
from handpose.structures import Calibration, load_predictions, write_calibration
from handpose.structures.recording_file import load_annotated_recording
from handpose.structures.recording_marks import RecordingMark, RecordingMarks, marks_path, save_recording_marks

DISTORTION = (-0.25, 0.05, 0.0, 0.0)


def job_of(folder, **options):
    return AnnotateJob(folder / 'rec', folder / 'rec' / 'calibration.json', folder / 'out' / 'r.npz', **options)


def annotate(folder, scene, outputs=(), **options):
    return annotate_recording(job_of(folder, outputs=outputs, **options), session=scene.session())


def errors_mm(recording, scene, moments=None):
    """(T, H, 21) distances from the truth."""
    truth = scene.joints if moments is None else scene.joints[moments]
    return 1000 * np.linalg.norm(recording.joints_3d - truth, axis=-1)


def has_note(report, *texts):
    notes = '\n'.join(report.recording.notes)
    return all(text in notes for text in texts)


def test_a_recording(tmp_path):
    """Two hands, three cameras with lens distortion, noise of half a pixel; every output."""
    scene = scripted_recording(tmp_path / 'rec', distortion=DISTORTION, noise=0.5)
    steps = []
    report = annotate_recording(job_of(tmp_path), lambda *step: steps.append(step), scene.session())
    recording = load_annotated_recording(tmp_path / 'out' / 'r.npz')
    np.testing.assert_array_equal(recording.joints_3d, report.recording.joints_3d)
    assert recording.joints_valid.all() and recording.hand_side.tolist() == [0, 1]
    assert np.median(errors_mm(recording, scene)) < 2 and np.nanmedian(recording.reprojection_errors()) < 1
    assert recording.notes == ()
    written = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert written == [
        'r.npz',
        'r_assemblyhands',
        'r_coco.json',
        'r_detections',
        'r_motion.npz',
        'r_predictions.npz',
        'r_report.html',
    ]
    assert load_predictions(tmp_path / 'out' / 'r_predictions.npz').valid.all()
    assert {step[0] for step in steps} >= {f'finding hands of cam{k}' for k in range(3)}


def test_other_options_do_not_look_for_hands_again(tmp_path):
    scene = scripted_recording(tmp_path / 'rec')
    first = annotate(tmp_path, scene)
    calls = scene.detections, scene.estimates
    again = annotate(tmp_path, scene, refine='gaussian')
    assert (scene.detections, scene.estimates) == calls
    assert [hands.processed for hands in again.cameras] == [0, 0, 0]
    assert 'gaussian' in again.recording.method.lower() and first.recording.method in again.recording.method


def test_an_interruption(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', noise=0.5)
    whole = annotate_recording(replace(job_of(tmp_path, outputs=()), out=tmp_path / 'w.npz'), session=scene.session())

    def interrupt(step, done, total):
        if step == 'finding hands of cam1' and done > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match='the same command goes on from there'):
        annotate_recording(job_of(tmp_path, outputs=()), interrupt, scene.session())
    found = annotate(tmp_path, scene)
    np.testing.assert_array_equal(found.recording.joints_3d, whole.recording.joints_3d)
    assert found.cameras[0].processed == 0


def test_a_second_look(tmp_path):
    """A tracker that misses a hand in one camera for a while; the joints network finds it when told where."""
    gap = range(8, 14)

    class Scene:
        looking = True

    scene = scripted_recording(tmp_path / 'rec', cameras=3, sides=(1,))
    scene.missed = lambda camera, moment, hand: Scene.looking and camera == 1 and moment in gap
    job = job_of(tmp_path, outputs=())
    without = annotate_recording(replace(job, second_look=False), session=scene.session())
    assert not without.recording.joints_2d_valid[gap, 1].any()
    Scene.looking = False
    found = annotate_recording(job, session=scene.session())
    assert found.recording.joints_2d_valid.all()
    assert has_note(found, 'found by a second look: cam1 6')


# Marks


def test_marks(tmp_path):
    """A camera that follows the wrong thing: excluded, or detected again."""
    scene = scripted_recording(tmp_path / 'rec', sides=(1,))
    truth = scene.pixels.copy()
    scene.pixels[1, 10:16] += 60
    before = annotate(tmp_path, scene).recording
    scene.pixels = truth
    path = marks_path(tmp_path / 'out' / 'r.npz')
    save_recording_marks(path, RecordingMarks((RecordingMark(10, 15, ('cam1',), 'exclude'),)))
    calls = scene.detections
    excluded = annotate(tmp_path, scene).recording
    assert scene.detections == calls
    assert not excluded.joints_2d_valid[10:16, 1].any() and excluded.joints_2d_valid[9, 1].all()
    save_recording_marks(path, RecordingMarks((RecordingMark(10, 15, ('cam1',), 'redo'),)))
    redone = annotate(tmp_path, scene)
    assert scene.detections == calls + 6
    assert not before.joints_2d_valid[10:16, 1].any() and redone.recording.joints_2d_valid.all()
    assert np.nanmax(redone.recording.reprojection_errors()) < 1
    assert errors_mm(redone.recording, scene).max() < 3
    save_recording_marks(path, RecordingMarks((RecordingMark(4, 6),)))
    assert not annotate(tmp_path, scene).recording.joints_2d_valid[4:7].any()


# Bad input


def test_a_camera_that_is_unplugged(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', moments={2: range(12)})
    report = annotate(tmp_path, scene)
    assert (report.recording.frame_indices[12:, 2] == -1).all() and report.recording.joints_valid.all()
    assert has_note(report, 'cam2 has no image after frame 11 of 24')


def test_cameras_of_different_rates(tmp_path):
    """cam1 has half as many images; its moments decide."""
    scene = scripted_recording(tmp_path / 'rec', moments={1: range(0, 24, 2)}, rates={1: 15.0})
    report = annotate(tmp_path, scene)
    assert len(report.recording) == 12 and has_note(report, 'different or irregular frame rates')
    assert np.nanmax(errors_mm(report.recording, scene, slice(0, 24, 2))) < 3


def test_videos_out_of_sync(tmp_path):
    """cam1 begins 6 frames later: a note says so, and the advice helps."""
    scene = scripted_recording(tmp_path / 'rec', frames=90, cameras=2, sides=(1,), moments={1: range(6, 90)})
    report = annotate(tmp_path, scene)
    assert has_note(report, 'camera cam1 is 6.0 frames early', 'annotate with --estimate-offsets')
    better = annotate(tmp_path, scene, estimate_offsets=True)
    assert np.nanmedian(errors_mm(better.recording, scene, better.recording.frame_indices[:, 0])) < 2
    assert has_note(better, 'cam1 shows 0.19', 'earlier what cam0 shows')
    given = annotate(tmp_path, scene, offsets={'cam1': -0.2})
    np.testing.assert_array_equal(given.recording.joints_3d, better.recording.joints_3d)


def test_the_calibration_of_another_recording(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', sides=(1,))
    cameras = list(camera_ring(3))
    moved = [replace(camera, extrinsics=cameras[k - 1].extrinsics) for k, camera in enumerate(cameras)]
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    moved[0] = replace(moved[0], extrinsics=turn @ moved[0].extrinsics)
    write_calibration(tmp_path / 'rec' / 'calibration.json', Calibration(moved))
    try:
        report = annotate(tmp_path, scene)
    except AnnotationError as error:
        assert 'calibration of another recording' in str(error)
    else:
        assert has_note(report, 'the calibration of another recording', 'look at cam0 first')


@pytest.mark.parametrize('wrong', [(), tuple(-value for value in DISTORTION)])
def test_a_lens_model_that_is_missing_or_mirrored(tmp_path, wrong):
    """Hands far from the centre of the image, whose errors point to it."""
    scene = scripted_recording(tmp_path / 'rec', frames=60, cameras=4, distortion=(-0.5, 0.2, 0.0, 0.0))
    write_calibration(tmp_path / 'rec' / 'calibration.json', camera_ring(4, distortion=wrong))
    report = annotate(tmp_path, scene)
    assert has_note(report, 'the lens distortion in the calibration')


def test_a_right_lens_model_is_not_doubted(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', frames=60, cameras=4, distortion=(-0.5, 0.2, 0.0, 0.0), noise=1.0)
    assert not has_note(annotate(tmp_path, scene), 'lens')


def test_a_hand_that_one_camera_sees(tmp_path):
    def missed(camera, moment, hand):
        return hand == 0 and camera > 0 and moment > 5

    scene = scripted_recording(tmp_path / 'rec', missed=missed)
    report = annotate(tmp_path, scene)
    valid = report.recording.joints_valid.all(-1)
    assert valid[:, 1].all() and valid[:6, 0].all() and not valid[6:, 0].any()
    assert has_note(report, 'the left hand was detected by a single camera in 18 of 24 frames')
    scene.missed = lambda camera, moment, hand: camera > 0
    with pytest.raises(
        AnnotationError,
        match=r'no hand could be triangulated: two cameras .* Frames with a hand, of 24: cam0 24, cam1 0',
    ):
        annotate_recording(replace(job_of(tmp_path, outputs=()), out=tmp_path / 'b.npz'), session=scene.session())


def test_no_hand_at_all(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', missed=lambda *where: True)
    with pytest.raises(AnnotationError, match='cam0 0, cam1 0, cam2 0'):
        annotate(tmp_path, scene)


def test_a_mirrored_video(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', sides=(1,), mirrored=(2,))
    report = annotate(tmp_path, scene)
    assert has_note(report, 'the error of camera cam2 falls', 'if its images are mirrored left to right')


def test_another_unit(tmp_path):
    scene = scripted_recording(tmp_path / 'rec', sides=(1,))
    cameras = []
    for camera in camera_ring(3):
        extrinsics = camera.extrinsics.clone()
        extrinsics[:3, 3] *= 100
        cameras.append(replace(camera, extrinsics=extrinsics))
    write_calibration(tmp_path / 'rec' / 'calibration.json', Calibration(cameras))
    with pytest.raises(AnnotationError, match=r'probably in another unit\. Give it by --unit .* about 0\.01 times'):
        annotate(tmp_path, scene)


def test_results_that_cannot_be_written(tmp_path):
    scene = scripted_recording(tmp_path / 'rec')
    (tmp_path / 'out').write_text('')
    with pytest.raises(AnnotationError, match=r'r\.npz cannot be written: .*; choose another folder'):
        annotate(tmp_path, scene)
    assert scene.detections == 0
    for options, message in (
        (dict(out=tmp_path / 'r.json'), 'must be a file whose name ends in .npz'),
        (dict(subject='a/b'), 'must be a name without "/"'),
        (dict(outputs=('motoin',)), "got 'motoin'. Did you mean 'motion'"),
        (dict(out=tmp_path / 'r.npz', offsets={'cam1': 1.0}, estimate_offsets=True), 'not both'),
    ):
        with pytest.raises(AnnotationError, match=message):
            annotate_recording(replace(job_of(tmp_path), **options), session=scene.session())


def test_folders_of_images(tmp_path):
    from scripted_cameras import write_moments

    scene = scripted_recording(tmp_path / 'rec', cameras=3)
    for k in range(3):
        (tmp_path / 'rec' / f'cam{k}.avi').unlink()
        write_moments(tmp_path / 'rec' / f'cam{k}', k, range(24))
    report = annotate(tmp_path, scene, outputs=('coco',), fps=30.0)
    assert report.recording.joints_valid.all()
    document = json.loads((tmp_path / 'out' / 'r_coco.json').read_text())
    assert len(document['images']) == 72 and set(ALL_OUTPUTS) >= {'coco'}
