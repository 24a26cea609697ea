"""H2O's submission of actions, read back with the standard library alone."""

import json
import zipfile

import pytest
import torch

from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError


def segment(number, best, actions=36, name=None):
    meta = dict(dataset='H2O', sequence=name or f'subject4/{number}', cameras=['cam4'], frame_indices=[0])
    if number is not None:
        meta['segment'] = number
    scores = torch.zeros(actions)
    scores[best] = 1
    target = HandSequence(meta=meta, action_label=torch.tensor(-1))
    return {'prediction': HandSequence(meta=meta, action_scores=scores), 'target': target}


def submit(path, segments, size=None, **options):
    metric = METRICS.build(dict(type='H2OSubmission', path=str(path), **options))
    metric.process(None, segments)
    return metric.evaluate(size or len(segments))


@pytest.fixture
def said(monkeypatch):
    sentences = []
    where = 'handpose.evaluation.submissions.h2o.print_log'
    monkeypatch.setattr(where, lambda sentence, logger, level: sentences.append(sentence))
    return sentences


def test_the_archive_is_as_the_server_wants_it(tmp_path, said):
    best = {i: (7 * i) % 36 for i in range(1, 243)}
    path = tmp_path / 'out' / 'answer.zip'
    numbers = submit(path, [segment(i, best[i]) for i in range(242, 0, -1)])
    assert numbers == {'submitted_segments': 242.0} and not said
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ['action_labels.json']
        content = json.loads(archive.read('action_labels.json'))
    assert content == {'modality': 'RGB', **{str(i): best[i] + 1 for i in best}}
    assert list(content)[:3] == ['modality', '1', '2'] and set(range(1, 37)) == set(list(content.values())[1:])


def test_another_list_is_written_with_a_warning(tmp_path, said):
    submit(tmp_path / 'a.json', [segment(2, 0), segment(1, 35), segment(2, 0)], size=2, modality='RGB+depth')
    assert json.loads((tmp_path / 'a.json').read_text()) == {'modality': 'RGB+depth', '1': 36, '2': 1}
    assert 'the official test list of H2O 242' in said[0]


@pytest.mark.parametrize(
    'segments, size, sentence',
    [
        ([segment(1, 0), segment(3, 0)], 3, '2 of 3 segments were predicted, numbered 1 to 3'),
        ([segment(0, 0), segment(1, 0)], 2, 'holds all segments from 1'),
        ([segment(1, 0, actions=12)], 1, "of H2O's 36 actions, and the prediction has 12"),
        ([segment(None, 0)], 1, r"no meta\['segment'\]"),
    ],
)
def test_nothing_is_written_when_something_is_wrong(tmp_path, segments, size, sentence):
    with pytest.raises(SequenceError, match=sentence):
        submit(tmp_path / 'a.zip', segments, size)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r'is a \.zip'):
        submit(tmp_path / 'a.txt', segments, size)
