"""Services that can be harmed, and counts of what became of what they were asked."""

from __future__ import annotations

import re
import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.processes import Answer, Lost, Service, Wire, post, service
from tests.service.serving import until_now

FAULTY = (str(Path(__file__).with_name("faulty.py")),)
PATIENCE = 60.0  # seconds; nothing here takes a tenth of that on a machine that has nothing else to do


@dataclass(slots=True)
class Tally:
    """What became of requests. One whose connection ended before its answer had come is lost."""

    sent: int = 0
    answered: int = 0  # 200
    refused: int = 0  # and told so
    left: int = 0  # the client did not want to know any more
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, wire: Wire, *parts: bytes) -> Wire:
        """Send a request, or half of one."""
        with self.lock:
            self.sent += 1
        with suppress(Lost):  # which its answer will tell
            wire.send(*parts)
        return wire

    def read(self, wire: Wire, refusal: int = 503) -> Answer | None:
        """Wait for an answer."""
        try:
            answer = wire.answer()
        except Lost:
            answer = None
        with self.lock:
            if answer is None:
                self.lost += 1
            elif answer.status == 200:
                self.answered += 1
            else:
                assert answer.status == refusal, answer
                self.refused += 1
        return answer

    def check(self, open: int = 0, **counts: int) -> None:
        """Check that nothing was lost and nothing but the ``open`` ones forgotten, and some of the counts."""
        assert self.lost == 0, self
        assert self.sent == self.answered + self.refused + self.left + open, self
        for name, count in counts.items():
            assert getattr(self, name) == count, self


@dataclass(frozen=True, slots=True)
class Trial:
    """A running service, whose faulty sampler waits for the gate."""

    service: Service
    gate: Path
    stack: ExitStack

    def wire(self) -> Wire:
        """Open a connection that lasts as long as the test."""
        return self.stack.enter_context(Wire(self.service.url))

    def ask(self, tally: Tally, seed: str) -> Wire:
        """Ask for a face on a connection of its own."""
        return tally.send(self.wire(), *post("/generate", emotion="happy", seed=seed))

    def metric(self, name: str) -> float:
        """Return one of the service's figures."""
        text = httpx.get(f"{self.service.url}/metrics", trust_env=False, timeout=PATIENCE).text
        (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(value)

    def waiting(self, faces: int) -> None:
        """Wait until the service has so many faces to draw."""
        until_now(lambda: self.metric("emoface_unanswered_faces") == faces, PATIENCE)

    def blocked(self) -> None:
        """Wait until the sampler waits for the gate: what is asked from here on is in a later batch."""
        until_now(self.gate.with_suffix(".reached").exists, PATIENCE)

    def drawn(self, batches: int) -> None:
        """Wait until the sampler has drawn so many batches."""
        until_now(lambda: self.metric("emoface_batch_faces_count") == batches, PATIENCE)

    @contextmanager
    def faces(self) -> Iterator[Callable[[str], float]]:
        """Close the gate; yields what tells of how many faces from here on something has become."""
        self.gate.unlink(missing_ok=True)
        self.gate.with_suffix(".reached").unlink(missing_ok=True)
        name = 'emoface_faces_total{{outcome="{}"}}'.format
        outcomes = ("made", "refused", "abandoned")
        before = {outcome: self.metric(name(outcome)) for outcome in outcomes}
        try:
            yield lambda outcome: self.metric(name(outcome)) - before[outcome]
        finally:
            self.gate.touch()

    def status(self, path: str) -> int:
        """Ask on a connection of its own."""
        return httpx.get(self.service.url + path, trust_env=False, timeout=PATIENCE).status_code

    def end(self) -> tuple[int, list[str]]:
        """Wait for the end; return the exit code and the lines of the log."""
        code = self.service.process.wait(PATIENCE)
        return code, self.service.log()


@contextmanager
def trial(weights: Path, folder: Path, **settings: object) -> Iterator[Trial]:
    gate = folder / "gate"
    extra: Mapping[str, str] = {
        # What the log holds then is what went wrong.
        "EMOFACE_ACCESS_LOG": "false",
        "FAULTS_GATE": str(gate),
        **{f"EMOFACE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with service(weights, extra, FAULTY) as started, ExitStack() as stack:
        try:
            yield Trial(started, gate, stack)
        finally:
            gate.touch()


@contextmanager
def files(soft: int) -> Iterator[None]:
    """Let this process, and those that it starts, open so many files and connections, if that is allowed."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
