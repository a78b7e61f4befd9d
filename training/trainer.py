"""One training step: the discriminator learns real from generated, then, frozen, it teaches the generator."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from model.discriminator import Verdict
from model.layers import power_iterate
from model.networks import build_discriminator, build_generator
from training.augment import augment, planned, steer
from training.batches import Batch
from training.distributed import ALONE, World
from training.losses import discriminator_loss, emotion_loss, generator_loss, realness
from training.penalties import penalties
from training.recipe import Recipe
from training.transfer import fetch


class Trainer:
    """Both networks, their optimisers, the averaged generator and the augmentation's probability."""

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
        self.dtype = getattr(torch, recipe.precision)
        torch.backends.cudnn.benchmark = True  # every step has the same shapes, so the search for kernels pays
        self.generator = build_generator(recipe.generator_config(resolution, channels, emotions))
        self.discriminator = build_discriminator(recipe.discriminator_config(resolution, channels, emotions))
        for network in (self.generator, self.discriminator):
            network.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.generator).requires_grad_(False)
        for network in (self.generator, self.discriminator):
            world.share_layers(network)
        self.augment_p = recipe.augment.minimum
        self.optimizers = {name: self._adam(name) for name in ("generator", "discriminator")}
        # Compiled views of the same modules, so that state is saved under its own names.
        self._draw = torch.compile(self.generator) if recipe.compile else self.generator
        self._judge = torch.compile(self.discriminator) if recipe.compile else self.discriminator

    def step(self, batch: Batch, cur_nimg: int) -> dict[str, Tensor]:
        """Train both networks on one batch; return what to log, scalars on the device.

        The generated images are drawn once and used in both phases.
        """
        recipe, loss, n = self.recipe, self.recipe.loss, len(batch.images)
        if recipe.discriminator.dropout:
            torch.manual_seed(batch.rng.initial_seed())  # dropout draws from torch's own: a function of the counter too
        factor = self._lr_factor(cur_nimg)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = getattr(recipe, name).lr * factor
        learning = cur_nimg >= recipe.schedule.warmup_kimg * 1000  # both, or the discriminator alone
        with torch.set_grad_enabled(learning):
            drawn = self._draw(batch.latents.to(self.dtype), batch.emotions).float()

        # Phase 1: the discriminator, on real = 1 and generated = 0.
        self.discriminator.requires_grad_(True)
        power_iterate(self.discriminator)
        seen = augment(torch.cat([batch.images, drawn.detach()]), self.augment_p, batch.rng, self.world)
        verdict = self._judge_both(seen.to(self.dtype), batch.emotions.repeat(2, 1))
        real, fake = verdict.logit[:n], verdict.logit[n:]
        logged: dict[str, Tensor] = {}
        names = verdict.emotion.shape[1] > 0  # the classic discriminators name no emotion
        real_held, fake_held = realness(loss.kind, real, fake)
        sign = real_held.sign().mean()
        # Fetched while the rest of the step runs, so that on a GPU the next one is launched before this one is done.
        real_sign = fetch(self.world.mean({"real_sign": sign})["real_sign"])
        total = loss_d = discriminator_loss(loss.kind, real, fake)
        if names:
            logged["emotion_real"] = emotion_loss(verdict.emotion[:n], batch.emotions)
            total = total + loss.classify_real * logged["emotion_real"]
        if loss.r1 or loss.r2:
            penalty, figures = penalties(self.discriminator, seen[:n], seen[n:], batch.emotions, recipe, cur_nimg)
            total, logged = total + penalty, logged | figures
        self._descend("discriminator", total)

        # Phase 2: the combined model towards "real"; the discriminator is frozen.
        self.discriminator.requires_grad_(False)
        if learning:
            seen = augment(drawn, self.augment_p, batch.rng, self.world)
            verdict = self._judge(seen.to(self.dtype), batch.emotions)
        else:
            verdict = Verdict(*(part[n:].detach() for part in verdict))
        total = loss_g = generator_loss(loss.kind, verdict.logit, self._rivals(batch, real, learning))
        if names:
            logged["emotion_fake"] = emotion_loss(verdict.emotion, batch.emotions)
            total = total + loss.classify_fake * logged["emotion_fake"]
        if learning:
            self._descend("generator", total)
            self._average(cur_nimg)

        logged = {
            "loss_d": loss_d,
            "loss_g": loss_g,
            "real_is_real": torch.sigmoid(real_held).mean(),
            "fake_is_real": torch.sigmoid(fake_held).mean(),
            "real_sign": sign,
            **logged,
        }
        logged = self.world.mean({name: value.detach() for name, value in logged.items()})
        images = n * self.world.size
        if recipe.augment.target > 0:
            self.augment_p = steer(self.augment_p, real_sign(), images, recipe.augment)
        else:
            self.augment_p = planned(cur_nimg + images, recipe.augment)
        return logged

    def _judge_both(self, images: Tensor, emotions: Tensor) -> Verdict:
        """Judge real images and as many generated ones: in one batch, or apart where batch norm must not mix them."""
        parts = 2 if self.discriminator.apart else 1
        verdicts = [self._judge(*part) for part in zip(images.chunk(parts), emotions.chunk(parts), strict=True)]
        return Verdict(*(torch.cat(heads) for heads in zip(*verdicts, strict=True)))

    @torch.no_grad()
    def _rivals(self, batch: Batch, real: Tensor, learning: bool) -> Tensor:
        """Return the logits of real images that the generator's are compared with: of the discriminator as it is now.

        Where nothing is compared, or nobody learns from it, ``real``, those of phase 1, will do.
        """
        if self.recipe.loss.kind != "relativistic" or not learning:
            return real.detach()
        seen = augment(batch.images, self.augment_p, batch.rng, self.world)
        return self._judge(seen.to(self.dtype), batch.emotions).logit

    def finite(self) -> bool:
        """Tell whether every parameter of every network is finite."""
        return all(bool(p.isfinite().all()) for network in self.modules().values() for p in network.parameters())

    def modules(self) -> dict[str, nn.Module]:
        """Return all that has a state, by name."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}

    def _adam(self, name: str) -> torch.optim.Adam:
        """Return the optimiser of a network: one kernel a step on a GPU, one for each kind of sum on a CPU."""
        own, parameters = getattr(self.recipe, name), getattr(self, name).parameters()
        fused = torch.device(self.device).type == "cuda"
        return torch.optim.Adam(parameters, own.lr, own.betas, fused=fused, foreach=not fused)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.world.average_gradients(getattr(self, name).parameters())
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
        weight = 1 - math.exp2(-schedule.batch / halflife) if halflife > 0 else 1.0
        averaged: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(averaged, list(self.generator.parameters()), weight)
