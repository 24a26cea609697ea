"""Printed boards for calibrating cameras: their corners in space, in images, and the image to print.

Pixel centres lie at integer coordinates. Legend: N inner corners of a board, row by row from its top left.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

KINDS = ('charuco', 'checkerboard')
DICTIONARIES = {
    f'{bits}X{bits}_{count}': getattr(cv2.aruco, f'DICT_{bits}X{bits}_{count}')
    for bits in (4, 5, 6, 7)
    for count in (50, 100, 250, 1000)
}
_MINIMUM = 6  # corners, fewer of which do not fix a board's pose well


class BoardError(ValueError):
    """A board, or views of it, that cannot be used; the message says what was expected, what was found, what to do."""


@dataclass(frozen=True)
class CalibrationBoard:
    """A flat board of squares; a 'charuco' board has a marker in every white square, and may be seen in part.

    Args:
        kind: 'charuco' or 'checkerboard'.
        columns: squares from left to right.
        rows: squares from top to bottom. A checkerboard must have an odd and an even number, otherwise nobody can tell
            it from the same board turned by 180 degrees.
        square: side of a square, metres.
        marker: side of a marker, metres; default 0.75 of a square.
        dictionary: of the markers, a key of `DICTIONARIES`.

    Raises:
        BoardError: a board that cannot be.
    """

    kind: str
    columns: int
    rows: int
    square: float
    marker: float | None = None
    dictionary: str = '4X4_250'

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.dictionary not in DICTIONARIES:
            raise BoardError(
                f'a board must be of kind {" or ".join(KINDS)} with markers of one of {", ".join(DICTIONARIES)}, got '
                f'{self.kind!r} and {self.dictionary!r}'
            )
        if min(self.columns, self.rows) < 3 or not 0 < self.square < float('inf'):
            raise BoardError(
                f'a board must have at least 3x3 squares of positive size, got {self.columns}x{self.rows} of '
                f'{self.square} m'
            )
        if self.kind == 'checkerboard' and (self.columns + self.rows) % 2 == 0:
            raise BoardError(
                f'a checkerboard must have an even number of squares one way and an odd number the other way, got '
                f'{self.columns}x{self.rows}; it looks the same when it is turned by 180 degrees. Print another one, '
                f'or a charuco board'
            )
        if not 0 < self.marker_size < self.square:
            raise BoardError(f'markers must be smaller than the squares of {self.square} m, got {self.marker_size} m')
        markers = self.columns * self.rows // 2
        if self.kind == 'charuco' and markers > int(self.dictionary.split('_')[1]):
            raise BoardError(
                f'{self.columns}x{self.rows} squares need {markers} markers, and {self.dictionary} has less'
            )

    @property
    def marker_size(self) -> float:
        """Metres."""
        return 0.75 * self.square if self.marker is None else self.marker

    @property
    def points(self) -> NDArray[np.float64]:
        """(N, 3) metres: x to the right, y down, z into the board, from the board's top left."""
        across, down = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        return (self.square * np.stack([across, down, np.zeros_like(across)], -1).reshape(-1, 3)).astype(np.float64)

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Finds the board in an image.

        Args:
            image: (h, w, 3) RGB, or (h, w) grey.

        Returns:
            (N, 2) pixels; NaN for corners that were not found, all of them where there are fewer than six.
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found = self._detect_charuco(grey) if self.kind == 'charuco' else self._detect_checkerboard(grey)
        enough = np.isfinite(found).all(-1).sum() >= _MINIMUM
        return found if enough else np.full_like(found, np.nan)

    def draw(self, pixels_per_square: int) -> NDArray[np.uint8]:
        """Draws the board, with a white margin of half a square.

        Args:
            pixels_per_square: an even number, at least 20.

        Returns:
            (h, w) grey.
        """
        margin = pixels_per_square // 2
        size = (self.columns * pixels_per_square, self.rows * pixels_per_square)
        if self.kind == 'charuco':
            drawn = self._charuco().generateImage(size)
        else:
            across, down = np.arange(size[0]) // pixels_per_square, np.arange(size[1]) // pixels_per_square
            drawn = np.where((across + down[:, None]) % 2, 255, 0)
        return np.pad(np.asarray(drawn, np.uint8), margin, constant_values=255)

    def _charuco(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARIES[self.dictionary])
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker_size, dictionary)

    def _detect_charuco(self, grey: NDArray) -> NDArray[np.float64]:
        corners, ids, _, _ = cv2.aruco.CharucoDetector(self._charuco()).detectBoard(grey)
        found = np.full(((self.columns - 1) * (self.rows - 1), 2), np.nan)
        if ids is not None:
            found[ids.ravel()] = corners.reshape(-1, 2)
        return found

    def _detect_checkerboard(self, grey: NDArray) -> NDArray[np.float64]:
        size = (self.columns - 1, self.rows - 1)
        seen, corners = cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
        if not seen:
            return np.full((size[0] * size[1], 2), np.nan)
        grid = corners.reshape(size[1], size[0], 2).astype(np.float64)
        # The square between the first four inner corners is black, as the one in the corner of the board; from the
        # other end it is white.
        centres = (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]) / 4
        column, row = np.round(centres).astype(int).transpose(2, 0, 1)
        inside = (column >= 0) & (row >= 0) & (column < grey.shape[1]) & (row < grey.shape[0])
        bright = np.where(inside, grey[row.clip(0, grey.shape[0] - 1), column.clip(0, grey.shape[1] - 1)], 128)
        like_the_first = np.add.outer(*map(np.arange, bright.shape)) % 2 == 0
        is_turned = bright[like_the_first].mean() > bright[~like_the_first].mean()
        return (grid[::-1, ::-1] if is_turned else grid).reshape(-1, 2)
