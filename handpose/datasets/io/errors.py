"""What datasets raise."""

UNPACK = 'unpack this part of the dataset again'  # advice about a damaged file


class DatasetError(ValueError):
    """Files or options of a dataset that are not as they should be; the sentence says which and what to do."""


class BrokenFrames(DatasetError):
    """Some frames of a clip cannot be read; `positions` are their places in the clip."""

    def __init__(self, sentence, positions=()):
        super().__init__(sentence, positions)
        self.positions = list(positions)

    def __str__(self):
        return self.args[0]
