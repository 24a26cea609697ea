"""`TrackRecords`: the hands of all images of a video as arrays, in memory and in files.

Legend: F images, N hands in all images together, J the 21 common joints.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.inference.tracking.interfaces import NUM_JOINTS, HandEstimate
from handpose.inference.tracking.tracker import TrackedHand


@dataclass(eq=False)
class TrackRecords:
    """The hands of consecutive images.

    Attributes:
        times: (F,) seconds.
        detected: (F,) bool, whether the detector ran.
        frame: (N,) index into `times`, not decreasing.
        track_id: (N,).
        tracked_2d: (N, J, 2) float32, pixels, the joints by which hands are followed.
        joints_2d: (N, J, 2) float32, pixels.
        joints_3d: (N, J, 3) float32, metres relative to the wrist.
        joints_valid: (N, J) bool.
        presence: (N,) from 0 to 1.
        right: (N,) from 0 to 1.
    """

    times: NDArray[np.float64]
    detected: NDArray[np.bool_]
    frame: NDArray[np.int64]
    track_id: NDArray[np.int64]
    tracked_2d: NDArray[np.float32]
    joints_2d: NDArray[np.float32]
    joints_3d: NDArray[np.float32]
    joints_valid: NDArray[np.bool_]
    presence: NDArray[np.float64]
    right: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def of_frames(
        cls, times: Sequence[float], detected: Sequence[bool], hands: Sequence[Sequence[TrackedHand]]
    ) -> 'TrackRecords':
        """Collects the hands of images.

        Args:
            times: (F,) seconds.
            detected: (F,) whether the detector ran.
            hands: of each image.

        Returns:
            The records.
        """
        rows = [(f, hand) for f, frame in enumerate(hands) for hand in frame]
        estimates = [hand.estimate for _, hand in rows]
        all_valid = np.ones(NUM_JOINTS, bool)
        return cls(
            times=np.array(times, np.float64),
            detected=np.array(detected, bool),
            frame=np.array([f for f, _ in rows], np.int64),
            track_id=np.array([hand.track_id for _, hand in rows], np.int64),
            tracked_2d=np.array([hand.tracked_2d for _, hand in rows], np.float32).reshape(-1, NUM_JOINTS, 2),
            joints_2d=np.array([e.joints_2d for e in estimates], np.float32).reshape(-1, NUM_JOINTS, 2),
            joints_3d=np.array([e.joints_3d for e in estimates], np.float32).reshape(-1, NUM_JOINTS, 3),
            joints_valid=np.array(
                [all_valid if e.joints_valid is None else e.joints_valid for e in estimates], bool
            ).reshape(-1, NUM_JOINTS),
            presence=np.array([e.presence for e in estimates], np.float64),
            right=np.array([e.right for e in estimates], np.float64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence['TrackRecords']) -> 'TrackRecords':
        """Joins records of consecutive images; without parts, records of no image."""
        parts = [*parts] or [cls.of_frames([], [], [])]
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)}
        columns['frame'] = np.concatenate([part.frame + s for part, s in zip(parts, starts, strict=True)])
        return cls(**columns)

    def after(self, count: int) -> 'TrackRecords':
        """Returns the records without the first `count` images."""
        first = int(np.searchsorted(self.frame, count))
        per_image = {f.name: getattr(self, f.name)[count:] for f in fields(self) if f.name in ('times', 'detected')}
        columns = {f.name: getattr(self, f.name)[first:] for f in fields(self) if f.name not in per_image}
        return TrackRecords(**per_image, **{**columns, 'frame': columns['frame'] - count})

    def tracked(self, frame: int) -> Iterator[tuple[int, HandEstimate]]:
        """Iterates over the hands of one image as the tracker saw them; see `HandTracker.restore`.

        Args:
            frame: index of the image.

        Yields:
            Track id, and the estimate by which the hand is followed.
        """
        first, end = np.searchsorted(self.frame, [frame, frame + 1])
        for n in range(first, end):
            evidence = float(self.presence[n]), float(self.right[n])
            yield int(self.track_id[n]), HandEstimate(self.tracked_2d[n], self.joints_3d[n], *evidence)

    def save(self, path: str | Path) -> None:
        """Writes the records to an .npz file, completely or not at all."""
        with atomic_file(path) as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> 'TrackRecords':
        """Reads a file that `save` wrote.

        Raises:
            ValueError: the file is damaged, or is none of records.
        """
        names = [f.name for f in fields(cls)]
        advice = 'delete it; the images are then processed again'
        found = read_npz(path, names, error=ValueError, advice=advice)
        if lacking := [name for name in names if name not in found]:
            raise ValueError(f'{path} lacks {", ".join(lacking)}; {advice}')
        empty = vars(cls.of_frames([], [], []))
        form = {name: (array.dtype, array.shape[1:]) for name, array in found.items() if array.ndim}
        if form != {name: (array.dtype, array.shape[1:]) for name, array in empty.items()}:
            raise ValueError(f'{path} has arrays of other types or shapes than those of tracked hands; {advice}')
        records = cls(**found)
        count, hands = len(records.times), len(records.frame)
        lengths = {name: len(array) for name, array in found.items()}
        expected = {name: count if name in ('times', 'detected') else hands for name in names}
        in_order = not hands or (records.frame[0] >= 0 and records.frame[-1] < count)
        if lengths != expected or not in_order or (np.diff(records.frame) < 0).any():
            raise ValueError(f'{path} is inconsistent: its arrays have the lengths {lengths}; {advice}')
        return records
