"""Parquet with Hugging Face's image feature: ``datasets.load_dataset`` gives pictures and class names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from model.provenance import Named
from training.data.atomic import atomic_file
from training.data.errors import DataError
from training.export.draw import Face
from training.export.formats.layout import Add, Layout, Picture
from training.export.plan import Part, Plan, Slot

_GROUP: Final = 100  # rows that are read at once: as many as Hugging Face writes of pictures

#: Columns beside image and label, with their types: the manifest's facts.
_FACTS: Final = {
    "emotion": "string",
    "seed": "int64",
    "intensity": "float64",
    "truncation": "float64",
    "model": "string",
    "sha256": "string",
    "agreement": "float64",  # null where nobody was asked
}


class Parquet(Layout):
    """A file a part, ``data/train-00000-of-00008.parquet``.

    Raises:
        DataError: pyarrow is not installed; one sentence.
    """

    suffix = "parquet"

    def __init__(self, out: Path, plan: Plan, picture: Picture, model: Named) -> None:
        super().__init__(out, plan, picture, model)
        try:
            self._arrow, self._parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError as error:
            raise DataError(
                f"Parquet needs pyarrow, which cannot be imported ({error}); pip install 'emoface[datasets]'."
            ) from error
        self._shards = {split: sum(part.split == split for part in plan.parts()) for split in plan.counts}

    def made_with(self) -> list[str]:
        """Return Pillow's and pyarrow's versions."""
        return [*super().made_with(), f"pyarrow-{self._arrow.__version__}"]

    def path(self, part: Part) -> Path:
        """Return where the file is, named as on Hugging Face's hub."""
        return self.out / "data" / f"{part.split}-{part.index:05d}-of-{self._shards[part.split]:05d}.parquet"

    @contextmanager
    def open(self, part: Part) -> Iterator[Add]:
        """Begin a part's file."""
        schema = self._schema()
        name = self.path(part).relative_to(self.out).as_posix()
        rows: list[Mapping[str, Any]] = []
        # Pictures are compressed already. The footer names pyarrow's version and no time.
        with (
            atomic_file(self.path(part)) as file,
            self._parquet.ParquetWriter(file, schema, compression={"image.bytes": "NONE"}) as writer,
        ):

            def flush() -> None:
                writer.write_table(self._arrow.Table.from_pylist(rows, schema), row_group_size=_GROUP)
                rows.clear()

            def add(slot: Slot, row: Mapping[str, Any], face: Face) -> dict[str, Any]:
                kind = self.plan.classes.index(self.plan.cells[slot.cell].label)
                facts = {fact: row.get(fact) for fact in _FACTS}
                picture = {"bytes": face.content, "path": Path(self.name(part, slot)).name}
                rows.append({"image": picture, "label": kind, **facts})
                if len(rows) == _GROUP:
                    flush()
                return {"file": name, "row": slot.number - part.first}

            yield add
            if rows:
                flush()

    def _schema(self) -> Any:
        """Return the columns, and what Hugging Face's `datasets` has to know of them."""
        arrow = self._arrow
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        facts = [(name, getattr(arrow, kind)()) for name, kind in _FACTS.items()]
        features: dict[str, Any] = {
            "image": {"_type": "Image"},
            "label": {"names": list(self.plan.classes), "_type": "ClassLabel"},
            **{name: {"dtype": kind, "_type": "Value"} for name, kind in _FACTS.items()},
        }
        known = {"huggingface": json.dumps({"info": {"features": features}})}
        return arrow.schema([("image", image), ("label", arrow.int64()), *facts], metadata=known)
