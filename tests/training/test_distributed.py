"""Two processes train as one does. They are started once, by torchrun, and do everything in two_processes.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn
from torch.distributed.run import get_args_parser

from emoface.cli import app
from tests.training.conftest import ARCHITECTURES, TINY, toml, until
from training.distributed import ALONE, World, _SharedBatchNorm, join
from training.loop import train
from training.recipe import Recipe, recipe_from_dict

ROOT = Path(__file__).resolve().parents[2]

#: How far parameters may be apart after ten steps, and figures of a line: float32 sums in another order.
PARAMETERS, FIGURES = 1e-5, 2e-4

#: With a target that is soon reached, so that the shares of the random numbers for the augmentation count.
_MORE: dict[str, Any] = {
    "augment": {"target": 1e-6, "speed_kimg": 0.05},
    "schedule": TINY["schedule"] | {"total_kimg": 0.08},
}
#: Recipes whose results do not depend on how many processes train: no image's loss depends on the others of its batch,
#: or only through statistics that the processes share.
RECIPES = {name: ARCHITECTURES[name] | _MORE for name in ("residual", "dense", "convolutional")}
#: The pairs and groups of the style-based pair are formed within each process.
STYLE = TINY | _MORE


def _recipe(name: str, images: int = 80) -> Recipe:
    return until(recipe_from_dict(RECIPES[name]), images)


@pytest.fixture(scope="module")
def two(faces, tmp_path_factory):
    """The folder in which both processes have done everything, and what each has noted."""
    folder = tmp_path_factory.mktemp("two")
    for name, table in (RECIPES | {"style": STYLE}).items():
        (folder / f"{name}.json").write_text(json.dumps(table))
    (folder / "tiny.toml").write_text(toml(STYLE))
    train(_recipe("residual", 40), faces, folder / "one-then-two", device="cpu")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("two_processes.py")), str(faces), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path / "state.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dictionary)


def _nothing_by_batch_norm(key: str) -> bool:
    """Batch norm takes away what these add, so their gradient is rounding noise, which Adam makes a step of."""
    return key.startswith(("generator/", "g_ema/")) and key.endswith(("conv1.bias", "conv2.bias", "running_mean"))


def _assert_same_run(one: Path, both: Path) -> None:
    a, b = _tensors(one), _tensors(both)
    assert a.keys() == b.keys()
    for key in a:
        if not key.startswith("adam-") and not _nothing_by_batch_norm(key):
            torch.testing.assert_close(b[key], a[key], atol=PARAMETERS, rtol=1e-4, msg=key)
    lines = [[json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()] for out in (one, both)]
    assert len(lines[0]) == len(lines[1]) > 0
    augmented = False
    for left, right in zip(*lines, strict=True):
        assert left.keys() == right.keys()
        augmented |= left["augment_p"] > 0
        for key in left.keys() - {"seconds", "img_s", "tflop_s"}:
            assert right[key] == pytest.approx(left[key], abs=FIGURES), key
    assert augmented


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_do_what_one_does(faces, two, tmp_path, name):
    folder, found = two
    assert [notes[name] for notes in found] == [["done", 80]] * 2
    train(_recipe(name), faces, tmp_path / "one", device="cpu")
    _assert_same_run(tmp_path / "one", folder / f"two-{name}")


def test_two_processes_train_one_style_based_pair(two):
    _, found = two
    first, second = (notes["style"] for notes in found)
    assert first["figures"] == second["figures"]
    assert all(np.isfinite(list(line.values())).all() for line in first["figures"])
    assert first["finite"] is second["finite"] is True
    assert first["tensors"] == second["tensors"]
    assert first["latents"] != second["latents"]
    assert first["paired"] is second["paired"] is True
    assert first["augment_p"] == second["augment_p"] > 0


def test_a_style_based_run_of_two_processes_is_saved_and_goes_on(two):
    folder, found = two
    assert [notes["style run"] for notes in found] == [["done", 80]] * 2
    assert [notes["style goes on"] for notes in found] == [["done", 120]] * 2
    lines = [json.loads(line) for line in (folder / "two-style" / "stats.jsonl").read_text().splitlines()]
    assert [line["cur_nimg"] for line in lines] == [40, 80, 120]
    assert all(np.isfinite(list(line.values())).all() for line in lines)


def test_two_processes_go_on_where_one_stopped_and_one_where_two_did(faces, two, tmp_path):
    folder, found = two
    assert [notes["goes on"] for notes in found] == [["done", 80]] * 2
    train(_recipe("residual"), faces, tmp_path / "one", device="cpu")
    _assert_same_run(tmp_path / "one", folder / "one-then-two")
    before = (folder / "two-residual" / "stats.jsonl").read_text()
    assert train(_recipe("residual", 120), faces, folder / "two-residual", device="cpu").cur_nimg == 120
    train(_recipe("residual", 120), faces, tmp_path / "one", device="cpu")
    assert (folder / "two-residual" / "stats.jsonl").read_text().startswith(before)
    _assert_same_run(tmp_path / "one", folder / "two-residual")


def test_a_signal_to_one_process_stops_all_after_the_same_step(two):
    folder, found = two
    assert [notes["signal"] for notes in found] == [["signal", 32]] * 2
    assert (folder / "signal" / "state.safetensors").exists()


def test_the_first_process_says_when_the_minutes_are_over(two):
    _, found = two
    assert [notes["minutes"] for notes in found] == [["minutes", 8]] * 2


def test_what_goes_wrong_in_one_process_ends_all_and_is_said_by_one(two):
    _, found = two
    full = [notes["disk full"] for notes in found]
    assert full[0][0] == "TrainingError"
    assert "No space left on device; nothing had been saved." in full[0][1]
    assert full[1][0] == "ElsewhereError"
    assert [notes["second fails"][0] for notes in found] == ["ElsewhereError", "ValueError"]
    assert "process 1 of the run failed" in found[0]["second fails"][1]
    assert found[0]["uneven"] == ["TrainingError", "a batch of 9 images cannot be shared evenly by 2 processes."]
    assert all("began with different networks" in notes["apart"][1] for notes in found)


def test_a_share_of_a_batch_that_cannot_be_paired_is_refused(two):
    _, found = two
    # Six images are three for each process, and one latent in two emotions takes two.
    assert found[0]["uneven pairs"][0] == "TrainingError"
    assert "a batch of 6 images" in found[0]["uneven pairs"][1]


def test_only_the_first_process_speaks(two):
    folder, found = two
    first, second = (notes["cli"] for notes in found)
    assert first[0] == second[0] == 0
    assert "finished: 80 images" in first[1]
    assert "img/s" in first[2]
    assert second[1:] == ["", ""]
    assert (folder / "cli" / "tiny-000000.png").exists()


def test_what_processes_tell_each_other(two):
    _, found = two
    assert [notes["share"] for notes in found] == [[0, 2, 4], [1, 3, 5]]
    for notes in found:
        assert notes["mean"] == {"a": 1.5, "b": -1.5}
        assert notes["largest"] == [1.0, 0.0]
        assert notes["same"] == [True, False]


def test_torchrun_takes_none_of_our_options_for_its_own():
    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    for option in (option for option in command.params if option.param_type_name == "option"):
        ours = ["-m", "emoface", "train", max(option.opts, key=len)]
        assert get_args_parser().parse_args(["--nproc-per-node", "2", *ours]).training_script_args == ours[2:]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))
def test_shares_are_disjoint_complete_and_those_of_batches_behind_one_another(size, each, batches):
    whole = np.arange(size * each * batches)
    shares = [World(rank, size).share(whole) for rank in range(size)]
    assert sorted(np.concatenate(shares)) == sorted(whole)
    for rank, share in enumerate(shares):
        parts = [World(rank, size).share(part) for part in np.split(whole, batches)]
        assert np.array_equal(share, np.concatenate(parts))


def test_one_process_alone_changes_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with join("cpu") as world:
        assert world == ALONE
    layer = nn.Sequential(nn.BatchNorm1d(3))
    world.share_layers(layer)
    assert type(layer[0]) is nn.BatchNorm1d
    with pytest.raises(ZeroDivisionError):  # what goes wrong goes through as it is
        world.together(lambda: 1 / 0)


@pytest.mark.parametrize("own", [nn.BatchNorm2d(5, affine=False), nn.BatchNorm2d(5), nn.BatchNorm1d(5)])
def test_shared_batch_norm_is_torchs_own_where_all_processes_see_the_same(own, monkeypatch):
    # Two processes with equal batches: a sum over them is twice the own, and the statistics are those of one.
    monkeypatch.setattr("training.distributed.dist.all_reduce", lambda tensor: tensor.mul_(2))
    torch.manual_seed(0)
    if own.affine:
        nn.init.normal_(own.weight)
    x = torch.randn(6, 5, 4, 4) * 3 + 100 if isinstance(own, nn.BatchNorm2d) else torch.randn(6, 5) * 3 + 100
    shared = nn.Sequential(_SharedBatchNorm(own, 2))
    names = list(shared[0].state_dict())
    assert names == list(own.state_dict())
    drawn = shared(x)
    running = own.running_var.clone()
    own.reset_running_stats()
    torch.testing.assert_close(drawn, own(torch.cat([x, x]))[:6], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(running, own.running_var)
    torch.testing.assert_close(shared.eval()(x), own.eval()(x))
