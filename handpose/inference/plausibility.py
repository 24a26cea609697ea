"""Whether joints that a model gave can be those of a hand that the camera sees.

Some models, HTT among them, give joints of each hand in every frame and have no output that says whether the hand is
there. The check here refuses what cannot be a visible hand; it does not measure that one is.
"""

import torch

_MIDDLE_FINGER = (0, 9, 10, 11, 12)  # wrist to fingertip in the common joint order
SHORTEST, LONGEST = 0.06, 0.35  # metres along the middle finger; wide, as a wrong focal length stretches hands
NEAREST, FARTHEST = 0.03, 3.0  # metres in front of the camera
INSIDE = 0.5  # share of the joints that must lie in the image


def plausible_hands(joints: torch.Tensor, pixels: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Marks hands of a possible size, in front of the camera, with at least half of their joints in the image.

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
    known = joints.isfinite().flatten(-2).all(-1)
    sized = (length >= SHORTEST) & (length <= LONGEST)
    placed = (depth >= NEAREST).all(-1) & (depth <= FARTHEST).all(-1)
    return known & sized & placed & (inside >= INSIDE)
