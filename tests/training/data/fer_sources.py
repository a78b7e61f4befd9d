"""Sources in the layouts that people download: Kaggle's tables, FER+ votes.

Where the real FER-2013 is at hand, ``REAL_OR_DRAWN`` names it and ``first_rows`` reads the beginning of it;
otherwise the rows are faces drawn here.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import lzma
import tarfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
REAL_TABLE = SHARED / "fer2013.csv.xz"
REAL_VOTES = SHARED / "fer2013new.csv"
REAL_OR_DRAWN = "real FER-2013 rows" if REAL_TABLE.exists() and REAL_VOTES.exists() else "drawn faces"

_EMOTIONS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
VOTE_HEADER = ["Usage", "Image name", *_EMOTIONS, "unknown", "NF"]


@dataclass(frozen=True)
class Row:
    emotion: str
    pixels: str
    usage: str = "Training"

    def image(self) -> np.ndarray:
        return np.array([int(text) for text in self.pixels.split()], np.uint8).reshape(48, 48)


def draw_face(number: int) -> np.ndarray:
    """A grey 48x48 face; another one for each number."""
    image = Image.new("L", (48, 48), 40 + number * 37 % 90)
    pen = ImageDraw.Draw(image)
    pen.ellipse((6, 3, 41, 45), fill=150 + number * 17 % 80)
    for x in (17, 30):
        pen.ellipse((x - 3, 17, x + 2, 20 + number % 3), fill=20)
    pen.arc((15, 26 + number % 5, 32, 38), 20, 160, fill=10, width=2)
    noise = np.random.default_rng(number).integers(0, 8, (48, 48))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def drawn_rows(count: int, usage: str = "Training") -> list[Row]:
    return [Row(str(n % 7), " ".join(map(str, draw_face(n).ravel())), usage) for n in range(count)]


def mixed_rows() -> list[Row]:
    """Twelve rows: eight of Training, two of PublicTest, two of PrivateTest, in Kaggle's order."""
    usages = ["Training"] * 8 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    return [replace(row, usage=usage) for row, usage in zip(drawn_rows(12), usages, strict=True)]


def first_rows(count: int) -> tuple[list[Row], list[list[str]]]:
    """The first rows of FER-2013 and their FER+ votes (without header): real where at hand, else drawn."""
    if REAL_OR_DRAWN == "drawn faces":
        rows = drawn_rows(count)
        return rows, [votes(row, number) for number, row in enumerate(rows)]
    with lzma.open(REAL_TABLE, "rt") as table, open(REAL_VOTES, newline="") as opinions:
        found = [Row(*line) for line in itertools.islice(csv.reader(table), 1, count + 1)]
        return found, list(itertools.islice(csv.reader(opinions), 1, count + 1))


def votes(row: Row, number: int) -> list[str]:
    """Seven votes for the row's own emotion, two for neutral, one for surprise."""
    counts = dict.fromkeys(VOTE_HEADER[2:], 0)
    names = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    for name, count in ((names[int(row.emotion)], 7), ("neutral", 2), ("surprise", 1)):
        counts[name] += count
    return [row.usage, f"fer{number:07d}.png", *map(str, counts.values())]


def write_votes(path: Path, lines: list[list[str]]) -> Path:
    path.write_text("\n".join(",".join(line) for line in [VOTE_HEADER, *lines]) + "\n")
    return path


def table_text(rows: list[Row], layout: str = "fer2013.csv") -> str:
    if layout == "fer2013.csv":
        return "emotion,pixels,Usage\n" + "".join(f"{r.emotion},{r.pixels},{r.usage}\n" for r in rows)
    return "emotion, Usage, pixels\n" + "".join(f"{r.emotion},{r.usage},{r.pixels}\n" for r in rows)


def write_table(path: Path, rows: list[Row]) -> Path:
    path.write_text(table_text(rows))
    return path


def pack_table(folder: Path, text: str, name: str, how: str) -> Path:
    """Write ``text`` as the file ``name``, packed as people meet it."""
    content = text.encode()
    path = folder / f"{name}{how}"
    if how == ".xz":
        path.write_bytes(lzma.compress(content, preset=0))
    elif how == ".gz":
        path.write_bytes(gzip.compress(content))
    elif how == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("fer2013/README", "no table")
            archive.writestr("__MACOSX/fer2013/._" + name, "junk")
            archive.writestr("fer2013/" + name, content)
    elif how == ".tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            for member, data in (("fer2013/README", b"no table"), ("fer2013/" + name, content)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        path.write_bytes(content)
    return path
