"""One training step: the discriminator learns real from generated, then, frozen, it teaches the generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from model.networks.base import Discrimination
from model.networks.build import build_discriminator, build_generator
from model.networks.layers import power_iterate
from model.networks.style import StyleGenerator
from training.augment import augment, steer
from training.batches import Batch
from training.cuda_graph import GraphedStep
from training.distributed import ALONE, World
from training.losses import discriminator_loss, emotion_divergence, emotion_loss, generator_loss, identity_loss
from training.penalties import gradient_penalty, penalty_due
from training.precision import fast_dtype
from training.recipe import Recipe

Figures = dict[str, Tensor]

#: How far the average of w moves towards a batch's mean in a step (StyleGAN's w_avg_beta is 1 less this).
_W_AVERAGE_STEP = 0.005


class Trainer:
    """Both networks, their optimisers, the averaged generator and the augmentation's probability.

    On a GPU the steps of a style-based pair run as CUDA graphs, one with the gradient penalty and one without.
    Everything that changes from step to step (learning rates, probability, weight of the average) is a tensor on the
    device, because a graph bakes numbers in.
    """

    def __init__(
        self,
        recipe: Recipe,
        resolution: int,
        channels: int,
        emotions: tuple[str, ...],
        device: str,
        world: World = ALONE,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.world = world
        self.dtype = fast_dtype(device) if recipe.precision == "bfloat16" else torch.float32
        torch.backends.cudnn.benchmark = True  # every step has the same shapes, so the search for kernels pays
        self.generator = build_generator(recipe.generator_config(resolution, channels, emotions))
        self.discriminator = build_discriminator(recipe.discriminator_config(resolution, channels, emotions))
        for network in (self.generator, self.discriminator):
            network.to(device).to(memory_format=torch.channels_last)
        self.g_ema = deepcopy(self.generator).requires_grad_(False)
        for network in (self.generator, self.discriminator):
            world.share_layers(network)
        self.optimizers = {name: self._adam(name) for name in ("generator", "discriminator")}
        self._p = torch.zeros((), device=device)  # of each augmentation
        self._ema_weight = torch.zeros((), device=device)
        on_gpu = torch.device(device).type == "cuda"
        # Compiled views of the same modules, so that state is saved under its own names.
        compiled = recipe.compile and on_gpu
        self._generate: Callable[..., Tensor] = torch.compile(self.generator) if compiled else self.generator
        self._discriminate: Callable[..., Discrimination] = (
            torch.compile(self.discriminator) if compiled else self.discriminator
        )
        self._steps: list[Callable[[Batch], Figures]] = [
            partial(self._both_phases, penalty=penalty) for penalty in (False, True)
        ]
        if on_gpu and world.size == 1 and isinstance(self.generator, StyleGenerator):
            self._steps = [GraphedStep(step) for step in self._steps]

    def step(self, batch: Batch, cur_nimg: int) -> Figures:
        """Train both networks on one batch; return figures to log, scalars on the device."""
        recipe = self.recipe
        self._schedule(cur_nimg)
        torch.manual_seed(batch.seed)  # dropout draws from torch's own generator: a function of the counter too
        return self.world.mean(self._steps[penalty_due(recipe, cur_nimg)](batch))

    @property
    def augment_p(self) -> float:
        """The probability of each augmentation. It is a tensor on the device, so that no step waits for the host."""
        return float(self._p)

    @augment_p.setter
    def augment_p(self, p: float) -> None:
        self._p.fill_(p)

    def _both_phases(self, batch: Batch, *, penalty: bool) -> Figures:
        """Train both networks; the generated images are drawn once and used in both phases."""
        generated = self._generate(batch.latents.to(self.dtype), batch.emotions).float()
        figures = self._discriminator_phase(batch, generated.detach(), penalty)
        figures |= self._generator_phase(batch, generated)
        sign = self.world.mean({"real_sign": figures["real_sign"].detach()})["real_sign"]
        steer(self._p, sign, len(batch.images) * self.world.size, self.recipe.augment)
        return {name: value.detach() for name, value in figures.items()}

    # ---- phase 1: the discriminator, on real = 1 and generated = 0 ----

    def _discriminator_phase(self, batch: Batch, generated: Tensor, penalty: bool) -> Figures:
        loss = self.recipe.loss
        self.discriminator.requires_grad_(True)
        power_iterate(self.discriminator)
        images = self._augment(batch.images, batch, 0)
        real, fake = self._discriminate_both(images, self._augment(generated, batch, 1), batch.emotions)
        total = loss_d = discriminator_loss(loss.kind, real.logit, fake.logit)
        figures = {
            "loss_d": loss_d,
            "real_sign": real.logit.sign().mean(),
            "real_is_real": torch.sigmoid(real.logit).mean(),
            "fake_is_real": torch.sigmoid(fake.logit).mean(),
        }
        if loss.classify_real:
            figures["emotion_real"] = emotion_loss(real.emotion, batch.emotions)
            total = total + loss.classify_real * figures["emotion_real"]
        if loss.identity:
            figures["identity_d"] = identity_loss(fake.identity, loss.identity_temperature)
            total = total + loss.identity * figures["identity_d"]
        if loss.r1:
            figures["r1"] = torch.zeros_like(loss_d)
        if penalty:
            # Every r1_every-th step and as many times as strong; logged so that the mean over steps is the penalty's.
            figures["r1"] = loss.r1_every * gradient_penalty(self.discriminator, images, batch.emotions)
            total = total + loss.r1 / 2 * figures["r1"]
        self._descend("discriminator", total)
        return figures

    def _discriminate_both(self, real: Tensor, fake: Tensor, emotions: Tensor) -> tuple[Discrimination, Discrimination]:
        """Classify real and generated images: in one batch, or apart where their statistics must not be mixed."""
        real, fake = real.to(self.dtype), fake.to(self.dtype)
        if self.discriminator.separate_batches:
            return self._discriminate(real, emotions), self._discriminate(fake, emotions)
        both = self._discriminate(torch.cat([real, fake]), emotions.repeat(2, 1))
        n = len(real)
        return Discrimination(*(head[:n] for head in both)), Discrimination(*(head[n:] for head in both))

    # ---- phase 2: the generator, towards "real"; the discriminator is frozen ----

    def _generator_phase(self, batch: Batch, generated: Tensor) -> Figures:
        loss = self.recipe.loss
        self.discriminator.requires_grad_(False)
        fake = self._discriminate(self._augment(generated, batch, 2).to(self.dtype), batch.emotions)
        total = loss_g = generator_loss(loss.kind, fake.logit)
        figures = {"loss_g": loss_g}
        if fake.emotion.shape[1]:
            figures["emotion_fake"] = emotion_divergence(fake.emotion, batch.emotions, loss.classify_slack)
            total = total + loss.classify_fake * figures["emotion_fake"]
        if loss.identity:
            figures["identity_g"] = identity_loss(fake.identity, loss.identity_temperature)
            total = total + loss.identity * figures["identity_g"]
        self._descend("generator", total)
        self._average(batch)
        return figures

    @torch.no_grad()
    def _average(self, batch: Batch) -> None:
        """Move the averaged generator towards the present one (Karras et al. 2018, section 4)."""
        if isinstance(self.generator, StyleGenerator):
            mean = self.world.total(self.generator.map(batch.latents).mean(dim=0)) / self.world.size
            self.generator.w_average.lerp_(mean, _W_AVERAGE_STEP)
            assert isinstance(self.g_ema, StyleGenerator)
            self.g_ema.w_average.copy_(self.generator.w_average)
        for averaged, present in zip(self.g_ema.parameters(), self.generator.parameters(), strict=True):
            averaged.lerp_(present, self._ema_weight)

    # ---- what both share ----

    def _augment(self, images: Tensor, batch: Batch, which: int) -> Tensor:
        return augment(images, self._p, batch.normals[which], batch.uniforms[which])

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.world.average_gradients(getattr(self, name).parameters())
        self.optimizers[name].step()

    def _adam(self, name: str) -> torch.optim.Adam:
        """Return the optimiser of a network: one kernel a step on a GPU, one for each kind of sum on a CPU."""
        own, parameters = getattr(self.recipe, name), getattr(self, name).parameters()
        if torch.device(self.device).type != "cuda":
            return torch.optim.Adam(parameters, own.lr, own.betas, foreach=True)
        lr = torch.tensor(own.lr, device=self.device)
        return torch.optim.Adam(parameters, lr, own.betas, fused=True, capturable=True)

    def _schedule(self, cur_nimg: int) -> None:
        """Set everything that depends on the counter, on the device."""
        recipe, factor = self.recipe, lr_factor(self.recipe, cur_nimg)
        for name, optimizer in self.optimizers.items():
            lr: Any = optimizer.param_groups[0]["lr"]
            value = getattr(recipe, name).lr * factor
            if isinstance(lr, Tensor):
                lr.fill_(value)
            else:
                optimizer.param_groups[0]["lr"] = value
        self._ema_weight.fill_(ema_weight(recipe, cur_nimg))

    def finite(self) -> bool:
        """Tell whether every parameter of every network is finite."""
        return all(bool(p.isfinite().all()) for network in self.modules().values() for p in network.parameters())

    def modules(self) -> dict[str, nn.Module]:
        """Return everything that has a state, by name."""
        return {"generator": self.generator, "discriminator": self.discriminator, "g_ema": self.g_ema}


def lr_factor(recipe: Recipe, cur_nimg: int) -> float:
    """Return the factor of both learning rates, 0..1, in the step that begins at ``cur_nimg`` images.

    It rises linearly until ``rampup_kimg``, and falls along half a cosine from ``decay_from_kimg`` to ``decay_to`` at
    ``total_kimg`` (Huang et al. 2024, R3GAN, appendix).
    """
    schedule = recipe.schedule
    rise = min((cur_nimg + schedule.batch) / (schedule.rampup_kimg * 1000), 1.0) if schedule.rampup_kimg else 1.0
    span = (schedule.total_kimg - schedule.decay_from_kimg) * 1000
    done = min(max((cur_nimg - schedule.decay_from_kimg * 1000) / span, 0.0), 1.0) if span > 0 else 0.0
    return rise * (schedule.decay_to + (1 - schedule.decay_to) * (1 + math.cos(math.pi * done)) / 2)


def ema_weight(recipe: Recipe, cur_nimg: int) -> float:
    """Return how far the averaged generator moves towards the present one in the step that begins at ``cur_nimg``."""
    schedule = recipe.schedule
    halflife = schedule.ema_halflife_kimg * 1000
    if schedule.ema_rampup:
        halflife = min(halflife, max(cur_nimg, 1) * schedule.ema_rampup)
    return 1 - math.exp2(-schedule.batch / halflife) if halflife > 0 else 1.0
