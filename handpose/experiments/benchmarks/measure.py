"""Measures a case: every form in a process of its own, the forms taking turns, round by round.

The processes are forked from a server that has only imported the libraries (for CUDA they are new), so a form's peak
memory is its own, and a form that crashes is a line in the results.
"""

import importlib
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from handpose.experiments.benchmarks.case import CASES, Case, Settings, Work, load_file
from handpose.experiments.benchmarks.results import MeasurementPlan, Record, ratios, spread
from handpose.system import children_seconds, delayed_interrupt, end_group, lead_group, peak_memory

MEGABYTE = 2**20
SLOW = 1.0  # seconds of a call that is long enough to be timed alone, interruptions and all
PRELOADED = ['torch', 'cv2', 'scipy.spatial', 'handpose.models', 'handpose.datasets', 'handpose.evaluation']


class FormError(Exception):
    """A form that could not be measured; the message says why."""


def start_server(threads: int) -> None:
    """Starts the process that others are forked from.

    Args:
        threads: of every library; set before the server imports them.
    """
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
        os.environ[name] = str(threads)
    multiprocessing.get_context('forkserver').set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def measure(case: Case, settings: Settings, plan: MeasurementPlan) -> Record:
    """Measures one case.

    Args:
        case: the case; it must run on the device.
        settings: those of the run.
        plan: how long to measure.

    Returns:
        Its record (docs/project/benchmark.md), which also says what failed.

    Raises:
        ValueError: the case does not run on the device.
    """
    device = case.device(settings.device)
    if device is None:
        raise ValueError(f'{case.name} does not run on {settings.device}')
    settings = replace(settings, device=device)
    record: Record = {
        'about': case.form.about,
        'unit': case.unit,
        'shows': case.shows,
        'target': case.target,
        'device': settings.device,
        'sweep': None if case.sweep is None else asdict(case.sweep),
        'forms': {name: {'about': form.about} for name, form in case.forms.items()},
    }
    running: dict[str, _Form] = {}
    try:
        for name in case.forms:
            with _failure_goes_to(record['forms'][name], running, name):
                running[name] = _Form(case, name, settings, plan)
                record['forms'][name] |= running[name].ready
            if 'case' not in running:
                break
        _take_turns(running, record['forms'], plan)
        for name in list(running):
            with _failure_goes_to(record['forms'][name], running, name):
                record['forms'][name] |= running[name].finish()
    finally:
        for form in running.values():
            form.kill()
    return _with_figures(record)


def _take_turns(running: dict[str, '_Form'], forms: dict[str, Record], plan: MeasurementPlan) -> None:
    """Runs the forms one after the other until the repeats or the time are used up."""
    start, done = time.perf_counter(), 0
    while 'case' in running and done < plan.repeats and (done < 2 or time.perf_counter() - start < plan.seconds):
        for name in list(running):
            with _failure_goes_to(forms[name], running, name):
                seconds, cpu_seconds = running[name].ask('run')
                forms[name].setdefault('seconds', []).append(seconds)
                forms[name].setdefault('cpu_seconds', []).append(cpu_seconds)
        done += 1


@contextmanager
def _failure_goes_to(record: Record, running: dict[str, '_Form'], name: str) -> Iterator[None]:
    try:
        yield
    except FormError as error:
        record['failed'] = str(error)
        if name in running:
            running.pop(name).kill()


def _with_figures(record: Record) -> Record:
    """Adds what follows from the seconds and the megabytes: spreads, and the ratio of case and reference."""
    for form in record['forms'].values():
        if 'seconds' in form and 'failed' not in form:
            form['rate'] = spread([form['count'] / s for s in form['seconds']])
            form['time'] = spread([s / form['count'] for s in form['seconds']])
    record['failed'] = record['forms']['case'].get('failed')
    if all('rate' in record['forms'].get(name, {}) for name in ('case', 'reference')):
        record |= ratios(record['forms']['case'], record['forms']['reference'])
    return record


def start_method(device: str) -> str:
    """How a form's process starts: where CUDA was initialized, as some libraries do, no fork can use it."""
    return 'spawn' if device == 'cuda' else 'forkserver'


class _Form:
    """A form in its own process, set up and warm; `ready` is its description of itself."""

    def __init__(self, case: Case, name: str, settings: Settings, plan: MeasurementPlan) -> None:
        context = multiprocessing.get_context(start_method(settings.device))
        self.limit = plan.limit
        self.output = tempfile.NamedTemporaryFile(prefix='benchmark_', suffix='.txt')  # noqa: SIM115  (until `kill`)
        self.pipe, theirs = context.Pipe()
        job = (case.file, case.name, name, settings, plan.least, self.output.name)
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, *job))  # type: ignore[attr-defined]
        try:
            with delayed_interrupt():  # else the process could exist without being known here
                self.process.start()
            theirs.close()
            self.ready = self._answer()
        except BaseException:
            self.kill()
            raise

    def ask(self, question: str) -> Any:
        """Sends 'run' or 'stop' and returns the answer."""
        try:
            self.pipe.send(question)
        except OSError:
            raise FormError(self._end()) from None
        return self._answer()

    def finish(self) -> Record:
        """Ends the process and returns `memory_mb` and `notes`."""
        answer = self.ask('stop')
        self.process.join(10)
        return answer

    def kill(self) -> None:
        """Ends the process at once."""
        if self.process.pid is not None and self.process.is_alive():
            end_group(self.process.pid)  # its compilers and loaders too
            self.process.kill()
        if self.process.pid is not None:
            self.process.join()
        self.pipe.close()
        self.output.close()

    def _answer(self) -> Any:
        if not self.pipe.poll(self.limit):
            raise FormError(f'no answer within {self.limit:g} s')
        try:
            kind, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise FormError(self._end()) from None
        if kind == 'failed':
            raise FormError(answer)
        return answer

    def _end(self) -> str:
        """Why a process has ended without an answer: its signal or exit code, and its last line of output."""
        self.process.join(10)
        code = self.process.exitcode
        ended = f'died by {signal.Signals(-code).name}' if code and code < 0 else f'ended with exit code {code}'
        lines = [
            line.strip() for line in Path(self.output.name).read_text(encoding='utf-8', errors='replace').splitlines()
        ]
        text = Path(self.output.name).read_text(encoding='utf-8', errors='replace')
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f'{ended}: {lines[-1][:200]}' if lines else ended


def _serve(
    pipe: Connection,
    file: str,
    case_name: str,
    form_name: str,
    settings: Settings,
    least: float,
    output: str,
) -> None:
    """What a form's process does: set up, warm up, run on request, report the peak memory."""
    lead_group()  # Ctrl-C is for the parent, which ends this process and what it started
    with open(output, 'w', encoding='utf-8') as words:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    try:
        for module in PRELOADED:
            importlib.import_module(module)
        _set_threads(settings.threads)
        start = peak_memory()[0]
        load_file(file)
        work = CASES[case_name].forms[form_name].set_up(settings)
        first, _ = _timed(work, 1, settings.device)
        fastest = first
        if first < SLOW:  # a call may be slow for reasons of its own: the first one, and whatever is interrupted
            fastest = min(_timed(work, 1, settings.device)[0] for _ in range(3))
        inner = max(1, min(10_000, round(least / max(fastest, 1e-6))))
        pipe.send(('ready', {'count': work.count, 'inner': inner, 'first_seconds': first}))
        while pipe.recv() == 'run':
            pipe.send(('seconds', _timed(work, inner, settings.device)))
        memory = {'start': start, 'peak': peak_memory()[1]}
        if settings.device == 'cuda':
            memory |= _cuda_memory()
        pipe.send(('finished', {'memory_mb': memory, 'notes': work.notes()}))
    except Exception as error:  # whatever a case does wrong is a line of the results
        pipe.send(('failed', f'{type(error).__name__}: {(str(error) or "no message").splitlines()[0][:300]}'))


def _set_threads(threads: int) -> None:
    import cv2
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads if threads > 1 else 0)
    torch.manual_seed(0)
    np.random.seed(0)


def _timed(work: Work, times: int, device: str) -> tuple[float, float]:
    """Seconds of one call, by the clock and of the processor (of this process and those it started)."""
    if work.before is not None:
        spent = []
        for _ in range(times):
            work.before()
            spent.append(_timed(replace(work, before=None), 1, device))
        return statistics.fmean(pair[0] for pair in spent), statistics.fmean(pair[1] for pair in spent)
    _synchronize(device)
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    for _ in range(times):
        work.run()
    _synchronize(device)
    return (time.perf_counter() - start) / times, (_cpu_seconds() - cpu_start) / times


def _cpu_seconds() -> float:
    return time.process_time() + children_seconds()


def _synchronize(device: str) -> None:
    if device == 'cuda':
        import torch

        torch.cuda.synchronize()


def _cuda_memory() -> dict[str, float]:
    import torch

    return {'cuda_peak': torch.cuda.max_memory_allocated() / MEGABYTE}
