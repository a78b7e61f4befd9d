"""Contact sheets of a crossed set: people in rows, what was asked of them in columns, to check it at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.provenance import Named, describe_many
from model.sheet import encode_grid
from training.export.plan import Part, Plan, Slot

#: What the names of the sheets begin with.
CONTACT: Final = "contact-sheet-"

_PEOPLE: Final = 20  # a sheet; more would not fit on a screen


class Contact:
    """Makes the sheets of a crossed plan."""

    def __init__(self, plan: Plan, model: Named) -> None:
        self._plan, self._text = plan, describe_many(model)
        levels = {cell.intensity for cell in plan.cells}
        self._titles = [
            cell.label if len(levels) == 1 else f"{cell.label} {cell.intensity:g}" for cell in self._plan.cells
        ]

    def pages(
        self, part: Part, slots: Sequence[Slot], pixels: Sequence[NDArray[np.uint8]]
    ) -> Iterator[tuple[str, bytes]]:
        """Give name and PNG of each sheet of a part, whose faces are uint8 ``[H, W, C]`` each, people one by one."""
        width = len(self._plan.cells)
        for page, start in enumerate(range(0, len(slots), _PEOPLE * width)):
            faces = pixels[start : start + _PEOPLE * width]
            names = [str(self._plan.person(0, slots[start + n].rank)) for n in range(0, len(faces), width)]
            content = encode_grid(faces, self._titles, names, labels=True, scale=2, text=self._text)
            yield f"{CONTACT}{part}-{page:03d}.png", content
