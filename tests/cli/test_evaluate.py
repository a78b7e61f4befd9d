"""``emoface judge`` and ``emoface evaluate`` as a user calls them."""

from __future__ import annotations

import json

import pytest

from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from model.sampler import DEFAULT_TRUNCATION
from tests.cli.running import in_process
from tests.model.tiny import style_generator
from tests.training.conftest import EMOTIONS, pack_faces
from training.judge import Judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Training and test faces, untrained weights, and a judge that has learned a little."""
    path = tmp_path_factory.mktemp("evaluate")
    train, test = pack_faces(path / "train.zip", 140, 0), pack_faces(path / "test.zip", 70, 1)
    config = StyleGeneratorConfig(16, emotions=EMOTIONS, widths=(8, 8), latent_dim=8, w_dim=16, emotion_dim=4)
    save_generator(path / "w.safetensors", style_generator(config), {"name": "x"})
    made = in_process("judge", "--train", train, "--data", test, "--out", path / "judge.safetensors", "--epochs", 4)
    assert made.exit_code == 0, made.output
    assert "votes 0." in made.stdout
    return path


def test_weights_get_a_report(folder):
    judges = ("--judge", folder / "judge.safetensors")
    data = ("--data", folder / "test.zip", "--train", folder / "train.zip")
    out = folder / "report"
    asked = (*data, *judges, "--quick", "--faces", 20, "--out", out)
    result = in_process("evaluate", folder / "w.safetensors", *asked, "--card", folder / "w.md")
    assert result.exit_code == 0, result.output
    assert "emotion accuracy, balanced: 0." in result.stdout
    figures = json.loads((out / "report.json").read_text())
    assert figures["protocol"]["faces_per_emotion"] == 20
    assert figures["protocol"]["truncation"] == DEFAULT_TRUNCATION
    assert "judge" in figures["judges"]
    assert (out / "report.md").read_text().startswith("# w: report")
    assert (folder / "w.md").read_text().startswith("# w: model card")
    assert (folder / "w.png").is_file()
    told = in_process("evaluate", folder / "w.safetensors", *asked, "--json", "--truncation", 0.5).stdout
    assert json.loads(told)["protocol"]["truncation"] == 0.5
    assert json.loads(told) == json.loads((out / "report.json").read_text())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"--judge": "none.safetensors"}, "there is no judge"),
        ({"--data": "none.zip"}, "none.zip does not exist"),
        ({"--inception": "none.pth"}, "InceptionV3"),
        ({"--device": "tpu"}, "device 'tpu' is not available"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder, wrong, sentence):
    options = {"--data": "test.zip", "--train": "train.zip", "--judge": "judge.safetensors", **wrong}
    paths = [part for key, value in options.items() for part in (key, value if key == "--device" else folder / value)]
    result = in_process("evaluate", folder / "w.safetensors", *paths, "--quick", "--out", folder / "none")
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert not (folder / "none").exists()


def test_weights_that_are_not_there_are_named(folder):
    result = in_process(
        "evaluate", folder / "no.safetensors", "--data", folder / "test.zip", "--train", folder / "train.zip"
    )
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr


def test_a_judge_is_described_as_json(folder, tmp_path):
    pack, out = pack_faces(tmp_path / "large.zip", 70, 2, size=24), tmp_path / "judge.safetensors"
    options = ("--kind", "b", "--epochs", 1, "--train", pack, "--data", pack, "--out", out, "--json")
    made = in_process("judge", *options)
    assert json.loads(made.stdout) == {"file": str(out), "test": Judge.load(out).card["test"]}
    assert Judge.load(out).config.stem == 1
