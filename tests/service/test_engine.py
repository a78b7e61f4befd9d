"""The engine by itself: batching, bounds, cancellation and faults."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from model import EmotionMix, FaceRequest, encode_face
from model.emotions import FER2013
from service.engine import DeadlineExceeded, Encoding, Engine, EngineFailed, EngineStopped, Picture, QueueFull
from tests.service.serving import StubSampler, until


def wish(seed: int) -> FaceRequest:
    return FaceRequest(EmotionMix.parse("happy", FER2013), seed)


def with_engine(
    test: Callable[[Engine, StubSampler], Awaitable[None]],
    *,
    limit: int = 100,
    batch_size: int = 32,
    callers: int = 1,
    **settings: Any,
) -> StubSampler:
    """Run a coroutine function against a started engine, and stop the engine whatever happens."""
    sampler = StubSampler()
    sampler.batch_size = batch_size
    sampler.callers = callers

    async def main() -> None:
        engine = Engine(sampler, limit=limit, encoder_threads=2, **settings)
        engine.start()
        try:
            await test(engine, sampler)
        finally:
            sampler.gate.set()
            await asyncio.to_thread(engine.stop)
        assert not engine.alive
        assert engine.unanswered == 0

    asyncio.run(main())
    return sampler


async def ask(engine: Engine, *seeds: int) -> list[asyncio.Task[Picture]]:
    """Ask for faces, and come back when all of them are in the queue."""
    tasks = [asyncio.create_task(engine.face(wish(seed), Encoding())) for seed in seeds]
    await asyncio.sleep(0)
    return tasks


async def occupy(engine: Engine, sampler: StubSampler) -> asyncio.Task[Picture]:
    """Keep the inference thread busy with seed 0 until the gate opens."""
    sampler.gate.clear()
    (task,) = await ask(engine, 0)
    await until(sampler.entered.is_set)
    return task


def test_takes_what_is_queued_up_to_the_largest_batch() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        rest = await ask(engine, 1, 2, 3, 4, 5)
        sampler.gate.set()
        await asyncio.gather(first, *rest)

    sampler = with_engine(scenario, batch_size=3)
    assert [[r.seed for r in batch] for batch in sampler.batches] == [[0], [1, 2, 3], [4, 5]]


def test_every_face_goes_to_who_asked_for_it() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        sizes = [None, 48, 64, 300, 48, None]
        formats: list[Any] = ["png", "jpeg", "webp", "png", "png", "webp"]
        wishes = [(wish(n), Encoding(size, kind)) for n, (size, kind) in enumerate(zip(sizes, formats, strict=True))]
        answers = await asyncio.gather(*(engine.face(request, encoding) for request, encoding in wishes))
        for answer, (request, encoding) in zip(answers, wishes, strict=True):
            pixels = StubSampler().sample([request])[0]
            assert answer.content == encode_face(pixels, encoding.size, encoding.format)

    with_engine(scenario)


def test_a_cancelled_face_is_never_computed() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        tasks = await ask(engine, 1, 2, 3)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert engine.unanswered == 3
        sampler.gate.set()
        await asyncio.gather(first, tasks[0], tasks[2])

    assert with_engine(scenario).seeds == [0, 1, 3]


def test_a_face_cancelled_while_it_is_computed_is_dropped_and_the_others_arrive() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        first.cancel()
        await asyncio.wait([first])
        (second,) = await ask(engine, 1)
        sampler.gate.set()
        assert await second

    with_engine(scenario)


def test_the_bound_counts_unanswered_faces_and_frees_places() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        waiting = await ask(engine, 1, 2)
        with pytest.raises(QueueFull):
            await engine.face(wish(3), Encoding())
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        (late,) = await ask(engine, 4)  # the cancelled face's place
        sampler.gate.set()
        await asyncio.gather(first, waiting[1], late)
        assert await engine.face(wish(5), Encoding())

    assert with_engine(scenario, limit=3).seeds == [0, 2, 4, 5]


def test_an_exception_fails_its_batch_only(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        doomed = await ask(engine, 1, 2)
        sampler.gate.set()
        await first
        # The second batch may have run by now without harm; make sure that one with the error does run.
        await asyncio.gather(*doomed)
        sampler.error = RuntimeError("boom")
        sampler.gate.clear()
        sampler.entered.clear()
        failing = await ask(engine, 3, 4)
        await until(sampler.entered.is_set)
        (healthy,) = await ask(engine, 5)
        sampler.gate.set()
        outcomes = await asyncio.gather(*failing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EngineFailed, EngineFailed]
        assert await healthy
        assert engine.alive

    with caplog.at_level(logging.ERROR, "service"):
        with_engine(scenario)
    assert "a batch of 2 faces failed" in caplog.text
    assert "boom" in caplog.text


def test_a_face_that_cannot_be_written_fails_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def picky(pixels: Any, size: int | None, format: str, text: Any) -> bytes:
        if size == 64:
            raise OSError("no")
        return encode_face(pixels, size, format, text)

    monkeypatch.setattr("service.engine.encoder.encode_face", picky)

    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        bad = asyncio.create_task(engine.face(wish(1), Encoding(64)))
        good = asyncio.create_task(engine.face(wish(2), Encoding(65)))
        await asyncio.sleep(0)
        sampler.gate.set()
        assert await first
        assert await good
        with pytest.raises(EngineFailed):
            await bad

    assert len(with_engine(scenario).batches) == 2
    assert "a face could not be encoded" in caplog.text


def test_as_many_batches_are_computed_at_once_as_the_sampler_can_take() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        sampler.gate.clear()
        tasks = []
        for number in range(3):
            tasks += await ask(engine, 2 * number, 2 * number + 1)
            await until(lambda n=number: len(sampler.batches) == n + 1)  # type: ignore[misc]
        tasks += await ask(engine, 6, 7)
        await asyncio.sleep(0.05)
        assert len(sampler.batches) == 3, "there is no fourth thread"
        sampler.gate.set()
        assert len({picture.content for picture in await asyncio.gather(*tasks)}) == 8

    assert sorted(with_engine(scenario, callers=3).seeds) == list(range(8))


@pytest.mark.parametrize(
    ("callers", "expected"),
    [(1, [24, 24, 2]), (3, [8, 8, 8, 4, 4, 4, 2, 2, 2, 2, 2, 2, 2])],
)
def test_a_thread_takes_all_that_fits_but_leaves_others_their_share(callers: int, expected: list[int]) -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        sampler.gate.clear()
        held = []
        for number in range(callers):
            held += await ask(engine, number)
            await until(lambda n=number: len(sampler.batches) == n + 1)  # type: ignore[misc]
        tasks = await ask(engine, *range(100, 150))
        sampler.gate.set()
        await asyncio.gather(*held, *tasks)

    batches = with_engine(scenario, callers=callers, batch_size=24).batches[callers:]
    assert sorted(map(len, batches), reverse=True) == expected
    assert sorted(request.seed for batch in batches for request in batch) == list(range(100, 150))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_one_of_several_threads_dies_all_end_and_those_that_compute_finish() -> None:
    deaths: list[int] = []

    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        (second,) = await ask(engine, 1)
        await until(lambda: len(sampler.batches) == 2)
        waiting = await ask(engine, 2, 3)
        sampler.error = SystemExit("out of the blue")
        sampler.gate.set()
        outcomes = await asyncio.wait_for(asyncio.gather(first, second, *waiting, return_exceptions=True), 10)
        assert sum(isinstance(outcome, Picture) for outcome in outcomes[:2]) == 1
        assert all(isinstance(outcome, Picture | EngineStopped) for outcome in outcomes)
        await until(lambda: not any(thread.is_alive() for thread in engine._threads))
        assert not engine.alive
        with pytest.raises(EngineStopped):
            await engine.face(wish(4), Encoding())
        assert deaths == [1]

    with_engine(scenario, callers=2, died=lambda: deaths.append(1))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_thread_dies_everybody_gets_an_answer() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        waiting = await ask(engine, 1, 2)
        sampler.error = SystemExit("out of the blue")
        sampler.gate.set()
        outcomes = await asyncio.wait_for(asyncio.gather(first, *waiting, return_exceptions=True), 10)
        assert {type(outcome) for outcome in outcomes} == {EngineStopped}
        await until(lambda: not engine.alive)
        with pytest.raises(EngineStopped):
            await engine.face(wish(3), Encoding())

    with_engine(scenario)


def test_stop_finishes_what_is_queued() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        rest = await ask(engine, 1, 2)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
        sampler.gate.set()
        assert all(await asyncio.gather(first, *rest))
        await stopping
        with pytest.raises(EngineStopped):
            await engine.face(wish(3), Encoding())

    assert with_engine(scenario).seeds == [0, 1, 2]


def test_stop_does_not_wait_for_a_sampler_that_hangs() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        await asyncio.to_thread(engine.stop, 0.05)
        assert engine.alive
        first.cancel()
        await asyncio.wait([first])

    with_engine(scenario)


def test_a_batch_comes_home_in_one_hop_and_a_large_face_in_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        loop = asyncio.get_running_loop()
        hops: list[tuple[str, int]] = []
        real = loop.call_soon_threadsafe

        def counting(callback: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(callback, "__func__", None) is Engine._resolve:
                hops.append((threading.current_thread().name.rpartition("_")[0], len(args[0])))
            return real(callback, *args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
        small = await ask(engine, *range(1, 9))
        large = asyncio.create_task(engine.face(wish(9), Encoding(512)))
        await asyncio.sleep(0)
        sampler.gate.set()
        await asyncio.gather(first, *small, large)
        assert sorted(hops) == [("emoface-encoder", 1), ("emoface-encoder", 8), ("emoface-posters", 1)]

    with_engine(scenario)


def test_of_several_inference_threads_each_encodes_the_plain_faces_that_it_has_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places: dict[int | str, str] = {}

    def encoding(face: object, size: int | None, format: str, text: Mapping[str, str] | None) -> bytes:
        assert text is not None
        places[int(text["seed"])] = threading.current_thread().name.rpartition("_")[0]
        return b"picture"

    monkeypatch.setattr("service.engine.encoder.encode_face", encoding)

    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        wishes = [Encoding(), Encoding(format="webp"), Encoding(96), Encoding(512)]
        await asyncio.gather(*(engine.face(wish(seed), encoding) for seed, encoding in enumerate(wishes)))

    with_engine(scenario, callers=2, describe=lambda request: {"seed": str(request.seed)})
    assert places == {0: "emoface-inference", 1: "emoface-encoder", 2: "emoface-encoder", 3: "emoface-posters"}


def test_small_faces_do_not_wait_for_posters(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow_for_posters(face: object, size: int | None, *rest: object) -> bytes:
        assert size is None or gate.wait(30)
        return b"picture"

    monkeypatch.setattr("service.engine.encoder.encode_face", slow_for_posters)

    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        posters = [asyncio.create_task(engine.face(wish(seed), Encoding(1024, "webp"))) for seed in range(5)]
        await asyncio.sleep(0)
        assert (await asyncio.wait_for(engine.face(wish(9), Encoding()), 30)).content == b"picture"
        assert not any(poster.done() for poster in posters)
        gate.set()
        assert [picture.content for picture in await asyncio.gather(*posters)] == [b"picture"] * 5

    with_engine(scenario)


def test_the_same_face_is_computed_once_for_all_who_ask() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        same = await ask(engine, 1, 1, 1, 2)
        assert engine.unanswered == 3
        sampler.gate.set()
        one, two, three, other = await asyncio.gather(*same)
        assert one == two == three != other
        assert one.timing is not None
        await first
        assert engine.unanswered == 0

    assert with_engine(scenario).seeds == [0, 1, 2]


def test_a_face_that_several_wait_for_survives_all_of_them_but_one() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        stays, leaves, *both = await ask(engine, 1, 1, 2, 2)
        for task in (leaves, *both):
            task.cancel()
        await asyncio.wait([leaves, *both])
        assert engine.unanswered == 2
        sampler.gate.set()
        assert (await stays).content
        await first

    assert with_engine(scenario).seeds == [0, 1]


def test_what_fails_for_one_fails_for_all_who_share_it_and_is_not_kept() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        await occupy(engine, sampler)
        sampler.error = RuntimeError("boom")
        again = await ask(engine, 0, 0)
        sampler.gate.set()
        outcomes = await asyncio.gather(*again, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EngineFailed] * 2
        assert (await engine.face(wish(0), Encoding())).content

    assert with_engine(scenario, cache_bytes=10**6).seeds == [0, 0]


def test_a_picture_made_lately_lies_ready_in_just_its_encoding() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        made = await engine.face(wish(1), Encoding())
        ready = await engine.face(wish(1), Encoding())
        assert (ready.content, ready.timing) == (made.content, None)
        assert (await engine.face(wish(1), Encoding(64))).timing is not None
        assert (await engine.face(wish(1), Encoding(64, "webp"))).timing is not None

    assert with_engine(scenario, cache_bytes=10**6).seeds == [1, 1, 1]


def test_the_cache_forgets_what_was_not_asked_for_longest_and_holds_its_bound() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        size = max([len((await engine.face(wish(seed), Encoding())).content) for seed in range(4)])
        bound = engine._cache.maxsize
        assert 2 * size <= bound < 3 * size
        sampler.batches.clear()
        for seed in (2, 3, 2, 4, 2, 3):  # 2 and 3 are kept; 4 takes the place of 3, for 2 was asked for after it
            await engine.face(wish(seed), Encoding())
            assert engine._cache.currsize <= bound

    plain = len(encode_face(StubSampler().sample([wish(1)])[0]))  # all of one grey, but 0 is black
    assert with_engine(scenario, cache_bytes=plain * 5 // 2).seeds == [4, 3]


def test_a_picture_larger_than_the_cache_is_answered_and_not_kept() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        for _ in range(2):
            assert (await engine.face(wish(1), Encoding())).timing is not None

    assert with_engine(scenario, cache_bytes=10).seeds == [1, 1]


def test_a_late_face_is_given_up_and_not_computed() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        waiting = await ask(engine, 1, 1, 2)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 3
        with pytest.raises(DeadlineExceeded):
            await first
        sampler.gate.set()
        assert (await engine.face(wish(3), Encoding())).content

    assert with_engine(scenario, deadline=0.5).seeds == [0, 3]


def test_how_long_what_waits_will_take_is_measured() -> None:
    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        first = await occupy(engine, sampler)
        await asyncio.sleep(0.2)
        sampler.gate.set()
        await first
        sampler.entered.clear()
        sampler.gate.clear()
        waiting = await ask(engine, 1, 2, 3)
        await until(sampler.entered.is_set)
        assert 0.2 * 3 <= engine.backlog < 2
        with pytest.raises(QueueFull) as caught:
            await engine.face(wish(4), Encoding())
        assert caught.value.seconds == engine.backlog
        sampler.gate.set()
        await asyncio.gather(*waiting)

    with_engine(scenario, limit=3, batch_size=4)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("error", "calls"), [(SystemExit("out of the blue"), 1), (RuntimeError("boom"), 0)])
def test_the_death_of_the_thread_is_told_once_and_a_failed_batch_or_a_stop_is_none(
    error: BaseException, calls: int
) -> None:
    deaths: list[int] = []

    async def scenario(engine: Engine, sampler: StubSampler) -> None:
        sampler.error = error
        with pytest.raises((EngineStopped, EngineFailed)):
            await engine.face(wish(1), Encoding())
        if calls:
            await until(lambda: deaths)
            await until(lambda: not engine.alive)

    with_engine(scenario, died=lambda: deaths.append(1))
    assert len(deaths) == calls
