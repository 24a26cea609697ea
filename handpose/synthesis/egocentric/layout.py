"""What the writer of egocentric videos asks of a layout."""

from handpose.hands import ProceduralHand
from handpose.registry import did_you_mean
from handpose.synthesis.egocentric.scene import draw_plan
from handpose.synthesis.layout import Layout, write_yaml


class VideoLayout(Layout):
    """Writes egocentric videos in one data set's folder structure; `place` is (subject, video), both from 0.

    Attributes:
        actions: names of the actions that are made, as the data set has them; `options.actions` chooses among them.

    Raises:
        ValueError: `options.actions` names another one.
    """

    actions = ()

    def __init__(self, options):
        super().__init__(options)
        for name in options.actions:
            if name not in self.actions:
                raise ValueError(
                    f'{name!r} is not an action that the layout {options.layout!r} is made with (they are: '
                    f'{", ".join(self.actions)}).{did_you_mean(name, self.actions)}'
                )
        self.actions = options.actions or self.actions

    def videos_of(self, subject):
        """How many videos a subject has."""
        raise NotImplementedError

    def action_of(self, video):
        """The name of a video's action."""
        return self.actions[video % len(self.actions)]

    def script_of(self, action):
        """(verb, thing): the script of an action, and what it is played with."""
        return tuple(action.rsplit(' ', 1))

    def intrinsics(self):
        """The camera's intrinsics (3, 3)."""
        raise NotImplementedError

    def write_video(self, scene, plan, pictures, subject, video):
        """Writes a video under the partial folder; `pictures` is an iterator of its frames that must be used up."""
        raise NotImplementedError

    def begin(self):
        """Writes what belongs to no video."""
        write_yaml(self.root / 'hand_model.yml', {'name': ProceduralHand().name})

    @property
    def places(self):
        """All (subject, video)."""
        return [(s, v) for s in range(self.options.subjects) for v in range(self.videos_of(s))]

    def plan(self, subject, video):
        """The `Plan` of a video."""
        options = self.options
        script = self.script_of(self.action_of(video))
        return draw_plan(options.seed, subject, video, script, (options.frames, options.max_frames))
