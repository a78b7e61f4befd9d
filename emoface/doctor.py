"""``emoface doctor``: what is here, how fast it draws, what is wrong, and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from emoface.fail import FAILED
from emoface.models import describe_weights, lines
from emoface.options import Json, Weights
from model.software import installed_version

if TYPE_CHECKING:
    from model import FaceSampler
    from service.settings import Settings

_MARKS: Final = {"fine": "ok   ", "note": "note ", "wrong": "WRONG"}
_PACKAGES: Final = ("emoface", "torch", "openvino", "numpy", "pillow", "fastapi", "uvicorn")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Literal["fine", "note", "wrong"]  # wrong: as things are, no face can be drawn or served
    found: str
    mend: str | None = None  # what to do about it
    data: dict[str, Any] = field(default_factory=dict)  # the same for a script


def doctor(
    as_json: Json = False,
    weights: Weights = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: the service's]")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long the speed is measured.")] = 1.0,
) -> None:
    """Look at hardware, software, weights, speed and the service's settings; say what is wrong and how to mend it.

    The exit code is 1 if something is wrong. Settings come from `EMOFACE_*` in the environment, as those of `serve`.

    Examples: `emoface doctor`, `emoface doctor --json`
    """
    checks = []
    for check in _examine(weights, device, seconds):
        checks.append(check)
        if not as_json:
            typer.echo(f"{_MARKS[check.status]}  {check.name:<9}  {check.found}")
            if check.mend:
                typer.echo(f"{'':16}  -> {check.mend}")
    healthy = all(check.status != "wrong" for check in checks)
    if as_json:
        told = {"healthy": healthy, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
    if not healthy:
        raise typer.Exit(FAILED)


def _examine(weights: Path | None, device: str | None, seconds: float) -> Iterator[Check]:
    """Give what is found, one after the other: what cannot be looked at without something else is left out."""
    from service.settings import Settings, SettingsError

    yield _software()
    yield _formats()
    settings = None
    try:
        settings = Settings.read(weights=weights, device=device)
        yield Check("settings", "fine", _own_settings(settings))
    except SettingsError as error:
        yield Check("settings", "wrong", str(error), "Change or unset that variable in the environment.")
    if settings is not None:
        yield _port(settings)
    yield _cores()
    yield _gpu()
    if settings is None:
        return
    from model import WeightsError, default_weights

    path = settings.weights or default_weights()
    try:
        found = describe_weights(path)
    except WeightsError as error:
        mend = "Name others with --weights or EMOFACE_WEIGHTS, or fetch the file again."
        yield Check("weights", "wrong", str(error), mend, {"file": str(path)})
        return
    yield Check("weights", "fine", "\n".join(lines(found)).replace("\n  ", f"\n{'':18}"), None, found)
    yield from _drawing(settings, seconds)


def _software() -> Check:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        if (number := installed_version(name)) is not None:
            found[name] = number
    told = ", ".join(f"{name} {number}" for name, number in found.items())
    if "openvino" not in found:
        mend = "pip install openvino: without it only PyTorch can draw on CPUs, which takes several times as long."
        return Check("software", "note", told, mend, found)
    return Check("software", "fine", told, None, found)


def _formats() -> Check:
    from PIL import features

    missing = [name for name in ("webp", "avif") if not features.check(name)]
    data = {"missing": missing}
    if missing:
        mend = "Install Pillow from PyPI ('pip install --force-reinstall pillow'), whose builds have them."
        return Check("formats", "note", f"this Pillow writes no {' and no '.join(missing)}", mend, data)
    return Check("formats", "fine", "png, webp, jpeg, avif", None, data)


def _own_settings(settings: Settings) -> str:
    own = sorted(f"EMOFACE_{name.upper()}" for name in type(settings).model_fields)
    given = [name for name in own if os.environ.get(name)]  # their names alone: one may hold a key
    return f"from the environment: {', '.join(given)}" if given else "the defaults"


def _port(settings: Settings) -> Check:
    from service.main import Refused, bind

    data = {"host": settings.host, "port": settings.port}
    try:
        bind(settings.host, settings.port).close()
    except Refused as error:
        mend = "Choose another with --port or EMOFACE_PORT, unless it is emoface that serves there."
        return Check("port", "note", str(error), mend, {**data, "free": False})
    return Check("port", "fine", f"{settings.port} on {settings.host} is free", None, {**data, "free": True})


def _cores() -> Check:
    from model.cores import usable_cores

    usable, there = usable_cores(), os.cpu_count() or 1
    data = {"usable": usable, "there": there, "machine": platform.machine()}
    told = f"{usable} of {there} {platform.machine()} cores may be used"
    if usable < there:
        mend = "OMP_NUM_THREADS, CPU affinity or a container's quota says so; change it if that is not meant."
        return Check("cores", "note", told, mend, data)
    return Check("cores", "fine", told, None, data)


def _gpu() -> Check:
    there = bool(shutil.which("nvidia-smi")) or Path("/dev/nvidia0").exists()
    if find_spec("torch") is None:
        if there:
            mend = "pip install torch: without PyTorch only CPUs draw."
            return Check("gpu", "note", "an NVIDIA GPU is here, and PyTorch is not installed", mend, {"gpus": []})
        return Check("gpu", "fine", "none, and none is needed: CPUs draw, without PyTorch", None, {"gpus": []})
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        gpus = [{"name": gpu.name, "bytes": gpu.total_memory} for gpu in found]
        told = ", ".join(f"{gpu.name} with {gpu.total_memory / 2**30:.0f} GiB" for gpu in found)
        return Check("gpu", "fine", told, None, {"gpus": gpus, "cuda": torch.version.cuda})
    data: dict[str, Any] = {"gpus": [], "cuda": torch.version.cuda}
    if there:
        mend = f"Install a driver that knows CUDA {torch.version.cuda}; in a container, start it with --gpus all."
        return Check("gpu", "note", "an NVIDIA GPU is here, and torch cannot use it", mend, data)
    return Check("gpu", "fine", "none, and none is needed: CPUs draw", None, data)


def _drawing(settings: Settings, seconds: float) -> Iterator[Check]:
    """Put the weights onto the device as the service would, and draw."""
    from model import WeightsError
    from model.speed import measure_speed
    from service.app import load_sampler

    try:
        sampler = load_sampler(settings)
        speed = measure_speed(sampler, seconds)
    except WeightsError as error:
        mend = "Install what the sentence names, or name other weights with --weights or EMOFACE_WEIGHTS."
        yield Check("device", "wrong", str(error), mend, {"device": settings.device})
        return
    except (RuntimeError, ValueError) as error:
        mend = "Choose another device with --device or EMOFACE_DEVICE; cpu is always there."
        yield Check("device", "wrong", str(error).partition("\n")[0], mend, {"device": settings.device})
        return
    yield _device(sampler)
    told = f"{speed.faces_per_second:,.0f} faces/s, and {speed.lone_ms:.1f} ms for one alone, before encoding"
    yield Check("speed", "fine", told, None, asdict(speed))


def _device(sampler: FaceSampler) -> Check:
    fast = _has_bfloat16(sampler.device)
    data = {"device": sampler.device, "precision": sampler.precision, "bfloat16": fast}
    told = f"{sampler.device} draws in {sampler.precision}, {sampler.batch_size} faces at a time"
    if sampler.precision == "bfloat16" and not fast:
        mend = "Unset EMOFACE_PRECISION: this hardware computes bfloat16 no faster than float32."
        return Check("device", "note", told, mend, data)
    if sampler.precision == "float32" and fast:
        mend = "EMOFACE_PRECISION=bfloat16 is faster here, if a few grey levels do not matter."
        return Check("device", "fine", told, mend, data)
    return Check("device", "fine", told, None, data)


def _has_bfloat16(device: str) -> bool:
    """Tell whether the hardware computes bfloat16 itself."""
    if device != "cpu":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        from model.inference.openvino_graph import CORE
    except ImportError:
        return False
    return "BF16" in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
