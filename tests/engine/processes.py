"""Runs of several processes, started as users start them: python tests/engine/processes.py counts clean exits."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIG = HERE / 'random_clips_config.py'


def start(*command, **variables):
    """Starts a command in a session of its own, with the test datasets at hand; see `finish`."""
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **variables}
    environment['PYTHONPATH'] = os.pathsep.join([str(HERE), str(ROOT)])
    pipe = subprocess.PIPE
    command = [str(word) for word in command]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def start_training(work_dir, *arguments):
    """Two processes on this machine that train random clips into `work_dir`."""
    return start('tools/dist_train.sh', CONFIG, 2, '--work-dir', work_dir, *arguments)


def finish(started, seconds=200):
    """Waits for the end, at most `seconds`; returns (exit status, everything that was printed)."""
    try:
        output, errors = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        output, errors = started.communicate()
        raise TimeoutError(f'no end after {seconds} s:\n{output}{errors}') from None
    return started.returncode, output + errors


def workers(started):
    """{rank: process id} of the training processes that torchrun, here `started`, has made."""
    found = {}
    for folder in Path('/proc').iterdir():
        try:
            parent = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[1])
            variables = (folder / 'environ').read_bytes().split(b'\0')
        except (OSError, IndexError):  # no process, or one that has just ended
            continue
        if parent == started.pid:
            found.update((int(v[5:]), int(folder.name)) for v in variables if v.startswith(b'RANK='))
    return found


def wait_for(condition, started, seconds=200):
    """Waits until `condition()` is true and returns what it gave; raises if the run ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and started.poll() is None:
        if found := condition():
            return found
        time.sleep(0.002)
    raise RuntimeError('training ended, or took too long:\n' + finish(started, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--times', type=int, default=20)
    times, bad = parser.parse_args().times, 0
    for number in range(times):
        with tempfile.TemporaryDirectory() as folder:
            status, output = finish(start_training(folder, '--cfg-options', 'epochs=1'))
        if status or 'terminate called' in output:
            bad += 1
            print(f'run {number} ended with status {status}:\n{output}')
    print(f'{times - bad} of {times} runs of two processes ended cleanly')
    sys.exit(bad > 0)


if __name__ == '__main__':
    main()
