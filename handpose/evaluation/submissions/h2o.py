"""H2O's submission of actions, which its server scores against labels that it withholds.

A zip archive with `action_labels.json`: {"modality": ..., "<id of the segment, from 1>": official number, 1 to 36}.
The server takes hand poses too; the form of that file is not published, so none is written.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from handpose.evaluation.actions import action_names, merge_videos, video_row
from handpose.evaluation.base import Metric
from handpose.evaluation.spec import MetricSpec
from handpose.evaluation.submissions.result_files import only_member
from handpose.files.atomic import atomic_file
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError

MEMBER = 'action_labels.json'
OFFICIAL_ACTIONS, OFFICIAL_SEGMENTS = 36, 242
FIRST_NUMBER = 1  # of an action; 0 is the background, which no segment is of
SUBMITTED_SEGMENTS = MetricSpec.counting('submitted_segments', 'segments written', in_table=False)


@METRICS.register_module()
class H2OSubmission(Metric):
    """Writes the best action of every test segment of H2O as the archive that its action server takes.

    Reports `submitted_segments`. A list of segments other than the official one (of the built-in data, for example) is
    written too, with a warning that the server will not accept it.

    Args:
        path: of the file; a name that ends in '.zip' gives the archive, '.json' only its content.
        modality: what the model sees, in the words of the file.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: the path has another ending.
        SequenceError: while testing, a segment without a number or without action_scores, or scores that are not of
            H2O's 36 actions; in the end, segments that were not predicted.
    """

    specs = (SUBMITTED_SEGMENTS,)

    def __init__(self, path: str | Path, modality: str = 'RGB', collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        if Path(path).suffix not in ('.json', '.zip'):
            raise ValueError(f'a submission to H2O is a .zip (or .json) file, got {str(path)!r}')
        self.path, self.modality = path, modality

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> dict[str, Any]:
        """See `Metric.process_clip`."""
        row = video_row(prediction, target, action_names(self.dataset_meta))
        if 'segment' not in target.meta:
            raise SequenceError(f"{row['name']} has no meta['segment'], its number in H2O's list of test segments")
        found = None if row['scores'] is None else len(row['scores'])
        if found != OFFICIAL_ACTIONS:
            raise SequenceError(
                f"{row['name']}: a submission is of H2O's {OFFICIAL_ACTIONS} actions, and the prediction has "
                f'{found or "no"} action_scores'
            )
        return {**row, 'segment': int(target.meta['segment'])}

    def reduce(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Checks that no segment is missing, and writes the file.

        Args:
            results: rows of all segments.
        """
        rows = {row['segment']: row for row in merge_videos(results)}
        if len(rows) != self.num_samples or sorted(rows) != list(range(1, len(rows) + 1)):
            raise SequenceError(
                f'{len(rows)} of {self.num_samples} segments were predicted, numbered {min(rows)} to {max(rows)}, but '
                f'a submission holds all segments from 1 on, so {self.path} is not written; test the whole split'
            )
        if len(rows) != OFFICIAL_SEGMENTS:
            print_log(
                f'{self.path} holds {len(rows)} segments, and the official test list of H2O {OFFICIAL_SEGMENTS}: the '
                f'server will not accept it',
                logger='current',
                level=logging.WARNING,
            )
        numbers = {str(segment): int(rows[segment]['scores'].argmax()) + FIRST_NUMBER for segment in sorted(rows)}
        write_h2o_submission(self.path, numbers, self.modality)
        return {SUBMITTED_SEGMENTS.name: float(len(rows))}


def write_h2o_submission(path: str | Path, numbers: Mapping[str, int], modality: str = 'RGB') -> None:
    """Writes a submission, completely or not at all.

    Args:
        path: of the file; a name that ends in '.json' gives only the content of the archive.
        numbers: {id of a segment: official number of its action}.
        modality: what the model sees, in the words of the file.
    """
    text = json.dumps({'modality': modality, **numbers}, indent=1) + '\n'
    with atomic_file(path) as file:
        if Path(path).suffix == '.json':
            file.write(text.encode())
            return
        with only_member(file, MEMBER) as member:
            member.write(text.encode())
