"""A style-based generator and its discriminator, sized for small images.

The generator follows StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"): a mapping
network, weight demodulation in place of normalisation (section 2.2), and images summed over the sizes (section 4). It
differs in three ways: every styled layer also hears the emotion, there are no noise inputs, so a face is a function of
latent and emotion alone, and the constant input has 6x6 pixels for an image of 48x48.

The discriminator is StyleGAN2's residual one with a minibatch deviation (Karras et al. 2018, section 3), conditioned by
projection (Miyato & Koyama 2018), with two more heads: the emotion (Odena et al. 2017, AC-GAN) and the identity, which
an InfoNCE loss trains (van den Oord et al. 2018).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.networks.base import Discrimination, Discriminator, Generator
from model.networks.configs import StyleDiscriminatorConfig, StyleGeneratorConfig

SLOPE: Final = 0.2  # of the leaky ReLU below 0
GAIN: Final = math.sqrt(2)  # after the leaky ReLU, so that it keeps the variance of its input
MAPPING_LR: Final = 0.1  # learning-rate multiplier of the mapping network: StyleGAN's 0.01 suits eight layers, not two
EMOTION_GAIN: Final = 0.5  # of the emotion's share of a style, beside 1 for that of w
EPSILON: Final = 1e-8
GROUP: Final = 4  # images that the minibatch deviation is taken over


class Weight(nn.Module):
    """An equalised weight (Karras et al. 2018, section 4.1): stored at unit variance, scaled by 1/sqrt(fan_in) in use.

    Args:
        shape: of the weight, outputs first.
        bias: the value that every entry of the bias begins with; None for no bias.
        lr: learning-rate multiplier. The weight and the bias are stored divided by it.
    """

    def __init__(self, *shape: int, bias: float | None = 0.0, lr: float = 1.0) -> None:
        super().__init__()
        self.gain, self.lr = lr / math.sqrt(math.prod(shape[1:])), lr
        self.weight = nn.Parameter(torch.randn(shape) / lr)
        self.bias = None if bias is None else nn.Parameter(torch.full(shape[:1], bias / lr))

    def scaled(self, gain: float = 1.0) -> Tensor:
        """Return the weight as it is used, times ``gain``; float32."""
        return self.weight * (self.gain * gain)

    def scaled_bias(self, gain: float = 1.0) -> Tensor | None:
        """Return the bias as it is used, times ``gain``; float32."""
        return None if self.bias is None else self.bias * (self.lr * gain)


class Dense(Weight):
    """Dense layer: float ``[N, inputs]`` -> ``[N, outputs]``."""

    def forward(self, x: Tensor) -> Tensor:
        bias = self.scaled_bias()
        return F.linear(x, self.scaled().to(x.dtype), None if bias is None else bias.to(x.dtype))


class Conv(Weight):
    """Convolution: float ``[N, inputs, H, W]`` -> ``[N, outputs, ...]``.

    ``gain`` scales the weight and ``bias_gain`` the bias: a leaky ReLU lets a positive factor through, so the gain of
    an activation, or the 1/4 of a mean, need not be a pass over the feature maps.
    """

    def forward(self, x: Tensor, *, gain: float = 1.0, bias_gain: float = 1.0, stride: int = 1) -> Tensor:
        bias, weight = self.scaled_bias(bias_gain), self.scaled(gain).to(x.dtype)
        return F.conv2d(x, weight, None if bias is None else bias.to(x.dtype), stride, weight.shape[-1] // 2)


def activate(x: Tensor) -> Tensor:
    """Return the leaky ReLU of ``x`` times sqrt(2)."""
    return F.leaky_relu(x, SLOPE) * GAIN


def box(x: Tensor) -> Tensor:
    """Return the sums of all 2x2 neighbourhoods: float ``[N, C, H, W]`` -> ``[N, C, H - 1, W - 1]``.

    Two sums of slices: torch's average pooling with stride 1 has a slow backward pass.
    """
    x = x[:, :, 1:] + x[:, :, :-1]
    return x[:, :, :, 1:] + x[:, :, :, :-1]


# ---- generator ----


class StyledConv(Weight):
    """A modulated and demodulated 3x3 convolution with an activation (StyleGAN2, section 2.2, equations 1 to 3).

    The input is scaled by the style, and the output by what keeps its variance at 1, so one weight serves the whole
    batch. With ``up`` the image is doubled first (nearest neighbour).
    """

    def __init__(self, inputs: int, outputs: int, config: StyleGeneratorConfig, *, up: bool) -> None:
        super().__init__(outputs, inputs, 3, 3)
        self.style_latent = Dense(inputs, config.w_dim, bias=1.0)
        self.style_emotion = Dense(inputs, config.emotion_dim, bias=None)
        self.up = up

    def forward(self, x: Tensor, w: Tensor, emotion: Tensor) -> Tensor:
        """float ``[N, inputs, H, W]``, ``[N, w_dim]``, ``[N, emotion_dim]`` -> ``[N, outputs, H or 2H, W or 2W]``."""
        style = (self.style_latent(w) + EMOTION_GAIN * self.style_emotion(emotion)).float()
        style = style * torch.rsqrt(style.square().mean(dim=1, keepdim=True) + EPSILON)
        weight = self.scaled()
        demodulation = torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).t() + EPSILON)
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            # Equal to a convolution, with the kernel flipped, of the doubled map, at a quarter of its cost: 2H + 1
            # pixels, whose 2x2 means (times 4) are 2H.
            x = box(F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight.to(x.dtype), padding=1)
        # The gain of the activation is put into the scale and the bias, which have few entries.
        scale, bias = (demodulation * GAIN).to(x.dtype), self.scaled_bias(GAIN)
        assert bias is not None
        return F.leaky_relu(torch.addcmul(bias.to(x.dtype)[:, None, None], x, scale[:, :, None, None]), SLOPE)


class ToImage(Weight):
    """A modulated 1x1 convolution to pixels, without normalised style, demodulation and activation."""

    def __init__(self, inputs: int, config: StyleGeneratorConfig) -> None:
        super().__init__(config.channels, inputs, 1, 1)
        self.style_latent = Dense(inputs, config.w_dim, bias=1.0)
        self.style_emotion = Dense(inputs, config.emotion_dim, bias=None)

    def forward(self, x: Tensor, w: Tensor, emotion: Tensor) -> Tensor:
        """float ``[N, inputs, H, W]``, ``[N, w_dim]``, ``[N, emotion_dim]`` -> float32 ``[N, channels, H, W]``."""
        style = self.style_latent(w) + EMOTION_GAIN * self.style_emotion(emotion)
        bias = self.scaled_bias()
        assert bias is not None
        x = x * style.to(x.dtype)[:, :, None, None]
        return F.conv2d(x, self.scaled().to(x.dtype), bias.to(x.dtype)).float()


class StyleGenerator(Generator):
    """Latent -> w, then one block for each size: ``up``, ``conv`` and ``to_image``, whose images are summed."""

    config: StyleGeneratorConfig
    w_average: Tensor

    def __init__(self, config: StyleGeneratorConfig) -> None:
        super().__init__(config)
        dims = [config.latent_dim, *[config.w_dim] * config.mapping_layers]
        self.mapping = nn.ModuleList(Dense(o, i, lr=MAPPING_LR) for i, o in pairwise(dims))
        self.register_buffer("w_average", torch.zeros(config.w_dim))
        # Without a bias, so that a mix of emotions is embedded as the same mix of their embeddings.
        self.embed = nn.Linear(len(config.emotions), config.emotion_dim, bias=False)
        nn.init.normal_(self.embed.weight)
        sizes, widths = config.sizes(), config.widths
        self.constant = nn.Parameter(torch.randn(1, widths[0], sizes[0], sizes[0]))
        self.synthesis = nn.ModuleDict()
        for size, inputs, outputs in zip(sizes, (widths[0], *widths), widths, strict=False):
            block = nn.ModuleDict()
            if size > sizes[0]:
                block["up"] = StyledConv(inputs, outputs, config, up=True)
            block["conv"] = StyledConv(outputs, outputs, config, up=False)
            block["to_image"] = ToImage(outputs, config)
            self.synthesis[str(size)] = block

    def map(self, latent: Tensor) -> Tensor:
        """Return w, float32 ``[N, w_dim]``, of latents, float ``[N, latent_dim]``. Only a latent's direction counts."""
        w: Tensor = latent.float()
        w = w * torch.rsqrt(w.square().mean(dim=1, keepdim=True) + EPSILON)
        for layer in self.mapping:
            w = activate(layer(w))
        return w

    def truncate(self, w: Tensor, truncation: Tensor) -> Tensor:
        """Return w ``[N, w_dim]``, drawn towards its average: at 1 unchanged, at 0 the average. Truncation is ``[N]``.

        The truncation trick in w (Karras et al. 2019, StyleGAN, appendix B).
        """
        truncated: Tensor = self.w_average + truncation.float().unsqueeze(1) * (w - self.w_average)
        return truncated

    def synthesize(self, w: Tensor, emotion: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw images, float32 ``[N, channels, resolution, resolution]``, of w ``[N, w_dim]`` and emotions ``[N, E]``.

        ``dtype`` is that of the feature maps.
        """
        w, emotion = w.to(dtype), F.linear(emotion.to(dtype), self.embed.weight.to(dtype))
        x = self.constant.to(dtype).expand(w.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        for block in self.synthesis.values():
            assert isinstance(block, nn.ModuleDict)
            if "up" in block:
                x = block["up"](x, w, emotion)
            x = block["conv"](x, w, emotion)
            pixels = block["to_image"](x, w, emotion)
            image = pixels if image is None else pixels + F.interpolate(image, scale_factor=2.0, mode="bilinear")
        assert image is not None
        return image

    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor | None = None) -> Tensor:
        w = self.map(latent)
        if truncation is not None:
            w = self.truncate(w, truncation)
        return self.synthesize(w, emotion, latent.dtype)


# ---- discriminator ----


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the size: float ``[N, inputs, H, W]`` -> ``[N, outputs, H/2, W/2]``.

    Before each subsampling stands a 2x2 mean, so that no pixel is passed over.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, inputs, 3, 3)
        self.down = Conv(outputs, inputs, 3, 3)
        self.skip = Conv(outputs, inputs, 1, 1, bias=None)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.conv(x, gain=GAIN, bias_gain=GAIN), SLOPE)
        # The activation's gain of sqrt(2) and the sqrt(1/2) of the sum of both branches cancel out.
        h = F.leaky_relu(self.down(box(h), gain=0.25, stride=2), SLOPE)
        out: Tensor = h + self.skip(F.avg_pool2d(x, 2), gain=math.sqrt(0.5))
        return out


class StyleDiscriminator(Discriminator):
    """Blocks that halve the image, a minibatch deviation, a dense layer of features, and heads on it."""

    separate_batches = True  # for the minibatch deviation
    config: StyleDiscriminatorConfig

    def __init__(self, config: StyleDiscriminatorConfig) -> None:
        super().__init__(config)
        widths, features = config.widths, config.widths[-1]
        base = config.base_size(len(widths) - 1)
        self.from_image = Conv(widths[0], config.channels, 1, 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(i, o) for i, o in pairwise(widths))
        self.epilogue_conv = Conv(features, features + 1, 3, 3)
        self.epilogue_dense = Dense(features, features * base**2)
        self.logit = Dense(1, features)
        self.project_image = Dense(config.projection_dim, features)
        self.project_emotion = nn.Linear(len(config.emotions), config.projection_dim, bias=False)
        nn.init.normal_(self.project_emotion.weight)
        self.classify = Dense(len(config.emotions), features)
        self.identity = Dense(config.identity_dim, features)

    def features(self, image: Tensor) -> Tensor:
        """Return what the heads look at, float32 ``[N, widths[-1]]``."""
        x = image.contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu(self.from_image(x, gain=GAIN, bias_gain=GAIN), SLOPE)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, minibatch_deviation(x)], dim=1)
        x = F.leaky_relu(self.epilogue_conv(x, gain=GAIN, bias_gain=GAIN), SLOPE)
        # In the order of channels first, whatever the memory format is.
        return activate(self.epilogue_dense(x.flatten(1)).float())

    def forward(self, image: Tensor, emotion: Tensor) -> Discrimination:
        h = self.features(image)
        emotion = self.project_emotion(emotion.float())
        fit = (self.project_image(h) * emotion).sum(dim=1) / math.sqrt(self.config.projection_dim)
        return Discrimination(
            self.logit(h).squeeze(1) + fit, self.classify(h), F.normalize(self.identity(h), dim=1, eps=EPSILON)
        )


def minibatch_deviation(x: Tensor) -> Tensor:
    """Return how much the images of a group differ (Karras et al. 2018, section 3).

    Feature maps ``[N, C, H, W]`` -> ``[N, 1, H, W]``, one number per group. The members of a group of ``GROUP`` images
    lie N / ``GROUP`` apart, so real and generated images must not be mixed in one call. In a batch whose size is no
    multiple of ``GROUP`` all images form one group.
    """
    n, c, height, width = x.shape
    group = GROUP if n % GROUP == 0 else n
    y = x.float().reshape(group, n // group, c, height, width)
    # Not by torch.var, which is slow along the first dimension on a CPU.
    deviation = ((y - y.mean(dim=0)).square().mean(dim=0) + EPSILON).sqrt().mean(dim=(1, 2, 3))
    return deviation.to(x.dtype).repeat(group).view(n, 1, 1, 1).expand(n, 1, height, width)
