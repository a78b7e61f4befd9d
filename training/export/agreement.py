"""Whether judges see in a face what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.sampler import FaceSampler
from training.data.errors import DataError

if TYPE_CHECKING:
    from training.judge import Judge


class Jury:
    """Judges that have to agree. The one that is least convinced counts.

    Args:
        judges: by name; at least one.
        sampler: whose faces they are asked about.
        labels: the emotions that they are asked about.

    Raises:
        DataError: a judge does not know one of the emotions, or takes other pictures; one sentence.
    """

    def __init__(self, judges: Mapping[str, Judge], sampler: FaceSampler, labels: Sequence[str]) -> None:
        for name, judge in judges.items():
            config = judge.config
            if (config.resolution, config.channels) != (sampler.resolution, sampler.channels):
                raise DataError(
                    f"judge {name!r} looks at {config.resolution}x{config.resolution} with {config.channels} channels, "
                    f"but the weights draw {sampler.resolution}x{sampler.resolution} with {sampler.channels}."
                )
            unknown = [label for label in labels if label not in config.emotions]
            if unknown:
                raise DataError(f"judge {name!r} does not know {', '.join(unknown)}; name another judge.")
        self._judges = judges

    def agreement(self, pixels: NDArray[np.uint8], labels: Sequence[str]) -> list[float]:
        """Return for each face the probability that people would vote for its label, 0..1, to four digits.

        ``pixels`` is uint8 ``[N, H, W, C]``. Digits beyond the fourth may depend on the machine.
        """
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        rows = np.arange(len(labels))
        lowest = np.ones(len(labels), np.float32)
        for judge in self._judges.values():
            _, votes, _ = judge.judge(images)
            asked = [judge.config.emotions.index(label) for label in labels]
            lowest = np.minimum(lowest, votes[rows, asked])
        return [round(float(value), 4) for value in lowest]

    def described(self) -> dict[str, Any]:
        """Return who they are, as JSON values."""
        return {name: judge.card for name, judge in self._judges.items()}
