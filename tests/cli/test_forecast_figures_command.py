"""`handpose forecast-figures` with small untrained models on a small Assembly101 tree, and what it computes."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from assembly101_files import ACTIONS, COLUMNS, pose_list, segment_rows, true_joints, write_csv, write_root

from handpose.cli import main
from handpose.experiments import forecast_figures as figures
from handpose.models import GHTT, GHTTPose
from handpose.video import VideoReader

SIZES = dict(channels=16, num_layers=1, num_heads=2, feedforward_channels=16, dropout=0.0)
NAMES = dict(actions=[row[3] for row in ACTIONS], objects=['cab', 'wheel'])
SETTINGS = dict(
    type='Assembly101',
    split='test',
    sampling=dict(type='ForecastSegments', num_observed=16, max_future=96),
    pipeline=[dict(type='SplitFuture', num_observed=16)],
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A recording of two seconds with two actions, at whose end the hands speed up."""
    folder = tmp_path_factory.mktemp('assembly101')
    joints = true_joints(160)
    joints[80:, :, :, 1] += 0.004 * np.arange(80)[:, None, None]
    write_root(folder, pose_list(joints))
    for name in ('train', 'validation', 'test'):
        path = folder / 'fine-grained-annotations' / f'{name}.csv'
        write_csv(path, COLUMNS, segment_rows(segments=[(0, 38, 1), (39, 79, 0)]))
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, root):
    """Writes configs and weights; runs the command in this process: its exit status and its output."""
    for kind, model in (
        ('GHTT', GHTT(dict(SIZES), dict(SIZES), **NAMES)),
        ('GHTTPose', GHTTPose(dict(SIZES))),
    ):
        config = dict(type=kind, pose_block=SIZES)
        if kind == 'GHTT':
            config |= dict(action_block=SIZES, **NAMES)
        text = f'model = {config}\ntest_dataset = {dict(SETTINGS, data_root=str(root))}\n'
        (tmp_path / f'{kind}.py').write_text(text)
        for seed in range(2):
            state = {
                name: value + 0.01 * seed if value.is_floating_point() else value
                for name, value in model.state_dict().items()
            }
            torch.save({'state_dict': state, 'meta': {}}, tmp_path / f'{kind}_{seed}.pth')

    def run_command(kind, *arguments):
        monkeypatch.chdir(tmp_path)
        code = 0
        try:
            main('forecast-figures', [f'{kind}.py', f'{kind}_0.pth', '-o', 'figures', *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, ' '.join(f'{captured.out} {captured.err} {code if isinstance(code, str) else ""}'.split())

    return run_command


def test_all_figures_of_the_whole_system(run, tmp_path):
    pytest.importorskip('matplotlib', reason="needs the extra 'train'")
    code, said = run('GHTT', '--clips', 2, '--samples', 3, '--seconds', 0.7, '--also', 'GHTT_1.pth')
    assert code == 0 and 'left out' not in said, said
    folder = tmp_path / 'figures'
    images = {'fan_1.png', 'fan_2.png', 'interpolation.png', 'transition.png', 'accuracy.png'}
    videos = {'fan_1.webm', 'fan_2.webm', 'interpolation.webm'}
    assert {path.name for path in folder.iterdir()} == images | videos | {'accuracy.json'}
    assert all(cv2.imread(str(folder / name)).std() > 5 for name in images)
    assert len(list(VideoReader(folder / 'fan_1.webm'))) >= 16 + 21
    record = json.loads((folder / 'accuracy.json').read_text())
    assert record['tracks'] == 2 and record['checkpoints'] == ['GHTT_0.pth', 'GHTT_1.pth']
    assert list(record['accuracy']) == ['0.25', '0.5', '0.75', '1']
    assert all(len(values) == 2 and set(values) <= {0, 0.5, 1} for values in record['accuracy'].values())
    assert len(re.findall('% of 2 test actions', said)) == 4


def test_block_p_alone_has_fans_and_the_interpolation(run, tmp_path):
    pytest.importorskip('matplotlib', reason="needs the extra 'train'")
    code, said = run('GHTTPose', '--clips', 1, '--samples', 2, '--seconds', 0.2)
    assert code == 0, said
    names = {path.name for path in (tmp_path / 'figures').iterdir()}
    assert names == {'fan_1.png', 'fan_1.webm', 'interpolation.png', 'interpolation.webm'}
    assert 'left out: transition, since GHTTPose takes no action' in said
    assert 'left out: accuracy, since GHTTPose recognizes no actions' in said


@pytest.mark.parametrize(
    'arguments, code, words',
    [
        (['--clips', '0'], 2, '--clips must be at least 1, got 0'),
        (['--samples', '0'], 2, '--samples must be at least 1, got 0'),
        (['--seconds', '0'], 2, '--seconds must be above 0'),
        (['--transition', 'screw cab', 'screw cab'], 2, "needs two actions, got 'screw cab' twice"),
        (
            ['--seconds', '9'],
            1,
            'has 270 frames after 16 observed ones, the longest has 41 frames: give fewer --seconds',
        ),
        (['--also', 'none.pth'], 1, 'none.pth'),
        (
            ['--cfg-options', 'test_dataset.sampling.type=Tracks'],
            1,
            "ForecastSegments', ...) and dict(type='SplitFuture'",
        ),
    ],
)
def test_what_is_wrong_is_an_error_message(run, tmp_path, arguments, code, words):
    found, said = run('GHTT', *arguments)
    assert words in said and 'Traceback' not in said, said
    assert (2 if code == 2 else str) == (found if code == 2 else type(found))
    assert not (tmp_path / 'figures').exists() or not list((tmp_path / 'figures').iterdir())


def test_a_transition_to_an_action_that_is_asked_for(root):
    model = GHTT(dict(SIZES), dict(SIZES), **NAMES, seed=0).eval()
    dataset = figures.forecast_dataset(dict(SETTINGS, data_root=root), 22)
    clips = figures.spread_clips(dataset, 10)
    assert [int(clip.action_label) for clip in clips] == [1, 0]
    assert all(len(clip.future.timestamps[0]) == 22 for clip in clips)
    found = figures.action_transition(model, clips, 22, 5, names=('pick up wheel', 'pick up cab'))
    assert found.actions == ('pick up wheel', 'pick up cab') and found.clip is clips[1]
    own, other = (future.joints_3d for future in found.futures)
    assert own.shape == (5, 22, 2, 21, 3)
    torch.testing.assert_close(own[:, :16], other[:, :16])  # of block P, with the same seed
    assert not torch.allclose(own[:, 16:], other[:, 16:])
    again = figures.sample_futures(model, clips[1], 22, 5, action=2).joints_3d
    torch.testing.assert_close(other, again)
    assert all(0 <= count <= 5 for count in found.recognized)
    for names, words in (
        (('pick up weel', 'pick up cab'), "Did you mean 'pick up wheel'"),
        (('pick up cab', 'screw cab'), "none of the 2 test clips .* has the action 'pick up cab'"),
    ):
        with pytest.raises(figures.FigureError, match=words):
            figures.action_transition(model, clips, 22, 5, names=names)


def test_the_other_action_has_the_same_object():
    names = ['grab milk', 'read book', 'pour milk', 'slowly pour milk', 'open milk', 'wave']
    assert names[figures.other_action(names, 2)] == 'open milk' and names[figures.other_action(names, 4)] == 'grab milk'
    assert names[figures.other_action(names, 3)] == 'open milk'
    assert names[figures.other_action(names, 1)] == 'pour milk'  # none with a book: the next one
    with pytest.raises(figures.FigureError, match='needs a second action, and the model knows pour milk, slowly pour'):
        figures.other_action(['pour milk', 'slowly pour milk'], 0)


def test_blended_motions_are_of_the_fastest_clip_and_of_another_action(root):
    model = GHTTPose(dict(SIZES)).eval()
    clips = figures.spread_clips(figures.forecast_dataset(dict(SETTINGS, data_root=root), 4), 8)
    motions, (first, second) = figures.blended_motions(model, clips, (0.0, 0.25, 1.0))
    speeds = [float((c.joints_3d[1:, :, 0] - c.joints_3d[:-1, :, 0]).norm(dim=-1).mean()) for c in clips]
    fastest = clips[int(np.argmax(speeds))]
    assert first.meta['frame_indices'] == fastest.meta['frame_indices'] and int(second.action_label) == 1
    ends = motions.joints_3d[:, -1, :, 2:]
    expected = (ends - ends[:1]).norm(dim=-1).mean((1, 2))
    kept = motions.replace(joints_valid=motions.joints_valid & (torch.arange(21) > 1))
    torch.testing.assert_close(figures.end_distances(kept), expected)
    assert expected[0] == 0 < expected[1] < expected[2]
    with pytest.raises(figures.FigureError, match=r'two clips that show all their hands .* and 1 do'):
        figures.blended_motions(model, clips[:1], (0.0, 1.0))


def test_accuracy_is_that_of_the_tracks_seen_in_part(root):
    class FirstFrames(GHTT):
        """Recognizes how many frames it is shown: 16 or fewer as action 1, more as action 0."""

        def recognize(self, batch):
            return torch.nn.functional.one_hot((batch.frame_valid.sum(1) <= 20).long(), 3).float()

    model, settings, done = FirstFrames(dict(SIZES), dict(SIZES), **NAMES).eval(), dict(SETTINGS, data_root=root), []
    found = [
        figures.accuracies_at_fraction([model, model], settings, fraction, 1, report=lambda *n: done.append(n))
        for fraction in (0.25, 0.5, 1.0)
    ]
    # 39 and 41 frames: 16 and 16 of them, 20 and 21, all
    assert found == [([0.5, 0.5], 2), ([1.0, 1.0], 2), ([0.5, 0.5], 2)]
    assert done[:2] == [(1, 2), (2, 2)]
