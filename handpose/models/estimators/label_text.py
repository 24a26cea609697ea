"""What systems know of their labels: the names, and a text feature of each, which training starts from.

Legend: N labels, E = 512 numbers of a text feature.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handpose.structures import TextFeatures

Names = Sequence[str] | str
IN_WEIGHTS = 'in the weights'  # of published models, in place of the path of a table


def label_text(names: Names, table: str | Path | None) -> tuple[list[str], Tensor]:
    """Names labels, and gives the text features that a system is built with.

    Args:
        names: of N labels, in their order; or the file of a table that has these names and no others, in their order.
        table: the file of a table that has these names, which is not read here. With None and a list of names, the
            features are `TextFeatures.compositional`.

    Returns:
        The names, and text features (N, E): zeros where `names` is a list and `table` is given.

    Raises:
        TextFeaturesError: a table that cannot be read, or names from which no features can be made.
    """
    if isinstance(names, str):
        found = TextFeatures.load(names)
    elif table is None:
        found = TextFeatures.compositional(list(names))
    else:
        return list(names), torch.zeros(len(names), TextFeatures.width)
    return list(found.names), torch.from_numpy(found.features.copy())


def read_label_text(text: Tensor, names: Sequence[str], table: str | Path) -> None:
    """Fills in the text features of labels.

    Args:
        text: (N, E), changed in place.
        names: of the labels.
        table: the file of a table that has these names.

    Raises:
        TextFeaturesError: the table cannot be read, or lacks a name; the message has the nearest one.
    """
    text.copy_(torch.from_numpy(TextFeatures.load(table).select(names).features))


def check_label_text(text: Tensor, table: str | Path | None) -> None:
    """Raises ValueError where training begins with text features that are still to be read from a table."""
    if not text.any():
        raise ValueError(f'the text features of {table} are not read yet: call init_weights(), or load weights')


def with_names(config: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Makes the config of a system independent of tables of text features: its weights contain their rows.

    Args:
        config: of the system.
        names: {option: the names of its labels}.

    Returns:
        The config with lists of names; as it is where it names no table.
    """
    if config.get('text_features') is None and not any(isinstance(config.get(option), str) for option in names):
        return dict(config)
    return {**config, **{option: list(known) for option, known in names.items()}, 'text_features': IN_WEIGHTS}
