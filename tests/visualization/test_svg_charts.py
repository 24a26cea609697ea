"""Charts as HTML: well-formed, escaped, and with the values where they belong."""

import base64
import re
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from handpose.visualization.svg_charts import bar_chart, color_strip, heat_cell, heat_colors, line_chart, nice_ticks

EVIL = '<script>alert("x")</script>&\''


def parse(text):
    return ElementTree.fromstring(
        f'<div>{text.replace("<img", "<img/><i")}</div>' if '<img' in text else f'<div>{text}</div>'
    )


def test_a_line_goes_through_its_values_and_breaks_at_gaps():
    values = np.array([0, 1, np.nan, 2, np.nan, 4, 4.0])
    text = line_chart({'error': values}, 'frame', 'px', length=7)
    (path,) = [e.get('d') for e in parse(text).iter('path') if e.find('title') is not None]
    pieces = [re.findall(r'[\d.]+ [\d.]+', piece) for piece in path.split('M')[1:]]
    assert [len(piece) for piece in pieces] == [2, 1, 2]
    places = np.array([list(map(float, point.split())) for piece in pieces for point in piece])
    known = np.flatnonzero(np.isfinite(values))
    for axis, wanted in ((0, known), (1, -values[known])):
        slope, offset = np.polyfit(wanted, places[:, axis], 1)
        assert slope > 0
        np.testing.assert_allclose(places[:, axis], slope * wanted + offset, atol=0.11)


def test_long_recordings_stay_small():
    values = np.random.default_rng(0).uniform(size=(20_000,))
    values[8000:12_000] = np.nan
    text = line_chart({'error': values}, 'frame', 'px', length=20_000)
    assert len(text) < 12_000
    (path,) = [e.get('d') for e in parse(text).iter('path') if e.find('title') is not None]
    assert path.count('M') == 2


def test_all_text_is_escaped():
    for text in (
        line_chart({EVIL: np.arange(3.0)}, EVIL, EVIL, length=3),
        bar_chart({EVIL: 0.5}, EVIL, EVIL),
        color_strip(np.zeros((3, 3), np.uint8), EVIL),
        heat_cell(1.0, 2.0, EVIL),
    ):
        assert '<script' not in text and '&lt;script&gt;' in text
    assert len(list(parse(bar_chart({EVIL: 0.5}, EVIL, EVIL)).iter('rect'))) == 2


def test_nothing_known_is_an_empty_chart():
    text = line_chart({'error': np.full(5, np.nan)}, 'frame', 'px', length=5)
    assert 'nan' not in text and parse(text) is not None
    assert parse(bar_chart({}, 'cameras', '%')) is not None


def test_heat_colours_run_from_light_to_dark():
    colors = heat_colors(np.array([0, 1, 2, 3, 4, 9, np.nan]), 4.0).astype(int)
    assert (np.diff(colors[:5].sum(1)) < 0).all() and (colors[4] == colors[5]).all()
    assert np.ptp(colors[6]) < 20  # grey
    assert '#222' in heat_cell(0.0, 4.0, '0') and '#fff' in heat_cell(4.0, 4.0, '4')


def test_a_strip_has_the_colours():
    colors = heat_colors(np.arange(5.0), 4.0)
    data = re.search(r'base64,([^"]+)"', color_strip(colors, 'cam'))[1]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image[0, :, ::-1], colors)


@pytest.mark.parametrize('highest', [0.003, 0.9, 1, 4, 7.3, 99, 480, 12_345])
def test_ticks_are_round_and_few(highest):
    ticks = nice_ticks(highest)
    assert 3 <= len(ticks) <= 7 and ticks[0] == 0 and ticks[-1] >= highest * (1 - 1e-9) > ticks[-2]
    np.testing.assert_allclose(np.diff(ticks), ticks[1])
