"""The whole DexYCB, 1000 sequences in 8 cameras and 582,000 frames, must open fast and stay small.

Counts are asserted; seconds and megabytes depend on the machine, so they are recorded (`pytest --junitxml`) and shown
by `pytest -s`.
"""

import shutil
import subprocess
import sys

import dexycb_files as files
import numpy as np
from samplings import centred

from handpose.datasets import DexYCB
from handpose.datasets.dexycb import index as dexycb_index
from handpose.datasets.dexycb import layout as dexycb_layout

FRAMES = 73
MEASURE = """
import resource, sys, time
from handpose.datasets import ClipSampling, DexYCB
resident = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20
before, start = resident(), time.perf_counter()
sampling = ClipSampling(7, 10, centred=True)
dataset = DexYCB(sys.argv[1], 'train', setup='s0', sampling=sampling, labels='joints_only')
seconds, opened = time.perf_counter() - start, resident() - before
for index in range(0, len(dataset), len(dataset) // 200):
    dataset[index]
start = time.perf_counter()
for index in range(100, len(dataset), len(dataset) // 200):
    dataset[index]
print(len(dataset), seconds, opened, (time.perf_counter() - start) / 200 * 1000, resident() - before)
"""


def _annotated(job):
    """Stands in for reading the labels of one sequence: a hand in all frames but the first ten."""
    _, sequence, _ = job
    size = sequence.num_frames * len(sequence.serials)
    status = np.where(np.arange(size) % sequence.num_frames < 10, dexycb_index.NO_HAND, dexycb_index.HAND)
    return status.astype(np.uint8), np.zeros(size, dexycb_layout.LABEL), {}


def test_full_size(tmp_path, monkeypatch, record_property):
    serials = dexycb_layout.SERIALS
    files.write_root(tmp_path, subjects=(), serials=serials, name=None)
    meta = {'num_frames': FRAMES, 'serials': list(serials), 'extrinsics': 'a', 'ycb_ids': [1], 'ycb_grasp_ind': 0}
    text = files.yaml.safe_dump({**meta, 'mano_sides': ['right'], 'mano_calib': ['right']})
    for subject in range(1, 11):
        for position in range(100):
            folder = tmp_path / f'20200709-subject-{subject:02d}' / f'20200709_1{position:05d}'
            for serial in serials:
                (folder / serial).mkdir(parents=True)
            (folder / 'meta.yml').write_text(text)
    monkeypatch.setattr(dexycb_index, '_read_tracks', _annotated)
    monkeypatch.setattr(dexycb_index, 'PARALLEL_FROM', 10**9)
    expected = {'train': 800 * 8 * (FRAMES - 10), 'val': 40 * 8 * (FRAMES - 10), 'test': 160 * 8 * (FRAMES - 10)}
    for split, count in expected.items():
        clips = DexYCB(tmp_path, split, setup='s0', sampling=centred(7, 10), labels='joints_only')
        assert len(clips) == count
    assert len(DexYCB(tmp_path, 'test', setup='s0', labels='joints_only')) == 160 * 8
    command = [sys.executable, '-c', MEASURE, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    names = ('samples', 'seconds to open', 'MB after opening', 'ms per clip', 'MB after 400 clips')
    for name, value in zip(names, found, strict=True):
        record_property(name, float(value))
        print(f'{name}: {float(value):.2f}')
    assert int(found[0]) == expected['train']
    shutil.rmtree(tmp_path)  # pytest would keep its 375 MB
