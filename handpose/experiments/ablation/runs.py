"""The runs of ablation tables: which are finished, and training and testing the others as processes."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from handpose.engine.checkpoints import checkpoint_files, iteration_of, newest_checkpoint
from handpose.experiments.ablation.table import Run, RunSettings, TableError, option_strings
from handpose.experiments.machine import cpu_name
from handpose.files.atomic import atomic_write
from handpose.files.reading import read_json
from handpose.registry import defaults_of
from handpose.system import own_console
from handpose.zoo.checkpoint_file import load_checkpoint_file

RECORD = 'run.json'  # in every folder of a training or a test: what it was made with, and whether it is finished
CONSTANT_HANDS = ('mean_hand', 'procrustes_mean_hand')
COMMAND = (sys.executable, '-m', 'handpose')


def is_trained(run: Run, settings: RunSettings | None = None) -> bool:
    """Checks whether the training of a run is finished; refuses a folder that was made with other settings.

    Args:
        run: the run.
        settings: the settings of the training to compare with; None compares only the options.

    Raises:
        TableError: names the folder, and what differs.
    """
    if run.row.untrained:
        return True
    return _finished(run.train_dir, run.train_options, settings) and bool(checkpoint_files(run.train_dir))


def is_tested(run: Run, settings: RunSettings | None = None) -> bool:
    """Checks whether the test of a run is finished, with the constant hands if this run tests them.

    Args:
        run: the run.
        settings: the settings of the test to compare with; None compares only the options.

    Raises:
        TableError: names the folder, and what differs.
    """
    if not _finished(run.test_dir, run.test_options, settings) or not (run.test_dir / 'metrics.json').is_file():
        return False
    return set(read_results(run)) >= {'model', *(CONSTANT_HANDS if run.constants else ())}


def read_record(folder: str | Path) -> dict[str, Any]:
    """Reads `run.json` of a folder.

    Args:
        folder: of a training or a test.

    Returns:
        Its options, settings and whether it is finished; for finished runs also seconds and machine.

    Raises:
        TableError: the file is missing or damaged.
    """
    advice = 'remove the folder to do the run again'
    record = read_json(Path(folder) / RECORD, allow_nan=True, error=TableError, advice=advice)
    kinds = {'settings': dict, 'options': dict, 'finished': bool}
    if not all(isinstance(record.get(key), kind) for key, kind in kinds.items()):
        raise TableError(f'{folder}/{RECORD} must hold settings, options and finished; {advice}')
    return record


def read_results(run: Run) -> dict[str, dict[str, float]]:
    """Reads the numbers of a finished test.

    Args:
        run: the run.

    Returns:
        {row name: {metric: number}}.

    Raises:
        TableError: the file is missing or damaged.
    """
    advice = 'remove the folder to do the test again'
    return read_json(run.test_dir / 'metrics.json', allow_nan=True, error=TableError, advice=advice)


def machine_name() -> str:
    """Describes this machine: processor, number of cores, and version of torch."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'{cpu_name()}, {os.cpu_count()} cores'
    return f'{device}; torch {torch.__version__}'


class Workers:
    """Trains and tests runs, several side by side, each process with one thread.

    Args:
        settings: {run name: (train, test) settings}, from `check_runs`.
        jobs: number of runs side by side.
        show: called with (run, text) when a run reaches a stage or prints a line, from any thread.
        command: what starts the `handpose` command.
    """

    def __init__(
        self,
        settings: Mapping[str, tuple[RunSettings, RunSettings]],
        jobs: int,
        show: Callable[[Run, str], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.settings, self.jobs, self.show, self.command = settings, jobs, show, list(command)
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.stopping = threading.Event()

    def complete(self, runs: Sequence[Run]) -> dict[str, str]:
        """Trains and tests the runs that are not finished.

        Args:
            runs: the runs.

        Returns:
            {run name: reason} of the runs that failed.

        Raises:
            KeyboardInterrupt: the processes were stopped; they can continue later.
        """
        groups: dict[Path, list[Run]] = {}
        for run in runs:  # one group for each training, so that no two workers touch one folder
            groups.setdefault(run.train_dir, []).append(run)
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._complete_group, group, failures) for group in groups.values()]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop_processes()
                raise
        return failures

    def _complete_group(self, group: Sequence[Run], failures: dict[str, str]) -> None:
        for run in group:
            try:
                if not self.stopping.is_set():
                    self._complete(run)
            except Stopped:
                return
            except RunFailed as error:
                failures[run.name] = str(error)
                self.show(run, f'failed: {error}')

    def _complete(self, run: Run) -> None:
        train_settings, test_settings = self.settings[run.name]
        if not is_trained(run, train_settings):
            arguments = ['train', run.table.config, '--work-dir', str(run.train_dir), '--resume']
            self._run(run, 'training', arguments, run.train_dir, run.train_options, train_settings)
        if not is_tested(run, test_settings):
            weights = weights_for(run)
            arguments = ['test', run.table.config, *weights, '--work-dir', str(run.test_dir), '--draw', '0']
            arguments += ['--compare'] if run.constants else []
            self._run(run, 'testing', arguments, run.test_dir, run.test_options, test_settings)
        self.show(run, 'finished')

    def _run(
        self,
        run: Run,
        stage: str,
        arguments: Sequence[str],
        folder: Path,
        options: dict[str, Any],
        settings: RunSettings,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [*self.command, *arguments, '--cfg-options', *option_strings(options)]
        record: dict[str, Any] = {
            'config': run.table.config,
            'options': options,
            'settings': settings,
            'finished': False,
        }
        # A training that was stopped continues; its seconds add up.
        record['seconds'] = before = _seconds_before(folder) if stage == 'training' else 0.0
        started = time.monotonic()
        _write_record(folder, record)
        self.show(run, stage)
        code = self._call(run, stage, command, folder / 'log.txt')
        record['seconds'] = round(before + time.monotonic() - started, 1)
        if self.stopping.is_set():
            _write_record(folder, record)
            raise Stopped
        if code != 0:
            last = (_lines(folder / 'log.txt') or ['it wrote nothing'])[-1]
            raise RunFailed(f'{stage} ended with status {code}: {last} (all of it: {folder}/log.txt)')
        record |= {'finished': True, 'machine': machine_name()}
        if stage == 'training':
            record['iterations'] = iteration_of(_checkpoint_of(folder))
        _write_record(folder, record)

    def _call(self, run: Run, stage: str, command: Sequence[str], log: Path) -> int:
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1'}
        with log.open('a', encoding='utf-8') as output:
            # A session of its own: Ctrl-C reaches only this process, which then stops the others in order.
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, **own_console()
            )
            self.processes.add(process)
            if self.stopping.is_set():  # it began while the others were being stopped
                process.terminate()
            while (code := process.poll()) is None:
                try:
                    process.wait(timeout=2.0)
                except subprocess.TimeoutExpired:
                    self.show(run, f'{stage}: {(_lines(log) or ["starting"])[-1]}')
            self.processes.discard(process)
        return code

    def _stop_processes(self) -> None:
        for process in list(self.processes):
            process.terminate()  # a training saves before it ends
        for process in list(self.processes):
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def _seconds_before(folder: Path) -> float:
    return read_record(folder).get('seconds', 0.0) if (folder / RECORD).is_file() else 0.0


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    atomic_write(folder / RECORD, json.dumps(record, indent=1, default=str) + '\n')


class Stopped(Exception):
    """The user has interrupted; the processes have ended."""


class RunFailed(Exception):
    """A training or test that ended with an error."""


def _checkpoint_of(folder: Path) -> str:
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise RunFailed(f'the training ended without a checkpoint in {folder}')
    return checkpoint


def weights_for(run: Run) -> list[str]:
    """Finds the checkpoint that the test of a run loads.

    Tensors that the row's model does not have are left out, in a file of its own.

    Args:
        run: the run; its training is finished.

    Returns:
        One path, or none for a model without parameters.

    Raises:
        TableError: the row leaves out a tensor that the weights do not have.
    """
    if run.row.untrained:
        return []
    checkpoint = _checkpoint_of(run.train_dir)
    if not run.row.without:
        return [str(checkpoint)]
    state = load_checkpoint_file(checkpoint)
    prefix = 'estimator.'
    for name in run.row.without:
        if state['state_dict'].pop(prefix + name, None) is None:
            raise TableError(
                f'{run.table.path}: row {run.row.name!r}: {checkpoint} has no tensor {name!r} to leave out'
            )
    run.test_dir.mkdir(parents=True, exist_ok=True)
    path = run.test_dir / 'weights.pth'
    torch.save({'state_dict': state['state_dict'], 'meta': state['meta']}, path)
    return [str(path)]


def _finished(folder: Path, options: Mapping[str, Any], settings: RunSettings | None) -> bool:
    if not (folder / RECORD).is_file():
        if checkpoint_files(folder):
            raise TableError(f'{folder} holds weights but no {RECORD} that describes them; remove the folder')
        return False
    record = read_record(folder)
    made_with = {**record['settings'], 'options': record['options']}
    wanted = {**(record['settings'] if settings is None else settings), 'options': options}
    # Through JSON, where a tuple is a list as in the record.
    difference = _first_difference(made_with, json.loads(json.dumps(wanted, default=str)))
    if difference:
        raise TableError(
            f'{folder} was made with other settings ({difference}); remove the folder to do the run again, '
            f'or restore the config'
        )
    return record['finished']


def _first_difference(made: Any, wanted: Any, where: str = '') -> str | None:
    """Names a value that differs, or None. A key that only one side has is compared with its component's default."""
    if isinstance(made, dict) and isinstance(wanted, dict):
        keys = [key for key in made if key in wanted]
        if where == '.options':
            keys = sorted(set(made) | set(wanted))
        pairs = [(f'{where}.{key}', made.get(key), wanted.get(key)) for key in keys]
        if made.get('type') == wanted.get('type') is not None:
            defaults = defaults_of(made['type'])
            lone = [key for key in (*made, *wanted) if (key in made) != (key in wanted) and key in defaults]
            pairs += [(f'{where}.{key}', *(side.get(key, defaults[key]) for side in (made, wanted))) for key in lone]
    elif isinstance(made, list) and isinstance(wanted, list) and len(made) == len(wanted):
        pairs = [(f'{where}.{i}', *pair) for i, pair in enumerate(zip(made, wanted, strict=True))]
    else:
        return None if made == wanted else f'{where.lstrip(".")}: {made!r}, now {wanted!r}'
    return next((found for name, a, b in pairs if (found := _first_difference(a, b, name))), None)


def _lines(path: str | Path) -> list[str]:
    path = Path(path)
    return [line for line in path.read_text(errors='replace').splitlines() if line.strip()] if path.is_file() else []
