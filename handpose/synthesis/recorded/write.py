"""Renders recorded motion in DexYCB's structure: sequence by sequence, in parallel, resumable, decided by a seed."""

import hashlib
import shutil
import time
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handpose.datasets.base import DatasetError
from handpose.datasets.dexycb.layout import SEQUENCE_FOLDER, SEQUENCE_LIST, SUBJECT_FOLDER
from handpose.datasets.motion.motion_file import read_motion
from handpose.hands import ProceduralHand
from handpose.registry import did_you_mean
from handpose.synthesis.appearance import draw_look, draw_sensor
from handpose.synthesis.bodies import SceneBodies
from handpose.synthesis.dexycb_files import DexYCBLayout, write_intrinsics, write_npz
from handpose.synthesis.jobs import claim_root, run_jobs, single_threaded
from handpose.synthesis.layout import PARTIAL, write_yaml
from handpose.synthesis.options import SERIALS, SyntheticOptions, check_whole_numbers
from handpose.synthesis.recorded.scene import build_recorded_scene, picture_cameras
from handpose.synthesis.render import CameraRenderer

VERSION = 2  # raise it when the same options give other data
FIT_FILE = 'fit.npz'


@dataclass(frozen=True)
class RecordedOptions:
    """Options of rendering recorded motion.

    Args:
        root: folder to write; made if missing.
        motion: the motion file; see `read_motion`.
        cameras: how many: of the file's cameras those that see most of the hands, or, where it has none, cameras put up
            around each recording.
        serials: which of the file's cameras instead.
        size: width of the pictures, pixels, at least 64; the height follows the camera's.
        seed: decides everything that was not recorded.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    motion: str
    cameras: int = 2
    serials: tuple = ()
    size: int = 320
    seed: int = 0
    workers: int = 0

    def __post_init__(self):
        check_whole_numbers(self)
        for serial in self.serials:
            if self.serials.count(serial) > 1:
                raise ValueError(f'serials must differ, got {serial!r} twice')


class RecordedSummary(NamedTuple):
    """What a run made: camera `frames` written, `seconds` of processor time; and of all the data: `hand_frames`
    recorded frames with a hand, `fit_median` and `fit_95` of the distance in metres between each recorded joint and
    the rendered hand's, over all joints of these frames."""

    frames: int
    seconds: float
    hand_frames: int
    fit_median: float
    fit_95: float


def recorded_options_from_dict(values):
    """Makes `RecordedOptions` of a config's dict.

    Raises:
        ValueError: `root` or `motion` is missing, or a key or value is not an option's.
    """
    known = [f.name for f in fields(RecordedOptions)]
    for name in sorted(set(values) - set(known)):
        raise ValueError(f'{name!r} is not an option of recorded motion.{did_you_mean(name, known)}')
    for name in ('root', 'motion'):
        if name not in values:
            raise ValueError(f'the options of recorded motion need {name}=...')
    return RecordedOptions(**{**values, 'serials': tuple(values.get('serials', ()))})


def write_recorded(options, progress=None):
    """Renders every sequence of a motion file; what an interrupted run with the same options left is kept.

    Each sequence lies where its name says ('subject/sequence'), under DexYCB's own names if it has such, else under
    names of the same form in the same order. `fit.npz` beside its meta.yml holds `recorded_joints` (F, 21, 3), world
    frame (the first camera's), and `fit_error` (F, 21), metres, NaN without a hand. `sequence_names.txt` lists all
    sequences that the file knows of, so that splits by position are those of the whole recording.

    Args:
        options: RecordedOptions.
        progress: called as progress(done sequences, all sequences) after every sequence, or None.

    Returns:
        RecordedSummary.

    Raises:
        ValueError: the motion file is not one, or the root holds something else or data made with other options.
    """
    _layout_of.cache_clear()  # the file may be another by now
    layout = _layout_of(options)
    claim_root(layout.root, layout.record(), layout.begin)
    missing = [sequence for sequence, place in enumerate(layout.places) if not layout.is_written(*place)]
    done, frames, seconds = len(layout.places) - len(missing), 0, 0.0
    if progress:
        progress(done, len(layout.places))
    for made in run_jobs(_write_sequence, [(options, sequence) for sequence in missing], options.workers):
        frames, seconds, done = frames + made[0], seconds + made[1], done + 1
        if progress:
            progress(done, len(layout.places))
    shutil.rmtree(layout.root / PARTIAL, ignore_errors=True)
    return _summarise(layout, frames, seconds)


class RecordedLayout(DexYCBLayout):
    """DexYCB's folders for recorded sequences. `places` are (subject, position in the full list), one per sequence."""

    def __init__(self, options):
        self.motion = read_motion(options.motion)
        self.cameras, serials = _choose_cameras(self.motion, options)
        super().__init__(replace(options, serials=serials, cameras=len(serials)))
        self.names = folder_names(self.motion.all_sequence_names)
        self.places = [self.motion.position_of(s) for s in range(len(self.motion.sequence_names))]
        self._sequence_at = {place: sequence for sequence, place in enumerate(self.places)}

    def record(self):
        """What generator.yml says about the data: the generator's version and everything that decides its bytes."""
        options = {name: value for name, value in asdict(self.options).items() if name not in ('root', 'workers')}
        digest = hashlib.sha256(Path(self.options.motion).read_bytes()).hexdigest()
        options |= {'motion': Path(self.options.motion).name, 'serials': list(self.options.serials)}
        return {'version': VERSION, 'options': {**options, 'motion_sha256': digest}}

    def folders(self, subject, position):
        """See `Layout.folders`."""
        return [self.names[self.motion.sequence_names[self._sequence_at[subject, position]]]]

    def begin(self):
        """Writes what belongs to no sequence."""
        intrinsics, sizes = picture_cameras(self.motion, self.cameras, self.options.size)
        for row in zip(self.options.serials, intrinsics, sizes, strict=True):
            write_intrinsics(self.root, *row)
        write_yaml(self.root / 'hand_model.yml', {'name': ProceduralHand().name})
        names = [self.names[name] for name in self.motion.all_sequence_names]
        (self.root / SEQUENCE_LIST).write_text('\n'.join(sorted(names)) + '\n', encoding='utf-8')
        if self.motion.licence:
            (self.root / 'LICENCE.txt').write_text(self.motion.licence + '\n', encoding='utf-8')

    def write_scene(self, scene, subject, position, facts):
        """Writes meta.yml, pose.npz, fit.npz and the sequence's calibration."""
        super().write_scene(scene, subject, position, facts)
        (folder,) = self.folders(subject, position)
        world = scene.extrinsics[0]
        recorded = scene.recorded_joints @ world[:3, :3].T + world[:3, 3]
        arrays = {'recorded_joints': recorded, 'fit_error': scene.fit_error}
        arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
        write_npz(self.root / PARTIAL / folder / FIT_FILE, arrays)


@lru_cache(maxsize=1)
def _layout_of(options):
    """A process reads the motion file once, not once a sequence."""
    return RecordedLayout(options)


def _choose_cameras(motion, options):
    """The cameras, as `build_recorded_scene` takes them, and their serials."""
    known = motion.camera_serials
    if known is None:
        if options.serials:
            raise DatasetError(
                f'{options.motion} has no cameras, so serials cannot choose among them; leave serials out'
            )
        return options.cameras, SERIALS[: options.cameras]
    for serial in options.serials:
        if serial not in known:
            raise DatasetError(
                f'{options.motion} has no camera {serial!r} (it has: {", ".join(known)}).{did_you_mean(serial, known)}'
            )
    if not options.serials and options.cameras > len(known):
        raise DatasetError(f'{options.motion} has {len(known)} cameras, {options.cameras} were asked for')
    chosen = [known.index(s) for s in options.serials] or best_cameras(motion)[: options.cameras].tolist()
    return tuple(chosen), tuple(known[camera] for camera in chosen)


def best_cameras(motion):
    """The numbers (K,) of the motion's cameras, the one that has most of the recorded joints in its picture first."""
    seen = np.zeros(len(motion.camera_serials))
    for sequence in range(len(motion.sequence_names)):
        frames = motion.frames_of(sequence)
        joints = motion.joints[frames][motion.frame_valid[frames]].reshape(-1, 3)
        for camera, extrinsics in enumerate(motion.camera_extrinsics[sequence]):
            local = joints @ extrinsics[:3, :3].T + extrinsics[:3, 3]
            uv = (local @ motion.camera_intrinsics[camera].T)[:, :2] / np.maximum(local[:, 2:], 1e-6)
            inside = (uv > -0.5) & (uv < motion.camera_sizes[camera] - 0.5) & (local[:, 2:] > 0)
            seen[camera] += inside.all(1).sum()
    return np.argsort(-seen, kind='stable')


def folder_names(names):
    """{recorded name: DexYCB-like 'subject/sequence'}: the name itself where every name has DexYCB's form.

    Raises:
        DatasetError: more subjects or sequences than such names can number.
    """
    parts = [name.split('/') for name in names]
    if all(SUBJECT_FOLDER.fullmatch(subject) and SEQUENCE_FOLDER.fullmatch(rest) for subject, rest in parts):
        return {name: name for name in names}
    subjects = sorted({subject for subject, _ in parts})
    of_subject = {subject: sorted(rest for s, rest in parts if s == subject) for subject in subjects}
    if len(subjects) > 99 or max(map(len, of_subject.values())) > 400:
        raise DatasetError(f"names like DexYCB's number 99 subjects of 400 sequences, got {len(subjects)} subjects")
    ours = SyntheticOptions('unused')
    return {
        f'{s}/{r}': f'{ours.subject_name(i)}/{ours.sequence_name(i, j)}'
        for i, s in enumerate(subjects)
        for j, r in enumerate(of_subject[s])
    }


def _write_sequence(job):
    """Fits, renders and writes one sequence: (camera frames, seconds)."""
    start = time.process_time()
    options, sequence = job
    layout, model = _layout_of(options), ProceduralHand()
    motion, place, size = layout.motion, layout.places[sequence], layout.options.size
    with single_threaded():
        rng = np.random.default_rng([options.seed, *place])
        scene = build_recorded_scene(motion, sequence, model, layout.cameras, size, rng)
        layout.write_scene(scene, *place, _facts(motion, sequence, scene))
        look = draw_look(rng, scene.vertices.shape[1], len(scene.objects))
        bodies = SceneBodies(scene, look, model)
        sizes = picture_cameras(motion, layout.cameras, size)[1]
        for camera, picture in enumerate(sizes):
            layout.write_camera(scene, *place, camera, recorded_frames(scene, bodies, look, camera, picture, rng))
        layout.move_to_place(*place)
    return len(scene.joints) * len(sizes), time.process_time() - start


def _facts(motion, sequence, scene):
    error = 1000 * scene.fit_error[np.isfinite(scene.fit_error)]
    return {
        'recorded': motion.sequence_names[sequence],
        'fps': float(motion.fps),
        'object': scene.objects[0].kind,
        'fit_median_mm': round(float(np.median(error)), 3),
        'fit_95_mm': round(float(np.quantile(error, 0.95)), 3),
    }


def recorded_frames(scene, bodies, look, camera, size, rng):
    """Yields the rendered `Frame`s of one camera; without a hand, no forearm either."""
    renderer = CameraRenderer(
        scene.intrinsics[camera], scene.extrinsics[camera], size, look, draw_sensor(rng), rng, bodies.still()
    )
    moving, present = scene.moving, scene.present[:, camera]
    for index in range(len(scene.vertices)):
        carried = [bodies.arm(index)] if present[index] else []
        resting, carried = (
            ([], [bodies.grasped(index), *carried]) if moving[index] else ([bodies.grasped(index)], carried)
        )
        yield renderer.render(bodies.hand(index) if present[index] else None, resting, carried)


def _summarise(layout, frames, seconds):
    errors = []
    for place in layout.places:
        with np.load(layout.root / layout.folders(*place)[0] / FIT_FILE) as arrays:
            errors.append(arrays['fit_error'])
    errors = np.concatenate(errors)
    errors = errors[np.isfinite(errors).all(1)]
    summary = RecordedSummary(frames, seconds, len(errors), float(np.median(errors)), float(np.quantile(errors, 0.95)))
    write_yaml(layout.root / 'generator.yml', {
        **layout.record(),
        'measured': {
            'sequences': len(layout.places), 'hand_frames': summary.hand_frames,
            'fit_median_mm': round(1000 * summary.fit_median, 3), 'fit_95_mm': round(1000 * summary.fit_95, 3),
        },
    })  # fmt: skip
    return summary
