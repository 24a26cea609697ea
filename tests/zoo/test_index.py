from pathlib import Path

import pytest
import yaml
from zoo_server import make_entry, write_index

from handpose.zoo.card import rows, zoo_markdown
from handpose.zoo.errors import ZooError
from handpose.zoo.index import default_index, read_index
from handpose.zoo.sources import HubFile, PackageFile, WebFile, WheelMember, parse_source

ROOT = Path(__file__).parents[2]
METRIC = {'name': 'PA-MPJPE', 'value': 7.25, 'unit': 'mm', 'data': 'built-in test split', 'command': 'handpose test x'}


def test_model_zoo_is_generated():
    """After a change of the index: handpose zoo table > model_zoo.md"""
    assert (ROOT / 'model_zoo.md').read_text(encoding='utf-8') == zoo_markdown(default_index())


def test_shipped_entries():
    for entry in default_index().values():
        for source in entry.sources:
            assert not isinstance(source, WebFile) or source.url.startswith('https://')
            assert not isinstance(source, PackageFile) or (ROOT / 'handpose/zoo' / source.path).is_file()
        assert entry.kind != 'estimator' or (entry.config and entry.training and entry.metrics)


@pytest.mark.parametrize(
    'text, source',
    [
        ('package:weights/a.safetensors', PackageFile('weights/a.safetensors')),
        ('https://example.org/a.bin', WebFile('https://example.org/a.bin')),
        ('http://127.0.0.1:8000/a', WebFile('http://127.0.0.1:8000/a')),
        ('hf://owner/name@v1.0/a/b.bin', HubFile('owner/name', 'v1.0', 'a/b.bin')),
        ('pypi:a-b==1.0#c/d.bin', WheelMember('a-b==1.0', 'c/d.bin')),
    ],
)
def test_sources(text, source):
    assert parse_source(text) == source


@pytest.mark.parametrize(
    'text, message',
    [
        ('ftp://example.org/a', 'unknown scheme, expected one of: package:PATH.*https.*hf.*pypi'),
        ('http://example.org/a', 'is not encrypted: it must begin with https'),
        ('http://127.0.0.1.example.org/a', 'is not encrypted'),
        ('http://127.0.0.1@example.org/a', 'without a user name'),
        ('https:///a', 'must be written as https'),
        ('https://[x/a', 'is no URL'),
        ('package:../a', 'must be written as package:PATH'),
        ('package:/etc/passwd', 'must be written as package:PATH'),
        ('hf://owner/name/a.bin', 'must be written as hf:'),
        ('hf://owner/name@v1/../a', 'must be written as hf:'),
        ('pypi:name#a', 'must be written as pypi:NAME==VERSION'),
        ('pypi:name==1', 'must be written as pypi:NAME==VERSION'),
        ('pypi:--index-url==1#a', 'must be written as pypi:NAME==VERSION'),
        ('pypi:name==1 --pre#a', 'must be written as pypi:NAME==VERSION'),
        ('pypi:name==1#../a', 'must be written as pypi:NAME==VERSION'),
    ],
)
def test_wrong_sources(tmp_path, text, message):
    with pytest.raises(ZooError, match=f"index.yml: entry 'net': 'sources': .*{message}"):
        write_index(tmp_path, net=make_entry(b'x', [text]))


@pytest.mark.parametrize(
    'values, message',
    [
        ({'kind': 'networks'}, "'kind' must be one of network, estimator, got 'networks'"),
        ({'file': '../a'}, "'file' must be the name of a file"),
        ({'file': 'a/b'}, "'file' must be the name of a file"),
        ({'sha256': 'A' * 64}, "'sha256' must be 64 hexadecimal digits"),
        ({'sha256': int('1' * 18)}, "'sha256' must be a text, but is a whole number; put it in quotes"),
        ({'size': 0}, "'size' must be the number of bytes"),
        ({'size': '7'}, "'size' must be a whole number, but is a text"),
        ({'size': True}, "'size' must be a whole number, but is true or false"),
        ({'commercial_use': 'yes'}, "'commercial_use' must be true or false, but is a text"),
        ({'sources': []}, "'sources' is empty"),
        ({'sources': 'pypi:a==1#b'}, "'sources' must be a list, but is a text"),
        ({'sources': [3]}, "'sources' must hold texts, but holds a whole number"),
        ({'license': 'x'}, "unknown key 'license'. Did you mean 'licence'?"),
        ({'metrics': [{**METRIC, 'value': 'x'}]}, "metric 1: 'value' must be a number, but is a text"),
        ({'metrics': [{'name': 'x'}]}, "metric 1 lacks 'value', 'unit', 'data', 'command'"),
        ({'metrics': [3]}, 'metric 1 must hold keys with values, but holds a whole number'),
    ],
)
def test_wrong_entries(tmp_path, values, message):
    with pytest.raises(ZooError, match=f"index.yml: entry 'net'.*{message}"):
        write_index(tmp_path, net={**make_entry(b'x', ['https://example.org/a']), **values})


@pytest.mark.parametrize(
    'content, message',
    [
        ({'format': 2, 'entries': {}}, "'format' must be 1, got 2; update handpose"),
        ({'format': 1}, "'entries' must be a mapping of names to entries, got nothing"),
        ({'format': 1, 'entries': {'Net': {}}}, "entry 'Net': a name must be lower case"),
        ({'format': 1, 'entries': {'net': {}}}, "entry 'net' lacks 'kind', 'title'"),
        ({'format': 1, 'entries': {'net': None}}, "entry 'net' must hold keys with values, but holds nothing"),
    ],
)
def test_wrong_indexes(tmp_path, content, message):
    path = tmp_path / 'index.yml'
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ZooError, match=message):
        read_index(path)


def test_an_unknown_name():
    with pytest.raises(
        ZooError, match=r"has no 'mediapipe_palm'. Did you mean 'mediapipe_palm_\w+'\? `handpose zoo list"
    ):
        default_index()['mediapipe_palm']


def test_a_card_has_everything(tmp_path):
    values = make_entry(
        b'x' * 1_250_000, ['hf://a/b@c/d'], metrics=[METRIC], config='x/y', training='handpose train x/y'
    )
    entry = write_index(tmp_path, net=values)['net']
    text = '\n'.join(f'{heading}: {words}' for heading, words in rows(entry))
    for key, value in values.items():
        if isinstance(value, str) and key not in ('kind', 'file', 'title'):
            assert value in text, key
    assert 'PA-MPJPE, built-in test split: 7.25 mm; reproduce: handpose test x' in text
    assert '1.2 MB' in text and 'commercial use allowed' in text and 'hf://a/b@c/d' in text
