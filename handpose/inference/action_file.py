"""The actions file: what a recogniser says of a video, as JSON; docs/your_own_actions.md describes it."""

import itertools
import json

from handpose.files.atomic import atomic_write
from handpose.models.estimators.running_action import RunningAction
from handpose.structures import HandSequence

FORMAT, VERSION = 'handpose-actions', 1
MIN_SCORE = 0.5  # a best score below it names no action
CAVEATS = (
    'scores are not calibrated: the model chooses among its own actions and objects, also where a video shows none',
    'the presence of hands was not measured: valid marks hands of a possible size and place',
)
DIGITS = 4


def doubts(sequence: HandSequence, min_score: float = MIN_SCORE) -> list[str]:
    """Why no action is named, one message each; empty where the best one is.

    Args:
        sequence: what `ActionRecognizer.predict` gave.
        min_score: the best action needs at least this score.
    """
    reasons, best = _missing_evidence(sequence), float(sequence.action_scores.max())
    if not best >= min_score:
        reasons.append(f'the best score, {best:.2f}, is below {min_score:g}')
    return reasons


def shown_score(sequence: HandSequence, min_score: float = MIN_SCORE) -> float:
    """The score from which on an action of a part of the video is named: above 1 where nothing can be named."""
    return 2.0 if _missing_evidence(sequence) else min_score


def action_record(
    sequence: HandSequence, running: RunningAction, source: str = '', min_score: float = MIN_SCORE
) -> dict:
    """What is in the file, as plain values.

    Args:
        sequence: what `ActionRecognizer.predict` gave. running: what `running` gave of the same video.
        source: what it was made by.
        min_score: score below which no action or object is named.

    Returns:
        dict: format, version, video, source, reader (the library that read the video), frames, fps (typical, or None),
        `action` (None if in doubt), `doubts`, `best`, `min_score`, `scores` {action: score, the largest first},
        `running` [{time, action, best, score}], what it looked like by then; `objects` [{start, end, object, best,
        score}], stretches with one most probable object, and its mean score there; times in seconds; `notes`,
        `caveats`.
    """
    meta, scores, times = sequence.meta, sequence.action_scores, sequence.timestamps.tolist()
    actions, order = meta['actions'], scores.argsort(descending=True, stable=True).tolist()
    reasons, limit = doubts(sequence, min_score), shown_score(sequence, min_score)
    moments = [
        {'time': _seconds(times[frame]), **_named('action', actions, row, limit)}
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
        'doubts': reasons,
        'best': actions[order[0]],
        'min_score': min_score,
        'scores': {actions[i]: round(float(scores[i]), DIGITS) for i in order},
        'running': moments,
        'objects': list(_stretches(sequence, limit)),
        'notes': meta['notes'],
        'caveats': list(CAVEATS),
    }


def save_actions(path, record):
    """Writes what `action_record` gave, whole or not at all."""
    atomic_write(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')


def _missing_evidence(sequence):
    """What the video lacks for any action to be told."""
    reasons = []
    if sequence.meta['still'] and len(sequence.timestamps) > 1:
        reasons.append('the picture does not change')
    if not sequence.hand_valid.any():
        reasons.append('no frame has a plausible hand')
    return reasons


def _named(key, names, scores, limit):
    """The best name and its score; under `key` None where the score is below the limit."""
    best, score = int(scores.argmax()), float(scores.max())
    return {key: names[best] if score >= limit else None, 'best': names[best], 'score': _share(score)}


def _stretches(sequence, limit):
    """Runs of frames with one most probable object; the last frame is shown for a typical frame period."""
    best, start = sequence.object_scores.argmax(-1).tolist(), 0
    times, fps = sequence.timestamps.tolist(), sequence.meta['fps']
    times.append(times[-1] + (1 / fps if fps else 0))
    for _, run in itertools.groupby(best):
        end = start + len(list(run))
        scores = sequence.object_scores[start:end].mean(0)
        yield {
            'start': _seconds(times[start]),
            'end': _seconds(times[end]),
            **_named('object', sequence.meta['objects'], _only(scores, best[start]), limit),
        }
        start = end


def _only(scores, index):
    """The scores with all but one at 0."""
    kept = scores.new_zeros(len(scores))
    kept[index] = scores[index]
    return kept


def _seconds(value):
    return round(value, 3)


def _share(value):
    return round(float(value), DIGITS)
