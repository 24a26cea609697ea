"""What the layouts of the multi-view data have in common."""

from collections.abc import Iterator
from typing import Any, ClassVar

from handpose.synthesis.cameras import multi_view_intrinsics
from handpose.synthesis.layouts.base import Layout
from handpose.synthesis.options import MultiViewOptions
from handpose.synthesis.scene import Place


class MultiViewLayout(Layout):
    """A layout of `subjects` with `sequences` each, seen by cameras of square images; see `Layout`.

    Args:
        options: of the dataset.
    """

    def __init__(self, options: MultiViewOptions) -> None:
        super().__init__(options)
        self.options = options
        self.intrinsics = multi_view_intrinsics(options.seed, options.cameras, options.size)
        self.image_sizes = ((options.size, options.size),) * options.cameras

    @property
    def places(self) -> list[Place]:
        """See `Layout.places`."""
        return [(u, s) for u in range(self.options.subjects) for s in range(self.options.sequences)]


class RenderedLayout(MultiViewLayout):
    """A multi-view layout with images of one hand.

    Attributes:
        side: of every hand, 0 left, 1 right; None means drawn for each sequence.
    """

    side: ClassVar[int | None] = None

    def read_facts(self) -> Iterator[dict[str, Any]]:
        """Yields the facts of all sequences that are in place."""
        raise NotImplementedError
