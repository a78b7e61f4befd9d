"""The run: parts in order, gone on with where it stopped, and the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from model.files import file_sha256
from model.provenance import model_tag
from model.sampler import FaceSampler
from model.software import installed_version
from training.data.atomic import atomic_file, stop_signals_as_exit
from training.data.errors import DataError
from training.export.agreement import Jury
from training.export.contact import CONTACT, Contact
from training.export.draw import Drawer, Face, Tally
from training.export.folder import MANIFEST, Folder, Record, line
from training.export.formats import layout_of
from training.export.formats.layout import Layout, Picture
from training.export.plan import Part, Plan, Slot

_VERSION: Final = 1  # of the layout of what is written; another one is another command


def export(
    sampler: FaceSampler,
    plan: Plan,
    out: Path,
    *,
    format: str = "folders",
    picture: Picture | None = None,
    jury: Jury | None = None,
    least: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write the data set ``plan`` into the folder ``out``, or go on where the same call was stopped.

    Equal calls on one machine give equal bytes, however often they were stopped.

    Args:
        format: a key of :data:`training.export.formats.FORMATS`.
        picture: how faces become files; by default PNG of the model's own size.
        jury: says how far each face shows what was asked for; the manifest tells.
        least: 0..1; with a jury, only faces with that much agreement are kept, and more people are tried.
        progress: called with (faces done, all faces), those of earlier calls included.

    Returns:
        What ``dataset.json`` has under ``summary``, JSON values: ``faces``, ``classes``, ``splits`` (split -> class ->
        faces), ``model``, and where a jury chooses ``acceptance`` (class -> tried, kept, rate).

    Raises:
        DataError: ``out`` holds something else, the plan does not fit the format or the jury, nothing finds agreement,
            or there is no room on the disk; one sentence.
    """
    if not 0 <= least <= 1:
        raise DataError("the least agreement must be from 0 to 1.")
    if least > 0 and jury is None:
        raise DataError("agreement needs a judge to ask.")
    if least > 0 and plan.crossed:
        raise DataError("a crossed set has every person in every emotion, so no face can be left out of it.")
    picture = picture or Picture()
    layout = layout_of(format)(out, plan, picture, sampler)
    command = {
        "version": _VERSION,
        "format": format,
        "picture": picture.suffix,
        "size": picture.size,
        "model": model_tag(sampler.name, sampler.sha256),
        "model_sha256": sampler.sha256,
        "device": sampler.device.partition(":")[0],
        "precision": sampler.precision,
        "made_with": [f"{sampler.runtime}-{installed_version(sampler.runtime)}", *layout.made_with()],
        "judges": None if jury is None else jury.described(),
        "least_agreement": least,
        **plan.described(),
    }
    try:
        folder = Folder(out, command)
        with stop_signals_as_exit(), folder.held():
            summary = folder.finished()
            if summary is not None:
                progress(plan.faces, plan.faces)
            else:
                run = _Run(sampler, plan, layout, folder, progress)
                with Drawer(sampler, plan, layout.encode, jury, least) as drawer:
                    tallies = run.parts(drawer)
                summary = run.finish(tallies if least > 0 else None)
            folder.tidy()
            return summary
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write {out} ({reason}); mend that and run it again: it goes on.") from error


class _Run:
    """One sitting."""

    def __init__(
        self,
        sampler: FaceSampler,
        plan: Plan,
        layout: Layout,
        folder: Folder,
        progress: Callable[[int, int], None],
    ) -> None:
        self.plan, self.layout, self.folder = plan, layout, folder
        self.model = model_tag(sampler.name, sampler.sha256)
        self.contact = Contact(plan, sampler) if plan.crossed else None
        self._progress = progress

    def parts(self, drawer: Drawer) -> Mapping[int, Tally]:
        """Write the parts that are not there yet; return the tallies of all."""
        parts = self.plan.parts()
        whole, before = self.folder.whole(parts)
        rest, tallies = parts[whole:], dict(before)
        done = sum(part.size for part in parts[:whole])
        faces = drawer.draw(rest, before)
        for part, slots in self.plan.slots(rest):
            self.folder.keep(part, self._part(part, slots, faces, tallies, done))
            done += part.size
        return tallies

    def _part(
        self, part: Part, slots: Sequence[Slot], faces: Iterator[Face], tallies: dict[int, Tally], done: int
    ) -> Record:
        rows, pixels = [], []
        self.layout.prepare(part)
        with self.layout.open(part) as add:
            for n, (slot, face) in enumerate(zip(slots, faces, strict=False), 1):
                row = self._row(part, slot, face)
                rows.append({**row, **add(slot, row, face)})
                kept = tallies.get(slot.cell, Tally()).kept
                tallies[slot.cell] = Tally(face.candidate + 1, kept + 1)
                if self.contact is not None:
                    pixels.append(face.pixels)
                self._progress(done + n, self.plan.faces)
        files = self.layout.files(part, rows)
        if self.contact is not None:
            for name, content in self.contact.pages(part, slots, pixels):
                self.folder.write(name, content)
                files[name] = hashlib.sha256(content).hexdigest()
        return Record(rows, files, dict(tallies))

    def _row(self, part: Part, slot: Slot, face: Face) -> dict[str, Any]:
        row = {
            "number": slot.number,
            "split": part.split,
            "label": self.plan.cells[slot.cell].label,
            "emotion": str(face.request.mix),
            "seed": face.request.seed,
            "intensity": face.request.intensity,
            "truncation": face.request.truncation,
            "model": self.model,
            "sha256": hashlib.sha256(face.content).hexdigest(),
        }
        return row if face.agreement is None else {**row, "agreement": face.agreement}

    def finish(self, tallies: Mapping[int, Tally] | None) -> dict[str, Any]:
        """Put the parts together, and return the summary; with ``tallies`` it tells what was kept."""
        parts, sheets = self.plan.parts(), []
        with atomic_file(self.folder.path / MANIFEST) as manifest:
            for record in self.folder.records(parts):
                manifest.writelines(map(line, record.rows))
                sheets += [name for name in record.files if name.startswith(CONTACT)]
        made = [*self.layout.finish(parts), *sheets, MANIFEST]
        summary = self._summary(tallies)
        self.folder.finish(summary, {name: file_sha256(self.folder.path / name) for name in made})
        return summary

    def _summary(self, tallies: Mapping[int, Tally] | None) -> dict[str, Any]:
        labels = [cell.label for cell in self.plan.cells]
        splits: dict[str, dict[str, int]] = {}
        for split, counts in self.plan.counts.items():
            splits[split] = dict.fromkeys(self.plan.classes, 0)
            for label, count in zip(labels, counts.tolist(), strict=True):
                splits[split][label] += count
        summary = {
            "faces": self.plan.faces,
            "classes": list(self.plan.classes),
            "splits": splits,
            "model": self.model,
        }
        if tallies is not None:
            found = {
                label: [tallies[n] for n, own in enumerate(labels) if own == label and n in tallies]
                for label in self.plan.classes
            }
            summary["acceptance"] = {
                label: _rate(sum(t.tried for t in own), sum(t.kept for t in own)) for label, own in found.items()
            }
        return summary


def _rate(tried: int, kept: int) -> dict[str, float]:
    return {"tried": tried, "kept": kept, "rate": round(kept / tried, 4) if tried else 0.0}
