"""`run_jobs`: several videos at a time, failures, and what an interruption leaves."""

import time

import numpy as np
import pytest
from run_scripted_job import run_or_die, run_slowly
from scripted_hands import write_video

from handpose.inference.job_queue import run_jobs
from handpose.inference.video_job import JobReport, VideoJob
from handpose.structures import load_predictions


def job_of(folder, name, count, out='out'):
    video = folder / f'{name}.avi'
    if not video.exists():
        write_video(video, count)
    return VideoJob(str(video), folder / out / f'{name}.npz')


@pytest.mark.parametrize('processes', [1, 2])
def test_results_and_failures(tmp_path, processes):
    jobs = [job_of(tmp_path, name, 12) for name in ('a', 'b')]
    (tmp_path / 'c.mp4').write_text('no video')
    jobs.insert(1, VideoJob(str(tmp_path / 'c.mp4'), tmp_path / 'out' / 'c.npz'))
    results = dict(run_jobs(jobs, processes, run_slowly))
    assert results.keys() == set(jobs)
    assert isinstance(results[jobs[0]], JobReport) and results[jobs[0]].processed == 12
    assert results[jobs[1]].startswith(f'{tmp_path / "c.mp4"} cannot be read as a video')
    a, b = (load_predictions(tmp_path / 'out' / f'{name}.npz') for name in 'ab')
    np.testing.assert_array_equal(a.joints, b.joints)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.npz', 'b.npz']


def test_an_interruption_saves_what_is_running_and_begins_nothing_else(tmp_path):
    """Two long videos are running when the short one is done; a third one waits."""
    short, *long = [job_of(tmp_path, 'a', 3), *(job_of(tmp_path, name, 1_500) for name in 'bcd')]
    results = run_jobs([short, *long], 2, run_slowly)
    assert next(results)[0] == short
    start = time.monotonic()
    while not list((tmp_path / 'out').glob('*.partial/settings.json')) and time.monotonic() - start < 60:
        time.sleep(0.01)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match='the same command goes on from the hands found so far'):
        results.throw(KeyboardInterrupt)
    assert time.monotonic() - start < 10  # one of them alone takes 15 s
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names[0] == 'a.npz' and len(names) in (2, 3)
    assert set(names[1:]) <= {f'{name}.npz.partial' for name in 'bcd'}
    counts = [len(list((tmp_path / 'out' / name).glob('images_*.npz'))) for name in names[1:]]
    assert sum(counts) > 0


def test_a_process_that_dies(tmp_path):
    jobs = [job_of(tmp_path, 'deadly', 3)]
    assert dict(run_jobs(jobs, 2, run_or_die)) == {
        jobs[0]: 'its process has ended, as when memory runs out; try fewer processes'
    }
