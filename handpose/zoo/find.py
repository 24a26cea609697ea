"""Finding a file of weights by its path, or by its name in the model zoo."""

from pathlib import Path

from handpose.text import did_you_mean
from handpose.zoo.fetch import get
from handpose.zoo.index import default_index


def find_weights(weights: str | Path) -> Path:
    """Finds a file of weights.

    Args:
        weights: the path of a file, or the name of weights in the model zoo; a file with this path comes first.

    Returns:
        The path of the file; one of the zoo is verified.

    Raises:
        ValueError: there is neither such a file nor an estimator of this name in the zoo, or its file cannot be had.
    """
    path = Path(weights)
    if path.is_file():
        return path
    estimators = [name for name, entry in default_index().items() if entry.kind == 'estimator']
    if str(weights) in estimators:
        return get(str(weights))
    raise ValueError(
        f'no weights {weights}: there is no file with this path, and no estimator with this name in the model zoo '
        f'(it has {", ".join(estimators)}).{did_you_mean(weights, estimators)} Give the path of a .pth checkpoint or '
        'of a .safetensors file, or one of these names; `handpose zoo list` describes them'
    )
