"""Text features by text models: modules that stand for open_clip and transformers, and transformers itself if there."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from handpose.inference.text_models import make_text_features
from handpose.structures.text_features import TextFeaturesError

OPEN_CLIP = 'openclip:ViT-B-32/laion2b_s34b_b79k'


def encoded(texts, width=512):
    """(N, width): what the stand-ins give a text, of no particular length."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=width) for text in texts]
    return torch.tensor(np.array(rows), dtype=torch.float32)


class StandIn(torch.nn.Module):
    def encode_text(self, texts):
        assert not self.training and not torch.is_grad_enabled()
        return encoded(texts)


@pytest.fixture
def open_clip(monkeypatch):
    module = ModuleType('open_clip')
    module.list_pretrained = lambda: [('ViT-B-32', 'laion2b_s34b_b79k'), ('ViT-L-14', 'openai')]
    module.get_model_config = lambda name: {'embed_dim': {'ViT-B-32': 512, 'ViT-L-14': 768}[name]}
    module.create_model = lambda name, pretrained: StandIn()
    module.get_tokenizer = lambda name: lambda texts: texts
    monkeypatch.setitem(sys.modules, 'open_clip', module)
    return module


@pytest.fixture
def transformers(monkeypatch):
    module = ModuleType('transformers')

    def part(load):
        return SimpleNamespace(from_pretrained=load)

    def tokenizer(texts, padding, truncation, return_tensors):
        return {'texts': texts}

    network = torch.nn.Module()
    network.forward = lambda texts: SimpleNamespace(text_embeds=encoded(texts))
    module.CLIPTextConfig = part(lambda name: SimpleNamespace(projection_dim=768 if 'large' in name else 512))
    module.CLIPTextModelWithProjection = part(lambda name: network)
    module.AutoTokenizer = part(lambda name: tokenizer)
    monkeypatch.setitem(sys.modules, 'transformers', module)
    return module


@pytest.mark.parametrize('model', [OPEN_CLIP, 'transformers:openai/clip-vit-base-patch32'])
@pytest.mark.usefixtures('open_clip', 'transformers')
def test_features_of_a_text_model(model):
    names = [f'pour_{word}' for word in 'abcdefghij'] + [f'number {i}' for i in range(200)]
    table = make_text_features(names, model)
    assert table.names == tuple(names) and table.kind == 'clip' and table.model == model
    expected = encoded([name.replace('_', ' ') for name in names]).double().numpy()
    expected /= np.sqrt((expected**2).sum(1, keepdims=True))
    np.testing.assert_allclose(table.features, expected, atol=1e-6)


@pytest.mark.parametrize(
    'model, message',
    [
        ('openclip:ViT-L-14/openai', r'512 numbers wide, and those of openclip:ViT-L-14/openai are 768; .*ViT-B-32'),
        ('transformers:openai/clip-vit-large-patch14', 'are 768; models of size ViT-B fit'),
        ('openclip:ViT-B-32/laion2b', r"no weights 'ViT-B-32/laion2b' .*Did you mean 'ViT-B-32/laion2b_s34b_b79k'"),
        ('openclip:ViT-B-32', "no weights 'ViT-B-32'"),
        ('open_clip:ViT-B-32/openai', r"got 'open_clip:ViT-B-32/openai'; for example .*Did you mean 'openclip'"),
        ('transformers:', "transformers:NAME, got 'transformers:'"),
        ('clip', "must be compositional, openclip:ARCHITECTURE/WEIGHTS or transformers:NAME, got 'clip'"),
    ],
)
@pytest.mark.usefixtures('open_clip', 'transformers')
def test_models_that_do_not_fit(model, message):
    with pytest.raises(TextFeaturesError, match=message):
        make_text_features(['pour milk'], model)


def test_weights_that_cannot_be_downloaded(open_clip, transformers):
    def fail(*words, **options):
        raise OSError('no connection to the hub\nand much more text')

    open_clip.create_model = transformers.CLIPTextModelWithProjection.from_pretrained = fail
    for model in (OPEN_CLIP, 'transformers:openai/clip-vit-base-patch32'):
        with pytest.raises(TextFeaturesError, match=f'weights of {model} could not .*hub. They are .*compositional'):
            make_text_features(['pour milk'], model)


def test_the_real_transformers(tmp_path):
    """A tiny CLIP text model with random weights, saved as the Hub has them."""
    library = pytest.importorskip('transformers', reason='transformers is not installed')
    letters = 'abcdefghijklmnopqrstuvwxyz'
    vocabulary = ['<|startoftext|>', '<|endoftext|>', *letters, *(f'{letter}</w>' for letter in letters)]
    (tmp_path / 'vocab.json').write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}))
    (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
    library.CLIPTokenizer(str(tmp_path / 'vocab.json'), str(tmp_path / 'merges.txt')).save_pretrained(tmp_path)
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    places = dict(vocab_size=len(vocabulary), max_position_embeddings=16, bos_token_id=0, eos_token_id=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = library.CLIPTextConfig(projection_dim=512, **sizes, **places)
        network = library.CLIPTextModelWithProjection(config).eval()
    network.save_pretrained(tmp_path)
    names = ['open_milk', 'pour', 'close']
    table = make_text_features(names, f'transformers:{tmp_path}')
    for name, feature in zip(names, table.features, strict=True):  # one at a time, so without padding
        letters = ' '.join(name.split('_')).split()
        tokens = [0, *(vocabulary.index(t) for w in letters for t in (*w[:-1], f'{w[-1]}</w>')), 1]
        with torch.no_grad():
            expected = network(torch.tensor([tokens])).text_embeds[0]
        np.testing.assert_allclose(feature, expected / expected.norm(), atol=1e-5)
