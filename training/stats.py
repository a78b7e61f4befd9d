"""``stats.jsonl``: means over the steps of a tick, one JSON line each, as if a run had never been interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.data.atomic import atomic_file


class Statistics:
    """Gathers what the steps of a tick report, and writes a line when it ends.

    Its :meth:`state` belongs to a snapshot, because a run may be stopped in the middle of a tick.
    """

    def __init__(self, path: Path | None, cur_nimg: int, state: Mapping[str, Any] | None = None) -> None:
        """Go on at ``cur_nimg`` images; lines beyond it, of steps that a killed run had not saved, are dropped.

        ``path`` is None where another process writes the file.
        """
        self._path = path
        self._steps = int(state["steps"]) if state else 0
        self._sums = {key: torch.tensor(value) for key, value in state["sums"].items()} if state else {}
        self._bad: Tensor | None = None
        if path is not None:
            kept = [line for line in _lines(path) if line["cur_nimg"] <= cur_nimg]
            with atomic_file(path) as file:
                file.writelines(json.dumps(line).encode() + b"\n" for line in kept)

    def add(self, logged: Mapping[str, Tensor], cur_nimg: int) -> None:
        """Take what the step that ended at ``cur_nimg`` reports, scalars on any device, without waiting for it."""
        self._steps += 1
        for key, value in logged.items():
            self._sums[key] = self._sums[key].to(value.device) + value if key in self._sums else value
        broken = ~torch.stack([value.isfinite() for value in logged.values()]).all()
        found = torch.where(broken, cur_nimg, 0)
        self._bad = found if self._bad is None else torch.where(self._bad > 0, self._bad, found)

    def first_bad(self) -> int | None:
        """Return the images seen at the end of the first step that reported a number that is not finite."""
        return int(self._bad) or None if self._bad is not None else None

    def state(self) -> dict[str, Any]:
        """Return what has been gathered in the present tick, JSON-able and exact."""
        return {"steps": self._steps, "sums": {key: float(value) for key, value in self._sums.items()}}

    def end_tick(self, more: Mapping[str, float]) -> dict[str, Any]:
        """Write the line of this tick with ``more`` in it, begin the next, and return the line (means, rounded)."""
        means = {key: float(value) / self._steps for key, value in self._sums.items()}
        line = {key: round(value, 5) if isinstance(value, float) else value for key, value in {**means, **more}.items()}
        self._steps, self._sums = 0, {}
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return line


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that may be missing, or cut off in its last line."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
