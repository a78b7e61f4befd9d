"""Several processes that train as one: each takes its share of every batch, and what comes of it is one process's.

``torchrun`` starts them, and tells each in its environment which it is. Images, latents, labels and random numbers are
every size-th of those that one process would draw; gradients, batch-norm statistics and logged figures are averaged
over the processes. Nothing else depends on how many they are, so a run may go on with another number of them.

Gradients are averaged by one plain sum a phase, not by DistributedDataParallel: that wants a forward and a backward
pass of one module in turn, and here two modules run through one another, one of them frozen half of the time. What it
would gain, summing while the backward pass still runs, is little for networks of this size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from model.sampler import choose_device

T = TypeVar("T")
A = TypeVar("A", bound=Any)  # a tensor or an array


class ElsewhereError(RuntimeError):
    """Another process of the run failed and says why; this one has nothing to add."""


def is_first() -> bool:
    """Tell whether this is the process that writes files and speaks to the user; known before any other is met."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, seen from one of them."""

    rank: int = 0  # this process; 0 writes all files
    size: int = 1  # how many there are
    device: str = "cpu"  # what this process computes on

    @property
    def first(self) -> bool:
        """Tell whether this process is the one that writes."""
        return self.rank == 0

    def share(self, whole: A, dim: int = 0) -> A:
        """Return this process's entries of a tensor or array along ``dim``: every size-th, beginning with the rank-th.

        So taken, the share of two batches that stand behind one another is the shares behind one another.
        """
        part: A = whole[(slice(None),) * dim + (slice(self.rank, None, self.size),)]
        return part

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes: that of the whole batch, since shares are equal."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the means over the processes of scalars on the device."""
        if self.size == 1:
            return dict(values)
        flat = torch.stack([value.float() for value in values.values()])
        dist.all_reduce(flat)
        return dict(zip(values, flat / self.size, strict=True))

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over the processes of a tensor, through which gradients flow back into each; all must call it.

        A loss made of it is the same in all, and :meth:`average_gradients` makes its gradient that of one process.
        """
        summed: Tensor = value if self.size == 1 else _Sum.apply(value)
        return summed

    def largest(self, value: float) -> float:
        """Return the largest ``value`` that any process gives; all must call it."""
        if self.size == 1:
            return value
        flat = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(flat, dist.ReduceOp.MAX)
        return float(flat)

    def same(self, value: float) -> bool:
        """Tell whether every process gives the same ``value``; all must call it."""
        return self.size == 1 or self.largest(value) == -self.largest(-value)

    def together(self, work: Callable[[], T]) -> T:
        """Do ``work`` in every process; if it fails in any, fail in all, so that none waits for ever for another.

        Raises:
            ElsewhereError: it failed in another process, of smaller rank if it failed here too.
        """
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:
            if self.size == 1:
                raise
            failure = error
        here = self.size - self.rank if failure else 0
        worst = self.largest(here)
        if worst == 0:
            return result
        if failure and worst == here:
            raise failure
        raise ElsewhereError(f"process {self.size - int(worst)} of the run failed.")

    def share_layers(self, network: nn.Module) -> None:
        """Let the layers of ``network`` that look at a whole batch look at that of all processes, in place.

        The parameters stay the same objects, under the same names.
        """
        if self.size == 1:
            return
        for name, child in network.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(network, name, _SharedBatchNorm(child, self.size))
            elif isinstance(child, nn.Dropout):
                setattr(network, name, _SharedDropout(child.p, self))
            else:
                self.share_layers(child)


ALONE = World()


@contextmanager
def join(device: str) -> Iterator[World]:
    """Meet the processes that ``torchrun`` has started, or be the only one; part from them at the end of the block.

    Inside such a block another one does nothing.

    Args:
        device: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` (a GPU for each process) or, alone, ``cuda:N``.

    Raises:
        ValueError: the device is not there, or there are not enough of them.
        ElsewhereError: the same, said by the first process of this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=choose_device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    try:
        device = _own_device(device, local)
    except ValueError:
        if local == 0:
            raise
        raise ElsewhereError("the first process of this machine says why.") from None
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    met = dist.is_initialized()
    if not met:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if not met:
            dist.destroy_process_group()


def _own_device(device: str, local: int) -> str:
    """Return the device of the process that is the ``local``-th of its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(f"with several processes the device is 'cpu' or 'cuda', a GPU for each, not {device!r}.")
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ValueError(f"this machine has {gpus} GPUs for {processes} processes; start at most {gpus}, or use 'cpu'.")
    return choose_device(f"cuda:{local}")


class _Sum(torch.autograd.Function):
    """Sum over the processes. Each of them depends on all summands, so the gradient is summed as well."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes; torch's own, SyncBatchNorm, knows no CPU."""

    def __init__(self, own: nn.BatchNorm1d | nn.BatchNorm2d, processes: int) -> None:
        super().__init__(own.num_features, own.eps, own.momentum, affine=False, track_running_stats=False)
        self.processes = processes
        self.affine, self.track_running_stats = own.affine, own.track_running_stats
        self.weight, self.bias = own.weight, own.bias
        self.running_mean, self.running_var = own.running_mean, own.running_var
        self.num_batches_tracked = own.num_batches_tracked
        self.train(own.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """One class for inputs of any number of dimensions."""

    @torch.compiler.disable
    def forward(self, input: Tensor) -> Tensor:
        """Normalise float ``[N, channels, ...]``; statistics are float32 whatever the input is."""
        if not self.training and self.track_running_stats:
            return super().forward(input)
        x = input.float()
        rest = [dim for dim in range(x.dim()) if dim != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean: Tensor = _Sum.apply(x.mean(rest)) / self.processes
        centred = x - mean.view(shape)
        # A second sum rather than E[x^2] - mean^2, which loses all digits where the mean is large.
        variance: Tensor = _Sum.apply(centred.square().mean(rest)) / self.processes
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), x.numel() // x.shape[1] * self.processes)
        x = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics towards those of a batch of ``count`` values a channel, as torch does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (count / (count - 1)), weight)


class _SharedDropout(nn.Module):
    """Dropout that leaves out, in the share of this process, what one process would leave out there."""

    def __init__(self, p: float, world: World) -> None:
        super().__init__()
        self.p, self.world = p, world

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        whole = torch.ones((len(input) * self.world.size, *input.shape[1:]), dtype=input.dtype, device=input.device)
        return input * self.world.share(F.dropout(whole, self.p))
