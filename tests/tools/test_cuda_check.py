"""The check for a machine with a GPU: how it runs steps, installs wheels and measures, and a part of it on the CPU."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from cuda_check import driver, models, steps, wheels

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arguments(tmp_path):
    return driver.parse_arguments(['--device', 'cpu', '--out', str(tmp_path / 'out' / 'report.json'), '--budget', '60'])


def scripts(monkeypatch, **code):
    """Replaces what steps run by Python code, which finds the path for its figures in `figures`."""
    monkeypatch.setattr(
        driver, 'command', lambda step, _, figures: [sys.executable, '-c', f'figures = {str(figures)!r}\n{code[step]}']
    )
    return list(code)


def test_a_part_on_the_cpu(tmp_path):
    """As on a GPU, with the device replaced; nothing is compiled, which takes minutes on a CPU."""
    out = tmp_path / 'report.json'
    names = ['environment', 'inference_pdtm_bf16', 'training_htt_compiled']
    words = ['--device', 'cpu', '--small', '--out', str(out), '--only', *names]
    environment = {**os.environ, 'PYTHON': sys.executable, 'TORCHDYNAMO_DISABLE': '1'}
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'cuda_check.sh'), *words], capture_output=True, text=True, env=environment
    )
    report = json.loads(out.read_text())
    assert done.returncode == 0, report
    assert report['passed'] and list(report['steps']) == names
    assert report['environment']['torch'] == torch.__version__
    inference, training = (report['steps'][name]['figures'] for name in names[1:])
    assert inference['frames_per_second'] == pytest.approx(inference['frames'] / inference['seconds'])
    assert 0 < inference['largest_difference_mm'] < 10  # bfloat16 is not float32, and not far from it
    assert training['last_losses']['loss'] < training['first_losses']['loss']


def test_failures_are_reported_and_do_not_stop_it(arguments, monkeypatch):
    names = scripts(
        monkeypatch,
        good="open(figures, 'w').write('{\"answer\": 42}')",
        raises="raise ValueError('no such kernel')",
        counted="open(figures, 'w').write('{\"run\": 3}'); raise SystemExit('1 of 3 tests failed')",
        hangs="print('began', flush=True); import time; time.sleep(60)",
        aborts="print('illegal memory access', flush=True); import os; os.abort()",
        last='pass',
    )
    monkeypatch.setattr(driver, 'LIMITS', {'hangs': 2.0})
    report = driver.run(arguments, names)
    assert json.loads(arguments.out.read_text()) == report
    found = report['steps']
    assert found['good'] == {'status': 'passed', 'seconds': found['good']['seconds'], 'figures': {'answer': 42}}
    assert found['raises']['message'] == 'ValueError: no such kernel' and 'Traceback' in found['raises']['output']
    assert found['counted']['figures'] == {'run': 3} and found['counted']['message'] == '1 of 3 tests failed'
    assert (found['hangs']['status'], found['hangs']['message']) == ('timed out', 'no end after 2 s')
    assert found['hangs']['output'] == 'began'
    assert found['aborts']['message'] == 'ended by SIGABRT: illegal memory access'
    assert report['failed'] == ['raises', 'counted', 'hangs', 'aborts'] and not report['passed']
    assert found['last']['status'] == 'passed' and not report['skipped']


def test_models_in_one_process(tmp_path, arguments, monkeypatch):
    """Each has its record as soon as it is done; one that fails does not stop the others, one that crashes does."""
    names = ['install', 'inference_pdtm_fp32', 'training_pdtm_fp32', 'inference_pdtm_bf16', 'training_pdtm_bf16']
    assert driver.groups(names, together=True) == [names[:1], names[1:]]
    assert driver.groups(names, together=False) == [[name] for name in names]
    (tmp_path / 'sitecustomize.py').write_text(
        'import os\n'
        'import cuda_check.models as models\n'
        'def measure(task, model, precision, device, small):\n'
        "    if precision == 'bf16':\n"
        "        os.abort() if task == 'inference' else None\n"
        "    assert task == 'inference', 'not finite'\n"
        '    return {"frames": 3}\n'
        'models.measure = measure\n'
    )
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}')
    arguments.together = True
    report = driver.run(arguments, names[1:])
    found = report['steps']
    assert found[names[1]]['figures'] == {'frames': 3}
    assert found[names[2]]['message'] == 'AssertionError: not finite' and 'Traceback' in found[names[2]]['output']
    assert found[names[3]]['message'].startswith('ended by SIGABRT')
    assert found[names[4]] == {'status': 'skipped', 'message': 'the process ended in inference_pdtm_bf16'}
    assert report['failed'] == names[2:4] and report['skipped'] == names[4:]


def test_what_the_budget_leaves_no_time_for_is_listed(arguments, monkeypatch):
    names = scripts(monkeypatch, first='pass', second='pass')
    arguments.budget = driver.LEAST  # the first second of it is over before the first step begins
    report = driver.run(arguments, names)
    assert report['skipped'] == ['first', 'second'] and not report['failed'] and not report['passed']
    assert 'budget' in json.loads(arguments.out.read_text())['steps']['second']['message']


def test_an_interrupted_run_lists_what_was_not_run(arguments, monkeypatch):
    names = scripts(monkeypatch, first='pass', second='pass')
    run_step = driver.run_step

    def interrupted(step, *rest):
        if step == 'second':
            raise KeyboardInterrupt
        return run_step(step, *rest)

    monkeypatch.setattr(driver, 'run_step', interrupted)
    with pytest.raises(KeyboardInterrupt):
        driver.run(arguments, names)
    report = json.loads(arguments.out.read_text())
    assert report['steps']['first']['status'] == 'passed' and report['skipped'] == ['second']


def test_every_step_can_be_run():
    for name in driver.STEPS[1:]:
        if name not in steps.STEPS:
            task, model, precision = name.split('_')
            assert task in ('inference', 'training') and precision in models.PRECISIONS and model in models.CONFIGS
    assert len(driver.STEPS) == len(set(driver.STEPS)) == 5 + 2 * 3 * 3
    assert driver.choose(['training_htt_*']) == [f'training_htt_{p}' for p in driver.PRECISIONS]
    with pytest.raises(SystemExit, match='speed matches no step'):
        driver.choose(['speed'])


@pytest.mark.parametrize(('model', 'frames', 'clips'), [('deformer', 7, 1), ('htt', 128, 1), ('pdtm', 27, 64)])
def test_models_have_the_size_of_the_paper(model, frames, clips):
    config = models.settings(model, small=False)
    assert (config.num_frames, config.batch_size) == (frames, clips)
    assert config.model.get('backbone', {}).get('pretrained') is None  # nothing is downloaded


def test_cuda_steps_fail_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    words = ['steps', 'environment', '--device', 'cuda', '--figures', str(tmp_path / 'figures.json')]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit, match='no CUDA device'):
        steps.main()


def write_wheel(folder, module):
    """A wheel of one empty module."""
    info = f'{module}-1.0.dist-info'
    with zipfile.ZipFile(folder / f'{module}-1.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr(f'{module}.py', '')
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr(f'{info}/RECORD', f'{module}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n')


def test_missing_packages_come_from_wheels(tmp_path, monkeypatch):
    folder, site = tmp_path / 'wheels', tmp_path / 'site'
    folder.mkdir()
    write_wheel(folder, 'carried_module')
    monkeypatch.setattr(sys, 'path', sys.path.copy())
    monkeypatch.setattr(wheels, 'CARRIED', {'carried_module': 'carried-module', 'torch': 'torch'})
    assert wheels.install(folder, site) == ['carried-module']
    assert (site / 'carried_module.py').exists()
    assert wheels.install(folder, site) == []  # it is there now

    monkeypatch.setattr(wheels, 'CARRIED', {'other_module': 'other-module'})
    with pytest.raises(SystemExit, match=r'no wheel of other-module.*cuda_check\.sh pack'):
        wheels.install(folder, site)
    monkeypatch.setattr(wheels, 'CARRIED', {})
    monkeypatch.setattr(wheels, 'EXPECTED', ['torch', 'absent_module'])
    with pytest.raises(SystemExit, match='lacks absent_module'):
        wheels.install(folder, site)
