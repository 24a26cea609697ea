"""Text features made by a CLIP text model, through the packages open_clip or transformers.

Both are optional and are imported when a model is asked for; they download its weights or read them from their caches.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.structures.text_features import WIDTH, TextFeatures, TextFeaturesError
from handpose.text import did_you_mean

COMPOSITIONAL = 'compositional'
EXAMPLES = ('openclip:ViT-B-32/laion2b_s34b_b79k', 'transformers:openai/clip-vit-base-patch32')
_BATCH = 128  # names that are encoded together


class TextModel(NamedTuple):
    """A loaded text model.

    Attributes:
        width: numbers of a feature.
        encode: texts -> (N, width).
    """

    width: int
    encode: Callable[[list[str]], Tensor]


def make_text_features(names: Sequence[str], model: str = COMPOSITIONAL, seed: int = 0) -> TextFeatures:
    """Makes a table of text features.

    Args:
        names: of actions and objects; underscores become spaces before a text model reads them.
        model: 'compositional' (no download), 'openclip:ARCHITECTURE/WEIGHTS' or 'transformers:NAME', where NAME is a
            CLIP model of the Hugging Face Hub or its folder. Its text features must be 512 numbers wide.
        seed: of the compositional features; text models do not use it.

    Returns:
        The table.

    Raises:
        TextFeaturesError: an unknown model, one whose weights cannot be loaded, another width, or names that make no
            table.
        ModuleNotFoundError: the model's package is not installed.
    """
    if model == COMPOSITIONAL:
        return TextFeatures.compositional(names, seed)
    package, _, name = model.partition(':')
    loaders = {'openclip': _load_open_clip, 'transformers': _load_transformers}
    if package not in loaders or not name:
        known = (COMPOSITIONAL, 'openclip:ARCHITECTURE/WEIGHTS', 'transformers:NAME')
        raise TextFeaturesError(
            f'the text model must be {", ".join(known[:2])} or {known[2]}, got {model!r}; for example {EXAMPLES[0]}.'
            f'{did_you_mean(package, (COMPOSITIONAL, *loaders))}'
        )
    loaded = loaders[package](name, model)
    texts = [name.replace('_', ' ') for name in names]
    with torch.inference_mode():
        rows = [loaded.encode(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    features = torch.cat(rows).double() if rows else torch.zeros(0, WIDTH)
    features = features / features.norm(dim=-1, keepdim=True)
    return TextFeatures(tuple(names), features.float().numpy(), model, 'clip')


def _load_open_clip(name: str, model: str) -> TextModel:
    import open_clip

    architecture, _, weights = name.partition('/')
    available = open_clip.list_pretrained()
    if (architecture, weights) not in available:
        known = ['/'.join(pair) for pair in available]
        raise TextFeaturesError(
            f'open_clip has no weights {name!r} (an architecture, a slash, and the name of its weights; '
            f'open_clip.list_pretrained() lists {len(known)}).{did_you_mean(name, known)}'
        )
    width = int(open_clip.get_model_config(architecture)['embed_dim'])
    _check_width(width, model)
    try:
        network = open_clip.create_model(architecture, pretrained=weights).eval()
        tokenizer = open_clip.get_tokenizer(architecture)
    except (OSError, RuntimeError, ValueError) as error:
        raise _not_loaded(model, error) from error
    return TextModel(width, lambda texts: network.encode_text(tokenizer(texts)).float())


def _load_transformers(name: str, model: str) -> TextModel:
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModelWithProjection

    try:
        width = int(CLIPTextConfig.from_pretrained(name).projection_dim)
        _check_width(width, model)
        network = CLIPTextModelWithProjection.from_pretrained(name).eval()
        tokenizer = AutoTokenizer.from_pretrained(name)
    except TextFeaturesError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise _not_loaded(model, error) from error

    def encode(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors='pt')
        return network(**tokens).text_embeds.float()

    return TextModel(width, encode)


def _check_width(width: int, model: str) -> None:
    if width != WIDTH:
        raise TextFeaturesError(
            f'text features must be {WIDTH} numbers wide, and those of {model} are {width}; models of size ViT-B fit: '
            f'{" or ".join(EXAMPLES)}'
        )


def _not_loaded(model: str, error: Exception) -> TextFeaturesError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return TextFeaturesError(
        f'the weights of {model} could not be loaded: {reason}. They are downloaded once: check the name and the '
        f'connection, or use the model {COMPOSITIONAL}, which needs none'
    )
