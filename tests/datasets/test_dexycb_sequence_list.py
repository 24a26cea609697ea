"""Roots that hold only a part of a subject's sequences: `sequence_names.txt` says where each stands among all."""

import shutil

import dexycb_files as files
import pytest

from handpose.datasets import DexYCB
from handpose.datasets.base import DatasetError
from handpose.datasets.dexycb import layout as layout

SUBJECT = '20200709-subject-03'


def partial_root(tmp_path, kept, listed=True, name='procedural-1', total=10):
    """Sequences `kept` of `total`, with or without the list of all."""
    root = files.write_root(tmp_path / 'root', subjects=(3,), sequences=total, name=name)
    folders = sorted((root / SUBJECT).iterdir())
    if listed:
        # Not sorted, and with an empty line: the reader sorts.
        (root / 'sequence_names.txt').write_text('\n\n'.join(f'{SUBJECT}/{f.name}' for f in reversed(folders)) + '\n')
    for position, folder in enumerate(folders):
        if position not in kept:
            shutil.rmtree(folder)
    return root


def positions_of(root, **options):
    data = DexYCB(root, **options)
    return sorted({int(data[i].meta['sequence'][-5:]) for i in range(len(data))})


def test_splits_count_in_the_list(tmp_path):
    root = partial_root(tmp_path, kept=(2, 4, 5, 9))
    assert positions_of(root, setup='s0', split='train') == [2, 5]
    assert positions_of(root, setup='s0', split='test') == [4, 9]
    (root / 'sequence_names.txt').unlink()  # now counted on disk: the index must notice
    assert positions_of(root, setup='s0', split='train') == [2, 4, 5, 9]
    (root / 'sequence_names.txt').write_text(
        '\n'.join(f'{SUBJECT}/20200709_1{i:05d}' for i in (0, 1, 2, 3, 4, 5, 6, 9))
    )
    assert positions_of(root, setup='s0', split='test') == [4]


def test_grasps_count_in_the_list_too(tmp_path):
    root = partial_root(tmp_path, kept=(0, 16, 36, 38), total=40)
    assert positions_of(root, setup='s3', split='train') == [0]
    assert positions_of(root, setup='s3', split='val') == [16]
    assert positions_of(root, setup='s3', split='test') == [36, 38]


def test_a_download_in_part_is_taken_with_the_list_only(tmp_path):
    """MANO's labels: the published splits need all hundred names."""
    without = partial_root(tmp_path / 'a', kept=(3, 4), listed=False, name=None, total=100)
    with pytest.raises(DatasetError, match=r'has 2 of its 100 sequences.*sequence_names\.txt'):
        DexYCB(without, setup='s0', labels='joints_only')
    root = partial_root(tmp_path / 'b', kept=(3, 4), name=None, total=100)
    assert positions_of(root, setup='s0', split='test', labels='joints_only') == [4]
    names = (root / 'sequence_names.txt').read_text().split()
    (root / 'sequence_names.txt').write_text('\n'.join(names[1:]))
    with pytest.raises(DatasetError, match=r'sequence_names\.txt: .* has 99 of its 100'):
        DexYCB(root, setup='s0', split='test', labels='joints_only')


def test_official_numbers_need_the_whole_split(tmp_path, monkeypatch):
    """They count every frame of the published split, so a part of it would be numbered otherwise."""
    root = partial_root(tmp_path / 'part', kept=(3, 4), name=None, total=100)
    for split in ('train', 'test'):
        part = DexYCB(root, setup='s0', split=split, labels='joints_only')
        assert len(part) and all('official_indices' not in clip.meta for clip in part)
    monkeypatch.setattr(layout, 'SUBJECTS', 1)
    monkeypatch.setattr(layout, 'SEQUENCES_PER_SUBJECT', 5)
    monkeypatch.setattr(layout, 'SERIALS', ('932122061900', '932122062010'))
    root = files.write_root(tmp_path / 'whole', sequences=5, name=None)  # all of a smaller data set
    names = sorted(f'{f.parent.name}/{f.name}' for f in root.glob('*-subject-*/*'))
    (root / 'sequence_names.txt').write_text('\n'.join(names))
    options = dict(setup='s0', labels='joints_only')
    assert [t.meta['official_indices'] for t in DexYCB(root, split='val', **options)] == [[0, 1, 2], [3, 4, 5]]
    one = DexYCB(root, split='train', cameras=['932122062010'], **options)  # chosen here, but all on disk
    assert one[0].meta['official_indices'] == [3, 4, 5]
    shutil.rmtree(root / names[2])
    assert 'official_indices' not in DexYCB(root, split='train', **options)[0].meta
    assert DexYCB(root, split='val', **options)[1].meta['official_indices'] == [3, 4, 5]  # this split is still whole


@pytest.mark.parametrize(
    ('lines', 'sentence'),
    [
        ([f'{SUBJECT}/20200709_100000'], r'20200709_100004 is not in .*sequence_names\.txt'),
        ([f'{SUBJECT}/20200709_100004'] * 2, 'names .*20200709_100004 twice'),
        (['20200709_100004'], "a line must read like .*, got '20200709_100004'"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, lines, sentence):
    root = partial_root(tmp_path, kept=(4,), total=5)
    (root / 'sequence_names.txt').write_text('\n'.join(lines))
    with pytest.raises(DatasetError, match=sentence):
        DexYCB(root, setup='s0', split='test')
