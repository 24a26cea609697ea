"""Text features of labels: a table from names of actions and objects to 512 numbers each, and its file.

G-HTT compares actions and objects with text features of their names (Wen et al., arXiv 2311.17366, section 3.2). A
table made by a CLIP text model puts names of similar meaning near each other; a compositional one needs no download and
knows only which words two names share. docs/guides/your_own_actions.md shows how both are made.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.text import did_you_mean

FORMAT, VERSION = 'handpose-text-features', 1
WIDTH = 512
KINDS = ('compositional', 'clip')
_KEYS = ('format', 'version', 'kind', 'model', 'names', 'features')
_NORM_TOLERANCE = 1e-3
_NOUN_SHIFT = WIDTH // 3  # a cyclic shift: the orthogonal map that tells a noun from a verb of the same word


class TextFeaturesError(ValueError):
    """A table of text features that cannot be used; the message says what was expected, what was found, what to do."""


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """One feature for each of N names.

    Args:
        names: N different names, such as 'pour milk'.
        features: (N, 512), each of unit length; kept as float32.
        model: the text model that made them, such as 'openclip:ViT-B-32/laion2b_s34b_b79k'.
        kind: 'clip', a text model trained with images, or 'compositional'.

    Attributes:
        width: numbers of a feature.

    Raises:
        TextFeaturesError: no name, one twice, another shape, numbers that are not finite or not of unit length.
    """

    width: ClassVar[int] = WIDTH

    names: tuple[str, ...]
    features: NDArray[np.float32]
    model: str
    kind: str

    def __post_init__(self) -> None:
        object.__setattr__(self, 'names', tuple(self.names))
        object.__setattr__(self, 'features', _checked(self.names, self.features))
        if self.kind not in KINDS:
            raise TextFeaturesError(
                f'kind must be one of {", ".join(KINDS)}, got {self.kind!r}.{did_you_mean(self.kind, KINDS)}'
            )
        if not self.model:
            raise TextFeaturesError('model must name the text model that made the features')

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def compositional(cls, names: Sequence[str], seed: int = 0) -> 'TextFeatures':
        """Makes features of the words of names: no download, and no knowledge of what the words mean.

        A name is lower-cased and split at spaces, underscores and hyphens. Each word has a fixed vector of 512 numbers
        +-1 / sqrt(512), whose signs are the first 512 bits of SHAKE-256 of '<seed>/<word>', so that it is the same on
        every machine. The last word counts as the noun, whose vector is shifted cyclically by 170 numbers; the words
        before it are the verb. The feature is (verb + noun) / its length, verb and noun of unit length each. So two
        names with the same noun and different verbs ('open milk', 'close milk') have a cosine near 0.5, as have two
        with the same verb; unrelated ones near 0. A single word is a noun: 'milk' has a cosine near 0.7 with
        'open milk'.

        Args:
            names: N names.
            seed: another seed gives other vectors.

        Returns:
            The table, in the order of `names`.

        Raises:
            TextFeaturesError: no name, a name without a word, one twice, or two with the same words.
        """
        rows, owners = [], dict[tuple, str]()
        for name in names:
            words = _words(name)
            key = (tuple(sorted(words[:-1])), words[-1])
            if owners.setdefault(key, name) != name:
                raise TextFeaturesError(
                    f'{name!r} and {owners[key]!r} have the same verb words and noun, so that their compositional '
                    f'features would be equal; give one of them another name'
                )
            rows.append(_unit(_verb(words[:-1], seed) + np.roll(_word(words[-1], seed), _NOUN_SHIFT)))
        features = np.stack(rows) if rows else np.zeros((0, WIDTH))
        return cls(tuple(names), features.astype(np.float32), f'compositional, seed {seed}', 'compositional')

    def select(self, names: Iterable[str]) -> 'TextFeatures':
        """Selects names.

        Args:
            names: names of the table.

        Returns:
            The table of these names, in their order.

        Raises:
            TextFeaturesError: a name is not in the table; the message names the nearest one.
        """
        wanted = tuple(names)
        rows = {name: row for row, name in enumerate(self.names)}
        for name in wanted:
            if name not in rows:
                raise TextFeaturesError(
                    f'the table of text features ({self.model}, {len(self)} names) has no {name!r}.'
                    f'{did_you_mean(name, self.names)} Make a table with it: handpose text-features'
                )
        return TextFeatures(wanted, self.features[[rows[name] for name in wanted]], self.model, self.kind)

    def save(self, path: str | Path) -> None:
        """Writes the table, completely or not at all; `load` reads it back.

        Args:
            path: the .npz file.

        Raises:
            TextFeaturesError: the name does not end in .npz.
        """
        if Path(path).suffix != '.npz':
            raise TextFeaturesError(f'{path}: a table of text features must end in .npz')
        header = dict(format=FORMAT, version=VERSION, kind=self.kind, model=self.model)
        with atomic_file(path) as file:
            np.savez(
                file,
                names=np.array(self.names),
                features=self.features,
                **{key: np.array(value) for key, value in header.items()},  # type: ignore[arg-type]  # allow_pickle
            )

    @classmethod
    def load(cls, path: str | Path) -> 'TextFeatures':
        """Reads and checks a table.

        Args:
            path: the .npz file.

        Returns:
            The table.

        Raises:
            TextFeaturesError: the file is missing, is no table of text features, or holds something that cannot be
                used; the message names it, what was expected and what was found.
        """
        if not Path(path).is_file():
            raise TextFeaturesError(
                f'there is no table of text features {path}; `handpose text-features NAMES.txt -o {path}` makes one'
            )
        found = read_npz(path, error=TextFeaturesError, advice='make it again: handpose text-features')
        try:
            return cls._from_file(found)
        except TextFeaturesError as error:
            raise TextFeaturesError(f'{path}: {error}') from error

    @classmethod
    def _from_file(cls, found: dict[str, NDArray]) -> 'TextFeatures':
        for key in _KEYS:
            if key not in found:
                raise TextFeaturesError(
                    f'a table of text features needs {key!r}, this file has: {", ".join(found) or "nothing"}.'
                    f'{did_you_mean(key, found)}'
                )
        for key in found:
            if key not in _KEYS:
                raise TextFeaturesError(f'{key!r} is not a key of a table of text features.{did_you_mean(key, _KEYS)}')
        for key in _KEYS[:4]:
            if found[key].size != 1:
                raise TextFeaturesError(f'{key} must be one value, got an array of shape {found[key].shape}')
        form, version, kind, model = (str(found[key].item()) for key in _KEYS[:4])
        if form != FORMAT:
            raise TextFeaturesError(f'format is {form!r}, and that of a table of text features is {FORMAT!r}')
        if not version.isdigit() or not 1 <= int(version) <= VERSION:
            raise TextFeaturesError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
        names = found['names']
        if names.dtype.kind != 'U' or names.ndim != 1:
            raise TextFeaturesError(f'names must be a list of texts, got {names.dtype} of shape {names.shape}')
        return cls(tuple(names.tolist()), found['features'], model, kind)


def _checked(names: tuple[str, ...], values: NDArray) -> NDArray[np.float32]:
    """The features (N, 512) of names as float32, if they can be used."""
    if not names:
        raise TextFeaturesError('a table of text features needs at least one name, got none')
    if wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise TextFeaturesError(f'every name must be a text of at least one letter, got {wrong[0]!r}')
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise TextFeaturesError(f'names must differ, got {name!r} {count} times; name each action and object once')
    features = np.asarray(values)
    if features.dtype.kind not in 'fiu':
        raise TextFeaturesError(f'features must be numbers, got {features.dtype}')
    if features.shape != (len(names), WIDTH):
        raise TextFeaturesError(
            f'features must have shape {(len(names), WIDTH)}, {WIDTH} numbers for each of {len(names)} names, got '
            f'{features.shape}; text models of CLIP ViT-B have {WIDTH}'
        )
    features = features.astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise TextFeaturesError(f'the feature of {names[row]!r} holds NaN or infinity; make the table again')
    off = np.abs(np.linalg.norm(features.astype(np.float64), axis=1) - 1)
    if off.max() > _NORM_TOLERANCE:
        row = int(off.argmax())
        raise TextFeaturesError(
            f'features must have unit length, but that of {names[row]!r} has length '
            f'{np.linalg.norm(features[row]):.4g}; divide each by its length'
        )
    return features


def _words(name: str) -> list[str]:
    """The words of a name in lower case."""
    words = [word for word in re.split(r'[\s_-]+', name.lower()) if word]
    if not words:
        raise TextFeaturesError(f'every name must hold at least one word, got {name!r}')
    return words


def _word(word: str, seed: int) -> NDArray[np.float64]:
    """The vector (512,) of unit length of a word; numpy's own random numbers may change between its versions."""
    bits = np.frombuffer(hashlib.shake_256(f'{seed}/{word}'.encode()).digest(WIDTH // 8), np.uint8)
    return (2.0 * np.unpackbits(bits) - 1) / WIDTH**0.5


def _verb(words: Sequence[str], seed: int) -> NDArray[np.float64]:
    """The vector (512,) of the words of a verb: of unit length, or zeros where there is none."""
    return _unit(np.sum([_word(word, seed) for word in words], axis=0)) if words else np.zeros(WIDTH)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
