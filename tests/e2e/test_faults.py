"""Faults, against real processes: what was sent is counted, and so is what became of it."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Wire, head, post, refused
from tests.e2e.trials import PATIENCE, Tally, Trial, files, trial
from tests.service.serving import until_now


@pytest.fixture(scope="module")
def unbroken(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A service for all tests that leave it as it was."""
    with trial(weights, tmp_path_factory.mktemp("faults"), queue_limit=64, request_seconds=3) as that:
        yield that


def test_over_the_limit_each_is_drawn_or_told_when_to_come_back(unbroken: Trial) -> None:
    tally = Tally()
    with unbroken.faces() as count:
        wires = [unbroken.ask(tally, f"wait-{n}") for n in range(200)]
        until_now(lambda: count("refused") == 136, PATIENCE)
        unbroken.gate.touch()
        for wire in wires:
            answer = tally.read(wire)
            assert answer
            assert (answer.status == 503) == ("retry-after" in answer.headers)
        tally.check(sent=200, answered=64, refused=136)
        tally.read(unbroken.ask(tally, "after"))
        tally.check(sent=201, answered=65)
        assert count("made") == 65


def test_faces_of_clients_that_left_are_not_drawn(unbroken: Trial) -> None:
    tally = Tally()
    drawn = unbroken.metric("emoface_batch_faces_sum")
    with unbroken.faces() as count:
        stays = unbroken.ask(tally, "wait-here")
        unbroken.blocked()
        leave = [unbroken.ask(tally, f"leaves-{n}") for n in range(50)]
        unbroken.waiting(51)
        for wire in leave:
            wire.close()
            tally.left += 1
        unbroken.waiting(1)
        assert count("abandoned") == 50
        unbroken.gate.touch()
        tally.read(stays)
        tally.read(unbroken.ask(tally, "comes after"))
        tally.check(sent=52, answered=2, left=50)
        assert count("made") == 2
        assert unbroken.metric("emoface_batch_faces_sum") - drawn == 2


def test_clients_that_send_half_are_told_and_the_others_do_not_notice(unbroken: Trial) -> None:
    slow, quick = Tally(), Tally()
    began = time.monotonic()
    bodies, heads, silent = ([unbroken.wire() for _ in range(count)] for count in (100, 50, 50))
    for number, wire in enumerate(bodies):
        first, second = post("/generate", emotion="happy", seed=number)
        slow.send(wire, first, second[: len(second) // 2])
    for wire in heads:
        slow.send(wire, head("/healthz")[:20])
    asking = unbroken.wire()
    took = []
    while any(wire.open for wire in (*bodies, *heads, *silent)):
        asked = time.monotonic()
        quick.read(quick.send(asking, *post("/generate", emotion="sad", seed=quick.sent)))
        took.append(time.monotonic() - asked)
        assert asked - began < PATIENCE
    assert time.monotonic() - began > 3
    assert max(took) < 3
    quick.check(refused=0)
    for wire in (*bodies, *heads):
        slow.read(wire, refusal=408)
        assert wire.rest() == b""
    slow.check(sent=150, refused=150)
    assert [wire.rest() for wire in silent] == [b""] * 50
    print(f"{quick.answered} others were answered, the slowest in {max(took):.3f} s")


def test_a_thousand_idle_connections_hinder_nobody(weights: Path, tmp_path: Path) -> None:
    """And what is in work at SIGTERM is delivered."""
    tally = Tally()
    # It starts with what systems give at first, where a thousand would be too many.
    with files(1024), trial(weights, tmp_path, request_seconds=600, grace_seconds=60) as that, files(4096):
        idle = [that.wire() for _ in range(1000)]
        took = []
        for number in range(50):
            asked = time.monotonic()
            tally.read(that.ask(tally, str(number)))
            took.append(time.monotonic() - asked)
        tally.check(sent=50, answered=50)
        assert max(took) < 5
        print(f"the slowest was answered in {max(took):.3f} s, the middle one in {sorted(took)[25]:.3f}")
        assert sum(wire.open for wire in idle) == 1000
        wires = [that.ask(tally, f"wait-{n}") for n in range(8)]
        that.waiting(8)
        that.service.process.send_signal(signal.SIGTERM)
        until_now(lambda: _refused(that), PATIENCE)
        assert [wire.rest() for wire in idle] == [b""] * 1000
        that.gate.touch()
        answers = [tally.read(wire) for wire in wires]
        tally.check(sent=58, answered=58)
        assert {answer.headers["connection"] for answer in answers if answer} == {"close"}
        assert that.end() == (0, [])


def _refused(that: Trial) -> bool:
    try:
        that.wire()
    except ConnectionRefusedError:
        return True
    return False


def test_nothing_is_lost_by_clients_that_go_when_it_is_not_ready_any_more(weights: Path, tmp_path: Path) -> None:
    tally, gone = Tally(), threading.Event()
    with trial(weights, tmp_path, drain_seconds=600) as that:

        def load(client: int) -> None:
            number = 0
            with Wire(that.service.url) as wire:
                while not gone.is_set():
                    number += 1
                    tally.send(wire, *post("/generate", emotion="happy", seed=f"{client}-{number}"))
                    if tally.read(wire) is None:
                        return

        def watch() -> None:
            until_now(lambda: that.status("/readyz") == 503, PATIENCE)
            gone.set()

        clients = [threading.Thread(target=load, args=(client,)) for client in range(8)]
        watching = threading.Thread(target=watch)
        for thread in (*clients, watching):
            thread.start()
        try:
            until_now(lambda: tally.answered > 100, PATIENCE)
            that.service.process.send_signal(signal.SIGTERM)
            watching.join(PATIENCE)
        finally:
            gone.set()
        for thread in clients:
            thread.join(PATIENCE)
        tally.check(refused=0)
        print(f"{tally.answered} were answered")
        that.service.process.send_signal(signal.SIGTERM)  # nobody new comes: it need not drain any longer
        assert that.end() == (0, [])


@pytest.mark.parametrize("callers", [1, 2])  # with one the pool encodes, with more they do it themselves
def test_an_encoder_that_hangs_holds_nobody_for_ever(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    monkeypatch.setenv("FAULTS_CALLERS", str(callers))
    tally = Tally()
    with trial(weights, tmp_path, deadline_seconds=3, grace_seconds=2, encoder_threads=2) as that:
        hanging = [that.ask(tally, "hang-1")]
        that.drawn(batches=1)
        for number in range(10):  # the other thread encodes them
            tally.read(that.ask(tally, str(number)))
        tally.check(sent=11, answered=10, open=1)
        hanging.append(that.ask(tally, "hang-2"))
        that.drawn(batches=12)
        for wire in (*hanging, *(that.ask(tally, f"late-{number}") for number in range(10))):
            answer = tally.read(wire)
            assert answer
            assert int(answer.headers["retry-after"]) >= 1
        tally.check(sent=22, answered=10, refused=12)
        assert that.status("/healthz") == 200
        assert that.status("/readyz") == 503, "all encoders have hung for longer than a face may take"
        that.service.process.send_signal(signal.SIGTERM)
        assert that.end() == (0, [])


def test_when_the_inference_thread_dies_all_are_told_and_the_process_ends(weights: Path, tmp_path: Path) -> None:
    tally = Tally()
    with trial(weights, tmp_path) as that:
        first = that.ask(tally, "wait")
        that.blocked()
        rest = [that.ask(tally, seed) for seed in ("exit", *map(str, range(6)))]
        for wire in rest:
            tally.send(wire, head("/readyz"))  # is asked as soon as the face has been answered
        that.waiting(8)
        that.gate.touch()
        tally.read(first)
        for wire in rest:
            tally.read(wire)
            tally.read(wire)
        tally.check(sent=15, answered=1, refused=14)
        code, (reason, sentence) = that.end()
        assert code == 1
        assert "out of the blue" in json.loads(reason)["exception"]
        assert sentence.startswith("emoface: an inference thread has ended")


def test_weights_that_were_damaged_between_two_starts_are_refused(weights: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(weights, tmp_path))
    tally = Tally()
    with trial(path, tmp_path) as that:
        tally.read(that.ask(tally, "1"))
        that.service.process.send_signal(signal.SIGTERM)
        assert that.end() == (0, [])
    tally.check(sent=1, answered=1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert str(path) in refused("serve", "--host", "127.0.0.1", "--port", "0", "--weights", str(path))
