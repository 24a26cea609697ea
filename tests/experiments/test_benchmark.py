"""`handpose benchmark` with tiny cases, and that reference forms compute the same. Never how fast."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from samplings import centred

from handpose.cli import benchmark, main
from handpose.engine.training import DEFAULTS
from handpose.experiments.benchmarks import case as registry
from handpose.experiments.benchmarks import inputs, report, results
from handpose.experiments.benchmarks import measure as machinery
from handpose.experiments.benchmarks.measure import MeasurementPlan, measure, start_server
from handpose.models.layers import pose_to_rotmat

ROOT = Path(__file__).parents[2]

QUICK = MeasurementPlan(repeats=3, seconds=60, least=0.001, limit=60)
FAKE = '''
import os, sys, time
import numpy as np
from handpose.experiments.benchmarks.case import Work, case

@case('thing', target=1e12)
def adds(settings):
    """Adds numbers quickly."""
    return Work(lambda: sum(range(100)), 10, lambda: {'sum:': sum(range(100))})

@adds.reference
def adds_slowly(settings):
    """Adds numbers with a pause."""
    return Work(lambda: time.sleep(0.002), 5)

@case('thing')
def refuses(settings):
    """Cannot be set up."""
    raise ValueError('there is no such thing')

@case('thing')
def aborts(settings):
    """Dies in its first round."""
    calls = []
    def run():
        calls.append(1)
        if len(calls) > 2:
            print('primitive not supported', flush=True)
            os.abort()
        time.sleep(0.002)
    return Work(run, 1)

@aborts.reference
def aborts_not(settings):
    """Lives."""
    return Work(lambda: None, 1)

@case('thing')
def referred(settings):
    """Has a reference that cannot be set up."""
    return Work(lambda: None, 1)

@referred.reference
def refuses_too(settings):
    """Refuses."""
    raise RuntimeError('no reference today')

@case('thing', shows='time')
def hungry(settings):
    """Needs 64 MB."""
    return Work(lambda: np.ones(8 * 2**20).sum(), 1)

@hungry.reference
def frugal(settings):
    """Needs 16 MB."""
    return Work(lambda: np.ones(2 * 2**20).sum(), 1)

@case('thing', when='asked')
def hangs(settings):
    """Does not come back."""
    return Work(lambda: time.sleep(600), 1)

@case('thing', devices=('cuda',))
def elsewhere(settings):
    """Needs a GPU."""
    return Work(lambda: None, 1)
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The folder of the fake cases, alone in the registry, with results going to tmp_path."""
    monkeypatch.setattr(registry, 'CASES', {})
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'cases'
    folder.mkdir()
    (folder / 'fake.py').write_text(FAKE)
    start_server(1)
    return folder


def measured(folder, name, plan=QUICK):
    return measure(registry.load_cases(folder)[name], registry.Settings(), plan)


def test_spread_and_ratios():
    assert results.spread([3.0, 1.0, 2.0, 10.0]) == {'median': 2.5, 'low': 1.0, 'high': 10.0}
    case = {'count': 10, 'seconds': [1.0, 2.0, 4.0], 'memory_mb': {'start': 100.0, 'peak': 130.0}}
    reference = {'count': 5, 'seconds': [2.0, 2.0, 2.0], 'memory_mb': {'start': 100.0, 'peak': 160.0}}
    found = results.ratios(case, reference)
    # rates 10, 5, 2.5 against 2.5 in every round
    assert found == {'speed_ratio': {'median': 2.0, 'low': 1.0, 'high': 4.0}, 'memory_ratio': 0.5}
    on_gpu = [
        {**form, 'memory_mb': {**form['memory_mb'], 'cuda_peak': peak}} for form, peak in ((case, 3), (reference, 2))
    ]
    assert results.ratios(*on_gpu)['memory_ratio'] == 1.5
    reference['memory_mb']['peak'] = 100.5
    assert results.ratios(case, reference)['memory_ratio'] is None


def test_a_case_with_its_reference(fake):
    record = measured(fake, 'adds')
    assert record['failed'] is None and record['about'] == 'Adds numbers quickly'
    case, reference = record['forms']['case'], record['forms']['reference']
    assert len(case['seconds']) == len(reference['seconds']) == 3
    assert case['count'] == 10 and reference['count'] == 5 and case['inner'] > 1
    assert case['notes'] == {'sum:': 4950}
    assert len(case['cpu_seconds']) == 3 and min(case['cpu_seconds']) > 0
    assert sum(reference['cpu_seconds']) < sum(reference['seconds'])  # it sleeps
    assert case['rate']['median'] == pytest.approx(10 / np.median(case['seconds']))
    assert record['speed_ratio']['low'] <= record['speed_ratio']['median'] <= record['speed_ratio']['high']
    assert 'BELOW the target' in report.rows(a_run(adds=record))[0][2]


@pytest.mark.parametrize('method', ['forkserver', 'spawn'])  # the CPU's way, and the GPU's
def test_memory_is_each_forms_own(fake, monkeypatch, method):
    monkeypatch.setattr(machinery, 'start_method', lambda device: method)
    record = measured(fake, 'hungry')
    added = [results.added_memory(record['forms'][name]['memory_mb']) for name in ('case', 'reference')]
    assert 60 < added[0] < 100 and 14 < added[1] < 50


@pytest.mark.parametrize(
    'name, words',
    [
        ('refuses', 'ValueError: there is no such thing'),
        ('aborts', 'died by SIGABRT: primitive not supported'),
        ('hangs', 'no answer within 1 s'),
    ],
)
def test_a_failing_case_is_a_line_of_the_results(fake, name, words):
    record = measured(fake, name, MeasurementPlan(3, 60, 0.001, limit=1 if name == 'hangs' else 60))
    assert record['failed'] == words and 'speed_ratio' not in record
    assert report.rows(a_run(**{name: record}))[0][2] == f'failed: {words}'
    json.dumps(record)


def test_a_failing_reference_leaves_the_case(fake):
    record = measured(fake, 'referred')
    assert record['failed'] is None and len(record['forms']['case']['seconds']) == 3
    assert record['forms']['reference']['failed'] == 'RuntimeError: no reference today'
    assert 'failed: RuntimeError' in report.rows(a_run(referred=record))[0][6]


def test_a_case_without_its_package_is_skipped(fake, capsys):
    (fake / 'more.py').write_text(
        'from handpose.experiments.benchmarks.case import Work, case\n'
        "@case('thing', packages=('numpy', 'no_such_package'))\n"
        'def needs_more(settings):\n    """Needs a package."""\n    return Work(lambda: None, 1)\n'
    )
    words = ['--repeats', '2', '--seconds', '0', '--only', 'needs_more', 'adds']
    main('benchmark', ['--folder', str(fake), '--out', 'found.json', *words])
    assert 'needs_more: skipped, needs: pip install no_such_package' in capsys.readouterr().out
    assert list(results.read_results('found.json')['cases']) == ['adds']


def test_a_run_is_kept_and_resumed(fake, monkeypatch, capsys):
    """Ctrl-C in the second case: the first is in the file, and a resumed run measures the others alone."""
    first = [
        '--folder',
        str(fake),
        '--out',
        'found.json',
        '--device',
        'cpu',
        '--repeats',
        '2',
        '--only',
        'adds',
        'hungry',
    ]
    real, done = measure, []

    def interrupted(case, *others):
        done.append(case.name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return real(case, *others)

    monkeypatch.setattr(benchmark, 'measure', interrupted)
    with pytest.raises(SystemExit, match='130'):
        main('benchmark', first)
    assert 'the same command with --out found.json --resume' in capsys.readouterr().err
    kept = results.read_results('found.json')
    assert list(kept['cases']) == ['adds'] and done == ['adds', 'hungry']
    with pytest.raises(SystemExit, match='exists already'):
        main('benchmark', first)
    main('benchmark', [*first, '--resume'])
    found = results.read_results('found.json')
    assert done == ['adds', 'hungry', 'hungry'] and list(found['cases']) == ['adds', 'hungry']
    assert found['cases']['adds'] == kept['cases']['adds'] and found['started'] == kept['started']
    assert set(found) == {'format', 'started', 'machine', 'versions', 'settings', 'load_average', 'cases'}
    assert {'about', 'unit', 'shows', 'target', 'device', 'forms', 'failed'} <= set(found['cases']['adds'])
    with pytest.raises(SystemExit, match='another settings: repeats 2, now 5'):
        main('benchmark', [*first, '--resume', '--repeats', '5'])
    assert 'Adds numbers quickly' in capsys.readouterr().out


def test_ctrl_c_ends_the_processes(fake, tmp_path):
    command = [sys.executable, '-m', 'handpose', 'benchmark', '--folder', str(fake), '--out', 'found.json']
    running = subprocess.Popen(
        [*command, '--repeats', '2', '--only', 'adds', 'hangs'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / 'found.json').exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=60)  # comes back only when no child holds the pipes any more
    assert running.returncode == 130 and 'interrupted; the same command' in error and 'Traceback' not in error
    assert 'results: found.json' in out and list(results.read_results('found.json')['cases']) == ['adds']


def test_choice_of_cases(fake):
    cases = registry.load_cases(fake)

    def chosen(*words, device='cpu'):
        parser = argparse.ArgumentParser()
        benchmark.add_arguments(parser)
        return set(benchmark.choose_cases(cases, parser.parse_args(words), device))

    always = {'adds', 'refuses', 'aborts', 'referred', 'hungry'}
    assert chosen() == chosen('--quick') == always
    assert chosen('--all') == always | {'hangs'} and chosen(device='cuda') == always | {'elsewhere'}
    assert chosen('--only', 'hangs') == {'hangs'}
    with pytest.raises(registry.BenchmarkError, match=r"no case 'hangz'.*Did you mean 'hangs'"):
        chosen('--only', 'hangz')
    with pytest.raises(registry.BenchmarkError, match='elsewhere runs on cuda only, not on cpu'):
        chosen('--only', 'elsewhere')


def test_a_case_needs_words_and_its_own_name(fake):
    registry.load_cases(fake)
    with pytest.raises(ValueError, match='needs a docstring'):
        registry.case('thing')(lambda settings: None)
    (fake / 'again.py').write_text(FAKE)
    with pytest.raises(ValueError, match=r'adds is a case in .* rename one'):
        registry.load_cases(fake)


def finished(rate, device='cpu', memory=50.0, failed=None, cpu_share=1.0):
    """A record as `measure` makes it."""
    form = {'about': 'x', 'count': 1, 'inner': 1, 'first_seconds': 1 / rate, 'seconds': [1 / rate] * 2, 'notes': {}}
    form |= {'cpu_seconds': [cpu_share / rate] * 2}
    form |= {'memory_mb': {'start': 10.0, 'peak': 10.0 + memory}}
    form |= {'rate': results.spread([rate] * 2), 'time': results.spread([1 / rate] * 2)}
    return {
        'about': 'Does | something', 'unit': 'frame', 'shows': 'rate', 'target': 120, 'device': device,
        'forms': {'case': form}, 'failed': failed,
    }  # fmt: skip


def a_run(**cases):
    return {**results.new_results(registry.Settings(), QUICK), 'cases': cases}


def test_comparison():
    old = a_run(a=finished(100), b=finished(10), c=finished(1), d=finished(1, failed='x'), e=finished(1))
    new = a_run(a=finished(150, memory=25), b=finished(5), c=finished(1, 'cuda'), d=finished(1))
    assert report.comparison(old, new) == {'a': (pytest.approx(1.5), 0.5), 'b': (0.5, 1.0)}
    other = {**new, 'machine': {**new['machine'], 'cores': 99}}
    with pytest.raises(registry.BenchmarkError, match='another machine: cores'):
        results.check_same('old.json', old, other, ('machine',))


def test_a_shared_processor_is_said():
    assert report.rows(a_run(a=finished(100)))[0][6] == ''
    remark = report.rows(a_run(a=finished(100, cpu_share=0.25)))[0][6]
    assert remark == 'got 25% of its core(s): 400 frames per CPU second'


def test_markdown_goes_between_the_marks(tmp_path):
    path = tmp_path / 'page.md'
    run = a_run(quick=finished(150), slow=finished(60))
    report.write_markdown(path, run)
    path.write_text(f'# Title\n\n{path.read_text()}\nThe end.\n')
    report.write_markdown(path, a_run(other=finished(130)))
    text = path.read_text()
    assert text.startswith('# Title\n\n<!--') and text.endswith('-->\n\nThe end.\n')
    assert (
        '| other | Does / something | 130 frames/s (130-130), meets the target of 120 |' in text and 'slow' not in text
    )
    path.write_text('nothing')
    with pytest.raises(registry.BenchmarkError, match='must hold the lines'):
        report.write_markdown(path, run)


@pytest.mark.parametrize('content', [None, '{', '[]', '{"format": "other"}'])
def test_files_that_are_not_results(tmp_path, content):
    path = tmp_path / 'x.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(registry.BenchmarkError, match=r'x\.json (does not exist|is not|must hold)'):
        results.read_results(path)


@pytest.fixture(scope='module')
def settings(tmp_path_factory):
    return registry.Settings(quick=True, cache=str(tmp_path_factory.mktemp('cache')))


@pytest.fixture(scope='module')
def cases():
    return registry.load_cases()


def both(cases, name, settings):
    """What the two forms of a case make of the same random draws."""
    made = []
    for form in cases[name].forms.values():
        torch.manual_seed(0)
        made.append(form.set_up(settings).run())
    return made


@pytest.mark.parametrize('name', ['skinning', 'roi_align_paper', 'attention', 'dynamic_fusion', 'deformable_sampling'])
def test_reference_parts_compute_the_same(cases, settings, name):
    (out, gradients), (expected, expected_gradients) = both(cases, name, settings)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3 * float(wanted.abs().max()), rtol=1e-3)


def test_reference_metrics_compute_the_same(cases, settings):
    errors, expected = both(cases, 'pa_mpjpe', settings)
    np.testing.assert_allclose(errors[: len(expected)], expected, rtol=1e-6)
    np.testing.assert_allclose(*both(cases, 'f_scores', settings))


def test_reference_track_computes_the_same(cases, settings):
    pose, expected = both(cases, 'deformer_track', settings)
    expected = pose_to_rotmat(expected, 'rot6d_add')
    torch.testing.assert_close(pose_to_rotmat(pose[0, :, 0].flatten(1), 'rotvec_add'), expected, atol=1e-4, rtol=0)


def test_reference_rasteriser_draws_the_same(cases, settings):
    """The painter's silhouettes are half a pixel fatter and its order is by mean depth; the pictures nearly agree."""
    painted, exact = both(cases, 'rasterize_hand', settings)
    assert (exact.face_ids >= 0).sum() > 5000
    assert ((painted.face_ids >= 0) == (exact.face_ids >= 0)).mean() > 0.97
    inside = exact.depth > 0
    assert np.median(abs(painted.depth - exact.depth)[inside]) < 1e-3


def test_data_is_cut_like_a_flatter_camera(cases, settings):
    """Joints still project to where they are drawn; the cases run on it and its two ways of reading labels agree."""
    from handpose.datasets import DexYCB
    from handpose.geometry import project_points

    root = inputs.dexycb_root(settings, 96, 72)
    assert inputs.dexycb_root(settings, 96, 72) == root
    clip = DexYCB(root, sampling=centred(3), pipeline=[dict(type='LoadImages')])[0]
    assert clip.images.shape == (3, 1, 3, 72, 96)
    seen = project_points(clip.joints_3d[:, None], clip.intrinsics[:, :, None])
    torch.testing.assert_close(seen, clip.joints_2d, atol=1e-2, rtol=0)
    os.symlink(root, root.with_name(root.name.replace('96x72', '256x256')))
    for found, expected in zip(*both(cases, 'label_index', settings), strict=True):
        for index, record in enumerate(expected):
            for name in found.dtype.names:
                np.testing.assert_array_equal(found[index][name], record[name])
    batch, plain = both(cases, 'data_pipeline_256', settings)
    assert batch.images.shape == plain.images.shape == (4, 7, 1, 3, 256, 256)
    for picture in (batch.images, plain.images):
        assert picture.float().std() > 20


def test_every_training_option_has_its_case(cases):
    assert {f'train_small_{name}' for name in DEFAULTS} <= set(cases)
    assert {f'train_paper_{name}' for name in DEFAULTS} <= set(cases)


def test_training_batches_train(settings):
    run = inputs.training_batches(inputs.load(inputs.SMALL), 'cpu', {'accumulate': 2}, batch_size=1)
    losses = [run()['loss'] for _ in range(4)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05) and np.isfinite(losses).all()


def test_refiners_run(cases, settings):
    """A minute's beginning of two hands; and the cases of PDTM and of what it is compared with are about one input."""
    joints = cases['refine_a_minute'].form.set_up(settings).run()
    assert joints.shape == (100, 2, 21, 3) and joints.isfinite().all()
    counts = [form.set_up(settings).count for form in cases['pdtm_paper_forward'].forms.values()]
    assert counts == [1, 1]


@pytest.mark.parametrize('name', ['predict_htt', 'predict_dstformer', 'step_htt', 'step_quick_start'])
def test_prepared_systems_compute_the_same(cases, settings, name):
    prepared, plain = both(cases, name, settings)
    torch.testing.assert_close(prepared, plain, rtol=1e-4, atol=1e-5)


def test_compiled_predictions_are_the_same(cases, settings, monkeypatch):
    compile_module = torch.nn.Module.compile  # by the backend that needs no compiler
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda module: compile_module(module, backend='eager'))
    torch._dynamo.reset()
    compiled, plain = both(cases, 'pdtm_compiled', settings)
    torch._dynamo.reset()
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


def test_forecasts_run(cases, settings):
    """Samples drawn together are as many as those drawn one by one, and go on from the same frames."""
    together, apart = both(cases, 'forecast_samples', settings)
    assert together.joints.shape == (20, 96, 2, 21, 3) and together.joints_valid.all() and len(apart) == 20
    assert apart[0].joints.shape == (1, 96, 2, 21, 3)
    np.testing.assert_array_equal(together.observed.joints, apart[7].observed.joints)


def test_htt_runs(cases, settings):
    """Its windows are what makes the difference to one window; recomputing activations makes none; lengths agree."""
    joints, features = both(cases, 'htt_paper_inference', settings)
    assert joints.shape == (1, 4, 2, 21, 3) and joints.isfinite().all()
    assert features.shape == (1, 4, 512)
    recomputed, plain = both(cases, 'htt_paper_training', settings)
    assert recomputed.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, msg=name)
    (windows, _), (whole, _) = both(cases, 'windowed_transformer', settings)
    assert windows.shape == whole.shape == (1, 256, 512)
    assert not torch.allclose(windows, whole, atol=1e-2)
    (long, _), (short, _) = both(cases, 'windowed_transformer_256', settings)
    torch.testing.assert_close(short.flatten(0, 1)[:128], long[0, :128], atol=1e-4, rtol=1e-4)


def test_what_comes_before_a_call_is_not_timed():
    calls = []
    work = registry.Work(lambda: calls.append('run'), 1, before=lambda: (calls.append('before'), time.sleep(0.05)))
    assert machinery._timed(work, 3, 'cpu')[0] < 0.05 and calls == ['before', 'run'] * 3


@pytest.mark.parametrize('name', ['packed_clips_160x90', 'packed_single_160x90_decoded'])
def test_packed_frames_are_the_files(cases, settings, name):
    packed, files = both(cases, name, settings)
    assert len(packed) == len(files) > 0
    for clip, expected in zip(packed, files, strict=True):
        if name.endswith('decoded'):
            torch.testing.assert_close(clip, expected, rtol=0, atol=0)
        else:
            assert clip == expected and len(clip) == 128
    assert cases[name].form.set_up(settings).notes()['images:'] == 1000


@pytest.mark.parametrize('package', ['lmdb', 'webdataset'])
@pytest.mark.parametrize('access', ['clips', 'single'])
def test_other_stores_give_the_same_frames(cases, settings, package, access):
    pytest.importorskip(package, reason=f'{package} is an optional package of this benchmark')
    found, expected = both(cases, f'store_{access}_160x90_cold_{package}', settings)
    assert found == expected and all(data[:2] == b'\xff\xd8' for clip in found for data in clip.values())
    assert {len(clip) for clip in found} == {128 if access == 'clips' else 1}


@pytest.mark.parametrize('name', ['decode_jpeg_256x256', 'decode_jpeg_640x480_reduced', 'jpeg_pipeline_256x256'])
def test_simplejpeg_gives_the_pixels_of_opencv(cases, settings, name):
    pytest.importorskip('simplejpeg', reason='simplejpeg is an optional package of this benchmark')
    found, expected = both(cases, name, settings)
    if name.startswith('jpeg_pipeline'):
        found, expected = found.images.numpy(), expected.images.numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('temperature', ['cold', 'warm'])
def test_workers_read_the_same_bytes_from_both_stores(cases, settings, temperature):
    pytest.importorskip('lmdb', reason='lmdb is an optional package of this benchmark')
    found, expected = both(cases, f'store_workers_160x90_{temperature}_lmdb', settings)
    assert found == expected and len(found) == 2 and min(min(sizes) for sizes in found) > 100_000
