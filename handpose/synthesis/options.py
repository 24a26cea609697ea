"""The options of each kind of built-in data, and their checks."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from handpose.text import did_you_mean

SEQUENCES_PER_BLOCK = 5  # DexYCB's split s0 takes every fifth sequence of a subject for testing
POSE_LAYOUTS = ('interhand', 'reinterhand', 'hanco')
RECORDING_LAYOUTS = ('assembly101',)
INTERHAND_SUBJECTS = 3  # one for each split
_Options = TypeVar('_Options', bound='DatasetOptions')


class DatasetOptions:
    """What the options of all kinds of built-in data have in common. Subclasses are frozen dataclasses.

    Attributes:
        root: folder to write; made if missing.
        layout: whose folder structure.
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.
        kind: the data, for error messages.
        layouts: the choices of `layout`.
        ranges: {name: (lowest, highest)} of the options that are whole numbers.
    """

    root: str
    layout: str
    seed: int
    workers: int
    kind: ClassVar[str]
    layouts: ClassVar[tuple[str, ...]]
    ranges: ClassVar[dict[str, tuple[int, int]]] = {'seed': (0, 2**63), 'workers': (0, 4096)}

    @classmethod
    def names(cls) -> list[str]:
        """The names of the options."""
        return list(inspect.get_annotations(cls))

    @classmethod
    def from_dict(cls: type[_Options], values: Mapping[str, Any]) -> _Options:
        """Makes the options of a config's dict; see `options_from_dict`."""
        for name in sorted(set(values) - set(cls.names())):
            raise ValueError(f'{name!r} is not an option of {cls.kind}.{did_you_mean(name, cls.names())}')
        for name, option in inspect.signature(cls).parameters.items():
            if option.default is option.empty and name not in values:
                raise ValueError(f'the options of {cls.kind} need {name}=...')
        return cls(**values)

    def content(self) -> dict[str, Any]:
        """Returns {name: value} of the options that decide the data, as `generator.yml` records them."""
        values = {name: getattr(self, name) for name in self.names() if name not in ('root', 'workers')}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def has_images(self) -> bool:
        """Whether the data has images."""
        return self.layout not in (*POSE_LAYOUTS, *RECORDING_LAYOUTS)

    def check(self) -> None:
        """Checks the layout and the whole numbers.

        Raises:
            ValueError: a value that is not allowed.
        """
        if self.layout not in self.layouts:
            raise ValueError(
                f'layout must be one of {", ".join(self.layouts)}, got {self.layout!r}.'
                f'{did_you_mean(self.layout, self.layouts)}'
            )
        for name, (low, high) in self.ranges.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f'{name} must be a whole number from {low} to {high}, got {value!r}')


@dataclass(frozen=True)
class MultiViewOptions(DatasetOptions):
    """Options of the multi-view data: hands that grasp objects, or hands alone, seen by several cameras.

    Args:
        root: folder to write; made if missing.
        subjects: number of subject folders, 1 to 99.
        sequences: sequences per subject, a multiple of 5 (split s0 tests on every fifth).
        frames: frames per sequence, at least 24 (30 per second).
        cameras: cameras per sequence, 1 to 8.
        size: width and height of the square images, pixels, at least 64.
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.
        layout: whose folder structure: 'dexycb', 'ho3d' (right hands only; every fifth sequence is for evaluation), or,
            without images, 'interhand' (one and two hands; at least 3 subjects, the last fifth tested), 'reinterhand'
            (two hands; a subject is a capture) or 'hanco' (right hands; sequences numbered through).
        ho3d_version: of HO3D's layout: 2 or 3.
        interhand_fps: of InterHand2.6M's layout, 5 or 30 labelled frames a second; `frames` count at 30 all the same.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    subjects: int = 10
    sequences: int = 10
    frames: int = 60
    cameras: int = 4
    size: int = 256
    seed: int = 0
    workers: int = 0
    layout: str = 'dexycb'
    ho3d_version: int = 3
    interhand_fps: int = 30

    kind = 'the multi-view data'
    layouts = ('dexycb', 'ho3d', *POSE_LAYOUTS)
    ranges = DatasetOptions.ranges | {
        'subjects': (1, 99), 'sequences': (5, 100), 'frames': (24, 10_000), 'cameras': (1, 8), 'size': (64, 4096)
    }  # fmt: skip

    def __post_init__(self) -> None:
        self.check()
        if self.ho3d_version not in (2, 3):
            raise ValueError(f'ho3d_version must be 2 or 3, got {self.ho3d_version!r}')
        if self.interhand_fps not in (5, 30):
            raise ValueError(f'interhand_fps must be 5 or 30, got {self.interhand_fps!r}')
        if self.layout == 'interhand' and self.subjects < INTERHAND_SUBJECTS:
            raise ValueError(
                f"the layout 'interhand' needs at least {INTERHAND_SUBJECTS} subjects, one for each of train, val and "
                f'test, got {self.subjects}'
            )
        if self.sequences % SEQUENCES_PER_BLOCK:
            raise ValueError(
                f'sequences must be a multiple of {SEQUENCES_PER_BLOCK} (split s0 tests on every fifth sequence of a '
                f'subject), got {self.sequences}'
            )

    def content(self) -> dict[str, Any]:
        """See `DatasetOptions.content`; without the options that only other layouts have."""
        content = super().content()
        own = {'layout': self.layouts[1:], 'ho3d_version': ('ho3d',), 'interhand_fps': ('interhand',)}
        return {name: value for name, value in content.items() if self.layout in own.get(name, self.layouts)}


@dataclass(frozen=True)
class EgocentricOptions(DatasetOptions):
    """Options of the egocentric data: videos of two hands that act on objects.

    Args:
        root: folder to write; made if missing.
        layout: whose folder structure: 'h2o' or 'fpha'.
        subjects: people, 2 to 99; 0 means 8 for H2O and 6 for FPHA. In H2O the last quarter (at least one) is tested,
            and the one before them is split between train and val by scene, as subject 3 of the official four. In FPHA
            all are in both parts.
        videos: per action and person that is not tested (FPHA: in the training part).
        test_videos: per action and person that is tested (FPHA: in the test part). 0 means 7, FPHA 3.
        frames: of the shortest action, 30 a second.
        max_frames: of the longest action.
        width: of the images, pixels.
        height: of the images, pixels.
        actions: names of those that are made; none means all that the layout knows.
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    layout: str = 'h2o'
    subjects: int = 0
    videos: int = 3
    test_videos: int = 0
    frames: int = 48
    max_frames: int = 80
    width: int = 160
    height: int = 90
    actions: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 0

    kind = 'the egocentric data'
    layouts = ('h2o', 'fpha')
    ranges = DatasetOptions.ranges | {
        'subjects': (2, 99), 'videos': (1, 1000), 'test_videos': (1, 1000), 'frames': (16, 10_000),
        'max_frames': (16, 10_000), 'width': (64, 4096), 'height': (36, 4096),
    }  # fmt: skip

    def __post_init__(self) -> None:
        # H2O tests on other subjects, FPHA on other videos of the same.
        subjects, test_videos = (6, 3) if self.layout == 'fpha' else (8, 7)
        object.__setattr__(self, 'subjects', self.subjects or subjects)
        object.__setattr__(self, 'test_videos', self.test_videos or test_videos)
        object.__setattr__(self, 'actions', tuple(self.actions))
        self.check()
        if self.max_frames < self.frames:
            raise ValueError(f'max_frames must be at least frames, which is {self.frames}, got {self.max_frames}')

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images."""
        return self.width, self.height


@dataclass(frozen=True)
class RecordingOptions(DatasetOptions):
    """Options of the two-hand pose sequences: recordings of several actions in a row, without images.

    Args:
        root: folder to write; made if missing.
        layout: whose folder structure: 'assembly101'.
        subjects: people, 3 to 999. The last fifth (at least one) is tested, the tenth before them validated.
        repetitions: of every action by each person, at least.
        recording_actions: how many actions a recording has.
        actions: names of those that are made; none means all that there are.
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    layout: str = 'assembly101'
    subjects: int = 20
    repetitions: int = 7
    recording_actions: int = 8
    actions: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 0

    kind = 'the two-hand pose sequences'
    layouts = RECORDING_LAYOUTS
    ranges = DatasetOptions.ranges | {
        'subjects': (3, 999), 'repetitions': (1, 1000), 'recording_actions': (1, 100),
    }  # fmt: skip

    def __post_init__(self) -> None:
        object.__setattr__(self, 'actions', tuple(self.actions))
        self.check()


@dataclass(frozen=True)
class RecordedOptions(DatasetOptions):
    """Options of rendering recorded motion, in DexYCB's folder structure.

    Args:
        root: folder to write; made if missing.
        motion: the motion file; see `read_motion`.
        cameras: how many, 1 to 8: of the file's cameras those that see most of the hands, or, where it has none,
            cameras added around each recording.
        serials: which of the file's cameras instead.
        size: width of the images, pixels, at least 64; the height follows the camera's.
        seed: decides everything that was not recorded.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    motion: str
    cameras: int = 2
    serials: tuple[str, ...] = ()
    size: int = 320
    seed: int = 0
    workers: int = 0

    kind = 'recorded motion'
    layout = 'recorded'
    layouts = ('recorded',)
    ranges = DatasetOptions.ranges | {'cameras': (1, 8), 'size': (64, 4096)}

    def __post_init__(self) -> None:
        object.__setattr__(self, 'serials', tuple(self.serials))
        self.check()
        for serial in self.serials:
            if self.serials.count(serial) > 1:
                raise ValueError(f'serials must differ, got {serial!r} twice')


@dataclass(frozen=True)
class AssemblyHandsOptions(DatasetOptions):
    """Options of the recordings of two hands by cameras around a table and on a headset.

    Args:
        root: folder to write; made if missing.
        layout: whose folder structure: 'assemblyhands'.
        subjects: people, 3 to 99. The last fifth (at least one) is tested, the tenth before them validated.
        manual_subjects: more people for training, 0 to 99, whose sequences have manual labels only.
        sequences: per person; each shows one action, the six verbs in turn.
        frames: per sequence, at least 16 (30 per second).
        exo_cameras: around the table, 0 to 8.
        ego_cameras: on the headset, 0 to 4.
        exo_width: of the images of the cameras around the table, pixels, an even number.
        exo_height: of these images, pixels, an even number.
        ego_width: of the headset's images, pixels.
        ego_height: of the headset's images, pixels.
        camera_layouts: how many arrangements of the cameras around the table the people of training and validation
            are recorded with.
        test_camera_layout: arrangement with which the tested people are recorded; one of `camera_layouts` or above is
            not in training.
        annotation_error: mean error of the automatic labels of training, millimetres; other labels are exact.
        manual_step: frames from one with manual labels to the next (30: one a second).
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    layout: str = 'assemblyhands'
    subjects: int = 10
    manual_subjects: int = 0
    sequences: int = 3
    frames: int = 40
    exo_cameras: int = 8
    ego_cameras: int = 4
    exo_width: int = 480
    exo_height: int = 270
    ego_width: int = 318
    ego_height: int = 240
    camera_layouts: int = 1
    test_camera_layout: int = 0
    annotation_error: float = 4.2
    manual_step: int = 30
    seed: int = 0
    workers: int = 0

    kind = 'the recordings by cameras and a headset'
    layouts = ('assemblyhands',)
    ranges = DatasetOptions.ranges | {
        'subjects': (3, 99), 'manual_subjects': (0, 99), 'sequences': (1, 1000), 'frames': (16, 10_000),
        'exo_cameras': (0, 8), 'ego_cameras': (0, 4), 'exo_width': (64, 4096), 'exo_height': (36, 4096),
        'ego_width': (64, 4096), 'ego_height': (36, 4096), 'camera_layouts': (1, 1000),
        'test_camera_layout': (0, 10_000), 'manual_step': (1, 10_000),
    }  # fmt: skip

    def __post_init__(self) -> None:
        self.check()
        if not 0 <= self.annotation_error <= 50:
            raise ValueError(f'annotation_error must be from 0 to 50 mm, got {self.annotation_error!r}')
        if self.exo_width % 2 or self.exo_height % 2:
            raise ValueError(
                f'exo_width and exo_height must be even, as videos require, got {self.exo_width}x{self.exo_height}'
            )
        if not self.exo_cameras and not self.ego_cameras:
            raise ValueError('exo_cameras and ego_cameras are both 0: a recording needs a camera')


OPTIONS: tuple[type[DatasetOptions], ...] = (
    MultiViewOptions, EgocentricOptions, RecordingOptions, RecordedOptions, AssemblyHandsOptions,
)  # fmt: skip
_BY_LAYOUT: tuple[type[DatasetOptions], ...] = (
    MultiViewOptions, EgocentricOptions, RecordingOptions, AssemblyHandsOptions,
)  # fmt: skip
LAYOUTS = tuple(layout for options in _BY_LAYOUT for layout in options.layouts)


def options_from_dict(values: Mapping[str, Any]) -> DatasetOptions:
    """Makes the options of a config's `synthetic_data` dict.

    Args:
        values: with `motion`, the options of recorded motion; else those of the kind of data that `layout` names.

    Raises:
        ValueError: `root` is missing, or a key or value is not an option's.
    """
    if 'motion' in values:
        return RecordedOptions.from_dict(values)
    layout = values.get('layout', MultiViewOptions.layout)
    for options in _BY_LAYOUT:
        if layout in options.layouts:
            return options.from_dict(values)
    raise ValueError(
        f'layout must be one of {", ".join(LAYOUTS)}, got {layout!r}.{did_you_mean(str(layout), list(LAYOUTS))}'
    )
