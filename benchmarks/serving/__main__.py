"""This service beside LitServe and BentoML: how many faces a second, how long each takes, at what cost.

    .venv/bin/python -m benchmarks.serving --peer-python PEERS/bin/python [--json serving.json]
    .venv/bin/python -m benchmarks.serving --soak 30 --load 0.8

All draw with the same ``FaceSampler`` and the weights that ship, encode with the same ``encode_face`` and text, use the
same cores and as many torch threads, and answer ``POST /generate {"emotion", "seed"}`` with a PNG. Ours runs as
``emoface serve`` does by itself, with metrics and a line of log for each request; the peers without both, and as their
documentation recommends (``peer_litserve.py``, ``peer_bentoml.py``). PEERS is an environment with litserve, bentoml and
all that ours has; without ``--peer-python`` it is this one. A peer that cannot be started is left out, with a sentence.
To make one that borrows torch from ours:

    python3.11 -m venv PEERS
    echo $PWD/.venv/lib/python3.11/site-packages > PEERS/lib/python3.11/site-packages/ours.pth
    PEERS/bin/pip install litserve bentoml

A round starts one server after the other, in an order that turns from round to round: time from the start of the
process to the first face; some faces compared byte for byte; then the load, for ``--seconds`` at each concurrency. Its
limits are measured in the same round. Printed are medians of the rounds with the lowest and the highest, and ratios
are taken round by round. ``load.py`` says what a latency is, ``figures.allowed`` how the two limits are combined.

The load generator is a process of its own. By default it shares the servers' cores, as it takes 1 to 3 % of one at the
rates of faces (what it took is printed); ``--cores 0 --client-cores 1`` keeps them apart.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.serving.measure import Figures, Machine, Seeds, export, limits, point, served
from benchmarks.serving.servers import Failed, Server, check, running, servers, versions
from benchmarks.serving.soak import soak, told
from benchmarks.serving.table import BARE, OURS, lines, table

_TIMEOUTS: Final = (0.001, 0.002, 0.005, 0.01)  # its examples have 10 ms and more
_NEAR: Final = 0.97  # of the best: what is nearer is noise


def cores(text: str) -> list[int]:
    """Read ``0,1`` or ``0-3``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these servers alone, by the names in the table")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="at each concurrency")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds before that, which are not counted")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--cores", type=cores, default=sorted(os.sched_getaffinity(0)), help="the servers', as 0,1")
    parser.add_argument("--client-cores", type=cores, help="the load generator's; by default the servers'")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of everybody's arithmetic"
    )
    parser.add_argument(
        "--litserve-timeout", type=float, metavar="SECONDS", help="its batch_timeout; by default the best of some"
    )
    parser.add_argument("--faces", type=int, default=24, help="how many are compared byte for byte, each time")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="instead: steady load on our service")
    parser.add_argument("--load", type=float, default=0.8, help="of the measured throughput, for --soak")
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    args = parser.parse_args(arguments)
    os.environ["SERVING_PRECISION"] = args.precision  # which every process here inherits
    machine = Machine(args.cores, args.client_cores or args.cores, args.device)
    with tempfile.TemporaryDirectory() as folder:
        result = _run(args, machine, Path(folder) / "face.png")
    if args.json:
        args.json.write_text(json.dumps(_strict(result), indent=1) + "\n")
    return 0 if result.get("soak") or OURS in result["names"] else 1


def _strict(value: Any) -> Any:
    """Return a value with null for what JSON has no word for: NaN."""
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _processor() -> str:
    named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return named[0].partition(":")[2].strip() if named else platform.machine()


def _run(args: argparse.Namespace, machine: Machine, picture: Path) -> dict[str, Any]:
    seeds = Seeds()
    first = seeds.block()
    known = machine.child(
        "limits", "reference", "--faces", args.faces, "--first-seed", first, threads=len(machine.cores)
    ).result()
    picture.write_bytes(base64.b64decode(known["first"]))

    def of(litserve_timeout: float) -> list[Server]:
        found = servers(len(machine.cores), args.peer_python, args.device, known["batch"], picture, litserve_timeout)
        return [server for server in found if args.only is None or server.name in args.only]

    about = {
        "processor": _processor(),
        "peers": versions(args.peer_python),
        "cores": machine.cores,
        "client_cores": machine.client,
        "device": args.device,
        "precision": args.precision,
        **{name: known[name] for name in ("batch", "weights", "torch")},
    }
    print(
        f"{known['weights']} on {args.device} in {args.precision}, torch {known['torch']}, "
        f"batches of {known['batch']}; {about['peers']}\n"
        f"{about['processor']}, servers on cores {machine.cores}, load generator on {machine.client}",
        flush=True,
    )
    if args.soak:
        result = soak(machine, of(0.0)[0], args.soak, args.load)
        print(told(result))
        return {"about": about, "soak": result}
    wanted = of(args.litserve_timeout or _best_timeout(machine, seeds, of))
    rounds: list[Figures] = []
    for index in range(args.rounds):
        if not wanted:
            break
        rounds.append(_round(args, machine, seeds, wanted, index, known["sha256"], first))
        wanted = [server for server in wanted if server.name in rounds[-1]["servers"]]
        print(f"round {index + 1} of {args.rounds} is done", file=sys.stderr, flush=True)
    names = [server.name for server in wanted]
    if not names:
        print("No server is left to be measured.")
        return {"about": about, "names": names, "rounds": rounds}
    print(f"\n{args.rounds} rounds of {args.seconds:g} s; median (lowest–highest)\n")
    print(table(rounds, names, args.concurrency) + "\n")
    print("\n".join(lines(rounds, names, args.concurrency, len(machine.cores))))
    return {"about": about, "names": names, "rounds": rounds}


def _best_timeout(machine: Machine, seeds: Seeds, of: Callable[[float], Sequence[Server]]) -> float:
    """Return the batch_timeout with which LitServe answers most, or the shortest that comes near that; say so."""
    rates: dict[float, float] = {}
    for seconds in _TIMEOUTS:
        for server in of(seconds):
            if server.name.startswith("LitServe"):
                with suppress(Failed), running(server, machine.cores, machine.device) as service:
                    rate = point(machine, service, seeds, 8, 4.0, 2.0)["rate"]
                    rates[seconds] = max(rate, rates.get(seconds, 0.0))
    if not rates:
        return _TIMEOUTS[-1]  # it does not start; a round will say why
    best = min(seconds for seconds, rate in rates.items() if rate >= _NEAR * max(rates.values()))
    tried = ", ".join(f"{1000 * seconds:g} ms: {rate:.0f}" for seconds, rate in rates.items())
    print(f"LitServe's batch_timeout is {1000 * best:g} ms (requests/s at 8 with {tried})", flush=True)
    return best


def _round(
    args: argparse.Namespace, machine: Machine, seeds: Seeds, wanted: Sequence[Server], index: int,
    reference: Sequence[str], first_seed: int,
) -> Figures:  # fmt: skip
    """Measure everything once. A server that fails is missing in the answer, and a sentence says why."""
    turn = index % len(wanted)
    result: Figures = {"order": [], "servers": {}}
    for server in [*wanted[turn:], *wanted[:turn]]:
        try:
            with running(server, machine.cores, machine.device) as service:
                if server.name != BARE:
                    check(service.port, reference, first_seed)
                figures = served(machine, service, seeds, args.concurrency, args.seconds, args.warmup)
                if server.name == OURS:
                    result["export"] = export(service, seeds, args.seconds)
        except (Failed, OSError) as error:
            print(f"{server.name} is left out: {error}.", flush=True)
            continue
        result["order"].append(server.name)
        result["servers"][server.name] = figures
    result["limits"] = limits(machine, seeds, args.concurrency, args.seconds)
    return result


if __name__ == "__main__":
    sys.exit(main())
