"""Checks whether predicted joints can be those of a visible hand.

Some models, HTT among them, predict joints of each hand in every frame and have no output for the presence of a hand.
The check excludes what cannot be a visible hand; it does not verify that a hand is present.
"""

from torch import Tensor

_MIDDLE_FINGER = (0, 9, 10, 11, 12)  # wrist to fingertip in the common joint order
MIN_LENGTH, MAX_LENGTH = 0.06, 0.35  # metres along the middle finger; wide, as a wrong focal length scales hands
MIN_DEPTH, MAX_DEPTH = 0.03, 3.0  # metres in front of the camera
MIN_INSIDE = 0.5  # fraction of the joints that must be inside the image


def plausible_hands(joints: Tensor, pixels: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Marks hands of a plausible size, in front of the camera, with at least half of their joints in the image.

    Args:
        joints: (..., 21, 3) metres, in the camera's frame.
        pixels: (..., 21, 2), the same joints in the image.
        image_size: (width, height).

    Returns:
        (...) bool.
    """
    chain = joints[..., _MIDDLE_FINGER, :]
    length = (chain[..., 1:, :] - chain[..., :-1, :]).norm(dim=-1).sum(-1)
    depth = joints[..., 2]
    limit = pixels.new_tensor(image_size) - 0.5
    inside = ((pixels >= -0.5) & (pixels <= limit)).all(-1).float().mean(-1)
    finite = joints.isfinite().flatten(-2).all(-1)
    plausible_size = (length >= MIN_LENGTH) & (length <= MAX_LENGTH)
    plausible_depth = (depth >= MIN_DEPTH).all(-1) & (depth <= MAX_DEPTH).all(-1)
    return finite & plausible_size & plausible_depth & (inside >= MIN_INSIDE)
