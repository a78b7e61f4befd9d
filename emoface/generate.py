"""``emoface generate``: faces, grids and faces that move, the same bytes as the service's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from emoface.asked import ALL, MOST, file_names, read_moments, read_seed, read_seeds
from emoface.fail import MISUSED, fail
from emoface.options import Device, Json, Weights, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model import EmotionMix, FaceRequest, FaceSampler

#: Pixels a side of the largest face.
LARGEST: Final = 4096
_STDOUT: Final = Path("-")
_FRAMES: Final = 12  # from one emotion to the next, and a second
_MOST_PIXELS: Final = 2**28  # of a picture of many faces, which is put together in memory


def known_emotions(incomplete: str) -> list[str]:
    """Complete an emotion for the shell, from the largest vocabulary: to read the weights' own would take seconds."""
    from model.emotions import FERPLUS

    return [name for name in (*FERPLUS, ALL) if name.startswith(incomplete)]


@dataclass(frozen=True)
class _Target:
    """Where it goes, and how it is written."""

    out: Path
    format: str
    many: bool = False  # a file for each face
    sign: Callable[[bytes, str], bytes] | None = None  # a picture of a media type, with content credentials

    def write(self, path: Path, picture: bytes) -> None:
        """Write a picture to ``path``, signed where pictures are."""
        from model.animate import ANIMATED
        from model.encode import FORMATS
        from model.files import write_whole

        if self.sign is not None:
            picture = self.sign(picture, {**FORMATS, **ANIMATED}[self.format])
        if path == _STDOUT:
            sys.stdout.buffer.write(picture)
        else:
            write_whole(path, picture)


def generate(
    emotions: Annotated[
        list[str],
        typer.Argument(
            metavar="EMOTION...",
            help="Names (happy), mixes (happy=0.7,surprise=0.3), or all; happy@0.5 is half as intense.",
            autocompletion=known_emotions,
        ),
    ],
    seed: Annotated[
        str | None, typer.Option(help="Who it is: a whole number or any text; without it one is drawn and told.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Several people: 0-7,12,Ada is ten of them, with ranges of numbers.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write (.png, .webp, .jpg, .avif), - for stdout; of several faces a folder, or a pattern "
            "like 'faces/{index:03d}-{emotion}-{seed}.png'.  [default: face.png, faces, grid.png or morph.webp]",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="png, webp, jpeg or avif; webp, apng or gif where it moves; by default the file's"),
    ] = None,
    intensity: Annotated[float, typer.Option(help="0 is neutral, 1 the emotion, up to 1.5.")] = 1.0,
    truncation: Annotated[
        float | None, typer.Option(help="0 is the average person, 1 the full variety of people. [default: 0.8]")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="Pixels a side of a face; the model's own by default.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="One picture: people in rows, emotions in columns.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="Write names above and beside the grid.")] = False,
    morph: Annotated[bool, typer.Option("--morph", help="One person moves from emotion to emotion.")] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, max=600, help="Frames from one emotion to the next. [default: 12]")
    ] = None,
    fps: Annotated[int | None, typer.Option(min=1, max=50, help="Frames a second. [default: 12]")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Lead back to the first emotion.")] = False,
    as_json: Json = False,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Draw faces: the same bytes as the service's.

    Examples:

    `emoface generate happy --seed 4 -o happy.png`

    `emoface generate all --seeds 0-7,12,Ada --size 192 -o faces`

    `emoface generate happy@0.25 happy@0.5 happy@1 --seeds 0-3 --grid --labels -o strip.png`

    `emoface generate neutral happy=0.7,surprise=0.3 --seed 4 --morph --closed -o smile.webp`
    """
    if seed is not None and seeds is not None:
        fail("give --seed for one person or --seeds for several, not both.", MISUSED)
    if grid and morph:
        fail("give --grid for one picture or --morph for one that moves, not both.", MISUSED)
    if labels and not grid:
        fail("--labels writes beside a grid; give --grid too.", MISUSED)
    if not morph and (closed or frames is not None or fps is not None):
        fail("--frames, --fps and --closed are for a face that moves; give --morph too.", MISUSED)
    try:
        people = [read_seed(seed)] if seed is not None else [] if seeds is None else read_seeds(seeds)
    except ValueError as error:
        fail(error)
    many = len(emotions) > 1 or ALL in (text.partition("@")[0].strip().lower() for text in emotions) or len(people) > 1
    if morph and (not many or len(people) > 1):
        fail("--morph needs at least two emotions, and one person.", MISUSED)
    if morph:
        target = _target(out, format, "morph.webp", moves=True)
    elif grid:
        target = _target(out, format, "grid.png")
    else:
        target = _target(out, format, "faces" if many else "face.png", many=many)
    if as_json and target.out == _STDOUT:
        fail("--json and the picture cannot both go to standard output; name a file with -o.", MISUSED)

    from model import FaceRequest, FaceSampler, WeightsError
    from model.animate import plan_frames
    from model.sampler import DEFAULT_TRUNCATION
    from model.seeds import drawn_seed

    psi = DEFAULT_TRUNCATION if truncation is None else truncation
    people = people or [drawn_seed()]
    try:
        sampler = FaceSampler.load(weights, device)
        target = replace(target, sign=_signing(sampler))
        moments = read_moments(emotions, intensity, sampler.emotions)
        shown = [(mix, strength) for _, mix, strength in moments]
        if morph:
            shown = plan_frames(shown, frames or _FRAMES, closed=closed, vocabulary=sampler.emotions)
        if len(people) * len(shown) > MOST:
            fail(f"that is {len(people) * len(shown):,} faces, and {MOST:,} are drawn at a time; ask for fewer.")
        pixels = len(people) * len(shown) * (size or sampler.resolution) ** 2
        if (grid or morph) and pixels > _MOST_PIXELS:
            fail(f"{pixels:,} pixels are too many for a picture ({_MOST_PIXELS:,} are not); ask for fewer or smaller.")
        faces = [FaceRequest(mix, person, strength, psi) for person in people for mix, strength in shown]
        if morph:
            told = _morph(sampler, faces, target, size, fps or _FRAMES)
        elif grid:
            titles = ([label for label, _, _ in moments], [str(person) for person in people])
            told = _grid(sampler, faces, target, size, titles, labels)
        else:
            told = _stills(sampler, list(dict.fromkeys(faces)), target, size)
    except OSError as error:
        fail(f"cannot write {target.out}: {error.strerror or str(error).rstrip('.')}.")
    except (WeightsError, ValueError) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    typer.echo(f"{target.out}: {_sentence([mix for _, mix, _ in moments], people, told['files'])}", err=True)


def _target(out: Path | None, format: str | None, usual: str, *, many: bool = False, moves: bool = False) -> _Target:
    """Decide where it goes and how it is written, before anything slow is begun."""
    from model.encode import FORMATS, SUFFIXES

    endings = {"webp": "webp", "apng": "apng", "png": "apng", "gif": "gif"} if moves else SUFFIXES
    known = ("webp", "apng", "gif") if moves else tuple(FORMATS)
    if format is not None and format not in known:
        fail(f"--format {format!r} is not known; here it is one of {', '.join(known)}.", MISUSED)
    path = Path(usual) if out is None else out
    if out is None and format is not None and path.suffix:
        path = path.with_suffix(f".{'jpg' if format == 'jpeg' else format}")
    if path == _STDOUT:
        if many:
            fail(
                "several pictures cannot go to standard output; make them one with --grid, or name a folder.",
                MISUSED,
            )
        return _Target(path, format or known[0])
    ending = path.suffix.lower().lstrip(".")
    folder = not moves and ("{" not in str(path)) and (path.is_dir() or (many and not path.suffix))
    if many and ending in endings and "{" not in str(path):
        fail(f"several faces need a folder, or a pattern like 'faces/{{emotion}}-{{seed}}.{ending}', with -o.", MISUSED)
    found = format or ("png" if folder else endings.get(ending))
    if found is None:
        fail(f"cannot tell the picture format of {str(path)!r}; end it in one of .{', .'.join(endings)}.")
    return _Target(path, found, many=folder or "{" in str(path))


def _drawn(
    sampler: FaceSampler, faces: Sequence[FaceRequest], size: int | None
) -> Iterator[tuple[FaceRequest, NDArray[np.uint8]]]:
    """Draw faces, some at a time, each in ``size``."""
    from model.encode import resized

    step = sampler.batch_size * sampler.callers
    with progress() as bar:
        task = bar.add_task("Drawing", total=len(faces), visible=len(faces) > step)
        for start in range(0, len(faces), step):
            part = faces[start : start + step]
            for face, pixels in zip(part, sampler.sample(part), strict=True):
                yield face, resized(pixels, size)
                bar.advance(task)


def _stills(sampler: FaceSampler, faces: Sequence[FaceRequest], target: _Target, size: int | None) -> dict[str, Any]:
    from model.encode import encode_face
    from model.provenance import describe, model_tag

    paths = file_names(target.out, faces, target.format) if target.many else [target.out]
    for folder in {path.parent for path in paths} if target.many else ():
        folder.mkdir(parents=True, exist_ok=True)
    files = []
    for path, (face, pixels) in zip(paths, _drawn(sampler, faces, size), strict=True):
        target.write(path, encode_face(pixels, None, target.format, describe(sampler, face)))
        files.append(
            {
                "file": str(path),
                "emotion": str(face.mix),
                "seed": str(face.seed),  # as text, for not every JSON reader takes 63 bits
                "intensity": face.intensity,
                "truncation": face.truncation,
                "size": size or sampler.resolution,
                "format": target.format,
            }
        )
    return {"model": model_tag(sampler.name, sampler.sha256), "files": files}


def _grid(
    sampler: FaceSampler,
    faces: Sequence[FaceRequest],
    target: _Target,
    size: int | None,
    titles: tuple[list[str], list[str]],
    labels: bool,
) -> dict[str, Any]:
    from model.provenance import describe_many, model_tag
    from model.sheet import encode_grid

    stills = [pixels for _, pixels in _drawn(sampler, faces, size)]
    text = describe_many(sampler)
    target.write(target.out, encode_grid(stills, *titles, labels=labels, format=target.format, text=text))
    told = {"file": str(target.out), "emotions": titles[0], "seeds": titles[1], "format": target.format}
    return {"model": model_tag(sampler.name, sampler.sha256), "files": [told]}


def _morph(
    sampler: FaceSampler, faces: Sequence[FaceRequest], target: _Target, size: int | None, fps: int
) -> dict[str, Any]:
    from model.animate import encode_animation
    from model.provenance import describe_many, model_tag

    stills = [pixels for _, pixels in _drawn(sampler, faces, size)]
    text = describe_many(sampler)
    target.write(target.out, encode_animation(stills, target.format, round(1000 / fps), text=text))
    told = {"file": str(target.out), "seed": str(faces[0].seed), "frames": len(faces), "format": target.format}
    return {"model": model_tag(sampler.name, sampler.sha256), "files": [told]}


def _signing(sampler: FaceSampler) -> Callable[[bytes, str], bytes] | None:
    """Return what signs pictures, where the environment names a certificate as it does for the service."""
    if not any(name.upper().startswith("EMOFACE_C2PA_") for name in os.environ):
        return None
    from service.credentials import read_signer
    from service.settings import Settings

    signer = read_signer(Settings.read(), sampler.name, sampler.sha256)
    return None if signer is None else signer.sign


def _sentence(mixes: Sequence[EmotionMix], people: Sequence[int | str], files: Sequence[object]) -> str:
    """Say what was drawn, and who it is where one was drawn by lot."""
    who = f"seed {people[0]}" if len(people) == 1 else f"{len(people):,} people"
    what = str(mixes[0]) if len(mixes) == 1 else f"{len(mixes)} emotions"
    return f"{what}, {who}" if len(files) == 1 else f"{len(files):,} faces, {what}, {who}"
