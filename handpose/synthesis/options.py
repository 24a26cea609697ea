"""What the built-in data is made from: the options, their checks, and the names that follow from them."""

from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta

from handpose.registry import did_you_mean

# DexYCB's own folder names, so that tools which list them by name work on the built-in data too.
SUBJECTS = (
    '20200709-subject-01', '20200813-subject-02', '20200820-subject-03', '20200903-subject-04', '20200908-subject-05',
    '20200918-subject-06', '20200928-subject-07', '20201002-subject-08', '20201015-subject-09', '20201022-subject-10',
)  # fmt: skip
SERIALS = (
    '836212060125', '839512060362', '840412060917', '841412060263',
    '932122060857', '932122060861', '932122061900', '932122062010',
)  # fmt: skip
SEQUENCES_PER_BLOCK = 5  # DexYCB's split s0 takes every fifth sequence of a subject for testing
WITHOUT_PICTURES = ('interhand', 'reinterhand', 'hanco')
LAYOUTS = ('dexycb', 'ho3d', *WITHOUT_PICTURES)
HO3D_VERSIONS = (2, 3)
INTERHAND_RATES = (5, 30)
INTERHAND_SUBJECTS = 3  # one for each split
# Options that only some layouts have, and what the record of the others leaves out.
_OWN = {'layout': LAYOUTS[1:], 'ho3d_version': ('ho3d',), 'interhand_fps': ('interhand',)}


# Lowest and highest of the options that are numbers.
RANGES = {
    'subjects': (1, 99),
    'sequences': (5, 100),
    'frames': (24, 10_000),
    'cameras': (1, len(SERIALS)),
    'size': (64, 4096),
    'seed': (0, 2**63),
    'workers': (0, 4096),
}


def check_whole_numbers(options):
    """Raises a ValueError where an option that `RANGES` names is no whole number of its range."""
    for name, (low, high) in RANGES.items():
        value = getattr(options, name, low)  # recorded motion has not all of them
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f'{name} must be a whole number from {low} to {high}, got {value!r}')


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of the built-in data.

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
            without pictures, 'interhand' (one and two hands; at least 3 subjects, the last fifth tested), 'reinterhand'
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

    def __post_init__(self):
        if self.layout not in LAYOUTS:
            raise ValueError(
                f'layout must be one of {LAYOUTS}, got {self.layout!r}.{did_you_mean(self.layout, LAYOUTS)}'
            )
        if self.ho3d_version not in HO3D_VERSIONS:
            raise ValueError(f'ho3d_version must be 2 or 3, got {self.ho3d_version!r}')
        if self.interhand_fps not in INTERHAND_RATES:
            raise ValueError(f'interhand_fps must be 5 or 30, got {self.interhand_fps!r}')
        check_whole_numbers(self)
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

    def content(self):
        """Returns {name: value} of the options that decide the data: all but `root` and `workers`."""
        unsaid = {'root', 'workers', *(name for name, layouts in _OWN.items() if self.layout not in layouts)}
        return {name: value for name, value in asdict(self).items() if name not in unsaid}

    @property
    def serials(self):
        """The cameras' serial numbers, in recording order; the first is the master camera."""
        return SERIALS[: self.cameras]

    def subject_name(self, subject):
        """Folder of a subject (0-based); after DexYCB's ten, one a fortnight."""
        if subject < len(SUBJECTS):
            return SUBJECTS[subject]
        day = date(2020, 10, 22) + timedelta(days=14 * (subject - len(SUBJECTS) + 1))
        return f'{day:%Y%m%d}-subject-{subject + 1:02d}'

    def sequence_name(self, subject, sequence):
        """Folder of a sequence (0-based): the subject's day, one recording every two minutes from 09:00:00."""
        minutes = 2 * sequence
        return f'{self.subject_name(subject)[:8]}_{9 + minutes // 60:02d}{minutes % 60:02d}00'


def options_from_dict(values):
    """Makes `SyntheticOptions` of a config's dict.

    Raises:
        ValueError: `root` is missing, or a key or value is not an option's.
    """
    known = [f.name for f in fields(SyntheticOptions)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f'{unknown[0]!r} is not an option of the built-in data (they are: {", ".join(known)})')
    if 'root' not in values:
        raise ValueError('the options of the built-in data need a root folder: root=...')
    return SyntheticOptions(**values)
