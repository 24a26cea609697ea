"""The hand model that a dataset's labels were made with."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from handpose.datasets.io.errors import UNPACK, DatasetError, check_choice
from handpose.files.yaml_files import read_yaml
from handpose.hands import HandModel
from handpose.registry import HAND_MODELS

NAME_FILE = 'hand_model.yml'  # ours: official data, made with MANO, have none


def read_hand_model_name(root: str | Path) -> str:
    """The hand model that the labels were made with: what hand_model.yml says, or 'mano' where there is none."""
    path = Path(root) / NAME_FILE
    if not path.exists():
        return 'mano'
    name = read_yaml(path, error=DatasetError, advice=UNPACK).get('name')
    if not isinstance(name, str):
        raise DatasetError(f"{path}: 'name' must be the name of a hand model, got {name!r}")
    return name


def matching_hand_model(name: str | None, hand_model: HandModel | dict | None, where: object) -> HandModel:
    """Builds a hand model and checks that it is the one that labels were made with.

    Args:
        name: the model that the labels were made with.
        hand_model: a `HandModel`, its config, or None for ProceduralHand.
        where: names the data in messages.

    Raises:
        DatasetError: it is another one.
    """
    config = {'type': 'ProceduralHand'} if hand_model is None else hand_model
    model: HandModel = HAND_MODELS.build(config) if isinstance(config, dict) else config
    if model.name != name:
        raise DatasetError(
            f'the labels in {where} were made with the hand model {name!r}, but hand_model is {model.name!r}. '
            f"Configure that one (for 'mano': hand_model=dict(type='MANO', model_path=...)), or use "
            f"labels='joints_only', which reads joints and no hand-model parameters."
        )
    return model


@dataclass(eq=False, repr=False)
class HandModelOptions:
    """The options of readers that give hand-model parameters, to be inherited before `VideoDataset`.

    Args:
        labels: 'full'; or 'joints_only': no hand-model parameters, so no hand model (and no MANO file) is needed.
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the data
            was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file).

    Attributes:
        hand_model_name: the name of the model that the data was made with.
        model: the `HandModel` of the labels; None where they are joints only.
    """

    _: KW_ONLY
    labels: str = 'full'
    hand_model: HandModel | dict | None = None

    def open_hand_model(self, name: str | None, where: object) -> None:
        """Sets `hand_model_name`, and `model` to the hand model where the labels need one, else to None.

        Args:
            name: the model that the data was made with.
            where: names the data in messages.

        Raises:
            DatasetError: it is another one.
        """
        check_choice('labels', self.labels, ('full', 'joints_only'))
        self.hand_model_name = name
        self.model = None if self.labels == 'joints_only' else matching_hand_model(name, self.hand_model, where)
