"""What the writer asks of a source of scenes."""

from collections.abc import Iterator, Sequence

from handpose.hands import ProceduralHand
from handpose.synthesis.rendering.drawing import Frame, Render
from handpose.synthesis.scene import Place, Scene

Job = Sequence[Place]


class SceneSource:
    """Makes the scenes of a dataset's sequences, each decided by the seed and its place alone."""

    def __init__(self) -> None:
        self.model = ProceduralHand()

    def jobs(self, places: Sequence[Place]) -> list[Job]:
        """Groups sequences to those that are made together; here each on its own."""
        return [[place] for place in places]

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """Yields the place, the scene and the renderer of each sequence of a job."""
        raise NotImplementedError

    def measure(self) -> dict[str, float]:
        """The quality of the whole dataset, once it is written; empty where nothing is measured."""
        return {}

    def describe(self, measured: dict[str, float]) -> str:
        """One sentence about what was measured; empty where nothing is."""
        return ''


def render_nothing(camera: int) -> Iterator[Frame]:
    """The renderer of scenes that nobody sees."""
    return iter(())
