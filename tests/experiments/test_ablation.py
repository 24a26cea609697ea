"""Ablation tables: what is refused before anything runs, which runs are shared, resumed and refused, and the report.

Training and testing are played by two small scripts, so that the tests are about the order of things and the numbers.
"""

import json
import shutil
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from random_clips import RandomClips  # noqa: F401  (registers itself)

from handpose.engine import load_config
from handpose.engine.options import split_options
from handpose.evaluation.summary import save_records
from handpose.experiments.ablation.report import write_report
from handpose.experiments.ablation.runs import Workers, is_tested, is_trained, read_record, weights_for
from handpose.experiments.ablation.table import TableError, check_runs, list_runs, option_strings, read_table

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'deformer' / 'synthetic_paper.py')
CLIPS = {'type': 'RandomClips', '_delete_': True}
TABLE = {
    'config': CONFIG,
    'budget': {'epochs': 1, 'train_dataset': CLIPS, 'test_dataset': CLIPS},
    'seeds': [0, 1],
    'compare_to': 'base',
    'rows': [
        {'name': 'base'},
        {'name': 'average', 'options': {'model.head.mode': 'average'}},
        {
            'name': 'base, tested as average',
            'weights_of': 'base',
            'options': {'model.head.mode': 'average'},
            'without': ['head.confidence.weight'],
        },
    ],
    'metrics': ['pa_mpjpe_mm', 'pa_mpjpe_mm/occlusion_50_75'],
}
TRAIN = """
import pathlib, shutil, sys
here, work_dir = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
print('model.head.mode=average' in sys.argv)
if (here / 'break').is_file() and 'model.head.mode=average' in sys.argv:
    sys.exit('error: the loss is not finite')
shutil.copy(here / 'weights.pth', work_dir / 'epoch_1.pth')
"""
TEST = """
import json, pathlib, shutil, sys
here, work_dir = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
kind = 'average' if 'model.head.mode=average' in sys.argv else 'base'
seed = sys.argv[[a.startswith('randomness.seed=') for a in sys.argv].index(True)][-1]
numbers = json.loads((here / f'{kind}_{seed}.json').read_text())
rows = {'model': numbers} | ({'mean_hand': numbers, 'procrustes_mean_hand': numbers} if '--compare' in sys.argv else {})
(work_dir / 'records' / 'model').mkdir(parents=True, exist_ok=True)
shutil.copy(here / f'{kind}_{seed}.npz', work_dir / 'records' / 'model' / 'HandPoseMetric.npz')
(work_dir / 'metrics.json').write_text(json.dumps(rows))
"""


def write_table(folder, **changes):
    path = folder / 'small.yml'
    path.write_text(yaml.safe_dump({**TABLE, **changes}))
    return path


def records(error):
    """Of 6 sequences with 4 frames each, whose third frame is half hidden; the error grows with the sequence."""
    frame, sequence = np.tile(np.arange(4), 6), np.repeat(np.arange(6), 4)
    return {
        'sequence': np.array([f's{s}' for s in sequence]),
        'camera': np.full(24, '0'),
        'frame': frame,
        'hand': np.full(24, 'right'),
        'occlusion': np.where(frame == 2, 0.6, 0.1),
        'pa_mpjpe_mm': np.array([float(error(s, f)) for s, f in zip(sequence, frame, strict=True)]),
    }


@pytest.fixture
def tools(tmp_path):
    """Scripts train.py and test.py that answer at once, with errors of 10 mm (base) and 10 + sequence (average)."""
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'train.py').write_text(TRAIN)
    (folder / 'test.py').write_text(TEST)
    state = {'estimator.head.confidence.weight': torch.zeros(2), 'estimator.x': torch.ones(1)}
    torch.save({'state_dict': state, 'meta': {'iter': 7, 'hand_model': 'procedural-1'}}, folder / 'weights.pth')
    for seed in (0, 1):
        for kind, error in (('base', lambda s, f: 10 + f), ('average', lambda s, f, seed=seed: 10 + f + s + seed)):
            kept = records(error)
            save_records(folder / f'{kind}_{seed}.npz', kept)
            mean = kept['pa_mpjpe_mm'].mean()
            (folder / f'{kind}_{seed}.json').write_text(json.dumps({'pa_mpjpe_mm': mean, 'num_samples': 24}))
    return folder


def command(tools):
    """Runs <command>.py of a folder instead of `handpose <command>`."""
    return [sys.executable, '-c', 'import runpy, sys; runpy.run_path(f"{sys.argv[1]}/{sys.argv[2]}.py")', str(tools)]


def do(tools, runs, settings=None, said=None):
    show = lambda run, text: said is not None and said.append((run.name, text))  # noqa: E731
    return Workers(settings or {run.name: ({}, {}) for run in runs}, 2, show, command(tools)).complete(runs)


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(sedes=[1]), ["'sedes' is not a key", "Did you mean 'seeds'"]),
        (dict(rows=[{'name': 'base'}, {'name': 'base'}]), ["two rows are named 'base'"]),
        (dict(rows=[{'name': 'base', 'option': {}}]), ["'option' is not a key", "Did you mean 'options'"]),
        (dict(compare_to='bas'), ['compare_to names no row', "Did you mean 'base'"]),
        (dict(rows=[{'name': 'base'}, {'name': 'a', 'weights_of': 'c'}]), ["weights_of of row 'a' names no row"]),
        (dict(rows=[{'name': 'base'}, {'name': 'a', 'without': ['x']}]), ["'without' leaves tensors out"]),
        (dict(seeds=[0, 0]), ['seeds must be a list of different ints']),
        (dict(seeds=['0']), ['seeds must be a list of different ints']),
        (dict(metrics='pa_mpjpe_mm'), ['metrics must be a list']),
        (dict(plot={'x': 'pa_mpjpe_mm'}), ['plot lacks y']),
        (dict(plot={'x': 'a', 'y': 'b', 'z': 'c'}), ["plot: 'z' is not a key"]),
    ],
)
def test_a_bad_table_is_a_sentence(tmp_path, changes, words):
    with pytest.raises(TableError) as error:
        read_table(write_table(tmp_path, **changes))
    for word in words:
        assert word in str(error.value)


def test_a_repeated_key_is_a_sentence(tmp_path):
    path = write_table(tmp_path)
    path.write_text(path.read_text() + 'seeds: [3]\n')
    with pytest.raises(TableError, match="has the key 'seeds' twice"):
        read_table(path)


@pytest.mark.parametrize(
    'options, words',
    [
        ({'model.head.mod': 'average'}, "'mod' is not a key of model.head.*Did you mean 'mode'"),
        ({'model.head.mode': 'averge'}, "mode must be one of .*'averge'"),
        ({'test_dataset': {'type': 'DexYCB', 'data_root': 'nowhere', '_delete_': True}}, 'nowhere'),
        ({'model.loss.vertex_weight': '1e3'}, 'cannot be written on a command line.*with a point'),
    ],
)
def test_a_bad_row_is_found_before_anything_runs(tmp_path, options, words):
    table = read_table(write_table(tmp_path, rows=[{'name': 'base'}, {'name': 'bad', 'options': options}]))
    with pytest.raises(ValueError, match=words):
        check_runs(list_runs(table, tmp_path / 'runs'))


def test_words_of_the_command_line_mean_the_same(tmp_path):
    options = {'epochs': 3, 'val_dataloader': None, 'crop_rotation': 0.25, 'train_dataset': CLIPS}
    words = option_strings(options)
    assert load_config(CONFIG, split_options(words)).to_dict() == load_config(CONFIG, options).to_dict()
    assert load_config(CONFIG, options).train_dataloader.dataset.type == 'RandomClips'


def test_equal_runs_are_one_run(tmp_path):
    """Every row has its first seed before any has its second; equal options in another order share a folder."""
    table = read_table(write_table(tmp_path))
    runs = list_runs(table, tmp_path / 'runs')
    assert [(run.seed, run.row.name) for run in runs] == [(s, row.name) for s in (0, 1) for row in table.rows]
    base, average, shared = runs[:3]
    assert base.train_dir == shared.train_dir != average.train_dir and base.test_dir != shared.test_dir
    assert [run.constants for run in runs] == [True, False, False, False, False, False]
    budget = dict(reversed(TABLE['budget'].items()))
    other = read_table(write_table(tmp_path, rows=[{'name': 'x'}], compare_to='x', budget=budget))
    assert list_runs(other, tmp_path / 'runs')[1].test_dir == runs[3].test_dir


def test_runs_are_done_once_and_reported(tmp_path, tools):
    table = read_table(write_table(tmp_path))
    runs = list_runs(table, tmp_path / 'runs')
    settings, said = check_runs(runs), []
    assert write_report(table, runs) is None
    assert do(tools, runs, settings, said) == {}
    assert all(is_trained(run, settings[run.name][0]) and is_tested(run, settings[run.name][1]) for run in runs)
    trained = [name for name, text in said if text == 'training']
    assert sorted(trained) == [f'small: {row}, seed {seed}' for row in ('average', 'base') for seed in (0, 1)]
    assert read_record(runs[0].train_dir)['iterations'] == 7
    done = len(said)
    assert do(tools, runs, settings, said) == {} and {text for _, text in said[done:]} == {'finished'}

    page = write_report(table, runs).read_text()
    report = json.loads((tmp_path / 'small.json').read_text())
    row = report['rows']['average']
    # Errors of 'average' are larger by the number of the sequence (mean 2.5) and by the seed (mean 0.5).
    assert row['metrics']['pa_mpjpe_mm']['by_seed'] == {'0': 14.0, '1': 15.0}
    assert row['difference']['pa_mpjpe_mm']['difference'] == pytest.approx(3.0)
    assert row['difference']['pa_mpjpe_mm']['num_clusters'] == 6
    assert row['difference']['pa_mpjpe_mm/occlusion_50_75']['num_pairs'] == 6
    assert row['difference']['pa_mpjpe_mm']['by_seed'] == {'0': 2.5, '1': 3.5}
    # Six clusters with differences 0.5 to 5.5: the bootstrap's standard error is their spread over sqrt(6).
    half = 1.96 * np.std(np.arange(6)) / np.sqrt(6)
    found = row['difference']['pa_mpjpe_mm']
    np.testing.assert_allclose([found['low'], found['high']], [3 - half, 3 + half], atol=0.15)
    assert '| average | 14.50 (14.00 to 15.00) |' in page and '**+3.00** [+1.' in page
    assert 'mean hand ²' in page and '24 hands in 6 sequences' in page
    assert '| PA-MPJPE (mm) ↓ | PA-MPJPE, 50-75 % occluded (mm) ↓ |' in page
    # The constant hands have the numbers of 'base', which no row beats.
    assert 'Rows that do not beat the better constant hand in PA-MPJPE: base; average' in page


def test_the_plot_of_a_table(tmp_path, tools):
    """One number against another; every run has both here, and the page shows the image."""
    rows = [{**row, 'series': 'all'} for row in TABLE['rows'][:2]]
    plot = {'x': 'num_samples', 'y': 'pa_mpjpe_mm'}
    path = write_table(tmp_path, rows=rows, plot=plot, metrics=['pa_mpjpe_mm', 'num_samples'], constant_hands=False)
    table = read_table(path)
    runs = list_runs(table, tmp_path / 'runs')
    assert do(tools, runs) == {}
    assert '(small.png)' in write_report(table, runs).read_text()
    image = cv2.imread(str(tmp_path / 'small.png'))
    assert image.ndim == 3 and image.std() > 5
    wrong = read_table(write_table(tmp_path, plot={**plot, 'y': 'pa_mpjpe'}, metrics=['num_samples', 'pa_mpjpe_mm']))
    with pytest.raises(TableError, match=r"plot: y must be one of metrics, got 'pa_mpjpe'.*Did you mean 'pa_mpjpe_mm'"):
        write_report(wrong, list_runs(wrong, tmp_path / 'runs'))


def test_a_model_without_parameters_is_tested_once(tmp_path, tools):
    """It needs no training, and is paired with every seed of the row that it is compared with."""
    rows = [TABLE['rows'][0], {'name': 'still', 'untrained': True, 'options': {'model.head.mode': 'average'}}]
    table = read_table(write_table(tmp_path, rows=rows, constant_hands=False))
    runs, said = list_runs(table, tmp_path / 'runs'), []
    assert [run.name for run in runs] == ['small: base, seed 0', 'small: still, seed 0', 'small: base, seed 1']
    assert do(tools, runs, said=said) == {}
    assert ('small: still, seed 0', 'training') not in said and ('small: still, seed 0', 'testing') in said
    page = write_report(table, runs).read_text()
    row = json.loads((tmp_path / 'small.json').read_text())['rows']['still']
    assert row['difference']['pa_mpjpe_mm']['by_seed'] == {'0': 2.5, '1': 2.5}
    assert '| still ³ | 14.00 |' in page and 'tested once' in page and 'mean hand' not in page
    with pytest.raises(TableError, match="row 'still': Deformer has parameters, so it must be trained"):
        check_runs(runs[1:2])


def test_a_failed_run_leaves_the_others_alone(tmp_path, tools):
    table = read_table(write_table(tmp_path))
    runs = list_runs(table, tmp_path / 'runs')
    (tools / 'break').touch()
    failures = do(tools, runs)
    assert set(failures) == {f'small: average, seed {seed}' for seed in (0, 1)}
    assert all('the loss is not finite' in sentence and 'log.txt' in sentence for sentence in failures.values())
    write_report(table, runs)
    report = json.loads((tmp_path / 'small.json').read_text())
    assert report['rows']['average']['seeds'] == [] and report['missing'] == {'average': [0, 1]}
    (tools / 'break').unlink()
    assert do(tools, runs) == {} and is_tested(runs[1])


def test_other_settings_name_the_folder(tmp_path, tools):
    table = read_table(write_table(tmp_path))
    runs = list_runs(table, tmp_path / 'runs')[:1]
    do(tools, runs, {runs[0].name: ({'train_cfg': {'max_epochs': 1, 'new': 0}}, {})})
    assert is_trained(runs[0], {'train_cfg': {'max_epochs': 1}})
    with pytest.raises(TableError, match=f'{runs[0].train_dir}.*train_cfg.max_epochs: 1, now 2') as error:
        is_trained(runs[0], {'train_cfg': {'max_epochs': 2}})
    assert 'remove the folder' in str(error.value)
    (runs[0].train_dir / 'run.json').unlink()
    with pytest.raises(TableError, match=r'holds weights but no run\.json'):
        is_trained(runs[0])


def test_an_option_that_only_one_side_names_stands_against_its_default(tmp_path, tools):
    runs = list_runs(read_table(write_table(tmp_path)), tmp_path / 'runs')[:1]
    head = dict(type='MotionRefinementHead', channels=4)
    do(tools, runs, {runs[0].name: ({'model': {'head': head}}, {})})
    assert is_trained(runs[0], {'model': {'head': {**head, 'pose_regression': 'pooled'}}})
    with pytest.raises(TableError, match=r"model\.head\.pose_regression: 'pooled', now 'flattened'"):
        is_trained(runs[0], {'model': {'head': {**head, 'pose_regression': 'flattened'}}})


def test_weights_without_a_tensor(tmp_path, tools):
    table = read_table(write_table(tmp_path))
    shared = list_runs(table, tmp_path / 'runs')[2]
    shared.train_dir.mkdir(parents=True)
    shutil.copy(tools / 'weights.pth', shared.train_dir / 'epoch_1.pth')
    state = torch.load(weights_for(shared)[0], weights_only=True)
    assert set(state['state_dict']) == {'estimator.x'} and state['meta']['hand_model'] == 'procedural-1'
    rows = [*TABLE['rows'][:1], {'name': 'y', 'weights_of': 'base', 'without': ['head.nothing']}]
    wrong = list_runs(read_table(write_table(tmp_path, rows=rows)), tmp_path / 'runs')[1]
    with pytest.raises(TableError, match=r"has no tensor 'head\.nothing' to leave out"):
        weights_for(wrong)


def test_an_interrupt_stops_the_processes(tmp_path, tools):
    """The first run sleeps for an hour; being interrupted ends it, and leaves the run to be done again."""
    (tools / 'train.py').write_text('import time; print("epoch 1", flush=True); time.sleep(3600)')
    runs = list_runs(read_table(write_table(tmp_path)), tmp_path / 'runs')[:1]
    workers = Workers({run.name: ({}, {}) for run in runs}, 1, lambda run, text: heard(text), command(tools))
    seen = threading.Event()

    def heard(text):
        if 'epoch 1' in text:
            seen.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.complete(runs)
    assert seen.is_set() and all(process.poll() is not None for process in workers.processes)
    assert not is_trained(runs[0]) and not read_record(runs[0].train_dir)['finished']


def test_samples_that_differ_are_not_paired(tmp_path, tools):
    table = read_table(write_table(tmp_path))
    runs = list_runs(table, tmp_path / 'runs')
    do(tools, runs)
    path = runs[1].test_dir / 'records' / 'model' / 'HandPoseMetric.npz'
    save_records(path, {name: column[:-1] for name, column in records(lambda s, f: 1.0).items()})
    with pytest.raises(TableError, match='tested on different samples'):
        write_report(table, runs)


def test_actions_are_paired_by_their_videos(tmp_path, tools):
    metrics = ['action_accuracy', 'action_accuracy/pairs', 'pa_mpjpe_mm']
    evaluator = [{'type': 'HandPoseMetric'}, {'type': 'ActionMetric', 'pairs': [['open', 'close']]}]
    table = read_table(write_table(tmp_path, metrics=metrics, test={'test_evaluator': evaluator}))
    runs = list_runs(table, tmp_path / 'runs')
    do(tools, runs)
    for run in runs:
        hits = np.array([1.0, 1, 0, 0]) if run.row.name == table.compare_to else np.array([1.0, 0, 0, 0])
        videos = dict(sequence=np.array(list('abcd')), camera=np.array(['0'] * 4), label=np.arange(4))
        pairs = np.where([True, True, False, False], hits, np.nan)
        columns = {**videos, 'action_accuracy': hits, 'action_accuracy/pairs': pairs}
        save_records(run.test_dir / 'records' / 'model' / 'ActionMetric.npz', columns)
    results = json.loads(write_report(table, runs).with_suffix('.json').read_text())
    differences = [row['difference'] for name, row in results['rows'].items() if name != table.compare_to]
    for found in differences:
        assert set(found) == set(metrics)
        assert found['action_accuracy']['difference'] == pytest.approx(-0.25)
        assert found['action_accuracy/pairs']['difference'] == pytest.approx(-0.5)
        assert found['action_accuracy']['num_clusters'] == 4 and found['action_accuracy/pairs']['num_clusters'] == 2


def test_a_metric_of_another_project_is_a_column(tmp_path, tools):
    """Its module is named in the config alone; title, unit and direction of the column come from its spec."""
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = [{CONFIG!r}]\n'
        "custom_imports = dict(imports=['outside_metric'])\n"
        "test_evaluator = [dict(type='HandPoseMetric'), dict(type='WristError')]\n"
    )
    table = read_table(write_table(tmp_path, config=str(config), metrics=['wrist_error_mm'], constant_hands=False))
    runs = list_runs(table, tmp_path / 'runs')
    check_runs(runs[:1])
    do(tools, runs)
    for run in runs:
        numbers = run.test_dir / 'metrics.json'
        numbers.write_text(json.dumps({'model': {'wrist_error_mm': 7.25, 'wrist_error_count': 6}}))
    page = write_report(table, runs).read_text()
    assert '| wrist error (mm) ↓ | seeds |' in page and '| **base** | 7.2 (7.2 to 7.2) | 2 |' in page
    assert 'Test split: 6 clips in 6 sequences.' in page


def test_a_number_that_no_test_reports_is_refused(tmp_path):
    runs = list_runs(read_table(write_table(tmp_path, metrics=['pa_mpjpe'])), tmp_path / 'runs')
    with pytest.raises(TableError, match=r"metrics: no metric reports 'pa_mpjpe'.*Did you mean 'pa_mpjpe_mm'"):
        check_runs(runs[:1])
