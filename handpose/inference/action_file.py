"""The actions file: what a recognizer predicts for a recording, as JSON.

docs/guides/your_own_actions.md describes it.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from handpose.files.atomic import atomic_write
from handpose.models.estimators.running_action import RunningAction
from handpose.structures import HandSequence

FORMAT, VERSION = 'handpose-actions', 1
MIN_SCORE = 0.5  # no action with a lower score is reported
CAVEATS = (
    'scores are not calibrated: the model chooses among its own actions and objects, even if a video shows none',
    'the presence of hands was not measured: valid marks hands of a plausible size and position',
)
MOTION_CAVEATS = ('scores are not calibrated: the model chooses among its own actions, even if none of them was done',)
DIGITS = 4


def uncertainty_reasons(sequence: HandSequence, min_score: float = MIN_SCORE) -> list[str]:
    """Finds the reasons why no action is reported.

    Args:
        sequence: output of `ActionRecognizer.predict` or `MotionRecognizer.predict`.
        min_score: the score that the best action needs at least.

    Returns:
        One message per reason; empty if the best action is reported.
    """
    reasons, best = _missing_evidence(sequence), float(sequence.action_scores.max())
    if not best >= min_score:
        reasons.append(f'the best score, {best:.2f}, is below {min_score:g}')
    return reasons


def display_threshold(sequence: HandSequence, min_score: float = MIN_SCORE) -> float:
    """Computes the score that the action of a part of the video needs to be reported.

    Args:
        sequence: output of `ActionRecognizer.predict`.
        min_score: the requested threshold.

    Returns:
        The threshold; above 1 if no action can be reported.
    """
    return 2.0 if _missing_evidence(sequence) else min_score


def action_record(
    sequence: HandSequence,
    running: RunningAction,
    source: str = '',
    min_score: float = MIN_SCORE,
    caveats: Sequence[str] = CAVEATS,
) -> dict[str, Any]:
    """Creates the content of the file.

    Args:
        sequence: output of `ActionRecognizer.predict` or `MotionRecognizer.predict`.
        running: output of `running_action` of the same recognizer for the same recording.
        source: name of the recognizer.
        min_score: no action or object with a lower score is reported.
        caveats: limitations of the numbers.

    Returns:
        Built-in types: format, version, video, source, reader (the library that read the video), frames, fps (typical,
        or None), `action` (None if uncertain), `uncertain_because`, `best`, `min_score`, `scores` {action: score,
        descending}, `running` [{time, action, best, score}], the scores so far; `objects` [{start, end, object, best,
        score}], intervals with one most probable object, and its mean score there (none without object scores); times
        in seconds; `notes`, `caveats`.
    """
    meta, scores, times = sequence.meta, sequence.action_scores, sequence.timestamps.tolist()
    actions, order = meta['actions'], scores.argsort(descending=True, stable=True).tolist()
    reasons, threshold = uncertainty_reasons(sequence, min_score), display_threshold(sequence, min_score)
    moments = [
        {'time': _seconds(times[frame]), **_best('action', actions, row, threshold)}
        for frame, row in zip(running.frames.tolist(), running.scores, strict=True)
    ]
    return {
        'format': FORMAT,
        'version': VERSION,
        'video': meta['sequence'],
        'source': source,
        'reader': meta['reader'],
        'frames': len(times),
        'fps': None if meta['fps'] is None else round(meta['fps'], 3),
        'action': None if reasons else actions[order[0]],
        'uncertain_because': reasons,
        'best': actions[order[0]],
        'min_score': min_score,
        'scores': {actions[i]: _rounded(scores[i]) for i in order},
        'running': moments,
        'objects': list(_object_intervals(sequence, threshold)),
        'notes': meta['notes'],
        'caveats': list(caveats),
    }


def save_actions(path: str | Path, record: dict[str, Any]) -> None:
    """Writes an actions file atomically.

    Args:
        path: the file.
        record: output of `action_record`.
    """
    atomic_write(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')


def _missing_evidence(sequence: HandSequence) -> list[str]:
    """Why the video cannot show any action."""
    reasons = []
    if sequence.meta['static'] and len(sequence.timestamps) > 1:
        reasons.append('the image does not change')
    if not sequence.hand_valid.any():
        reasons.append('no frame has a plausible hand')
    return reasons


def _best(key: str, names: Sequence[str], scores: Tensor, threshold: float) -> dict[str, Any]:
    """The best name and its score; None under `key` if the score is below the threshold."""
    best, score = int(scores.argmax()), float(scores.max())
    return {key: names[best] if score >= threshold else None, 'best': names[best], 'score': _rounded(score)}


def _object_intervals(sequence: HandSequence, threshold: float) -> Iterator[dict[str, Any]]:
    """Intervals with one most probable object; the last frame is shown for a typical frame period."""
    if sequence.object_scores is None:
        return
    best, start = sequence.object_scores.argmax(-1).tolist(), 0
    times, fps = sequence.timestamps.tolist(), sequence.meta['fps']
    times.append(times[-1] + (1 / fps if fps else 0))
    for index, frames in itertools.groupby(best):
        end = start + len(list(frames))
        # The object is the best in each frame, and not necessarily on average.
        scores = sequence.object_scores[start:end].mean(0)
        score, name = float(scores[index]), sequence.meta['objects'][index]
        yield {
            'start': _seconds(times[start]),
            'end': _seconds(times[end]),
            'object': name if score >= threshold else None,
            'best': name,
            'score': _rounded(score),
        }
        start = end


def _seconds(value: float) -> float:
    return round(value, 3)


def _rounded(value: float | Tensor) -> float:
    return round(float(value), DIGITS)
