"""Predictions files of a tested model, one for each track, as `LoadPredictions` reads them."""

from dataclasses import replace
from pathlib import Path

from numpy.typing import NDArray

from handpose.evaluation.base import Metric
from handpose.evaluation.spec import MetricSpec
from handpose.files.reading import inside_root
from handpose.geometry.rigid import transform_points
from handpose.registry import METRICS
from handpose.structures import HandSequence, Predictions, SequenceError, save_predictions
from handpose.structures.predictions_file import track_file_name

WRITTEN_FILES = MetricSpec.counting('written_files', 'predictions files written', in_table=False)


@METRICS.register_module()
class PredictionsFolder(Metric):
    """Writes the predictions of every track to `<path>/<sequence>_<camera>.npz` (docs/data/predictions_file.md).

    So a refiner, or G-HTT, is trained and tested on the output of a per-frame estimator: `handpose test CONFIG
    --results FOLDER` of that estimator, then `LoadPredictions` or `LoadRecordingPredictions` in the pipeline. Files
    have the joints, and scores and features of the object where the model gives them; no pixels, which are those of
    resized images. Predictions of clips in the world, seen by one camera, are written in that camera, with its
    `extrinsics`. Reports `written_files`.

    Args:
        path: of the folder.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        SequenceError: several clips of one track.
        PredictionsError: while testing, predictions in the world of several cameras or unknown ones, or predictions
            that no refiner could use (see `Predictions.check`).
    """

    specs = (WRITTEN_FILES,)

    def __init__(self, path: str | Path, collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        self.path = Path(path)

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> tuple[str, tuple[int, ...]]:
        """See `Metric.process_clip`; writes the file, and returns its name and the numbers of its frames."""
        objects = (self.dataset_meta or {}).get('objects')
        meta = target.meta if objects is None else {**target.meta, 'objects': list(objects)}
        clip, poses = _in_camera(prediction.replace(meta=meta, intrinsics=None), target)
        name = track_file_name(meta)
        found = Predictions.from_sequence(clip, 'joints_3d', source='handpose test', with_2d=False)
        found = replace(found, extrinsics=poses)
        save_predictions(inside_root(self.path, name, 'the clip', error=SequenceError), found)
        return name, tuple(meta['frame_indices'])

    def reduce(self, results: list[tuple[str, tuple[int, ...]]]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: names and frames of the files.
        """
        written = dict(results)
        for name, frames in results:
            if frames != written[name]:
                raise SequenceError(
                    f'{self.path / name} was written for several clips of one track, of which the last one is left; '
                    f"test whole tracks (sampling=dict(type='Tracks'))"
                )
        return {WRITTEN_FILES.name: float(len(written))}


def _in_camera(prediction: HandSequence, target: HandSequence) -> tuple[HandSequence, NDArray | None]:
    """Moves predictions in the world into the only camera of the clip.

    Returns:
        The clip, and where the camera was (T, 4, 4) in the frames that are no padding, or None where that is unknown.
    """
    if target.frame != 'world' or target.extrinsics is None or target.extrinsics.shape[1] != 1:
        return prediction, None
    poses = target.extrinsics[:, 0].cpu()  # (T, 4, 4)
    if prediction.frame == 'world':
        joints = transform_points(prediction.require('joints_3d').cpu(), poses[:, None])
        prediction = prediction.replace(frame='camera', joints_3d=joints)
    known = slice(None) if prediction.frame_valid is None else prediction.frame_valid.cpu()
    return prediction, poses[known].double().numpy()
