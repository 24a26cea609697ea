"""H2O's submission of actions, which its server scores against labels that it withholds.

A zip archive with `action_labels.json`: {"modality": ..., "<id of the segment, from 1>": official number, 1 to 36}.
The server takes hand poses too; the form of that file is not published, so none is written.
"""

import json
import logging
from pathlib import Path

from mmengine.logging import print_log

from handpose.evaluation.actions import action_names, merge_videos, video_row
from handpose.evaluation.gathering import GatheringMetric
from handpose.evaluation.submissions.result_files import only_member
from handpose.files.atomic import atomic_file
from handpose.registry import METRICS
from handpose.structures import SequenceError

MEMBER = 'action_labels.json'
OFFICIAL_ACTIONS, OFFICIAL_SEGMENTS = 36, 242
FIRST_NUMBER = 1  # of an action; 0 is the background, which no segment is of


@METRICS.register_module()
class H2OSubmission(GatheringMetric):
    """Writes the best action of every test segment of H2O as the archive that its action server takes.

    Reports `submitted_segments`. A list of segments that is not the official one (of the built-in data, say) is
    written too, and a warning says that the server will not take it.

    Args:
        path: the file; a name that ends in '.zip' gives the archive, '.json' its content alone.
        modality: what the model sees, as the file says it.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: another ending.
        SequenceError: while testing, a segment without a number or without action_scores, or scores that are not of
            H2O's 36 actions; in the end, segments that were not predicted.
    """

    def __init__(self, path, modality='RGB', collect_device='cpu'):
        super().__init__(collect_device)
        if Path(path).suffix not in ('.json', '.zip'):
            raise ValueError(f'a submission to H2O is a .zip (or .json) file, got {str(path)!r}')
        self.path, self.modality = path, modality

    def process(self, data_batch, data_samples):
        """Takes a list of dicts with 'prediction' and 'target' (HandSequence clips); `data_batch` is not used."""
        for sample in data_samples:
            row = video_row(sample['prediction'], sample['target'], action_names(self.dataset_meta))
            if 'segment' not in sample['target'].meta:
                raise SequenceError(f"{row['name']} has no meta['segment'], its number in H2O's list of test segments")
            found = None if row['scores'] is None else len(row['scores'])
            if found != OFFICIAL_ACTIONS:
                raise SequenceError(
                    f"{row['name']}: a submission is of H2O's {OFFICIAL_ACTIONS} actions, and the prediction has "
                    f'{found or "no"} action_scores'
                )
            self.results.append({**row, 'segment': int(sample['target'].meta['segment'])})

    def reduce(self, results):
        """Checks that no segment is missing, and writes the file."""
        rows = {row['segment']: row for row in merge_videos(results)}
        if len(rows) != self.num_samples or sorted(rows) != list(range(1, len(rows) + 1)):
            raise SequenceError(
                f'{len(rows)} of {self.num_samples} segments were predicted, numbered {min(rows)} to {max(rows)}, but '
                f'a submission holds every segment from 1, so {self.path} is not written; test the whole split'
            )
        if len(rows) != OFFICIAL_SEGMENTS:
            print_log(
                f'{self.path} holds {len(rows)} segments, and the official test list of H2O {OFFICIAL_SEGMENTS}: the '
                f'server will not take it',
                logger='current',
                level=logging.WARNING,
            )
        numbers = {str(segment): int(rows[segment]['scores'].argmax()) + FIRST_NUMBER for segment in sorted(rows)}
        write_h2o_submission(self.path, numbers, self.modality)
        return {'submitted_segments': float(len(rows))}


def write_h2o_submission(path, numbers, modality='RGB'):
    """Writes {id of a segment: official number of its action} as .zip or .json, whole or not at all."""
    text = json.dumps({'modality': modality, **numbers}, indent=1) + '\n'
    with atomic_file(path) as file:
        if Path(path).suffix == '.json':
            file.write(text.encode())
            return
        with only_member(file, MEMBER) as member:
            member.write(text.encode())
