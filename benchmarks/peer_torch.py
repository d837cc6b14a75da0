"""The network, the losses, the training step and the search in plain PyTorch.

The peer of `train_step.py` and `projection.py`: written as one would write it, in
channels_last, with the passes, the update order and the float32 of `cgan_jax`. Imports no
jax, and nothing of `cgan_jax` but arrays that the benchmarks hand over.

PyTorch pads a stride-2 kernel of 5 by two before and one after, TensorFlow (and with it
`cgan_jax`) by one before and two after. Both halves of the network are the same function
on mirrored pictures, so the weights are loaded mirrored and `mirrored` turns pictures.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_GRID = (4, 8)


def _layers(height: int) -> int:
    return int(math.log2(height // _GRID[0]))


class Generator(nn.Module):
    """`(n, z_dim)` -> `(n, 3, height, 2 * height)` in [-1, 1]."""

    def __init__(self, base_filters: int, z_dim: int, height: int) -> None:
        super().__init__()
        layers = _layers(height)
        widths = [base_filters << i for i in reversed(range(layers))]
        self.linear = nn.Linear(z_dim, widths[0] * _GRID[0] * _GRID[1], bias=False)
        self.first = nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU())
        blocks: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            blocks += [
                nn.ConvTranspose2d(wide, narrow, 5, 2, 2, 1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        blocks += [nn.ConvTranspose2d(widths[-1], 3, 5, 2, 2, 1), nn.Tanh()]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.linear(z).view(len(z), -1, *_GRID)
        x = x.contiguous(memory_format=torch.channels_last)
        return self.blocks(self.first(x))


class Discriminator(nn.Module):
    """`(n, 3, height, 2 * height)` -> `(n,)` logits."""

    def __init__(self, base_filters: int, height: int) -> None:
        super().__init__()
        layers = _layers(height)
        blocks: list[nn.Module] = [
            nn.Conv2d(3, base_filters, 5, 2, 2),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, layers):
            narrow, wide = base_filters << (i - 1), base_filters << i
            blocks += [
                nn.Conv2d(narrow, wide, 5, 2, 2, bias=False),
                nn.BatchNorm2d(wide),
                nn.LeakyReLU(0.2),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear((base_filters << (layers - 1)) * _GRID[0] * _GRID[1], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.blocks(x).flatten(1))[:, 0]


class Peer:
    """Both networks with their optimizers.

    Args:
      weights: the parameters and running averages of `cgan_jax`, by name
        (`gen/params/linear/kernel`, ...).
      base_filters: channels before the generator's last layer.
      z_dim: size of the latent.
      height: of the joint image.
      learning_rate: of both Adams in training.
      beta1: of both Adams in training.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        *,
        base_filters: int,
        z_dim: int,
        height: int,
        learning_rate: float,
        beta1: float,
    ) -> None:
        self.gen = Generator(base_filters, z_dim, height)
        self.disc = Discriminator(base_filters, height)
        _load_generator(self.gen, weights, _layers(height))
        _load_discriminator(self.disc, weights, _layers(height))
        self.gen.to(memory_format=torch.channels_last)
        self.disc.to(memory_format=torch.channels_last)
        adam = {"lr": learning_rate, "betas": (beta1, 0.999), "fused": True}
        self.gen_optimizer = torch.optim.Adam(self.gen.parameters(), **adam)
        self.disc_optimizer = torch.optim.Adam(self.disc.parameters(), **adam)

    def train_step(self, real: torch.Tensor, z: torch.Tensor) -> dict[str, float]:
        """One update of D, then one of G against the new D, on the same latents."""
        fake = self.gen(z)
        real_logits, fake_logits = self.disc(real), self.disc(fake.detach())
        disc_loss = F.binary_cross_entropy_with_logits(
            real_logits, torch.ones_like(real_logits)
        ) + F.binary_cross_entropy_with_logits(
            fake_logits, torch.zeros_like(fake_logits)
        )
        self.disc_optimizer.zero_grad()
        disc_loss.backward()
        self.disc_optimizer.step()

        self.disc.requires_grad_(False)  # G's update needs no gradient of D's weights
        gen_loss = F.softplus(-self.disc(fake)).mean()
        self.gen_optimizer.zero_grad()
        gen_loss.backward()
        self.gen_optimizer.step()
        self.disc.requires_grad_(True)
        return {"disc_loss": disc_loss.item(), "gen_loss": gen_loss.item()}


class Search:
    """Adam on latents, on running averages: KL(y || G) of ink plus lambda log(1 - D).

    Args:
      peer: the networks; they are put into eval mode and frozen.
      target: joint images in [-1, 1], `(n, 3, h, w)` with one for each latent, or
        `(1, 3, h, w)` with one for all.
      z: latents to begin with, `(n, z_dim)`.
      learning_rate: of Adam.
      perceptual_weight: lambda; at 0, D is not run.
      epsilon: added to every pixel's ink.
    """

    def __init__(
        self,
        peer: Peer,
        target: torch.Tensor,
        z: torch.Tensor,
        *,
        learning_rate: float,
        perceptual_weight: float,
        epsilon: float,
    ) -> None:
        self.gen = peer.gen.eval().requires_grad_(False)
        self.disc = peer.disc.eval().requires_grad_(False)
        self.perceptual_weight = perceptual_weight
        self.epsilon = epsilon
        self.log_target = log_ink(target, epsilon)
        self.z = z.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.z], lr=learning_rate)

    def loss(self) -> torch.Tensor:
        """Of every latent, `(n,)`."""
        joint = self.gen(self.z)
        loss = divergence(self.log_target, log_ink(joint, self.epsilon))
        if self.perceptual_weight:
            loss = loss - self.perceptual_weight * F.softplus(self.disc(joint))
        return loss

    def step(self) -> torch.Tensor:
        """One step of Adam; returns the losses before it."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.sum().backward()
        self.optimizer.step()
        with torch.no_grad():
            self.z.mul_((3 * self.z.square().mean(1, keepdim=True)).rsqrt())
            self.z.clamp_(-1, 1)
        return loss.detach()

    @torch.no_grad()
    def score(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Joint images of the latents, their divergences, their log(1 - D)."""
        joint = self.gen(self.z)
        contextual = divergence(self.log_target, log_ink(joint, self.epsilon))
        return joint, contextual, -F.softplus(self.disc(joint))


def log_ink(joint: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Log of the ink of the sketch, which is the right half of a mirrored joint image.

    `(n, 3, h, w)` -> `(n, h * w / 2)`, each row a distribution.
    """
    sketch = joint[..., joint.shape[-1] // 2 :]
    weights = sketch.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    grey = ((sketch * weights).sum(1) + 1) / 2
    ink = (1 - grey + epsilon).flatten(1)
    return ink.log() - ink.sum(1, keepdim=True).log()


def divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of distributions over the last axis."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@torch.no_grad()
def starts_log_ink(
    peer: Peer, z: torch.Tensor, epsilon: float, batch_size: int = 64
) -> torch.Tensor:
    """`log_ink` of G of latents, `batch_size` at a time; G is put into eval mode."""
    gen = peer.gen.eval()
    return torch.cat([log_ink(gen(part), epsilon) for part in z.split(batch_size)])


@torch.no_grad()
def best_starts(
    log_starts: torch.Tensor, target: torch.Tensor, count: int, epsilon: float
) -> torch.Tensor:
    """Which `count` starts fit each target best: `(targets, count)` indices.

    Args:
      log_starts: what `starts_log_ink` returned.
      target: joint images in [-1, 1], `(targets, 3, h, w)`.
      count: how many.
      epsilon: added to every pixel's ink.
    """
    losses = [divergence(log_y, log_starts) for log_y in log_ink(target, epsilon)]
    return torch.stack(losses).topk(count, largest=False).indices


def mirrored(joint: np.ndarray) -> torch.Tensor:
    """`(n, h, w, 3)` of `cgan_jax` -> the peer's `(n, 3, h, w)`, channels_last."""
    turned = np.ascontiguousarray(joint[:, ::-1, ::-1])
    return torch.from_numpy(turned).permute(0, 3, 1, 2)


def _load_generator(
    gen: Generator, weights: dict[str, np.ndarray], layers: int
) -> None:
    kernel = weights["gen/params/linear/kernel"]
    grid = kernel.reshape(len(kernel), *_GRID, -1)[:, ::-1, ::-1]
    _copy(gen.linear.weight, grid.transpose(3, 1, 2, 0).reshape(-1, len(kernel)))
    _load_batch_norm(gen.first[0], weights, "gen", "bn_0")
    for i in range(1, layers + 1):
        deconv = gen.blocks[3 * (i - 1)]
        kernel = weights[f"gen/params/deconv_{i}/kernel"][::-1, ::-1]
        _copy(deconv.weight, kernel.transpose(3, 2, 0, 1))
        if i < layers:
            _load_batch_norm(gen.blocks[3 * i - 2], weights, "gen", f"bn_{i}")
    _copy(gen.blocks[-2].bias, weights[f"gen/params/deconv_{layers}/bias"])


def _load_discriminator(
    disc: Discriminator, weights: dict[str, np.ndarray], layers: int
) -> None:
    for i in range(layers):
        conv = disc.blocks[3 * i - 1 if i else 0]
        kernel = weights[f"disc/params/conv_{i}/kernel"][::-1, ::-1]
        _copy(conv.weight, kernel.transpose(3, 2, 0, 1))
        if i:
            _load_batch_norm(disc.blocks[3 * i], weights, "disc", f"bn_{i}")
    _copy(disc.blocks[0].bias, weights["disc/params/conv_0/bias"])
    grid = weights["disc/params/linear/kernel"].reshape(*_GRID, -1)[::-1, ::-1]
    _copy(disc.linear.weight, grid.transpose(2, 0, 1).reshape(1, -1))
    _copy(disc.linear.bias, weights["disc/params/linear/bias"])


def _load_batch_norm(
    norm: nn.Module, weights: dict[str, np.ndarray], network: str, name: str
) -> None:
    _copy(norm.weight, weights[f"{network}/params/{name}/scale"])
    _copy(norm.bias, weights[f"{network}/params/{name}/bias"])
    _copy(norm.running_mean, weights[f"{network}/batch_stats/{name}/mean"])
    _copy(norm.running_var, weights[f"{network}/batch_stats/{name}/var"])


def _copy(to: torch.Tensor, array: np.ndarray) -> None:
    with torch.no_grad():
        to.copy_(torch.from_numpy(np.ascontiguousarray(array)))
