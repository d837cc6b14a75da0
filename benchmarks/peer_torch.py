"""The network, the losses, the training step and the search in plain PyTorch.

The peer of `train_step.py` and `projection.py`: written as one would write it, in
channels_last, with the passes, the update order and the float32 of `cgan_jax`, in both of
its layouts. Imports no jax, and nothing of `cgan_jax` but arrays that the benchmarks hand
over. `check_peer.py` compares the two.

PyTorch pads a stride-2 kernel of 5 by two before and one after, TensorFlow (and with it
`cgan_jax`) by one before and two after. Both halves of the network are the same function
on mirrored pictures, so the weights are loaded mirrored and `mirrored` turns pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Architecture(NamedTuple):
    """The shapes of both networks.

    Attributes:
      base_filters: channels before the generator's last layer.
      z_dim: size of the latent.
      layers: of stride 2.
      grid: height and width where the convolutions start.
      channels: of a picture: 3 of halves, those of the joint image of planes.
      kernel_size: of all convolutions.
    """

    base_filters: int
    z_dim: int
    layers: int
    grid: tuple[int, int]
    channels: int
    kernel_size: int

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Architecture:
        """From the arguments of `cgan_jax.models.make_models`."""
        planes = model.get("layout") == "planes"
        grid = (4, 4) if planes else (4, 8)
        return cls(
            base_filters=model["base_filters"],
            z_dim=model["z_dim"],
            layers=int(math.log2(model["height"] // grid[0])),
            grid=grid,
            channels=len(model["styles"]) + 3 if planes else 3,
            kernel_size=model.get("kernel_size", 5),
        )

    @property
    def widths(self) -> list[int]:
        """Channels of the feature maps, those next to the image first."""
        return [self.base_filters << i for i in range(self.layers)]

    @property
    def inner_shapes(self) -> list[tuple[int, int, int]]:
        """Of the generator's feature maps of one picture, coarse to fine."""
        rows, columns = self.grid
        coarse = enumerate(reversed(self.widths))
        return [(width, rows << i, columns << i) for i, width in coarse]

    @property
    def padding(self) -> int:
        """Of the convolutions, before; one less after where the kernel is odd."""
        return (self.kernel_size - 1) // 2

    def conv(self, wide: int, narrow: int, *, bias: bool) -> nn.Conv2d:
        """Half the size: `wide` channels of the larger picture, `narrow` of the smaller."""
        return nn.Conv2d(wide, narrow, self.kernel_size, 2, self.padding, bias=bias)

    def deconv(self, narrow: int, wide: int, *, bias: bool) -> nn.ConvTranspose2d:
        """Twice the size, likewise."""
        k, padding = self.kernel_size, self.padding
        rest = 2 - k + 2 * padding
        return nn.ConvTranspose2d(narrow, wide, k, 2, padding, rest, bias=bias)


class Generator(nn.Module):
    """`(n, z_dim)` -> pictures `(n, channels, h, w)` in [-1, 1]."""

    def __init__(self, of: Architecture) -> None:
        super().__init__()
        self.grid = of.grid
        widths = of.widths[::-1]
        rows, columns = of.grid
        self.linear = nn.Linear(of.z_dim, widths[0] * rows * columns, bias=False)
        inner = [nn.Sequential(nn.BatchNorm2d(widths[0]), nn.ReLU())]
        for narrow, wide in pairwise(widths):
            deconv = of.deconv(narrow, wide, bias=False)
            inner.append(nn.Sequential(deconv, nn.BatchNorm2d(wide), nn.ReLU()))
        self.inner = nn.ModuleList(inner)
        self.image = nn.Sequential(
            of.deconv(widths[-1], of.channels, bias=True), nn.Tanh()
        )
        for i, width in enumerate(widths):
            self.register_buffer(f"std_{i}", torch.ones(width, 1, 1))

    def forward(
        self, z: torch.Tensor, offsets: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """Offsets move the first inner layers, in units of each channel's deviation."""
        x = self.linear(z).view(len(z), -1, *self.grid)
        x = x.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.inner):
            x = layer(x)
            if i < len(offsets):
                x = torch.addcmul(x, self.get_buffer(f"std_{i}"), offsets[i])
        return self.image(x)


class Discriminator(nn.Module):
    """Pictures `(n, channels, h, w)` -> `(n,)` logits."""

    def __init__(self, of: Architecture) -> None:
        super().__init__()
        blocks: list[nn.Module] = [
            of.conv(of.channels, of.base_filters, bias=True),
            nn.LeakyReLU(0.2),
        ]
        for wide, narrow in pairwise(of.widths):
            blocks += [
                of.conv(wide, narrow, bias=False),
                nn.BatchNorm2d(narrow),
                nn.LeakyReLU(0.2),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(math.prod(of.inner_shapes[0]), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.blocks(x).flatten(1))[:, 0]


class Peer:
    """Both networks with their optimizers.

    Args:
      weights: the parameters, running averages and, where there are any, channels'
        deviations of `cgan_jax`, by name (`gen/params/linear/kernel`, ...).
      model: the arguments of `cgan_jax.models.make_models`.
      learning_rate: of both Adams in training.
      beta1: of both Adams in training.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        model: Mapping[str, Any],
        *,
        learning_rate: float,
        beta1: float,
    ) -> None:
        self.architecture = Architecture.of(model)
        self.gen = Generator(self.architecture)
        self.disc = Discriminator(self.architecture)
        _load_generator(self.gen, weights, self.architecture)
        _load_discriminator(self.disc, weights, self.architecture)
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


class _Search:
    """Adam on latents and perhaps more, on running averages.

    Args:
      peer: the networks; they are put into eval mode and frozen.
      z: latents to begin with, `(n, z_dim)`.
      offsets: of the first inner layers, which move with z.
      learning_rate: of Adam.
    """

    def __init__(
        self,
        peer: Peer,
        z: torch.Tensor,
        offsets: Sequence[torch.Tensor],
        learning_rate: float,
    ) -> None:
        self.gen = peer.gen.eval().requires_grad_(False)
        self.disc = peer.disc.eval().requires_grad_(False)
        self.z = z.detach().clone().requires_grad_()
        self.offsets = [x.requires_grad_() for x in offsets]
        moved = [self.z, *self.offsets]
        self.optimizer = torch.optim.Adam(moved, lr=learning_rate, fused=True)

    def joint(self) -> torch.Tensor:
        """The picture of every latent."""
        return self.gen(self.z, self.offsets)

    def loss(self) -> torch.Tensor:
        """Of every latent, `(n,)`."""
        raise NotImplementedError

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


class Search(_Search):
    """Of z alone: KL(y || G) of ink plus lambda log(1 - D).

    Args:
      peer: see `_Search`.
      target: joint images in [-1, 1], `(n, c, h, w)` with one for each latent, or
        `(1, c, h, w)` with one for all.
      z: see `_Search`.
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
        super().__init__(peer, z, (), learning_rate)
        self.perceptual_weight = perceptual_weight
        self.epsilon = epsilon
        self.log_target = log_ink(target, epsilon)

    def loss(self) -> torch.Tensor:
        joint = self.joint()
        loss = divergence(self.log_target, log_ink(joint, self.epsilon))
        if self.perceptual_weight:
            loss = loss - self.perceptual_weight * F.softplus(self.disc(joint))
        return loss


class InnerSearch(_Search):
    """Of z and offsets of the first inner layers, which begin at 0.

    The mean squared difference of the known sketch, and the mean square of the offsets of
    each layer, both weighted.

    Args:
      peer: see `_Search`.
      target: as for `Search`.
      z: see `_Search`.
      layers: how many have offsets, the coarsest first.
      learning_rate: of Adam.
      weight: of the difference.
      penalty: beta, of the offsets.
    """

    def __init__(
        self,
        peer: Peer,
        target: torch.Tensor,
        z: torch.Tensor,
        *,
        layers: int,
        learning_rate: float,
        weight: float,
        penalty: float,
    ) -> None:
        shapes = peer.architecture.inner_shapes[:layers]
        zeros = [torch.zeros(len(z), *shape) for shape in shapes]
        offsets = [x.contiguous(memory_format=torch.channels_last) for x in zeros]
        super().__init__(peer, z, offsets, learning_rate)
        self.weight = weight
        self.penalty = penalty
        self.target = grey_sketch(target)

    def loss(self) -> torch.Tensor:
        difference = grey_sketch(self.joint()) - self.target
        loss = self.weight * difference.square().mean((1, 2))
        for offset in self.offsets:
            loss = loss + self.penalty * offset.square().mean((1, 2, 3))
        return loss


@torch.no_grad()
def score(
    peer: Peer, joint: torch.Tensor, target: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergences from what is known, and log(1 - D), of joint images."""
    contextual = divergence(log_ink(target, epsilon), log_ink(joint, epsilon))
    return contextual, -F.softplus(peer.disc(joint))


def grey_sketch(joint: torch.Tensor) -> torch.Tensor:
    """The first sketch of joint images as grey in [0, 1]: `(n, c, h, w)` -> `(n, h, h)`.

    Of halves, which are twice as wide as high, it is the right one of a mirrored picture,
    in three colours; of planes it is the first channel.
    """
    if joint.shape[-1] == joint.shape[-2]:
        return (joint[:, 0] + 1) / 2
    sketch = joint[..., joint.shape[-1] // 2 :]
    weights = sketch.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return ((sketch * weights).sum(1) + 1) / 2


def log_ink(joint: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Log of the ink of the first sketch: `(n, c, h, w)` -> `(n, h * h)`.

    Each row is a distribution.
    """
    ink = (1 - grey_sketch(joint) + epsilon).flatten(1)
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
      target: joint images in [-1, 1], `(targets, c, h, w)`.
      count: how many.
      epsilon: added to every pixel's ink.
    """
    losses = [divergence(log_y, log_starts) for log_y in log_ink(target, epsilon)]
    return torch.stack(losses).topk(count, largest=False).indices


def mirrored(picture: np.ndarray) -> torch.Tensor:
    """`(n, h, w, c)` of `cgan_jax` -> the peer's `(n, c, h, w)`, channels_last."""
    turned = np.ascontiguousarray(picture[:, ::-1, ::-1])
    return torch.from_numpy(turned).permute(0, 3, 1, 2)


def _load_generator(
    gen: Generator, weights: dict[str, np.ndarray], of: Architecture
) -> None:
    kernel = weights["gen/params/linear/kernel"]
    grid = kernel.reshape(len(kernel), *of.grid, -1)[:, ::-1, ::-1]
    _copy(gen.linear.weight, grid.transpose(3, 1, 2, 0).reshape(-1, len(kernel)))
    deconvs = [layer[0] for layer in gen.inner[1:]] + [gen.image[0]]
    for i, deconv in enumerate(deconvs, 1):
        kernel = weights[f"gen/params/deconv_{i}/kernel"][::-1, ::-1]
        _copy(deconv.weight, kernel.transpose(3, 2, 0, 1))
    _copy(deconvs[-1].bias, weights[f"gen/params/deconv_{of.layers}/bias"])
    for i, layer in enumerate(gen.inner):
        _load_batch_norm(layer[-2], weights, "gen", f"bn_{i}")
        if (spread := weights.get(f"gen/spread/std_{i}")) is not None:
            _copy(gen.get_buffer(f"std_{i}"), spread.reshape(-1, 1, 1))


def _load_discriminator(
    disc: Discriminator, weights: dict[str, np.ndarray], of: Architecture
) -> None:
    for i in range(of.layers):
        conv = disc.blocks[3 * i - 1 if i else 0]
        kernel = weights[f"disc/params/conv_{i}/kernel"][::-1, ::-1]
        _copy(conv.weight, kernel.transpose(3, 2, 0, 1))
        if i:
            _load_batch_norm(disc.blocks[3 * i], weights, "disc", f"bn_{i}")
    _copy(disc.blocks[0].bias, weights["disc/params/conv_0/bias"])
    grid = weights["disc/params/linear/kernel"].reshape(*of.grid, -1)[::-1, ::-1]
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
