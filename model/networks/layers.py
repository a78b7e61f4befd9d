"""Building blocks of both networks.

Master weights stay float32; every layer casts its weight to the dtype of its input, so the caller chooses the
arithmetic (float32, bfloat16) by the tensor it passes in, as EDM2 does (Karras et al. 2024), and optimiser, EMA and
files never see anything but float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Weighted(nn.Module):
    """A weight with an optional spectral norm (Miyato et al. 2018, "Spectral Normalization for GANs")."""

    left: Tensor
    right: Tensor

    def __init__(self, shape: tuple[int, ...], bias: bool, spectral: bool, gain: float = 1.0) -> None:
        super().__init__()
        fan_in = math.prod(shape[1:])
        self.weight = nn.Parameter(torch.randn(shape) * (gain / math.sqrt(fan_in)))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.spectral = spectral
        if spectral:
            self.register_buffer("left", F.normalize(torch.randn(shape[0]), dim=0))
            self.register_buffer("right", F.normalize(torch.randn(fan_in), dim=0))
            # Fifteen rounds make the first steps see a norm near the true one instead of a random projection.
            for _ in range(15):
                self.power_iterate()

    @torch.no_grad()
    def power_iterate(self) -> None:
        """Refine the estimate of the largest singular value by one power iteration (no gradient)."""
        if self.spectral:
            matrix = self.weight.flatten(1)
            self.right.copy_(F.normalize(matrix.t() @ self.left, dim=0, eps=1e-12))
            self.left.copy_(F.normalize(matrix @ self.right, dim=0, eps=1e-12))

    def effective(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return weight (divided by its spectral norm where asked for) and bias in ``dtype``."""
        weight: Tensor = self.weight
        if self.spectral:
            weight = weight / torch.dot(self.left, weight.flatten(1) @ self.right)
        return weight.to(dtype), None if self.bias is None else self.bias.to(dtype)


class Conv2d(_Weighted):
    """Convolution that keeps the size: float ``[N, in, H, W]`` -> ``[N, out, H, W]``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        bias: bool = True,
        spectral: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__((outputs, inputs, kernel, kernel), bias, spectral, gain)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective(x.dtype)
        return F.conv2d(x, weight, bias, padding=self.padding)


class Linear(_Weighted):
    """Dense layer: float ``[N, in]`` -> ``[N, out]``."""

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, spectral: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__((outputs, inputs), bias, spectral, gain)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective(x.dtype)
        return F.linear(x, weight, bias)


def power_iterate(network: nn.Module) -> None:
    """Refine every spectral norm in ``network`` by one power iteration; to be called once before each of its steps."""
    for module in network.modules():
        if isinstance(module, _Weighted):
            module.power_iterate()


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and bias come from a style vector (de Vries et al. 2017; Brock et al. 2019, section 3).

    ``x`` is float ``[N, channels, H, W]``, ``style`` float ``[N, style_dim]``. In evaluation it uses the running
    statistics, so a face does not depend on the others in its batch.
    """

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        # A quarter of the usual gain: at the start the style nudges the features, it does not drown them.
        self.affine = Linear(style_dim, 2 * channels, gain=0.25)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gain, bias = self.affine(style).to(x.dtype).unsqueeze(-1).unsqueeze(-1).chunk(2, dim=1)
        return torch.addcmul(bias, self.norm(x), 1 + gain)


class GeneratorBlock(nn.Module):
    """Residual block that doubles the size: ``[N, in, H, W]`` -> ``[N, out, 2H, 2W]``.

    The first convolution runs before the upsampling (a quarter of the work), the second after it.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(inputs, style_dim)
        self.conv1 = Conv2d(inputs, outputs)
        self.norm2 = ConditionalBatchNorm2d(outputs, style_dim)
        self.conv2 = Conv2d(outputs, outputs, gain=math.sqrt(2))
        self.skip = Conv2d(inputs, outputs, kernel=1, bias=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x, style)))
        h = F.interpolate(h, scale_factor=2, mode="nearest")
        h = self.conv2(F.relu(self.norm2(h, style)))
        out: Tensor = h + F.interpolate(self.skip(x), scale_factor=2, mode="nearest")
        return out


class DiscriminatorBlock(nn.Module):
    """Pre-activation residual block: ``[N, in, H, W]`` -> ``[N, out, H/2, W/2]`` or same size."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, spectral: bool) -> None:
        super().__init__()
        self.conv1 = Conv2d(inputs, inputs, spectral=spectral)
        self.conv2 = Conv2d(inputs, outputs, spectral=spectral)
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs or down:
            self.skip = Conv2d(inputs, outputs, kernel=1, spectral=spectral)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        if self.down:
            # Pooling commutes with the 1x1 convolution of the skip, so it goes first there.
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        out: Tensor = h + self.skip(x)
        return out
