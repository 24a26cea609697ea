"""The gallery: entries and images belong together, the page is that of the entries, and entries can be made."""

import re
from pathlib import Path

import cv2
import pytest

pytest.importorskip('PIL')
from gallery import driver
from gallery.driver import ENTRIES, IMAGES, PAGE, main, page

ROOT = Path(__file__).parents[2]
MOST, MOST_TOGETHER = 300_000, 3_200_000  # bytes


def test_every_entry_has_its_image_and_the_other_way_round():
    assert {entry.file for entry in ENTRIES} == {path.name for path in IMAGES.iterdir()}


def test_the_page_is_made_of_the_entries():
    assert PAGE.read_text() == page(), 'docs/gallery.md is not up to date; run: python tools/make_gallery.py'


def test_every_image_is_shown_on_a_page():
    pages = [*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')]
    named = {name for path in pages for name in re.findall(r'images/([\w./-]+)\)', path.read_text())}
    stored = {str(path.relative_to(IMAGES.parent)) for path in IMAGES.parent.rglob('*.*')}
    assert stored == named


def test_sizes():
    sizes = [path.stat().st_size for path in IMAGES.iterdir()]
    assert max(sizes) <= MOST and sum(sizes) <= MOST_TOGETHER


def test_entries_are_made(tmp_path, capsys, monkeypatch):
    """Two that need no networks; what is there is kept, and the documentation is not touched."""
    monkeypatch.setattr(driver, 'atomic_write', forbid_the_page(driver.atomic_write))
    folders = ['--out', str(tmp_path / 'out'), '--data', str(tmp_path / 'data')]
    words = ['--only', 'hand_model', 'ghtt_futures', '--quick', *folders]
    main(words)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['ghtt_futures.webp', 'hand_model.jpg']
    image = cv2.imread(str(tmp_path / 'out' / 'hand_model.jpg'))
    assert image.shape[0] > 300 and image.std() > 20  # hands on dark paper
    capsys.readouterr()
    before = (tmp_path / 'out' / 'ghtt_futures.webp').stat().st_mtime_ns
    main(words)
    assert capsys.readouterr().out.count('is there already') == 2
    assert (tmp_path / 'out' / 'ghtt_futures.webp').stat().st_mtime_ns == before


def forbid_the_page(write):
    def checked(path, content):
        assert path != PAGE
        write(path, content)

    return checked


def test_an_unknown_entry(capsys):
    with pytest.raises(SystemExit):
        main(['--only', 'no_such_entry'])
    assert 'invalid choice' in capsys.readouterr().err
