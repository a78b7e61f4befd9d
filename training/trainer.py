"""One training step: the discriminator learns real from generated, then, frozen, it teaches the generator."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor

from model.discriminator import Discriminator
from model.generator import Generator
from training.augment import augment, steer
from training.batches import Batch
from training.losses import discriminator_loss, emotion_loss, generator_loss
from training.recipe import Recipe


class Trainer:
    """Both networks, their optimisers, the averaged generator and the augmentation's probability."""

    def __init__(self, recipe: Recipe, resolution: int, channels: int, emotions: tuple[str, ...], device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.dtype = getattr(torch, recipe.precision)
        self.generator = Generator(recipe.generator_config(resolution, channels, emotions))
        self.discriminator = Discriminator(recipe.discriminator_config(resolution, channels, emotions))
        for network in (self.generator, self.discriminator):
            network.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.generator).requires_grad_(False)
        self.augment_p = 0.0
        self.optimizers = {
            "generator": torch.optim.Adam(
                self.generator.parameters(), recipe.generator.lr, recipe.generator.betas, foreach=True
            ),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), recipe.discriminator.lr, recipe.discriminator.betas, foreach=True
            ),
        }
        # Compiled views of the same modules, so that state is saved under its own names.
        self._draw = torch.compile(self.generator) if recipe.compile else self.generator
        self._judge = torch.compile(self.discriminator) if recipe.compile else self.discriminator

    def step(self, batch: Batch, cur_nimg: int) -> dict[str, Tensor]:
        """Train both networks on one batch; return what to log, scalars on the device.

        The generated images are drawn once and used in both phases.
        """
        recipe, kind, n = self.recipe, self.recipe.loss.kind, len(batch.images)
        factor = self._lr_factor(cur_nimg)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = getattr(recipe, name).lr * factor
        drawn = self._draw(batch.latents.to(self.dtype), batch.emotions).float()

        # Phase 1: the discriminator, on real = 1 and generated = 0.
        self.discriminator.requires_grad_(True)
        self.discriminator.power_iterate()
        seen = augment(torch.cat([batch.images, drawn.detach()]), self.augment_p, batch.rng)
        logits, named = self._judge(seen.to(self.dtype), batch.emotions.repeat(2, 1))
        real, fake = logits[:n], logits[n:]
        named_real = emotion_loss(named[:n], batch.emotions)
        loss_d = discriminator_loss(kind, real, fake)
        self._descend("discriminator", loss_d + recipe.loss.classify_real * named_real)

        # Phase 2: the combined model towards "real"; the discriminator is frozen.
        self.discriminator.requires_grad_(False)
        logits, named = self._judge(augment(drawn, self.augment_p, batch.rng).to(self.dtype), batch.emotions)
        named_fake = emotion_loss(named, batch.emotions)
        loss_g = generator_loss(kind, logits)
        self._descend("generator", loss_g + recipe.loss.classify_fake * named_fake)

        self._average(cur_nimg)
        sign = real.detach().sign().mean()
        if recipe.augment.target > 0:
            self.augment_p = steer(self.augment_p, float(sign), n, recipe.augment)
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "real_is_real": torch.sigmoid(real.detach()).mean(),
            "fake_is_real": torch.sigmoid(fake.detach()).mean(),
            "real_sign": sign,
            "emotion_real": named_real.detach(),
            "emotion_fake": named_fake.detach(),
        }

    def finite(self) -> bool:
        """Tell whether every parameter of every network is finite."""
        networks = (self.generator, self.discriminator, self.average)
        return all(bool(parameter.isfinite().all()) for network in networks for parameter in network.parameters())

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()

    def _lr_factor(self, cur_nimg: int) -> float:
        schedule = self.recipe.schedule
        span = (schedule.total_kimg - schedule.decay_from_kimg) * 1000
        done = (cur_nimg - schedule.decay_from_kimg * 1000) / span if span > 0 else 0.0
        return 1 + (schedule.decay_to - 1) * min(max(done, 0.0), 1.0)

    @torch.no_grad()
    def _average(self, cur_nimg: int) -> None:
        """Move the averaged generator towards the present one (Karras et al. 2018, section 4)."""
        schedule = self.recipe.schedule
        halflife = min(schedule.ema_halflife_kimg * 1000, max(cur_nimg, 1) * schedule.ema_rampup)
        weight = 1 - math.exp2(-schedule.batch / halflife)
        averaged: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(averaged, list(self.generator.parameters()), weight)
