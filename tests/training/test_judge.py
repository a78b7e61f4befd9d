"""A judge learns, remembers what it learned in a file, and says what is wrong with one that it cannot read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.packed import load_packed
from training.judge import Judge, JudgeConfig, JudgeError, JudgeNetwork, judge_accuracy
from training.judge_training import judge_config, train_judge


@pytest.fixture(scope="module")
def config(faces):
    return JudgeConfig(load_packed(faces).emotions, 16, 1, widths=(8, 16), epochs=30, batch=20, lr=1e-2)


@pytest.fixture(scope="module")
def judge(faces, config):
    data = load_packed(faces)
    return train_judge(data.images, data.labels, data.labels.argmax(1), config)


def test_a_judge_learns_what_the_labels_say(judge, faces):
    data = load_packed(faces)
    accuracy = judge_accuracy(judge, data)
    chance = np.bincount(data.labels.argmax(1)).max() / len(data)
    assert accuracy["votes"] > 0.8 > 2 * chance
    assert set(accuracy) == {"votes", "votes_balanced", "given"}
    _, votes, given = judge.judge(data.images)
    assert (given.argmax(1) == data.labels.argmax(1)).mean() > 0.8
    np.testing.assert_allclose(votes.sum(1), 1, atol=1e-5)


def test_a_judge_sees_no_difference_in_a_mirror_or_in_another_light(judge, faces):
    images = load_packed(faces).images[:8]
    features, votes, _ = judge.judge(images)
    mirrored, same, _ = judge.judge(np.ascontiguousarray(images[:, :, :, ::-1]))
    np.testing.assert_allclose(features, mirrored, atol=1e-4)
    np.testing.assert_allclose(votes, same, atol=1e-4)
    darker, _, _ = judge.judge((images // 2 + 10).astype(np.uint8))
    assert np.abs(darker - features).mean() < 0.1 * features.mean() + 0.05


def test_a_judge_gives_each_face_the_same_features_in_any_company(judge, faces):
    images = load_packed(faces).images
    np.testing.assert_allclose(judge.judge(images)[0][5:6], judge.judge(images[5:6])[0], atol=1e-4)


def test_the_same_training_gives_the_same_judge(faces, config):
    data = load_packed(faces)
    short = JudgeConfig(data.emotions, 16, 1, widths=(8, 16), epochs=1, batch=28)
    one, two = (train_judge(data.images, data.labels, None, short).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_judge_survives_its_file(judge, faces, tmp_path):
    judge.card["note"] = "kept"
    judge.save(tmp_path / "judge.safetensors")
    again = Judge.load(tmp_path / "judge.safetensors")
    assert (again.config, again.card["note"]) == (judge.config, "kept")
    images = load_packed(faces).images[:20]
    np.testing.assert_allclose(again.judge(images)[1], judge.judge(images)[1], atol=0.02)


def test_files_that_are_no_judges_are_named(judge, tmp_path):
    with pytest.raises(JudgeError, match=r"there is no judge .*none"):
        Judge.load(tmp_path / "none.safetensors")
    path = tmp_path / "judge.safetensors"
    judge.save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(JudgeError, match="damaged or no judge"):
        Judge.load(path)


@pytest.mark.parametrize("kind", ["a", "b"])
def test_both_kinds_fit_48_pixels_and_are_unlike(kind, faces):
    data = load_packed(faces)
    config = judge_config(kind, data, epochs=3)
    assert (config.resolution, config.epochs) == (16, 3)
    features, votes, given = JudgeNetwork(config)(torch.randn(2, 1, 48, 48))
    assert features.shape == (2, config.widths[-1])
    assert votes.shape == given.shape == (2, 7)
    with pytest.raises(JudgeError, match="no kind of judge 'z'"):
        judge_config("z", data)
    assert JudgeNetwork(judge_config("a", data)).stem != JudgeNetwork(judge_config("b", data)).stem


def test_a_judge_whose_loss_is_not_finite_stops(faces):
    data = load_packed(faces)
    wild = JudgeConfig(data.emotions, 16, 1, widths=(8, 16), epochs=20, batch=28, lr=1e30)
    with pytest.raises(JudgeError, match="stopped being finite at step"):
        train_judge(data.images, data.labels, None, wild)
