"""``emoface generate``: the bytes that the service answers with, under the names that were asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emoface.asked import MOST, read_moments, read_seeds
from model import FaceSampler
from model.emotions import FER2013
from service.app import create_app
from service.settings import Settings
from tests.cli.running import in_process
from tests.service.certificates import issued, manifest
from tests.service.serving import live


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[httpx.Client]:
    settings = Settings(host="127.0.0.1", port=0, device="cpu")
    with live(create_app(settings, FaceSampler.load(weights, "cpu"))) as client:
        yield client


def generate(weights: Path, *arguments: object) -> Any:
    """Run it; returns what it says as JSON."""
    done = in_process("generate", *arguments, "--json", "--weights", weights, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def posted(service: httpx.Client, address: str, **wish: object) -> bytes:
    answer = service.post(address, json=wish)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "avif"])
def test_every_file_is_the_services_answer(weights: Path, service: httpx.Client, tmp_path: Path, format: str) -> None:
    out = tmp_path / "faces"
    options = ["--intensity", 1.25, "--truncation", 0.5, "--size", 96, "--format", format]
    told = generate(weights, "all", "happy=0.7,sad=0.3", "--seeds", "0-2,12,Ada Lovelace", *options, "-o", out)
    assert len(told["files"]) == len(list(out.iterdir())) == 8 * 5
    assert told["model"].startswith("small@")
    for face in told["files"]:
        mix = {"happy": 0.7, "sad": 0.3} if "=" in face["emotion"] else face["emotion"]
        wish = {"seed": face["seed"], "intensity": 1.25, "truncation": 0.5, "size": 96, "format": format}
        assert Path(face["file"]).read_bytes() == posted(service, "/generate", emotion=mix, **wish)
    assert {face["seed"] for face in told["files"]} == {"0", "1", "2", "12", "Ada Lovelace"}
    ending = "jpg" if format == "jpeg" else format
    assert {path.name for path in out.iterdir()} >= {f"happy-2.{ending}", f"happy-sad-Ada_Lovelace.{ending}"}


def test_a_grid_is_the_services(weights: Path, service: httpx.Client, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    for options, query in (
        ([], ""),
        (["--labels", "--size", 96, "--intensity", 0.5], "&labels=1&size=96&intensity=0.5"),
    ):
        generate(weights, "happy", "fear", "--seeds", "7,Ada", "--grid", *options, "-o", out)
        assert out.read_bytes() == service.get(f"/grid.png?emotions=happy,fear&seeds=7,Ada{query}").content
    generate(weights, "all", "--seeds", "0-3", "--grid", "-o", out)
    assert out.read_bytes() == service.get("/grid.png").content


@pytest.mark.parametrize("format", ["webp", "apng", "gif"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_morph_is_the_services(
    weights: Path, service: httpx.Client, tmp_path: Path, format: str, closed: bool
) -> None:
    out = tmp_path / f"smile.{format}"
    options = ["--frames", 3, "--fps", 10, "--size", 64, *(["--closed"] if closed else [])]
    told = generate(weights, "neutral", "happy@1.5", "sad", "--seed", 2, "--morph", *options, "-o", out)
    keys = [{"emotion": "neutral"}, {"emotion": "happy", "intensity": 1.5}, {"emotion": "sad"}]
    wish = {"keyframes": keys, "seed": 2, "frames": 3, "fps": 10, "closed": closed, "size": 64, "format": format}
    assert out.read_bytes() == posted(service, "/morph", **wish)
    assert told["files"][0]["frames"] == (9 if closed else 7)


def test_pictures_of_many_go_to_standard_output(weights: Path, service: httpx.Client) -> None:
    arguments = ["generate", "all", "--seeds", "0-3", "--grid", "-o", "-", "--weights", weights, "--device", "cpu"]
    assert in_process(*arguments).stdout_bytes == service.get("/grid.png").content


def test_patterns_name_the_files(weights: Path, tmp_path: Path) -> None:
    pattern = tmp_path / "{seed}" / "{index:03d}-{emotion}-{intensity}.webp"
    told = generate(weights, "happy@0.5", "happy", "--seeds", "7-8", "-o", pattern)
    names = [str(Path(face["file"]).relative_to(tmp_path)) for face in told["files"]]
    assert names == ["7/000-happy-0.5.webp", "7/001-happy-1.0.webp", "8/002-happy-0.5.webp", "8/003-happy-1.0.webp"]
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert image.format == "WEBP"


def test_without_a_name_it_goes_where_help_says(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generate(weights, "happy", "--seed", 1)
    generate(weights, "happy", "sad", "--seed", 1)
    generate(weights, "happy", "sad", "--seed", 1, "--grid", "--format", "webp")
    generate(weights, "happy", "sad", "--seed", 1, "--morph", "--format", "gif")
    generate(weights, "fear", "--seed", 1, "-o", "faces")  # a folder by now
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert found == {"face.png", "faces/happy-1.png", "faces/sad-1.png", "faces/fear-1.png", "grid.webp", "morph.gif"}


def test_one_drawn_by_lot_is_the_same_in_all_emotions_and_told(weights: Path, tmp_path: Path) -> None:
    done = in_process("generate", "all", "-o", tmp_path / "a", "--weights", weights)
    assert "7 faces, 7 emotions, seed " in done.stderr
    seed = done.stderr.rsplit("seed ", 1)[1].strip()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {f"{emotion}-{seed}.png" for emotion in FER2013}


def test_the_same_face_twice_is_one_file(weights: Path, tmp_path: Path) -> None:
    told = generate(weights, "happy", "joy", "--seeds", "7,7", "-o", tmp_path)
    assert len(told["files"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["happy", "--seed", "1", "--seeds", "1-2"], 2, "not both"),
        (["happy", "sad", "--grid", "--morph"], 2, "not both"),
        (["happy", "--morph"], 2, "at least two emotions"),
        (["happy", "sad", "--morph", "--seeds", "1-2"], 2, "one person"),
        (["happy", "sad", "--labels"], 2, "give --grid too"),
        (["happy", "sad", "--closed"], 2, "give --morph too"),
        (["happy", "sad", "--grid", "--fps", "12"], 2, "give --morph too"),
        (["all", "--seeds", "0-9999", "--grid", "--size", "4096"], 1, "too many for a picture"),
        (["happy", "--seeds", "1-1400", "--grid", "--size", "48", "-o", "g.jpg"], 1, "cannot write g.jpg: "),
        (["happy", "sad", "-o", "-"], 2, "cannot go to standard output"),
        (["happy", "-o", "-", "--json"], 2, "cannot both go to standard output"),
        (["happy", "sad", "-o", "x.png"], 2, "need a folder, or a pattern like 'faces/{emotion}-{seed}.png'"),
        (["happy", "--format", "tiff"], 2, "one of png, webp, jpeg, avif"),
        (["happy", "sad", "--morph", "--format", "png"], 2, "one of webp, apng, gif"),
        (["happy", "sad", "--morph", "-o", "x.jpg"], 1, "end it in one of .webp"),
        (["happy", "--seeds", "7-1"], 1, "write 1-7"),
        (["happy", "--seeds", ","], 1, "names nobody"),
        (["happy", "--seeds", "0-999999"], 1, "more than 100,000"),
        (["all", "--seeds", "0-99998"], 1, "that is 699,993 faces"),
        (["happy@3"], 1, "intensity must be from 0 to 1.5"),
        (["happy@nan"], 1, "intensity must be from 0 to 1.5"),
        (["happy@x"], 1, "unknown emotion 'happy@x'"),
        (["happy@0.5", "happy", "-o", "faces"], 1, "two faces would be the file 'faces/happy-1.png'"),
        (["happy", "sad", "-o", "{who}.png"], 1, "known are {emotion}, {seed}, {intensity}, {index}"),
        (["happy", "sad", "-o", "{index:s}.png"], 1, "is no pattern"),
        (["happy", "sad", "-o", "{index}.tiff"], 1, "end it in one of .png"),
    ],
)
def test_what_cannot_be_meant_or_done_is_one_sentence(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    people = [] if {"--seeds", "--seed"} & set(arguments) else ["--seed", "1"]
    done = in_process("generate", *arguments, *people, "--weights", weights)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("emoface: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


_ENDS = st.integers(0, 2**63 - 1)


@given(st.lists(st.one_of(_ENDS, st.tuples(_ENDS, st.integers(0, 20)), st.sampled_from(["Ada", "007", "a-b", "-"]))))
def test_ranges_are_the_numbers_from_one_to_the_other(parts: list[Any]) -> None:
    texts: list[str] = []
    expected: list[int | str] = []
    for part in parts:
        if isinstance(part, tuple):
            texts.append(f"{part[0]}-{part[0] + part[1]}")
            expected += range(part[0], part[0] + part[1] + 1)
        else:
            texts.append(str(part))
            expected.append(part)
    if expected:
        assert read_seeds(" , ".join(texts)) == expected
    else:
        with pytest.raises(ValueError, match="nobody"):
            read_seeds(",".join(texts))


def test_the_longest_range() -> None:
    assert len(read_seeds(f"1-{MOST}")) == MOST


def test_an_emotion_may_have_an_at_sign_in_its_name() -> None:
    vocabulary = ("happy@home", "neutral")
    assert [(str(mix), strength) for _, mix, strength in read_moments(["happy@home"], 0.7, vocabulary)] == [
        ("happy@home", 0.7)
    ]
    moments = read_moments(["ALL@0.5", "happy@home@0.25"], 1.0, vocabulary)
    assert [(label, str(mix), strength) for label, mix, strength in moments] == [
        ("happy@home@0.5", "happy@home", 0.5),
        ("neutral@0.5", "neutral", 0.5),
        ("happy@home@0.25", "happy@home", 0.25),
    ]


def test_labels_and_sizes_of_a_large_grid(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    generate(weights, "happy@0", "happy@1", "--seeds", "0-19", "--grid", "--labels", "--size", 32, "-o", out)
    with Image.open(io.BytesIO(out.read_bytes())) as image:
        assert image.size == (3 * 32, 20 * 32 + 8)
        pixels = np.asarray(image)
    assert (pixels[8:, :32] != 255).any()  # names stand beside the faces


@pytest.mark.parametrize(
    ("asked", "name", "kind"),
    [
        (["happy"], "face.png", "image/png"),
        (["happy", "sad", "--grid"], "grid.webp", "image/webp"),
        (["happy", "sad", "--morph", "--frames", 2], "morph.gif", "image/gif"),
        (["happy", "sad", "--morph", "--frames", 2, "--format", "apng"], "morph.png", "image/apng"),
    ],
)
def test_pictures_are_signed_with_the_services_certificate(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[object], name: str, kind: str
) -> None:
    for setting, file in issued(tmp_path).items():
        monkeypatch.setenv(f"EMOFACE_{setting.upper()}", str(file))
    generate(weights, *asked, "--seed", 2, "-o", tmp_path / name)
    assert f"{weights.stem}@" in json.dumps(manifest((tmp_path / name).read_bytes(), kind))


def test_a_certificate_without_its_key_draws_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOFACE_C2PA_CERTIFICATE", str(tmp_path / "chain.pem"))
    done = in_process("generate", "happy", "--weights", weights, "-o", tmp_path / "face.png", "--device", "cpu")
    assert (done.exit_code, "give both" in done.stderr) == (1, True)
    assert not (tmp_path / "face.png").exists()
