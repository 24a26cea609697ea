"""Finding a file of weights by its path, or by its name in the model zoo."""

from pathlib import Path

from handpose.text import did_you_mean
from handpose.zoo.fetch import get
from handpose.zoo.index import ZooIndex, default_index


def find_weights(weights: str | Path, index: ZooIndex | None = None) -> Path:
    """Finds a file of weights.

    Args:
        weights: the path of a file, or the name of weights in the model zoo; a file with this path comes first.
        index: the model zoo; default the one that ships with the package.

    Returns:
        The path of the file; one of the zoo is verified.

    Raises:
        ValueError: there is neither such a file nor an estimator of this name in the zoo, or its file cannot be had.
    """
    path = Path(weights)
    if path.is_file():
        return path
    index = default_index() if index is None else index
    estimators = [entry.name for entry in index.values() if entry.kind == 'estimator']
    if str(weights) in estimators:
        return get(str(weights), index)
    missing = f'no weights {weights}: there is no file with this path, and no estimator with this name in the model zoo'
    if str(weights) in index:
        raise ValueError(
            f'{missing}, but a network file: `handpose.zoo.fetch.get({str(weights)!r})` gives its path, and '
            '`handpose infer` runs it'
        )
    raise ValueError(
        f'{missing} (it has {", ".join(estimators) or "none"}).{did_you_mean(weights, estimators)} Give the path of a '
        '.pth checkpoint or of a .safetensors file, or one of these names; `handpose zoo list` describes them'
    )
