"""How long a face takes to draw, by what draws it and how many are drawn at a time: the ground for ``model.inference``.

Run: ``python benchmarks/inference.py [--rounds 7] [--seconds 0.5] [--threads 1]``. Compared on the CPU, with the
weights that ship, from the same latents to uint8 pixels:

- ours: OpenVINO, a call for each face, as ``model.inference.openvino_renderer`` draws;
- OpenVINO, batched: the same graph for all faces at once;
- torch: the generator as it is trained, operation by operation, channels last;
- ONNX Runtime: the generator as ``emoface export`` writes it, float32; left out where it is not installed
  (``pip install onnx onnxruntime onnxscript``).

Every round times each once, in turn; prints medians with their spread, in milliseconds a face.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from model.export import ExportError, export_weights
from model.inference.base import PRECISIONS, trial_inputs
from model.inference.openvino_graph import CORE, generator_graph
from model.inference.openvino_renderer import HINTS, OpenVINORenderer
from model.inference.torch_renderer import TorchRenderer
from model.networks.checkpoint import generator_of
from model.networks.configs import StyleGeneratorConfig
from model.weights import default_weights, read_weights

Draw = Callable[..., object]

SIZES = (1, 2, 4, 8, 32)


def with_onnxruntime(weights: Path, threads: int) -> Draw | None:
    """Return a call of the exported generator, or None where ONNX is not installed."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        try:
            export_weights(weights, "onnx", path)
        except ExportError:
            return None
        content = path.read_bytes()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda *inputs: session.run(None, dict(zip(("latent", "emotion", "truncation"), inputs, strict=True)))


def with_openvino(config: StyleGeneratorConfig, arrays: dict, precision: str, size: int, threads: int) -> Draw:
    """Return a call of one graph that draws ``size`` faces."""
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = CORE.compile_model(generator_graph(config, arrays, size), "CPU", settings).create_infer_request()
    return lambda latents, emotions, truncations: request.infer([latents, emotions, truncations.reshape(-1, 1)])


def timed(draw: Draw, inputs: tuple, seconds: float) -> float:
    """Return milliseconds a face."""
    draw(*inputs)
    calls, begun = 0, time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        draw(*inputs)
        calls += 1
    return 1000 * took / calls / len(inputs[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    file = read_weights(default_weights())
    assert isinstance(file.config, StyleGeneratorConfig)
    onnx = with_onnxruntime(file.path, args.threads)
    print(f"{file.path.name}, {args.threads} threads; ms a face, medians (lowest to highest)")
    for size in SIZES:
        draws: dict[str, Draw] = {"ONNX Runtime, float32": onnx} if onnx else {}
        for precision in PRECISIONS:
            draws[f"ours, {precision}"] = OpenVINORenderer(
                file.config, file.arrays, precision=precision, threads=args.threads
            )
            draws[f"OpenVINO, batched, {precision}"] = with_openvino(
                file.config, file.arrays, precision, size, args.threads
            )
            draws[f"torch, {precision}"] = TorchRenderer(generator_of(file), precision=precision, batch_size=size)
        inputs = trial_inputs(file.config, size)
        found: dict[str, list[float]] = {name: [] for name in draws}
        for _ in range(args.rounds):
            for name, draw in draws.items():
                found[name].append(timed(draw, inputs, args.seconds))
        for name, values in found.items():
            spread = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
            print(f"{size:>3} at a time  {name:<28} {spread}", flush=True)


if __name__ == "__main__":
    main()
