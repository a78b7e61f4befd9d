"""How long a face takes to draw, by what draws it and how many are drawn at a time: the ground for ``model.sampler``.

Run: ``python benchmarks/inference.py [--rounds 7] [--seconds 0.5] [--threads 2]``. Compared on the CPU, with the
weights that ship, from the same latents to float32 pixels:

- torch: the generator as it is trained, operation by operation, channels last;
- OpenVINO, plain: the same generator, converted by OpenVINO;
- OpenVINO, folded: ``model.graph``, as ``model.compiled`` runs it;
- ONNX Runtime, plain: the same generator, exported by torch; left out where it is not installed
  (``pip install onnx onnxruntime``).

bfloat16 is compared where they have it. ``busy`` has a thread of Python beside it that never rests, as a server's event
loop under load. Every round times each once, in turn; prints medians with their spread, in milliseconds a face.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.compiled import CompiledGenerator
from model.generator import Generator
from model.graph import CORE
from model.weights import default_weights, load_generator

# Second, for model.graph sees to it that its import tells nobody.
import openvino as ov  # isort: skip

Floats = NDArray[np.float32]
Draw = Callable[[Floats, Floats], object]

SIZES = (1, 2, 4, 8, 32)
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def with_torch(generator: Generator, precision: str) -> Draw:
    dtype = getattr(torch, precision)

    def draw(latents: Floats, emotions: Floats) -> object:
        with torch.inference_mode():
            return generator(torch.from_numpy(latents).to(dtype), torch.from_numpy(emotions)).float().numpy()

    return draw


def with_openvino(generator: Generator, precision: str, size: int, threads: int) -> Draw:
    latents = torch.zeros(size, generator.config.latent_dim)
    emotions = torch.zeros(size, len(generator.config.emotions))
    shapes = [tuple(latents.shape), tuple(emotions.shape)]
    model = ov.convert_model(generator, example_input=(latents, emotions), input=shapes)
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = CORE.compile_model(model, "CPU", settings).create_infer_request()
    return lambda *inputs: request.infer(list(inputs), share_inputs=True, share_outputs=True)


def with_onnxruntime(generator: Generator, size: int, threads: int) -> Draw | None:
    try:
        import onnx  # type: ignore[import-not-found, unused-ignore] # noqa: F401 (torch exports with it)
        import onnxruntime  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    latents = torch.zeros(size, generator.config.latent_dim)
    emotions = torch.zeros(size, len(generator.config.emotions))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/generator.onnx"
        torch.onnx.export(generator, (latents, emotions), path, input_names=["latent", "emotion"], dynamo=False)
        exported = Path(path).read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    return lambda latents, emotions: session.run(None, {"latent": latents, "emotion": emotions})


def timed(draw: Draw, inputs: tuple[Floats, Floats], seconds: float) -> float:
    """Return milliseconds a face."""
    draw(*inputs)
    calls, begun = 0, time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        draw(*inputs)
        calls += 1
    return 1000 * took / calls / len(inputs[0])


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # the exporters' own
    torch.set_num_threads(args.threads)
    generator, _, _ = load_generator(default_weights())
    assert isinstance(generator, Generator)
    generator.requires_grad_(False)
    print(f"torch {torch.__version__}, OpenVINO {ov.__version__}, {args.threads} threads; ms a face")
    resting = threading.Event()

    def never_rests() -> None:
        while not resting.is_set():
            pass

    for size in SIZES:
        draws: dict[str, Draw] = {}
        if other := with_onnxruntime(generator, size, args.threads):
            draws["ONNX Runtime, plain"] = other
        for precision in HINTS:
            draws[f"torch, {precision}"] = with_torch(generator, precision)
            draws[f"OpenVINO, plain, {precision}"] = with_openvino(generator, precision, size, args.threads)
            compiled = CompiledGenerator(generator, precision=precision, threads=args.threads, largest=size)
            draws[f"OpenVINO, folded, {precision}"] = compiled.unrounded
        generator.to(memory_format=torch.channels_last)
        inputs = (
            np.random.default_rng(0).standard_normal((size, generator.config.latent_dim), np.float32),
            np.eye(len(generator.config.emotions), dtype=np.float32)[np.arange(size) % len(generator.config.emotions)],
        )
        found: dict[str, list[float]] = {name: [] for name in draws}
        busy: dict[str, list[float]] = {name: [] for name in draws}
        for _ in range(args.rounds):
            for name, draw in draws.items():
                found[name].append(timed(draw, inputs, args.seconds))
            resting.clear()
            threading.Thread(target=never_rests, daemon=True).start()
            for name, draw in draws.items():
                busy[name].append(timed(draw, inputs, args.seconds))
            resting.set()
        for name in draws:
            print(f"{size:>3} at a time  {name:<28} {spread(found[name]):<26} busy {spread(busy[name])}", flush=True)
        generator.to(memory_format=torch.contiguous_format)


if __name__ == "__main__":
    main()
