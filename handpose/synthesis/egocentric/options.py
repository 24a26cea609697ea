"""What the egocentric data is made from: the options and their checks."""

from dataclasses import asdict, dataclass, fields

from handpose.registry import did_you_mean

LAYOUTS = ('h2o', 'fpha')
# Lowest and highest of the options that are numbers.
RANGES = {
    'subjects': (2, 99),
    'videos': (1, 1000),
    'test_videos': (1, 1000),
    'frames': (16, 10_000),
    'max_frames': (16, 10_000),
    'width': (64, 4096),
    'height': (36, 4096),
    'seed': (0, 2**63),
    'workers': (0, 4096),
}
# H2O tests on other subjects, FPHA on other videos of the same six.
_OF_LAYOUT = {
    'h2o': {'subjects': 8, 'videos': 3, 'test_videos': 7},
    'fpha': {'subjects': 6, 'videos': 3, 'test_videos': 3},
}


@dataclass(frozen=True)
class EgocentricOptions:
    """Options of the egocentric data.

    Args:
        root: folder to write; made if missing.
        layout: whose folder structure: 'h2o' or 'fpha'.
        subjects: people. H2O: the last quarter (at least one) is tested, the one before them is split between train
            and val by scene, as subject 3 of the official four; default 8. FPHA: all are in both parts; default 6.
        videos: per action and person that is not tested (FPHA: in the training part); default 3.
        test_videos: per action and person that is tested (FPHA: in the test part); default 7 (FPHA: 3).
        frames, max_frames: the shortest and the longest action, 30 frames a second.
        width, height: of the pictures, pixels.
        actions: names of those that are made; default all that the layout knows.
        seed: decides everything; same options and seed, same bytes.
        workers: processes; 0 takes one per CPU core. Does not change the data.

    Raises:
        ValueError: a value out of its range.
    """

    root: str
    layout: str = 'h2o'
    subjects: int | None = None
    videos: int | None = None
    test_videos: int | None = None
    frames: int = 48
    max_frames: int = 80
    width: int = 160
    height: int = 90
    actions: tuple = ()
    seed: int = 0
    workers: int = 0

    def __post_init__(self):
        if self.layout not in LAYOUTS:
            raise ValueError(
                f'layout must be one of {LAYOUTS}, got {self.layout!r}.{did_you_mean(self.layout, LAYOUTS)}'
            )
        for name, value in _OF_LAYOUT[self.layout].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        object.__setattr__(self, 'actions', tuple(self.actions))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f'{name} must be a whole number from {low} to {high}, got {value!r}')
        if self.max_frames < self.frames:
            raise ValueError(f'max_frames must be at least frames, which is {self.frames}, got {self.max_frames}')

    def content(self):
        """Returns {name: value} of the options that decide the data: all but `root` and `workers`."""
        content = {name: value for name, value in asdict(self).items() if name not in ('root', 'workers')}
        return content | {'actions': list(self.actions)}

    @property
    def size(self):
        """(width, height) of the pictures."""
        return self.width, self.height


def egocentric_options_from_dict(values):
    """Makes `EgocentricOptions` of a config's dict.

    Raises:
        ValueError: `root` is missing, or a key or value is not an option's.
    """
    known = [f.name for f in fields(EgocentricOptions)]
    for name in sorted(set(values) - set(known)):
        raise ValueError(f'{name!r} is not an option of the egocentric data.{did_you_mean(name, known)}')
    if 'root' not in values:
        raise ValueError('the options of the egocentric data need a root folder: root=...')
    return EgocentricOptions(**values)
