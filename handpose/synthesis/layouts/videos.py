"""What the layouts of egocentric videos have in common."""

from handpose.synthesis.layouts.base import Layout
from handpose.synthesis.options import EgocentricOptions
from handpose.synthesis.person import VideoPlan, draw_plan
from handpose.synthesis.scene import Place
from handpose.text import did_you_mean


class VideoLayout(Layout):
    """A layout of egocentric videos, each of one action; a place is (subject, video). See `Layout`.

    Args:
        options: of the dataset.

    Attributes:
        actions: names of the actions that are made, as the dataset has them; `options.actions` chooses among them.

    Raises:
        ValueError: `options.actions` names another one.
    """

    actions: tuple[str, ...] = ()

    def __init__(self, options: EgocentricOptions) -> None:
        super().__init__(options)
        self.options, self.image_sizes = options, (options.size,)
        for name in options.actions:
            if name not in self.actions:
                raise ValueError(
                    f'{name!r} is not an action that the layout {options.layout!r} is made with (they are: '
                    f'{", ".join(self.actions)}).{did_you_mean(name, self.actions)}'
                )
        self.actions = options.actions or self.actions

    def videos_of(self, subject: int) -> int:
        """How many videos a subject has."""
        raise NotImplementedError

    def action_of(self, video: int) -> str:
        """The name of a video's action."""
        return self.actions[video % len(self.actions)]

    def verb_and_noun(self, action: str) -> tuple[str, str]:
        """The verb, which names a script, and the object that it is played with."""
        verb, noun = action.rsplit(' ', 1)
        return verb, noun

    @property
    def places(self) -> list[Place]:
        """See `Layout.places`."""
        return [(s, v) for s in range(self.options.subjects) for v in range(self.videos_of(s))]

    def plan(self, subject: int, video: int) -> VideoPlan:
        """What a video is about."""
        options, action = self.options, self.verb_and_noun(self.action_of(video))
        return draw_plan(options.seed, subject, video, *action, options.frames, options.max_frames)
