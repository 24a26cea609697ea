"""`handpose benchmark --scaling`: exponents against exact powers, resuming, plots, and that every sweep runs."""

import math

import numpy as np
import pytest
import torch

from handpose.cli import main
from handpose.experiments.benchmarks import case as registry
from handpose.experiments.benchmarks import sweep_plots, sweeps
from handpose.experiments.benchmarks.measure import start_server
from handpose.experiments.benchmarks.rank_workers import RankWorkers
from handpose.experiments.benchmarks.results import MeasurementPlan, new_results, read_results
from handpose.experiments.benchmarks.sweep_inputs import hand_batch
from handpose.geometry import projection_matrices, triangulate

SIZES = (1, 2, 4, 8, 16)
FAKE = """
import time
from handpose.experiments.benchmarks.case import Work
from handpose.experiments.benchmarks.sweeps import register_sweep

def waits(settings, size):
    return Work(lambda: time.sleep(0.001 * size), size)

register_sweep('Sleep', 'naps', (1, 2, 4), waits, 'Sleeping {} times')
"""


def record(system, axis, size, seconds, memory, expected=1.0, why=''):
    """A record of one case of a sweep, as `measure` makes it."""
    form = {'cpu_seconds': [seconds, 2 * seconds, 3 * seconds], 'memory_mb': {'start': 10.0, 'peak': 10.0 + memory}}
    form['seconds'] = [7 * number for number in reversed(form['cpu_seconds'])]
    sweep = {'system': system, 'axis': axis, 'size': size, 'expected': expected, 'why': why}
    return {'sweep': sweep, 'failed': None, 'forms': {'case': form}}


def a_run(*sweeps_):
    results = new_results(registry.Settings(), MeasurementPlan())
    records = [row for rows in sweeps_ for row in rows]
    results['cases'] = {f'{number}': row for number, row in enumerate(records)}
    return results


def power(k, fixed=0.0, memory_power=1.0, **options):
    return [record('Net', 'frames', n, fixed + 1e-3 * n**k, fixed + 8.0 * n**memory_power, **options) for n in SIZES]


@pytest.mark.parametrize('k', [0.0, 0.5, 1.0, 2.0, 3.0])
def test_exponents_of_exact_powers(k):
    (found,) = sweeps.sweeps(a_run(power(k, memory_power=1.5)))
    assert found.exponent == pytest.approx(k, abs=1e-9) and found.tail == pytest.approx(k, abs=1e-9)
    assert found.memory_tail == pytest.approx(1.5) and found.sizes == list(SIZES)
    assert found.seconds == pytest.approx([2e-3 * n**k for n in SIZES])  # the processor's, the median of the rounds
    (by_the_clock,) = sweeps.sweeps(a_run([record('Net', 'ranks', n, 1.0, 1.0) for n in (1, 2)]))
    assert by_the_clock.seconds == [14.0, 14.0] and by_the_clock.memory == []


def test_the_end_of_a_sweep_leaves_fixed_costs_behind():
    (found,) = sweeps.sweeps(a_run(power(1.0, fixed=0.01)))
    assert found.exponent + 0.1 < found.tail < 0.85
    assert found.remark() == 'grows more slowly than size^1: fixed costs'


@pytest.mark.parametrize(
    'rows, words',
    [
        (power(1.1), ''),
        (power(2.0), 'TIME GROWS FASTER than size^1'),
        (power(2.0, expected=2.0, why='matrix products'), 'matrix products'),
        (power(1.0, memory_power=2.0), 'MEMORY GROWS FASTER than size^1'),
        (power(3.0, expected=2.0, why='matrix products'), 'TIME GROWS FASTER than size^2; matrix products'),
    ],
)
def test_what_is_not_linear_is_pointed_out(rows, words):
    (found,) = sweeps.sweeps(a_run(rows))
    assert found.remark() == words


def test_rounds_that_disagree_point_nothing_out():
    rows = power(1.3)
    assert sweeps.sweeps(a_run(rows))[0].remark() == 'TIME GROWS FASTER than size^1'
    for row in rows[-2:]:
        row['forms']['case']['cpu_seconds'][0] *= 0.5  # in the first round, the largest sizes took no longer
    assert sweeps.sweeps(a_run(rows))[0].remark() == ''


def test_failed_and_too_small_cases_are_left_out():
    rows = power(1.0, memory_power=0.0)
    rows[-1]['failed'] = 'no answer'
    (found,) = sweeps.sweeps(a_run(rows, [{'sweep': None, 'failed': None, 'forms': {}}]))
    assert found.sizes == list(SIZES[:-1]) and math.isnan(found.memory_tail)
    assert math.isnan(sweeps.exponent([1], [1.0]))


def test_plots(tmp_path):
    cv2 = pytest.importorskip('cv2')
    pytest.importorskip('matplotlib', reason='plots need the extra "train"')
    results = a_run(power(1.0), [record('Net', axis, n, 1.0, 30.0) for axis in ('hands', 'ranks') for n in (1, 2)])
    paths = sweep_plots.plot_sweeps(results, tmp_path / 'new')
    assert [path.name for path in paths] == ['scaling_time.png', 'scaling_memory.png']
    assert all(cv2.imread(str(path)).std() > 5 for path in paths)
    with pytest.raises(registry.BenchmarkError, match='no finished sweep'):
        sweep_plots.plot_sweeps(a_run(), tmp_path)


def test_a_run_of_sweeps_is_kept_shown_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, 'CASES', {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cases').mkdir()
    (tmp_path / 'cases' / 'fake.py').write_text(FAKE)
    start_server(1)
    words = ['--folder', 'cases', '--out', 'found.json', '--repeats', '2', '--seconds', '0']
    main('benchmark', [*words, '--only', 'sleep_naps_1'])
    first = read_results('found.json')['cases']
    main('benchmark', [*words, '--resume', '--markdown', 'page.md'])
    found = read_results('found.json')['cases']
    assert list(found) == ['sleep_naps_1', 'sleep_naps_2', 'sleep_naps_4']
    assert found['sleep_naps_1'] == first['sleep_naps_1'] and found['sleep_naps_4']['sweep']['size'] == 4
    assert found['sleep_naps_4']['forms']['case']['count'] == 1  # a call, whatever it processes
    assert '1/2 sleep_naps_2' in capsys.readouterr().out
    assert '| Sleep | naps | 1-4 |' in (tmp_path / 'page.md').read_text()


@pytest.fixture(scope='module')
def cases():
    return registry.load_cases(sweeps.FOLDER)


def smallest():
    found = {}
    for name, made in registry.load_cases(sweeps.FOLDER).items():
        found.setdefault((made.sweep.system, made.sweep.axis), name)
    return [name for (_, axis), name in found.items() if axis != 'ranks']


@pytest.mark.parametrize('name', smallest())
def test_every_sweep_runs(cases, name, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / 'sweep_cache'
    work = cases[name].form.set_up(registry.Settings(cache=str(cache)))
    assert work.count == 1 and work.run() is not None


def test_hands_are_seen_by_all_cameras_where_they_are():
    batch = hand_batch(2, 3, hands=2, views=4, image_size=(48, 32))
    assert batch.images.shape == (2, 3, 4, 3, 32, 48) and batch.frame == 'world'
    matrices = projection_matrices(batch.intrinsics, batch.extrinsics)
    found = triangulate(batch.joints_2d.flatten(3, 4), matrices).points
    torch.testing.assert_close(found.float(), batch.joints_3d.flatten(2, 3), atol=1e-3, rtol=0)
    assert hand_batch(1, 2).images is None and hand_batch(1, 2).frame == 'camera'


def test_two_ranks_share_their_gradients():
    with RankWorkers(2, threads=1) as together, RankWorkers(1, threads=1) as alone:
        gradients, single = together.step(), alone.step()
        assert gradients[0] == pytest.approx(gradients[1]) and np.isfinite(gradients).all()
        assert gradients[0] != pytest.approx(single[0])  # the second rank has other labels
        assert min(together.memory()) > 50
