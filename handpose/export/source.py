"""What the writers share: the predictions to export with the hand fitted to them, and the report of what was done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from handpose.hands import HandModel, ProceduralHand
from handpose.structures import Predictions
from handpose.structures.fitted_hands import FittedHands, fit_predictions

RELATIVE = 'the scale is relative: proportions and angles hold, but sizes and distances are not metric'
LARGE_RESIDUAL = 0.01  # metres


class ExportError(ValueError):
    """Predictions that a format cannot hold, or an option that it lacks; the message says what to do."""


@dataclass
class ExportReport:
    """What an export wrote.

    Attributes:
        files: the files, in the order of writing.
        notes: what the user should know: units, frames held or dropped, the residual of the fit.
    """

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ExportSource:
    """What is exported.

    Attributes:
        predictions: the predictions.
        hand_model: the hand model that formats with bones or a mesh use; default `ProceduralHand`.
        unit: unit of lengths in formats that fix none (BVH, CSV): a key of `UNITS`.
        name: names the motion inside files.
        progress: called with the number of fitted frames and their total.
    """

    predictions: Predictions
    hand_model: HandModel | None = None
    unit: str = 'metre'
    name: str = 'hands'
    progress: Callable[[int, int], None] | None = None

    @cached_property
    def fitted(self) -> FittedHands:
        """The hand model fitted to the predictions, computed when first read."""
        return fit_predictions(self.predictions, self.hand_model, progress=self.progress)

    def fit_notes(self) -> list[str]:
        """Reports how well the hand model fits.

        Returns:
            Lines for the user.
        """
        fitted = self.fitted
        residual = fitted.typical_residual()
        notes = [f'the fitted hand lies {1000 * residual:.1f} mm (median) from the given joints']
        if residual > LARGE_RESIDUAL:
            notes.append('that is far: the joints are not those of a hand of natural size and proportions')
        dropped = int((self.predictions.valid & ~fitted.valid).sum())
        if dropped:
            notes.append(f'{dropped} hands with fewer than four known joints were left out')
        return notes

    def scale_notes(self) -> list[str]:
        """Says so where lengths are known only up to a factor; a note, or none."""
        return [RELATIVE] if self.predictions.scale == 'relative' else []

    def origin(self) -> str:
        """Names what joints are relative to, and their axes."""
        what = 'the wrist, axes parallel to the camera' if self.predictions.frame == 'wrist' else 'the camera'
        return f'{what} (x right, y down, z forward)'

    def procedural(self, what: str) -> FittedHands:
        """Returns the fitted hands of a format that is made of `ProceduralHand`'s bones.

        Args:
            what: the format, for the error message.

        Returns:
            The fitted hands.

        Raises:
            ExportError: another hand model was asked for.
        """
        if not isinstance(self.hand_model, ProceduralHand | None):
            raise ExportError(
                f'{what} is made of the bones of ProceduralHand, whose licence lets you pass them on; leave the hand '
                f'model out (MANO parameters go to a .npz file)'
            )
        return self.fitted
