"""Least-squares adversarial losses (Deformer, Eq. 7 and 8) that need one backward pass for both players.

Legend: B clips, T frames, C numbers per frame.
"""

from torch import Tensor, nn
from torch.func import functional_call


def generator_adversarial_loss(discriminator: nn.Module, fake: Tensor, frame_valid: Tensor | None = None) -> Tensor:
    """Mean of (D(fake) - 1)^2: the generator wants its motion to look real.

    The discriminator runs with detached parameters: they get no gradient from this loss, so its backward pass may
    be shared with the discriminator's own.

    Args:
        discriminator: see `handpose.models.MotionDiscriminator`, not wrapped for data parallelism.
        fake: (B, T, C).
        frame_valid: (B, T) bool; clips without a valid frame are left out.

    Returns:
        A scalar.
    """
    frozen = {name: value.detach() for name, value in discriminator.state_dict(keep_vars=True).items()}
    score = functional_call(discriminator, frozen, (fake, frame_valid))
    return _mean_squared_error(score, 1.0, frame_valid)


def discriminator_loss(
    discriminator: nn.Module,
    fake: Tensor,
    real: Tensor,
    fake_valid: Tensor | None = None,
    real_valid: Tensor | None = None,
) -> Tensor:
    """Mean of D(fake)^2 plus mean of (D(real) - 1)^2; no gradient reaches `fake`.

    Args:
        discriminator: as in `generator_adversarial_loss`.
        fake: (B, T, C).
        real: (B', T', C).
        fake_valid: (B, T) bool; clips without a valid frame are left out.
        real_valid: (B', T') bool, likewise.

    Returns:
        A scalar.
    """
    fake_score = discriminator(fake.detach(), fake_valid)
    real_score = discriminator(real, real_valid)
    return _mean_squared_error(fake_score, 0.0, fake_valid) + _mean_squared_error(real_score, 1.0, real_valid)


def _mean_squared_error(score: Tensor, target: float, frame_valid: Tensor | None) -> Tensor:
    error = (score.float() - target).square()
    if frame_valid is None:
        return error.mean()
    counted = frame_valid.any(dim=1)
    return (error * counted).sum() / counted.sum().clamp_min(1)
