"""API keys: what a file of them may hold, how they are kept, and that they are read again."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emoface.cli import app
from service.access.keys import KeyRing, KeysError, add_key, new_key


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_known_by_its_hash_alone() -> None:
    key, line = new_key("alice")
    assert key not in line
    assert line == f"alice:{hashlib.sha256(key.encode()).hexdigest()}"
    ring = KeyRing([line, f"bob:{'0' * 64}:5/minute"])
    found = ring.find(key)
    assert found is not None
    assert found.name == "alice"
    for wrong in ("", key[:-1], key + "a", key.swapcase(), line, found.digest, "ключ", "\udcff"):
        assert ring.find(wrong) is None


def test_keys_differ() -> None:
    assert len({new_key("a")[0] for _ in range(100)}) == 100


def test_a_file_has_comments_empty_lines_and_rates(tmp_path: Path) -> None:
    (one, first), (two, second) = new_key("one"), new_key("two")
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{first}\n  {second}:20/second; 100 per minute  \n")
    ring = KeyRing(file=file)
    assert [(key.name, key.rate) for key in map(ring.find, (one, two)) if key] == [
        ("one", None),
        ("two", "20/second; 100 per minute"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no key in"),
        ("# nobody\n", "there is no key in"),
        (f"a:{'0' * 63}\n", "in line 1 of"),
        (f"\nno name:{'0' * 64}\n", "in line 2 of"),
        (f"a:{'0' * 64}:often\n", "the rate of the key 'a' in line 1"),
        (f"a:{'0' * 64}:0/minute\n", "the rate of the key 'a'"),
        (f"a:{'0' * 64}\na:{'1' * 64}\n", "two keys are called 'a'"),
        ("\xff\xfe", "it is no text"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeysError) as caught:
        KeyRing(file=file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_was_written_down_itself_is_not_repeated(tmp_path: Path) -> None:
    key, _ = new_key("a")
    file = tmp_path / "keys"
    file.write_text(key)
    with pytest.raises(KeysError) as caught:
        KeyRing(file=file)
    assert key not in str(caught.value)


def test_no_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        KeyRing(file=tmp_path / "none")


def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (old, first), (new, second) = new_key("old"), new_key("new")
    file, clock = tmp_path / "keys", Clock()
    file.write_text(first + "\n")
    ring = KeyRing(file=file, clock=clock)
    file.write_text(second + "\n")
    assert ring.find(new) is None, "it looks at most once a second"
    clock.now += 1.5
    assert ring.find(new) is not None
    assert ring.find(old) is None, "who was taken out is out"
    with caplog.at_level(logging.ERROR):
        file.write_text("broken\n")
        clock.now += 1.5
        assert ring.find(new) is not None
        file.unlink()
        clock.now += 1.5
        assert ring.find(new) is not None
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert [error.startswith("the keys stay as they were: ") for error in errors] == [True, True]
    file.write_text(first + "\n")
    clock.now += 1.5
    assert ring.find(old) is not None, "a file that is whole again counts again"


def test_adding_to_a_file_keeps_what_is_there_and_makes_it_private(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    (one, first), (two, second) = new_key("one"), new_key("two")
    add_key(file, first)
    assert os.stat(file).st_mode & 0o077 == 0
    file.write_text("# ours\n" + file.read_text().rstrip("\n"))  # somebody's editor writes no last newline
    add_key(file, second)
    ring = KeyRing(file=file)
    assert None not in (ring.find(one), ring.find(two))
    with pytest.raises(KeysError, match="two keys are called 'one'"):
        add_key(file, first)
    assert file.read_text().count("one:") == 1
    with pytest.raises(KeysError, match="cannot be written"):
        add_key(tmp_path, first)


def test_the_command_prints_the_key_once_and_keeps_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = CliRunner().invoke(app, ["key", "alice", "--file", str(file)])
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key not in file.read_text()
    found = KeyRing(file=file).find(key)
    assert found is not None
    assert found.name == "alice"
    again = CliRunner().invoke(app, ["key", "alice", "--file", str(file)])
    assert (again.exit_code, again.stdout) == (1, "")
    assert "two keys are called 'alice'" in again.stderr
    bare = CliRunner().invoke(app, ["key", "bob"])
    assert KeyRing([bare.stderr.strip().splitlines()[-1]]).find(bare.stdout.strip()) is not None
    assert CliRunner().invoke(app, ["key", "no name"]).exit_code == 1
