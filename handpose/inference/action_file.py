"""The actions file: what a recogniser says of a video, as JSON; docs/your_own_actions.md describes it."""

import itertools
import json

from handpose.files import write_whole

FORMAT, VERSION = 'handpose-actions', 1
DIGITS = 4


def action_record(sequence, running, source=''):
    """What is in the file, as plain values.

    Args:
        sequence: what `ActionRecognizer.predict` gave. running: what `running` gave of the same video.
        source: what it was made by.

    Returns:
        dict: format, version, video, source, frames, fps, `action`, `scores` {action: probability, the largest first},
        `running` [{time, action, score}], what it looked like by then; `objects` [{start, end, object, score}],
        stretches with one most probable object, and its mean probability there; times in seconds; `notes`.
    """
    meta, scores = sequence.meta, sequence.action_scores
    actions, order = meta['actions'], scores.argsort(descending=True, stable=True).tolist()
    return {
        'format': FORMAT,
        'version': VERSION,
        'video': meta['sequence'],
        'source': source,
        'frames': len(sequence.timestamps),
        'fps': meta['fps'],
        'action': actions[order[0]],
        'scores': {actions[i]: round(float(scores[i]), DIGITS) for i in order},
        'running': [
            {'time': _seconds(frame / meta['fps']), 'action': actions[int(row.argmax())], 'score': _share(row.max())}
            for frame, row in zip(running.frames.tolist(), running.scores, strict=True)
        ],
        'objects': list(_stretches(sequence)),
        'notes': meta['notes'],
    }


def save_actions(path, record):
    """Writes what `action_record` gave, whole or not at all."""
    write_whole(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')


def _stretches(sequence):
    """Runs of frames with one most probable object."""
    best, fps, start = sequence.object_scores.argmax(-1).tolist(), sequence.meta['fps'], 0
    for thing, run in itertools.groupby(best):
        end = start + len(list(run))
        yield {
            'start': _seconds(start / fps),
            'end': _seconds(end / fps),
            'object': sequence.meta['objects'][thing],
            'score': _share(sequence.object_scores[start:end, thing].mean()),
        }
        start = end


def _seconds(value):
    return round(value, 3)


def _share(value):
    return round(float(value), DIGITS)
