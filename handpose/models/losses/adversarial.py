"""Least-squares adversarial losses (Deformer, Eq. 7 and 8) that need one backward pass for both players."""

import torch
from torch import nn
from torch.func import functional_call


def generator_adversarial_loss(
    discriminator: nn.Module, fake: torch.Tensor, frame_valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of (D(fake) - 1)^2: the generator wants its motion to look real.

    The discriminator runs with detached parameters: they get no gradient from this loss, so its backward pass may
    be shared with the discriminator's own.

    Args:
        discriminator: see `handpose.models.MotionDiscriminator`, not wrapped for data parallelism.
        fake: (B, T, C).
        frame_valid: (B, T) bool; clips without a valid frame are left out.
    """
    frozen = {name: value.detach() for name, value in discriminator.state_dict(keep_vars=True).items()}
    score = functional_call(discriminator, frozen, (fake, frame_valid))
    return _squared_error(score, 1.0, frame_valid)


def discriminator_loss(
    discriminator: nn.Module,
    fake: torch.Tensor,
    real: torch.Tensor,
    fake_valid: torch.Tensor | None = None,
    real_valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of D(fake)^2 plus mean of (D(real) - 1)^2; no gradient reaches `fake`.

    Args:
        discriminator: as in `generator_adversarial_loss`.
        fake: (B, T, C). real: (B', T', C).
        fake_valid, real_valid: (B, T) and (B', T') bool; clips without a valid frame are left out.
    """
    fake_score = discriminator(fake.detach(), fake_valid)
    real_score = discriminator(real, real_valid)
    return _squared_error(fake_score, 0.0, fake_valid) + _squared_error(real_score, 1.0, real_valid)


def _squared_error(score, goal, frame_valid):
    error = (score.float() - goal).square()
    if frame_valid is None:
        return error.mean()
    counted = frame_valid.any(dim=1)
    return (error * counted).sum() / counted.sum().clamp_min(1)
