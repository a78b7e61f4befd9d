"""The run: what is written, going on after a stop, and the same bytes always."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model import EmotionMix, FaceRequest, FaceSampler
from model.emotions import FERPLUS
from model.provenance import model_tag, read_claim
from tests.training.export.conftest import small_judge, tree
from training.data.errors import DataError
from training.export.agreement import Jury
from training.export.export import export
from training.export.folder import Folder
from training.export.formats import FORMATS
from training.export.formats.layout import Picture
from training.export.plan import Plan, make_plan


class Stopped(BaseException):
    """As a signal would, it ends the run between two faces."""


def stop_at(*numbers: int) -> Callable[[int, int], None]:
    """Return progress that stops the run when so many faces are done."""
    left = list(numbers)

    def progress(done: int, total: int) -> None:
        if left and done >= left[0]:
            left.pop(0)
            raise Stopped

    return progress


def plan_of(format: str, n: int = 9, **wish: Any) -> Plan:
    emotions = FERPLUS[:7] if format == "csv" else FERPLUS
    return make_plan(FERPLUS, **{"per_emotion": n, "emotions": emotions, "part": 16, "splits": (0.7, 0.3), **wish})


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (folder / "manifest.jsonl").read_text().splitlines()]


def test_class_folders_hold_the_samplers_faces_and_the_manifest_tells_how_to_draw_them(sampler, tmp_path):
    plan = plan_of("folders", intensities=(0.5, 1.0), seed=7, truncation=0.8)
    summary = export(sampler, plan, tmp_path / "x")
    rows = rows_of(tmp_path / "x")
    assert len(rows) == plan.faces == summary["faces"] == 72
    pictures = {path.relative_to(tmp_path / "x").as_posix() for path in (tmp_path / "x").rglob("*.png")}
    assert {row["file"] for row in rows} == pictures
    assert not [name for name in tree(tmp_path / "x") if "/." in f"/{name}"]
    for row in rows:
        content = (tmp_path / "x" / row["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert row["file"].startswith(f"{row['split']}/{row['label']}/")
        request = FaceRequest(
            EmotionMix.parse(row["emotion"], FERPLUS), row["seed"], row["intensity"], row["truncation"]
        )
        claim = read_claim(content, 4096)
        np.testing.assert_array_equal(claim.pixels, sampler.sample([request])[0, :, :, 0])
        assert claim.request(FERPLUS) == request
        assert row["model"] == claim.facts["model"] == model_tag(sampler.name, sampler.sha256)
    counts = {split: dict.fromkeys(FERPLUS, n) for split, n in (("train", 6), ("validation", 3))}
    assert summary["splits"] == counts


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stops=st.lists(st.integers(0, 62), max_size=3).map(sorted), choosing=st.booleans())
def test_a_stopped_run_goes_on_to_the_very_bytes_of_one_that_was_not(
    sampler, jury, tmp_path_factory, format, stops, choosing
):
    folder = tmp_path_factory.mktemp("runs")
    plan, chosen = plan_of(format), {"jury": jury, "least": 0.1} if choosing else {}
    whole = export(sampler, plan, folder / "whole", format=format, **chosen)
    for number in stops:
        try:
            export(sampler, plan, folder / "parts", format=format, progress=stop_at(number), **chosen)
        except Stopped:
            assert "summary" not in json.loads((folder / "parts" / "dataset.json").read_text())
    assert export(sampler, plan, folder / "parts", format=format, **chosen) == whole
    assert tree(folder / "parts") == tree(folder / "whole")


@pytest.mark.parametrize("least", [0.0, 0.1])
def test_no_byte_depends_on_how_many_threads_draw(weights, jury, tmp_path, least):
    for threads in (1, 3):
        drawing = FaceSampler.load(weights, "cpu", threads=threads)
        judges = jury if least else Jury({"x": small_judge()}, drawing, FERPLUS)
        export(drawing, plan_of("folders"), tmp_path / str(threads), jury=judges, least=least)
    assert tree(tmp_path / "1") == tree(tmp_path / "3")


def test_no_more_threads_draw_at_once_than_the_sampler_takes(sampler, tmp_path, monkeypatch):
    monkeypatch.setattr(FaceSampler, "callers", 1)  # as on a GPU
    sample, inside, most = sampler.sample, threading.Lock(), []

    def spy(requests: list[FaceRequest]) -> Any:
        most.append(inside.acquire(blocking=False))
        time.sleep(0.001)
        try:
            return sample(requests)
        finally:
            if most[-1]:
                inside.release()

    monkeypatch.setattr(sampler, "sample", spy)
    export(sampler, plan_of("folders", n=40), tmp_path / "x")
    assert len(most) > 10
    assert all(most)


def test_what_is_whole_is_not_drawn_again(sampler, tmp_path, monkeypatch):
    plan = plan_of("folders")
    with pytest.raises(Stopped):
        export(sampler, plan, tmp_path / "x", progress=stop_at(40))
    drawn: list[FaceRequest] = []
    sample = sampler.sample

    def spy(requests: list[FaceRequest]) -> Any:
        drawn.extend(requests)
        return sample(requests)

    monkeypatch.setattr(sampler, "sample", spy)
    told: list[int] = []
    export(sampler, plan, tmp_path / "x", progress=lambda done, total: told.append(done))
    assert told[0] == 33  # two parts of 16 were whole
    assert told[-1] == 72
    assert len(drawn) == 72 - 32
    drawn.clear()
    export(sampler, plan, tmp_path / "x")
    assert not drawn


@pytest.mark.parametrize("damage", ["removed", "cut off", "record"])
def test_a_part_whose_files_are_not_as_they_were_is_drawn_again(sampler, tmp_path, damage):
    plan = plan_of("webdataset")
    export(sampler, plan, tmp_path / "whole", format="webdataset")
    with pytest.raises(Stopped):
        export(sampler, plan, tmp_path / "x", format="webdataset", progress=stop_at(49))
    shard = tmp_path / "x" / "train-000001.tar"
    if damage == "removed":
        shard.unlink()
    elif damage == "cut off":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (tmp_path / "x" / ".emoface" / "train-000001.jsonl").write_text("{")
    export(sampler, plan, tmp_path / "x", format="webdataset")
    assert tree(tmp_path / "x") == tree(tmp_path / "whole")


def test_a_finished_set_that_was_changed_is_not_taken_for_whole(sampler, tmp_path):
    plan = plan_of("folders", n=2)
    export(sampler, plan, tmp_path / "x")
    (tmp_path / "x" / "train" / "happy" / "00000003.png").unlink()
    with pytest.raises(DataError, match=r"was finished, but train/happy/00000003.png is missing"):
        export(sampler, plan, tmp_path / "x")


def test_another_command_and_other_folders_are_refused(sampler, jury, tmp_path):
    plan = plan_of("folders", n=2)
    export(sampler, plan, tmp_path / "x")
    before = tree(tmp_path / "x")
    others: list[tuple[Plan, dict[str, Any], str]] = [
        (plan_of("folders", n=2, seed=1), {}, "seed"),
        (plan, {"format": "zip"}, "format"),
        (plan, {"picture": Picture("webp", 48)}, "picture, size"),
        (plan, {"jury": jury, "least": 0.1}, "judges, least_agreement"),
    ]
    for other, options, names in others:
        with pytest.raises(DataError, match=rf"another command \({names} differ\); give another folder\.$"):
            export(sampler, other, tmp_path / "x", **options)
    assert tree(tmp_path / "x") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no data set of emoface's"):
        export(sampler, plan, tmp_path / "mine")
    assert tree(tmp_path / "mine") == {"thesis.txt": b"mine"}
    with pytest.raises(DataError, match="is a file"):
        export(sampler, plan, tmp_path / "mine" / "thesis.txt")
    (tmp_path / "mine" / "dataset.json").write_text("[]")
    with pytest.raises(DataError, match=r"is not of emoface's making"):
        export(sampler, plan, tmp_path / "mine")


def test_two_processes_do_not_write_one_folder(sampler, tmp_path):
    plan = plan_of("folders", n=2)
    first = Folder(tmp_path / "x", {"a": 1})
    with (
        first.held(),
        pytest.raises(DataError, match="another process is writing"),
        Folder(first.path, {"a": 1}).held(),
    ):
        pass
    assert plan.faces == 16


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_one_sentence_and_with_room_it_goes_on(sampler, tmp_path, format):
    resource = pytest.importorskip("resource")
    plan = plan_of(format, n=40, part=64)
    export(sampler, plan, tmp_path / "whole", format=format)
    largest = max(len(content) for content in tree(tmp_path / "whole").values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, hard))
    try:
        with pytest.raises(DataError, match=r"^(no room on the disk|cannot write) .*\.$") as error:
            export(sampler, plan, tmp_path / "x", format=format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(error.value)
    export(sampler, plan, tmp_path / "x", format=format)
    assert tree(tmp_path / "x") == tree(tmp_path / "whole")


def test_agreement_chooses_and_the_rate_is_told(sampler, jury, tmp_path):
    plan = plan_of("folders", splits=(1,))
    summary = export(sampler, plan, tmp_path / "x", jury=jury, least=0.1)
    rows = rows_of(tmp_path / "x")
    assert len(rows) == plan.faces
    for k, label in enumerate(FERPLUS):
        # What is kept of the people in their order, as the jury alone would have it.
        people = range(k, 8 * 4000, 8)
        kept, tried = [], 0
        for start in range(0, len(people), 32):
            requests = [FaceRequest(EmotionMix.parse(label, FERPLUS), seed) for seed in people[start : start + 32]]
            said = jury.agreement(sampler.sample(requests), [label] * len(requests))
            for request, agreement in zip(requests, said, strict=True):
                tried += 1
                if agreement >= 0.1:
                    kept.append((request.seed, agreement))
                if len(kept) == 9:
                    break
            if len(kept) == 9:
                break
        assert [(row["seed"], row["agreement"]) for row in rows if row["label"] == label] == kept
        assert summary["acceptance"][label] == {"tried": tried, "kept": 9, "rate": round(9 / tried, 4)}


def test_agreement_can_be_told_without_choosing(sampler, jury, tmp_path):
    plan = make_plan(FERPLUS, identities=3, intensities=(0.5, 1))
    summary = export(sampler, plan, tmp_path / "x", jury=jury)
    rows = rows_of(tmp_path / "x")
    assert len(rows) == 3 * 15
    assert all(0 <= row["agreement"] <= 1 for row in rows)
    assert "acceptance" not in summary


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"least": 0.5}, "needs a judge"),
        ({"least": 2.0}, "from 0 to 1"),
        ({"format": "tfrecord"}, "unknown format 'tfrecord'; known: folders"),
    ],
)
def test_options_that_do_not_fit_are_refused(sampler, tmp_path, options, says):
    with pytest.raises(DataError, match=says):
        export(sampler, plan_of("folders"), tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_a_crossed_set_leaves_nobody_out(sampler, jury, tmp_path):
    with pytest.raises(DataError, match="no face can be left out"):
        export(sampler, make_plan(FERPLUS, identities=2), tmp_path / "x", jury=jury, least=0.5)


def test_where_hardly_anybody_agrees_it_ends(sampler, jury, tmp_path):
    before = threading.active_count()
    with pytest.raises(DataError, match=r"^of 2,000 people in a row none shows .*--min-agreement"):
        export(sampler, plan_of("folders"), tmp_path / "x", jury=jury, least=1.0)
    assert threading.active_count() == before


def test_contact_sheets_show_every_face_of_a_crossed_set(sampler, tmp_path):
    plan = make_plan(FERPLUS, identities=23, emotions=["happy", "neutral"], intensities=(0.25, 1), seed=5)
    export(sampler, plan, tmp_path / "x")
    names = sorted(path.name for path in (tmp_path / "x").glob("contact-sheet-*"))
    assert names == [f"contact-sheet-train-000000-{page:03d}.png" for page in (0, 1)]
    sizes = []
    for name in names:
        with Image.open(tmp_path / "x" / name) as image:
            sizes.append(image.size)
            assert image.info["Description"].startswith("Synthetic faces")
            pixels = np.asarray(image)
    assert sizes == [(4 * 48, 12 + 20 * 48), (4 * 48, 12 + 3 * 48)]
    # The last one of the second sheet is the last person, neutral.
    request = FaceRequest(EmotionMix.parse("neutral", FERPLUS), 5 + 22)
    face = Image.fromarray(sampler.sample([request])[0, :, :, 0]).resize((48, 48), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pixels[-48:, -48:], np.asarray(face))
    assert (tmp_path / "x" / "train" / "happy" / "00022-happy-0.25.png").is_file()
    assert (tmp_path / "x" / "train" / "neutral" / "00022-neutral-1.0.png").is_file()


@pytest.mark.parametrize(("suffix", "form"), [("webp", "WEBP"), ("jpg", "JPEG"), ("avif", "AVIF")])
def test_pictures_have_the_format_and_size_that_was_asked_for(sampler, tmp_path, suffix, form):
    export(sampler, plan_of("zip", n=1), tmp_path / "x", format="zip", picture=Picture(suffix, 32))
    with zipfile.ZipFile(tmp_path / "x" / "faces.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(f".{suffix}"))
        content = archive.read(name)
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == (form, (32, 32))
    assert read_claim(content, 4096).facts["model"] == model_tag(sampler.name, sampler.sha256)


def test_a_jury_that_cannot_judge_says_why(sampler):
    for judge, says in (
        (small_judge(resolution=16), "looks at 16x16 with 1 channels, but the weights draw 24x24"),
        (small_judge(emotions=FERPLUS[:7]), "does not know contempt"),
    ):
        with pytest.raises(DataError, match=says):
            Jury({"x": judge}, sampler, FERPLUS)
