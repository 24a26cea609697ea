"""What the official result files of the data sets have in common: one row a frame, each once, all of them."""

import zipfile
from contextlib import contextmanager

import numpy as np

from handpose.evaluation.gathering import GatheringMetric
from handpose.structures import SequenceError, sample_name

# Predictions of one frame by two processes may round differently; two different ones are an error.
SAME_WITHIN = 1e-3  # metres


class ResultFile(GatheringMetric):
    """Gathers predictions by the number that a frame has in the data set's official order and writes them to a file.

    The reader gives that number as `meta['official_indices']`, -1 for frames that do not count. Every annotated frame
    needs a prediction of all joints; otherwise nothing is written.

    Args:
        path: the file to write, whole or not at all.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.
    """

    arrays = ('joints',)
    tolerance = SAME_WITHIN  # in the unit of the arrays

    def __init__(self, path, collect_device='cpu'):
        super().__init__(collect_device)
        self.path = path

    def process(self, data_batch, data_samples):
        """Takes a list of dicts with 'prediction' and 'target' (HandSequence clips); `data_batch` is not used."""
        for sample in data_samples:
            self.results.append(self.rows(sample['prediction'], sample['target']))

    def rows(self, prediction, target):
        """The rows of one clip: dict of 'index' (N,), 'frame' (N,), the `arrays` (N, ...), and 'track' (its name).

        Raises:
            SequenceError: the clip has no official numbers or two hands, or a frame has no whole, finite prediction.
        """
        where = sample_name(target.meta)
        if 'official_indices' not in target.meta:
            raise SequenceError(
                f'{where}: the reader gives no official_indices (the split is not whole on disk), so {self.path} '
                f'cannot be written'
            )
        if target.joints_3d.shape[1] != 1 or prediction.joints_3d is None:
            raise SequenceError(f'{where}: {type(self).__name__} needs joints_3d of one hand')
        indices = np.asarray(target.meta['official_indices'], np.int64)
        frames = np.asarray(target.meta['frame_indices'], np.int64)
        annotated = (target.hand_valid[:, 0] & target.frame_valid).cpu().numpy()[: len(indices)]
        kept = np.flatnonzero(annotated & (indices >= 0))
        whole = prediction.joints_valid[:, 0].all(-1).cpu().numpy()[kept]
        if not whole.all():
            raise SequenceError(f'{where}: frame {frames[kept[~whole][0]]} is annotated, but has no whole prediction')
        values = {name: array[kept] for name, array in self.values(prediction, target).items()}
        for name, array in values.items():
            if not np.isfinite(array).all():
                raise SequenceError(f'{where}: the predicted {name} are NaN or infinite')
        track = f'{target.meta["sequence"]} camera {"+".join(map(str, target.meta["cameras"]))}'
        return {'index': indices[kept], 'frame': frames[kept], 'frames': frames, 'track': track, **values}

    def values(self, prediction, target):
        """{name: (T, ...) float32 array} of the `arrays`, in the data set's units, axes and order."""
        raise NotImplementedError(f'{type(self).__name__} must define values(prediction, target)')

    def merge(self, clips):
        """Joins the rows of all clips: 'index' (N,) rising, each once, 'name' (N,) str, and the `arrays`.

        Raises:
            SequenceError: nothing to write, or a frame was predicted twice with different numbers.
        """
        clips = [clip for clip in clips if len(clip['index'])]
        if not clips:
            raise SequenceError(f'no annotated frame was predicted, so {self.path} is not written')
        index, first = np.unique(np.concatenate([clip['index'] for clip in clips]), return_index=True)
        names = [f'{clip["track"]} frame {frame}' for clip in clips for frame in clip['frame']]
        merged = {'index': index, 'name': [names[row] for row in first]}
        for name in self.arrays:
            stacked = np.concatenate([clip[name] for clip in clips])
            merged[name] = stacked[first]
            self._check_repeats(np.concatenate([clip['index'] for clip in clips]), stacked, merged, name)
        return merged

    def _check_repeats(self, indices, stacked, merged, name):
        place = np.searchsorted(merged['index'], indices)
        for row in np.flatnonzero(np.bincount(place)[place] > 1):
            if not np.allclose(stacked[row], merged[name][place[row]], rtol=0, atol=self.tolerance):
                raise SequenceError(
                    f'{merged["name"][place[row]]} was predicted twice with different {name}; test with tracks, whose '
                    f'frames do not overlap'
                )


@contextmanager
def only_member(file, name):
    """The one member, a file to write bytes to, of a zip archive in `file`; the same bytes give the same archive."""
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, 'w') as archive, archive.open(entry, 'w', force_zip64=True) as member:
        yield member
