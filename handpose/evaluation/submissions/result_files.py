"""What the official result files of the datasets have in common: one row for each frame, none twice, none missing."""

import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.base import Metric
from handpose.evaluation.spec import MetricSpec
from handpose.structures import HandSequence, SequenceError, sample_name

# Predictions of one frame by two processes may round differently; two different ones are an error.
SAME_WITHIN = 1e-3  # metres
SUBMITTED = MetricSpec.counting('submitted_frames', 'frames written', in_table=False)


class ResultFile(Metric):
    """Gathers predictions by the number that each frame has in the dataset's official order, and writes them to a file.

    The reader gives that number as `meta['official_indices']`, -1 for frames that do not count. Each annotated frame
    needs a prediction of all joints; otherwise nothing is written.

    Args:
        path: the file to write, completely or not at all.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.
    """

    fields: ClassVar[tuple[str, ...]] = ('joints_3d',)
    specs = (SUBMITTED,)
    arrays: ClassVar[tuple[str, ...]] = ('joints',)
    tolerance: ClassVar[float] = SAME_WITHIN  # in the unit of the arrays

    def __init__(self, path: str | Path, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        self.path = path

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> dict[str, Any]:
        """The rows of one clip.

        Args:
            prediction: a clip of one hand.
            target: the same clip with its annotations and official numbers.

        Returns:
            'index' and 'frame' (N,), the `arrays` (N, ...), 'frames' (T,) and 'track', the name of the clip.

        Raises:
            SequenceError: the clip has no official numbers or two hands, or a frame has no complete, finite prediction.
        """
        where = sample_name(target.meta)
        if 'official_indices' not in target.meta:
            raise SequenceError(
                f'{where}: the reader gives no official_indices (the split is not complete on disk), so {self.path} '
                f'cannot be written'
            )
        if target.require('joints_3d').shape[1] != 1 or prediction.joints_3d is None:
            raise SequenceError(f'{where}: {type(self).__name__} needs joints_3d of one hand')
        indices = np.asarray(target.meta['official_indices'], np.int64)
        frames = np.asarray(target.meta['frame_indices'], np.int64)
        annotated = (target.require('hand_valid')[:, 0] & target.require('frame_valid')).cpu().numpy()[: len(indices)]
        kept = np.flatnonzero(annotated & (indices >= 0))
        complete = prediction.require('joints_valid')[:, 0].all(-1).cpu().numpy()[kept]
        if not complete.all():
            raise SequenceError(
                f'{where}: frame {frames[kept[~complete][0]]} is annotated, but has no complete prediction'
            )
        values = {name: array[kept] for name, array in self.values(prediction, target).items()}
        for name, array in values.items():
            if not np.isfinite(array).all():
                raise SequenceError(f'{where}: the predicted {name} are NaN or infinite')
        track = f'{target.meta["sequence"]} camera {"+".join(map(str, target.meta["cameras"]))}'
        return {'index': indices[kept], 'frame': frames[kept], 'frames': frames, 'track': track, **values}

    @abstractmethod
    def values(self, prediction: HandSequence, target: HandSequence) -> dict[str, NDArray[np.float32]]:
        """The arrays to write for one clip.

        Args:
            prediction: a clip of one hand.
            target: the same clip with its annotations.

        Returns:
            {name: (T, ...)} of the `arrays`, in the dataset's units, axes and order.
        """

    def merge(self, clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Joins the rows of all clips.

        Args:
            clips: rows as `process_clip` gives them.

        Returns:
            'index' (N,) ascending, each once, 'name' (N,) str, and the `arrays` (N, ...).

        Raises:
            SequenceError: nothing to write, or a frame was predicted twice with different numbers.
        """
        clips = [clip for clip in clips if len(clip['index'])]
        if not clips:
            raise SequenceError(f'no annotated frame was predicted, so {self.path} is not written')
        index, first = np.unique(np.concatenate([clip['index'] for clip in clips]), return_index=True)
        names = [f'{clip["track"]} frame {frame}' for clip in clips for frame in clip['frame']]
        merged: dict[str, Any] = {'index': index, 'name': [names[row] for row in first]}
        for name in self.arrays:
            stacked = np.concatenate([clip[name] for clip in clips])
            merged[name] = stacked[first]
            self._check_repeats(np.concatenate([clip['index'] for clip in clips]), stacked, merged, name)
        return merged

    def _check_repeats(
        self, indices: NDArray[np.int64], stacked: NDArray[Any], merged: dict[str, Any], name: str
    ) -> None:
        place = np.searchsorted(merged['index'], indices)
        for row in np.flatnonzero(np.bincount(place)[place] > 1):
            if not np.allclose(stacked[row], merged[name][place[row]], rtol=0, atol=self.tolerance):
                raise SequenceError(
                    f'{merged["name"][place[row]]} was predicted twice with different {name}; test with tracks, whose '
                    f'frames do not overlap'
                )


@contextmanager
def only_member(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Opens the only member of a new zip archive for writing; the same bytes give the same archive.

    Args:
        file: the archive.
        name: of the member.
    """
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, 'w') as archive, archive.open(entry, 'w', force_zip64=True) as member:
        yield member
