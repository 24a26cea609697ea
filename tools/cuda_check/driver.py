"""Runs every check in a process of its own and writes one JSON: tools/cuda_check.sh [--out FILE.json]

Uses the standard library alone, so that a machine that lacks a dependency still gets a report.
"""

import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from cuda_check.wheels import ROOT

MODELS = ('deformer', 'htt', 'pdtm')
PRECISIONS = ('fp32', 'bf16', 'compiled')
# In this order: what is most likely to tell something first, compiling last.
PLAIN = tuple(f'{t}_{m}_{p}' for p in PRECISIONS[:2] for t in ('inference', 'training') for m in MODELS)
COMPILED = tuple(f'{task}_{model}_compiled' for task in ('inference', 'training') for model in MODELS)
MEASURED = {*PLAIN, *COMPILED}
STEPS = ('install', 'environment', 'nccl', 'resume', *PLAIN, 'tests', *COMPILED)
BUDGET = 690.0  # seconds of the whole, of the 12 minutes that it may take
LIMITS = {'tests': 240.0}  # seconds of a step, so that one that hangs leaves time to the others
LIMIT = 150.0
LEAST = 5.0  # seconds that must be left for a step to begin
POLL = 0.2  # seconds between looks for the records of models in one process
TAIL = 4000  # characters of a failed step's output that are kept


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=ROOT / 'build' / 'cuda_check' / 'cuda_check.json')
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument('--small', action='store_true', help='small models and inputs, to try the script out')
    parser.add_argument('--budget', type=float, default=BUDGET, help=f'seconds of the whole (default {BUDGET:g})')
    parser.add_argument('--only', nargs='+', metavar='PATTERN', help='these steps alone, e.g. "training_*"')
    parser.add_argument(
        '--together', action='store_true', help='the models in one process, where starting a process takes long'
    )
    parser.add_argument('--list', action='store_true', help='list the steps and stop')
    parser.add_argument('--wheels', type=Path, default=ROOT / 'build' / 'cuda_check' / 'wheels')
    parser.add_argument('--site', type=Path, default=ROOT / 'build' / 'cuda_check' / 'site')
    return parser.parse_args(words)


def main(words=None):
    arguments = parse_arguments(words)
    steps = choose(arguments.only)
    if arguments.list:
        print('\n'.join(steps))
        return 0
    report = run(arguments, steps)
    print(f'results: {arguments.out}')
    return 0 if report['passed'] else 1


def choose(patterns):
    """The steps that match one of the patterns, in order; without patterns all.

    Raises:
        SystemExit: a pattern that matches none.
    """
    for pattern in patterns or ():
        if not fnmatch.filter(STEPS, pattern):
            raise SystemExit(f'--only {pattern} matches no step; there are: {", ".join(STEPS)}')
    return [step for step in STEPS if not patterns or any(fnmatch.fnmatch(step, pattern) for pattern in patterns)]


def run(arguments, steps):
    """Runs the steps until the budget is spent; the report is in `arguments.out` after each of them."""
    started = time.monotonic()
    report = {
        'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'device': arguments.device,
        'small': arguments.small,
        'budget_s': arguments.budget,
        'environment': {},
        'steps': {step: skipped('the run ended before this step') for step in steps},
    }
    summarize(report, 0)
    write(arguments.out, report)
    with tempfile.TemporaryDirectory(prefix='cuda_check_') as scratch:
        for group in groups(steps, arguments.together):
            left = arguments.budget - (time.monotonic() - started)
            if left < LEAST:
                records = {step: skipped(f'{max(left, 0):.0f} s of the budget were left') for step in group}.items()
            elif len(group) == 1:
                records = [(group[0], run_step(group[0], arguments, Path(scratch), left))]
            else:
                records = run_together(group, arguments, Path(scratch), left)
            for step, record in records:
                report['steps'][step] = record
                summarize(report, time.monotonic() - started)
                write(arguments.out, report)
                print(line(step, record), flush=True)
    return report


def groups(steps, together):
    """The steps of each process: one, or with `together` models that follow one another."""
    found = []
    for step in steps:
        if together and step in MEASURED and found and found[-1][-1] in MEASURED:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def skipped(message):
    """The record of a step that was not run."""
    return {'status': 'skipped', 'message': message}


def summarize(report, seconds):
    """Adds what follows from the steps: the environment, and which failed or were skipped."""
    steps = report['steps']
    report['environment'] = steps.get('environment', {}).get('figures', {})
    report['seconds'] = round(seconds, 1)
    report['failed'] = [name for name, record in steps.items() if record['status'] in ('failed', 'timed out')]
    report['skipped'] = [name for name, record in steps.items() if record['status'] == 'skipped']
    report['passed'] = not report['failed'] and not report['skipped']


def run_step(step, arguments, scratch, left):
    """Runs one step in a process group of its own and returns its record.

    Args:
        step: its name.
        arguments: the command's.
        scratch: a folder for what the step writes.
        left: seconds that are left of the budget.

    Returns:
        `status` ('passed', 'failed' or 'timed out'), `seconds`, `figures`, and for a failure `message` and `output`.
    """
    limit = min(left, LIMITS.get(step, LIMIT))
    figures, output = scratch / f'{step}.json', scratch / f'{step}.txt'
    started = time.monotonic()
    process = start(command(step, arguments, figures), arguments, output)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        kill_group(process)
    record = {'status': 'passed', 'seconds': round(time.monotonic() - started, 1)}
    if figures.exists():  # failed tests have figures too
        record['figures'] = json.loads(figures.read_text())
    if code != 0:
        text = output.read_text(errors='replace').strip()
        record['status'] = 'timed out' if code is None else 'failed'
        record['message'] = f'no end after {limit:.0f} s' if code is None else reason(code, text)
        record['output'] = text[-TAIL:]
    return record


def run_together(steps, arguments, scratch, left):
    """Runs the steps of models in one process.

    Args:
        steps: their names.
        arguments: the command's.
        scratch: a folder for what they write.
        left: seconds that are left of the budget.

    Yields:
        each step with its record, as `run_step` returns it, as soon as it is there; the first step that a crash or
        the budget ended has failed or timed out, and those after it are skipped.
    """
    folder, output = scratch / f'from_{steps[0]}', scratch / f'from_{steps[0]}.txt'
    folder.mkdir()
    words = ['cuda_check.together', *steps, '--device', arguments.device, '--out', str(folder)]
    process = start([sys.executable, '-m', *words, *(['--small'] if arguments.small else [])], arguments, output)
    started, waiting, ended = time.monotonic(), list(steps), False
    try:
        while waiting and not ended:
            ended = process.poll() is not None or time.monotonic() - started > left
            while waiting and (folder / f'{waiting[0]}.json').exists():
                yield waiting[0], json.loads((folder / f'{waiting.pop(0)}.json').read_text())
            time.sleep(POLL)
        code = process.poll()
    finally:
        kill_group(process)
    for i, step in enumerate(waiting):
        if i:
            yield step, skipped(f'the process ended in {waiting[0]}')
            continue
        text = output.read_text(errors='replace').strip()
        status = 'timed out' if code is None else 'failed'
        message = f'no end after {left:.0f} s' if code is None else reason(code, text)
        yield step, {'status': status, 'message': message, 'output': text[-TAIL:]}


def start(words, arguments, output):
    """Starts a process in a group of its own that writes to a file."""
    with output.open('w') as stream:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(arguments, output.parent),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def command(step, arguments, figures):
    """The words that run a step, which writes its figures to a file."""
    if step == 'install':
        words = ['cuda_check.wheels', 'install', str(arguments.wheels.resolve()), '--target', str(arguments.site)]
        return [sys.executable, '-m', *words]
    words = ['cuda_check.steps', step, '--device', arguments.device, '--figures', str(figures)]
    return [sys.executable, '-m', *words, *(['--small'] if arguments.small else [])]


def environment(arguments, scratch):
    """The environment of a step: the tree and what was installed for it can be imported."""
    paths = [str(ROOT), str(ROOT / 'tools'), os.environ.get('PYTHONPATH', ''), str(arguments.site.resolve())]
    return {
        'TORCHINDUCTOR_CACHE_DIR': str(scratch / 'inductor'),  # empty: the first call has the whole compilation
        **os.environ,
        'PYTHONPATH': os.pathsep.join(path for path in paths if path),
        'PYTHONUNBUFFERED': '1',
        'TMPDIR': str(scratch),
    }


def kill_group(process):
    """Ends a step and whatever it started."""
    with suppress(ProcessLookupError):  # where all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def reason(code, text):
    """The line of a failed step's output that says why."""
    lines = [part.strip() for part in text.splitlines() if part.strip()]
    last = lines[-1][:500] if lines else 'it wrote nothing'
    return f'ended by {signal.Signals(-code).name}: {last}' if code < 0 else last


def write(path, report):
    """Writes the report whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps(report, indent=1) + '\n')
    os.replace(part, path)


def line(step, record):
    """A step in one line: its status, and the figures that are numbers or the failure."""
    numbers = {name: value for name, value in record.get('figures', {}).items() if isinstance(value, int | float)}
    said = record.get('message', ', '.join(f'{name} {value:g}' for name, value in numbers.items()))
    return f'{step}: {record["status"]} in {record.get("seconds", 0):g} s; {said}'


if __name__ == '__main__':
    sys.exit(main())
