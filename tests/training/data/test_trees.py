"""A folder and a zip of it are read alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.training.data.picture_sources import zip_of
from training.data import trees
from training.data.errors import DataError
from training.data.trees import Tree, refuse_overwriting


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "b" / "c").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"one")
    (root / "b" / "c" / "d.txt").write_bytes(b"two")
    (root / "b" / ".hidden").write_bytes(b"no")
    (root / ".git").mkdir()
    (root / ".git" / "x.txt").write_bytes(b"no")
    return root


def test_zip_reads_as_the_folder(tmp_path: Path, folder: Path) -> None:
    with Tree(folder) as plain, Tree(zip_of(folder, tmp_path / "x.zip")) as packed:
        assert plain.files == ["a.txt", "b/c/d.txt"]
        assert packed.files == [f"data/{name}" for name in plain.files]
        for name in plain.files:
            assert plain.read(name) == packed.read(f"data/{name}")
            for tree, inside in ((plain, name), (packed, f"data/{name}")):
                stream, size = tree.open(inside)
                with stream:
                    assert len(stream.read()) == size
        assert "a.txt" in plain
        assert "b" not in plain


def test_links_are_followed_once_and_pipes_left_out(folder: Path) -> None:
    (folder / "b" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "gone.jpg").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.jpg")
    with Tree(folder) as tree:
        assert tree.files == ["a.txt", "b/c/d.txt"]


def test_damage_inside_a_zip_is_told_of_that_file(tmp_path: Path, folder: Path) -> None:
    path = zip_of(folder, tmp_path / "x.zip")
    path.write_bytes(path.read_bytes().replace(b"two", b"2wo"))
    with Tree(path) as tree:
        assert tree.read("data/a.txt") == b"one"
        with pytest.raises(ValueError, match="damaged in the zip"):
            tree.read("data/b/c/d.txt")
        with pytest.raises(DataError, match=r"d\.txt in .*x\.zip is no readable text"):
            tree.read_text("data/b/c/d.txt")


def test_a_file_that_vanishes_or_is_huge_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tree(folder) as tree:
        monkeypatch.setattr(trees, "MAX_FILE", 2)
        with pytest.raises(ValueError, match="larger than"):
            tree.read("a.txt")
        (folder / "a.txt").unlink()
        with pytest.raises(ValueError, match="cannot be read"):
            tree.read("a.txt")


def test_what_is_no_source_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="none does not exist"), Tree(tmp_path / "none"):
        pass
    with pytest.raises(DataError, match="neither a folder nor an undamaged zip"), Tree(folder / "a.txt"):
        pass
    with pytest.raises(DataError, match="is the source itself"):
        refuse_overwriting(folder / "a.txt", tmp_path, folder / "b" / ".." / "a.txt")
