"""What metrics say about their numbers, who reads it, and that nobody else names a number."""

import ast
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import handpose.evaluation
from handpose.engine import build_runner, load_config, run_settings
from handpose.evaluation import HandPoseMetric, Metric, MetricSpec, find_spec, headlines, metrics_table, specs_of
from handpose.registry import METRICS

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ('handpose', 'tools', 'configs') for path in sorted((ROOT / folder).rglob('*.py'))]
OUTSIDE = """
_base_ = ['{base}']
custom_imports = dict(imports=['random_clips', 'outside_metric'])
val_dataset = dict(_delete_=True, type='RandomClips', length=4)
val_dataloader = dict(_delete_=True, dataset='$val_dataset', batch_size=2)
val_evaluator = [dict(type='WristError')]
test_evaluator = [dict(type='HandPoseMetric'), dict(type='WristError')]
default_hooks = dict(checkpoint=dict(save_best='headline'))
epochs = 1
"""


def registered(tmp_path):
    """Every metric of the package with default options."""
    (tmp_path / 'evaluation.txt').write_text('')
    needed = {'path': str(tmp_path / 'out.json'), 'version': 3, 'data_root': str(tmp_path)}
    needed['features'] = dict(type='TrainedMotionFeatures', weights='classifier.safetensors')  # of MotionFID
    METRICS.import_from_location()
    for name, metric in METRICS.module_dict.items():
        if metric.__module__.startswith('handpose.'):
            arguments = metric.__init__.__code__.co_varnames[: metric.__init__.__code__.co_argcount]
            yield METRICS.build({'type': name, **{key: value for key, value in needed.items() if key in arguments}})


def test_every_module_of_the_package_is_imported():
    METRICS.import_from_location()
    modules = {m.name for m in pkgutil.walk_packages(handpose.evaluation.__path__, 'handpose.evaluation.')}
    assert modules <= set(sys.modules)


def test_every_registered_metric_has_specs(tmp_path):
    metrics = list(registered(tmp_path))
    assert {type(m).__name__ for m in metrics} >= {'HandPoseMetric', 'HandMeshMetric', 'ActionMetric', 'HO3DSubmission'}
    for metric in metrics:
        specs = specs_of([metric])
        assert specs and all(spec.title for spec in specs.values())
        assert all(spec.count is None or spec.count.partition('/')[0] in specs for spec in specs.values())
        assert all(not spec.is_count or (spec.digits == 0 and not spec.headline) for spec in specs.values())


def test_the_name_of_a_number_is_written_in_one_module(tmp_path):
    """Counts have common names, such as num_samples, so that only their string literals are looked for."""
    texts = {path: path.read_text() for path in SOURCES}
    literals = {
        path: {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        for path, text in texts.items()
    }
    specs = [spec for metric in registered(tmp_path) for spec in metric.specs if '/' not in spec.name]
    for spec in {spec.name: spec for spec in specs}.values():
        word = re.compile(rf'(?<![\w/]){re.escape(spec.name)}(?!\w)')
        found = [p for p in SOURCES if spec.name in literals[p] or (not spec.is_count and word.search(texts[p]))]
        assert len(found) <= 1, (spec.name, found)


def test_a_spec_of_a_group_and_its_texts():
    spec = MetricSpec('error_mm', 'error', 'mm', lower_is_better=True, headline=True, count='num', curve_max=50)
    left = spec.of_group('left', 'left hands', in_table=True)
    assert (left.name, left.label, left.group) == ('error_mm/left', 'error, left hands (mm)', 'left')
    assert left.count == 'num/left'
    assert not left.headline and left.curve_max is None and left.lower_is_better
    assert spec.format(-1.234) == '-1.23' and spec.format(1.234, '+') == '+1.23'
    assert spec.is_better(1, 2) and not spec.is_better(2, 1) and not spec.is_better(1, 1)
    share = MetricSpec('share', 'share', lower_is_better=False)
    assert share.is_better(2, 1) and not share.is_better(1, 1) and (share.arrow, spec.arrow) == ('↑', '↓')
    count = MetricSpec.counting('num', 'hands')
    assert count.format(12.0) == '12' and count.arrow == '' and not count.is_better(1, 2) and not count.is_better(2, 1)


def test_headlines_and_names():
    specs = specs_of([HandPoseMetric(count_wrist=False)])
    assert [spec.name for spec in headlines(specs)] == [
        'pa_mpjpe_mm',
        'mpjpe_ra_wrist_20_joints_mm',
        'accel_error_mm_per_frame2',
    ]
    assert specs['mpjpe_ra_wrist_20_joints_mm'].title == 'wrist-aligned MPJPE of 20 joints'
    assert specs['mpjpe_ra_wrist_20_joints_mm/left'].in_table and not specs['pa_mpjpe_mm/joint_wrist'].in_table
    with pytest.raises(ValueError, match=r"no metric reports 'pa_mpjpe'.*Did you mean 'pa_mpjpe_mm'"):
        find_spec(specs, 'pa_mpjpe')


def test_what_is_no_complete_metric_is_refused():
    class Halfway(Metric):
        def process_clip(self, prediction, target):
            return 0

    with pytest.raises(TypeError, match='abstract'):
        Halfway()

    class Undeclared(Halfway):
        specs = ()

        def reduce(self, results):
            return {'surprise': 1.0}

    with pytest.raises(ValueError, match=r"Undeclared\.reduce reports 'surprise'; add a MetricSpec"):
        Undeclared().evaluate(1)
    with pytest.raises(ValueError, match=r'keep_records must be the path of an \.npz file'):
        Undeclared(keep_records='records.npz')
    with pytest.raises(TypeError, match='object has no specs'):
        specs_of([object()])
    with pytest.raises(ValueError, match="'pa_mpjpe_mm' is reported twice, the second time by HandPoseMetric"):
        specs_of([HandPoseMetric(), HandPoseMetric()])


def test_a_metric_of_another_project_is_shown_like_ours(tmp_path, capsys):
    """In the line of a validation, in the table of a test, and by `save_best`; for ablations see test_ablation.py."""
    path = tmp_path / 'config.py'
    path.write_text(OUTSIDE.format(base=ROOT / 'tests' / 'engine' / 'random_clips_config.py'))
    config = run_settings(load_config(path), tmp_path / 'work')
    build_runner(config, experiment_name='outside_train').train()
    assert re.search(r'validation after epoch 1: wrist error \d+\.\d mm\n', capsys.readouterr().out)
    assert (tmp_path / 'work' / 'best.pth').is_file()
    runner = build_runner(config, experiment_name='outside_test', purpose='test')
    table = metrics_table({'model': runner.test()}, specs_of(runner.test_loop.evaluator.metrics))
    assert re.search(r'\| wrist_error_mm +\| ↓ \| +\d+\.\d \|\n', table) and '| wrist_error_count' in table
