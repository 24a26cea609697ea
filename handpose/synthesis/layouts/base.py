"""What the writer asks of a layout: which sequences there are, where they lie, and which files they consist of."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.hands import ProceduralHand
from handpose.synthesis.layouts.files import write_yaml
from handpose.synthesis.options import DatasetOptions
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Place, Scene, Size

PARTIAL = '.partial'  # where unfinished sequences lie
RECORD = 'generator.yml'


class Layout:
    """Writes scenes in one dataset's folder structure.

    A sequence is one or several folders. They are written under `<root>/.partial/` and moved to their places together,
    so that a folder in its place is complete. A sequence's place is (subject, sequence), both from 0.

    Args:
        options: of the dataset.

    Attributes:
        version: of the generator; raised when the same options give other data.
        intrinsics: (K, 3, 3) of the cameras.
        image_sizes: (width, height) of the cameras' images.
    """

    version: ClassVar[int] = 1
    intrinsics: NDArray
    image_sizes: tuple[Size, ...]

    def __init__(self, options: DatasetOptions) -> None:
        self.root = Path(options.root)
        self._content = options.content()

    @property
    def places(self) -> list[Place]:
        """The places of all sequences."""
        raise NotImplementedError

    def folders(self, subject: int, sequence: int) -> list[str]:
        """The folders of one sequence, relative to the root."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What `generator.yml` says: the generator's version and everything that decides the data."""
        return {'version': self.version, 'options': self._content}

    def begin(self) -> None:
        """Writes what belongs to no sequence."""
        write_yaml(self.root / 'hand_model.yml', {'name': ProceduralHand().name})

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes a sequence's partial folders.

        Args:
            scene: of the sequence.
            subject: of the sequence.
            sequence: its number.
            render: gives an iterator of a camera's frames; cameras must be taken in order, each to its end.
        """
        raise NotImplementedError

    def finish(self) -> None:
        """Writes what can only be written once every sequence is in place."""

    @property
    def partial(self) -> Path:
        """Where unfinished sequences lie."""
        return self.root / PARTIAL

    def is_written(self, subject: int, sequence: int) -> bool:
        """Whether every folder of a sequence is in its place."""
        return all((self.root / folder).exists() for folder in self.folders(subject, sequence))

    def empty_partial(self, subject: int, sequence: int) -> list[Path]:
        """Makes the partial folders of a sequence, empty; returns them."""
        partial = [self.partial / folder for folder in self.folders(subject, sequence)]
        for folder in partial:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return partial

    def move_to_place(self, subject: int, sequence: int) -> None:
        """Moves the partial folders of a sequence to their places; one that an interrupted run moved stays."""
        for folder in self.folders(subject, sequence):
            if not (self.root / folder).exists():
                (self.root / folder).parent.mkdir(parents=True, exist_ok=True)
                (self.partial / folder).rename(self.root / folder)


def move_hand(hand_pose: NDArray, hand_transl: NDArray, rest_wrist: NDArray, rigid: NDArray) -> NDArray:
    """Hand parameters after a rigid motion.

    The model turns a hand about its own wrist, so the translation moves as that point does:
    t' = R (t + J0) + t_rigid - J0.

    Args:
        hand_pose: (..., 16, 3) rotvecs.
        hand_transl: (..., 3) metres.
        rest_wrist: (3,), J0.
        rigid: (4, 4).

    Returns:
        (..., 51): global rotvec, 45 finger values, translation.
    """
    leading = hand_pose.shape[:-2]
    rotated = Rotation.from_matrix(rigid[:3, :3]) * Rotation.from_rotvec(hand_pose[..., 0, :].reshape(-1, 3))
    transl = (hand_transl + rest_wrist) @ rigid[:3, :3].T + rigid[:3, 3] - rest_wrist
    fingers = hand_pose[..., 1:, :].reshape(*leading, 45)
    return np.concatenate([rotated.as_rotvec().reshape(*leading, 3), fingers, transl], -1)
