"""FER-2013 from Kaggle's tables to a packed data set."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.emotions import FER2013, FERPLUS
from tests.training.data.fer_sources import (
    REAL_OR_DRAWN,
    REAL_TABLE,
    REAL_VOTES,
    Row,
    drawn_rows,
    first_rows,
    mixed_rows,
    pack_table,
    table_text,
    votes,
    write_table,
    write_votes,
)
from training.data.errors import DataError
from training.data.fer2013 import prepare_fer2013
from training.data.ferplus import NO_FACE, UNCLEAR, VOTES, label_from_votes
from training.data.packed import load_packed
from training.data.report import BadRow
from training.vote_labels import training_labels


@pytest.mark.real_data
@pytest.mark.parametrize("faces", [REAL_OR_DRAWN])
def test_first_rows_with_ferplus(tmp_path: Path, faces: str) -> None:
    rows, opinions = first_rows(300)
    source = pack_table(tmp_path, table_text(rows), "fer2013.csv", ".xz")
    report = prepare_fer2013(source, tmp_path / "x.zip", ferplus=write_votes(tmp_path / "fer2013new.csv", opinions))
    data = load_packed(tmp_path / "x.zip")
    assert data.emotions == FERPLUS
    kept = [int(name[9:17]) for name in data.names]
    assert report.rows == 300
    assert report.written == len(kept) == 300 - report.skipped_total
    for position, row in enumerate(kept):
        np.testing.assert_array_equal(data.images[position, 0], rows[row].image())
        label, _ = label_from_votes([int(count) for count in opinions[row][2:]])
        np.testing.assert_allclose(data.labels[position], np.array(label), atol=1e-6)
        assert data.given is not None
        assert data.given[position] == int(rows[row].emotion)
        assert data.votes is not None
        assert data.votes[position].tolist() == [int(count) for count in opinions[row][2:]]
    assert data.vote_names == VOTES
    left_out = sorted(line - 2 for lines in report.skipped.values() for line in lines)
    assert sorted(kept + left_out) == list(range(300))
    for row in left_out:
        assert not opinions[row][1] or label_from_votes([int(n) for n in opinions[row][2:]])[0] is None
    if faces == "real FER-2013 rows":
        assert data.images[0, 0, 0, :4].tolist() == [70, 80, 82, 72]
        assert data.labels[0].tolist() == pytest.approx([3 / 9, 2 / 9, 0, 0, 0, 0, 4 / 9, 0])


@pytest.mark.real_data
@pytest.mark.skipif(REAL_OR_DRAWN == "drawn faces", reason="needs the real FER-2013 and FER+ in ../shared/data")
def test_all_of_the_real_private_test(tmp_path: Path) -> None:
    report = prepare_fer2013(REAL_TABLE, tmp_path / "x.zip", ferplus=REAL_VOTES, split="PrivateTest")
    assert (report.rows, report.written, report.bad) == (3589, 3546, [])
    assert {reason: len(lines) for reason, lines in report.skipped.items()} == {NO_FACE: 15, UNCLEAR: 28}
    data = load_packed(tmp_path / "x.zip")
    assert data.images.shape == (3546, 1, 48, 48)
    assert data.labels.sum() == pytest.approx(3546, rel=1e-5)
    labels, shown = training_labels(data)
    assert shown.all()
    assert (labels.argmax(axis=1) != data.labels.argmax(axis=1)).sum() == 227


@pytest.mark.parametrize("layout", ["fer2013.csv", "icml_face_data.csv"])
@pytest.mark.parametrize("how", ["", ".xz", ".gz", ".zip", ".tar.gz"])
def test_every_layout_gives_the_same_images(tmp_path: Path, layout: str, how: str) -> None:
    rows = mixed_rows()
    source = pack_table(tmp_path, table_text(rows, layout), layout, how)
    report = prepare_fer2013(source, tmp_path / "x.zip")
    data = load_packed(tmp_path / "x.zip")
    assert (report.rows, report.written, report.skipped, report.bad) == (8, 8, {}, [])
    assert data.emotions == FER2013
    assert data.labels.argmax(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    np.testing.assert_array_equal(data.labels.sum(1), 1)
    np.testing.assert_array_equal(data.images[:, 0], np.stack([row.image() for row in rows[:8]]))
    assert report.counts == {**dict.fromkeys(FER2013, 1), "angry": 2}
    assert report.mass == pytest.approx({**dict.fromkeys(FER2013, 1.0), "angry": 2.0})
    plain = pack_table(tmp_path, table_text(rows, layout), "plain.csv", "")
    prepare_fer2013(plain, tmp_path / "plain.zip")
    assert (tmp_path / "plain.zip").read_bytes() == (tmp_path / "x.zip").read_bytes()
    assert data.meta["csv_sha256"] == hashlib.sha256(plain.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("training", range(8)),
        ("Train", range(8)),
        ("PublicTest", [8, 9]),
        ("privatetest", [10, 11]),
        ("test", range(8, 12)),
    ],
)
def test_split_takes_its_rows_under_their_own_numbers(tmp_path: Path, split: str, rows: list[int]) -> None:
    prepare_fer2013(write_table(tmp_path / "fer2013.csv", mixed_rows()), tmp_path / "x.zip", split=split)
    assert load_packed(tmp_path / "x.zip").names == [f"00000/img{row:08d}.png" for row in rows]


def refuse(tmp_path: Path, source: Path, message: str, **options: object) -> None:
    """Preparing fails with one sentence, and neither a new file nor a leftover remains."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message) as caught:
        prepare_fer2013(source, tmp_path / "x.zip", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_split_that_is_unknown_or_empty_is_refused(tmp_path: Path) -> None:
    source = write_table(tmp_path / "fer2013.csv", drawn_rows(3))
    refuse(tmp_path, source, "unknown split 'validation'; choose one of training, publictest", split="validation")
    refuse(tmp_path, source, "no rows of the split 'publictest'", split="publictest")


GOOD = drawn_rows(120)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"0,{GOOD[0].pixels[:-4]},Training", "2,303 pixels instead of 2,304"),
        (f"0,{GOOD[0].pixels} 7,Training", "2,305 pixels instead of 2,304"),
        ("0,,Training", "0 pixels instead of 2,304"),
        (f"0,256 {GOOD[0].pixels.split(' ', 1)[1]},Training", "pixel value '256' is not one of 0 to 255"),
        (f"0,-1 {GOOD[0].pixels.split(' ', 1)[1]},Training", "pixel value '-1' is not one of 0 to 255"),
        (f"0,7e1 {GOOD[0].pixels.split(' ', 1)[1]},Training", "pixel value '7e1' is not one of 0 to 255"),
        (f"7,{GOOD[0].pixels},Training", "emotion '7' is not one of 0 to 6"),
        (f"-1,{GOOD[0].pixels},Training", "emotion '-1' is not one of 0 to 6"),
        (f",{GOOD[0].pixels},Training", "emotion '' is not one of 0 to 6"),
        (f"0,{GOOD[0].pixels},Trainin", "the Usage 'Trainin' is unknown"),
        (f"0,{GOOD[0].pixels}", "not a row with the columns of the first line"),
        (f'0,"{GOOD[0].pixels},Training', "not a row with the columns of the first line"),
        ("\udcff\udcfe\x00", "not a row with the columns of the first line"),
        (f"0,{'1 ' * 2_000_000},Training", "not a row with the columns of the first line"),
    ],
)
def test_damaged_row_is_reported_and_the_others_are_kept(tmp_path: Path, line: str, reason: str) -> None:
    lines = table_text(GOOD).splitlines()
    lines[57] = line  # line 58 in an editor, row 56 after the header
    source = tmp_path / "fer2013.csv"
    source.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    report = prepare_fer2013(source, tmp_path / "x.zip")
    assert report.bad == [BadRow(58, reason)]
    assert str(report.bad[0]) == f"line 58: {reason}"
    assert (report.rows, report.written) == (120, 119)
    data = load_packed(tmp_path / "x.zip")
    assert [int(name[9:17]) for name in data.names] == [row for row in range(120) if row != 56]
    np.testing.assert_array_equal(data.images[56, 0], GOOD[57].image())
    assert data.meta["bad"] == 1


def test_more_than_one_per_cent_of_damage_is_refused(tmp_path: Path) -> None:
    rows = drawn_rows(200)
    for row in (10, 20):
        rows[row] = replace(rows[row], emotion="9")
    source = write_table(tmp_path / "fer2013.csv", rows)
    assert len(prepare_fer2013(source, tmp_path / "x.zip").bad) == 2
    (tmp_path / "x.zip").unlink()
    rows[30] = replace(rows[30], pixels="1 2 3")
    write_table(source, rows)
    refuse(tmp_path, source, "3 of 200 rows of .* are damaged, more than 1%, .* first is line 12: emotion '9'")


def test_damage_in_other_splits_does_not_count(tmp_path: Path) -> None:
    rows = mixed_rows()
    rows[9] = replace(rows[9], pixels="1 2 3")
    source = write_table(tmp_path / "fer2013.csv", rows)
    assert prepare_fer2013(source, tmp_path / "x.zip").bad == []


def test_blank_lines_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    rows = mixed_rows()
    text = "\ufeff" + table_text(rows).replace("\n", "\r\n") + "\r\n\r\n"
    (tmp_path / "fer2013.csv").write_bytes(text.encode())
    report = prepare_fer2013(tmp_path / "fer2013.csv", tmp_path / "x.zip", split="test")
    assert (report.written, report.bad) == (4, [])
    np.testing.assert_array_equal(load_packed(tmp_path / "x.zip").images[-1, 0], rows[-1].image())


def with_votes(tmp_path: Path, rows: list[Row], opinions: list[list[str]]) -> tuple[Path, Path]:
    source = write_table(tmp_path / "fer2013.csv", rows)
    return source, write_votes(tmp_path / "fer2013new.csv", opinions)


def test_rows_that_ferplus_leaves_out_are_skipped_not_bad(tmp_path: Path) -> None:
    rows = mixed_rows()
    opinions = [votes(row, number) for number, row in enumerate(rows)]
    opinions[2][1] = ""
    opinions[5][2:] = ["0"] * 8 + ["10", "0"]
    source, ferplus = with_votes(tmp_path, rows, opinions)
    report = prepare_fer2013(source, tmp_path / "x.zip", ferplus=ferplus)
    assert report.skipped == {NO_FACE: [4], UNCLEAR: [7]}
    assert (report.rows, report.written, report.bad) == (8, 6, [])
    data = load_packed(tmp_path / "x.zip")
    assert [int(name[9:17]) for name in data.names] == [0, 1, 3, 4, 6, 7]
    # Seven votes for the row's emotion and two for neutral; the single one for surprise is an outlier.
    assert data.labels[0].tolist() == pytest.approx([7 / 9, 0, 0, 0, 0, 0, 2 / 9, 0])
    assert data.meta["skipped"] == {NO_FACE: 1, UNCLEAR: 1}
    assert report.mass["angry"] == pytest.approx(14 / 9)
    assert sum(report.counts.values()) == 6


def test_votes_of_another_table_are_refused(tmp_path: Path) -> None:
    rows = mixed_rows()
    opinions = [votes(row, number) for number, row in enumerate(rows)]
    source, ferplus = with_votes(tmp_path, rows, opinions[:-1])
    refuse(tmp_path, source, "votes for 11 rows, but .* goes on at line 13", ferplus=ferplus)
    write_votes(ferplus, [*opinions, opinions[-1]])
    refuse(tmp_path, source, "ends after 12 rows, but FER\\+ has votes for 13", ferplus=ferplus)
    opinions[4][0] = "PublicTest"
    write_votes(ferplus, opinions)
    refuse(tmp_path, source, "line 6 of .* is of 'Training', but FER\\+ has it as 'PublicTest'", ferplus=ferplus)


def test_sources_that_are_no_table_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path, tmp_path / "none.csv", "none.csv does not exist")
    source = tmp_path / "fer2013.csv"
    source.write_text("")
    refuse(tmp_path, source, "no column 'emotion'")
    source.write_text("emotion,pixels\n0,1 2 3\n")
    refuse(tmp_path, source, "no column 'Usage' in its first line")
    source.write_bytes(b"PK\x03\x04 not really")
    refuse(tmp_path, source, "damaged or cut off")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("train/happy/1.jpg", b"")
    refuse(tmp_path, source, "no CSV file where one is expected: unpack it")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("a.csv", b"")
        archive.writestr("b.csv", b"")
    refuse(tmp_path, source, r"2 CSV files \(a.csv, b.csv\)")


def test_kaggles_archive_of_many_tables_knows_which_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "challenge.zip", "w") as archive:
        archive.writestr("train.csv", "emotion,pixels\n")
        archive.writestr("icml_face_data.csv", table_text(mixed_rows(), "icml_face_data.csv"))
    assert prepare_fer2013(tmp_path / "challenge.zip", tmp_path / "x.zip").written == 8


@pytest.mark.parametrize("how", [".xz", ".gz", ".zip", ".tar.gz"])
def test_archive_that_is_cut_off_is_a_sentence(tmp_path: Path, how: str) -> None:
    source = pack_table(tmp_path, table_text(drawn_rows(40)), "fer2013.csv", how)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    refuse(tmp_path, source, "damaged or cut off")


def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    source = pack_table(tmp_path, table_text(drawn_rows(3)), "fer2013.csv", ".zip")
    content = source.read_bytes()
    with pytest.raises(DataError, match="is the source itself"):
        prepare_fer2013(source, source)
    assert source.read_bytes() == content
    with pytest.raises(DataError, match=r"must end in \.zip"):
        prepare_fer2013(source, tmp_path / "out.tar")
    with pytest.raises(DataError, match=r"folder .* does not exist"):
        prepare_fer2013(source, tmp_path / "none" / "x.zip")


def test_progress_goes_from_start_to_end(tmp_path: Path) -> None:
    source = write_table(tmp_path / "fer2013.csv", drawn_rows(600))
    seen: list[tuple[int, int]] = []
    prepare_fer2013(source, tmp_path / "x.zip", progress=lambda done, total: seen.append((done, total)))
    size = source.stat().st_size
    assert len(seen) > 2
    assert {total for _, total in seen} == {size}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (size, size)


def test_table_is_read_as_it_goes(tmp_path: Path) -> None:
    """Half way through the rows, no more than about half of the file has been read."""
    source = write_table(tmp_path / "fer2013.csv", drawn_rows(600))
    seen: list[float] = []
    prepare_fer2013(source, tmp_path / "x.zip", progress=lambda done, total: seen.append(done / total))
    assert seen[0] < 0.1
    assert 0.4 < seen[1] < 0.5  # row 256 of 600


# Says when it is in the middle of writing, and waits there to be stopped.
# Ctrl-C works as on a terminal: a test run in the background may have been told to ignore it.
WAITING = """
import signal, sys, time
from pathlib import Path
from training.data.fer2013 import prepare_fer2013
signal.signal(signal.SIGINT, signal.default_int_handler)
def progress(done, total):
    if done > total // 2:
        print("half way", flush=True)
        for _ in range(600):
            time.sleep(0.1)  # a single long sleep would sleep on if the signal came just before it
prepare_fer2013(Path(sys.argv[1]), Path(sys.argv[2]), progress=progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_run_leaves_no_half_file(tmp_path: Path, number: signal.Signals) -> None:
    source = write_table(tmp_path / "fer2013.csv", drawn_rows(600))
    out = tmp_path / "x.zip"
    out.write_bytes(b"old")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(source), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half way\n"
    assert len(list(tmp_path.iterdir())) == 3, "the unfinished file is there"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143}[number], errors.decode()
    assert b"Exception ignored" not in errors
    assert sorted(tmp_path.iterdir()) == [source, out]
    assert out.read_bytes() == b"old"
