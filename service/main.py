"""The process that serves: weights, socket, server, signals."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from service.engine import Sampler

_logger = logging.getLogger("emoface")
_BACKLOG = 2048
# Longer than clients and proxies keep an idle connection (60 s is common), so that it is they who close it: a
# request that meets a closing connection is lost.
_KEEP_ALIVE = 75


class _Stop(BaseException):
    """SIGTERM or SIGINT. Not an Exception, so that nothing on the way takes it for a failure."""


class Refused(Exception):
    """The service cannot start, or not go on; the text is one sentence for the user."""


def run(**given: Any) -> int:
    """Read the settings (``None`` counts as not given) and :func:`serve`."""
    try:
        settings = Settings.read(**given)
    except SettingsError as error:
        return _fail(str(error))
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Call it from the main thread.

    Returns:
        The exit code: 0 after a signal; 1, after one sentence on standard error, if it could not start or go on.
    """
    # uvicorn handles signals while it runs and raises them again when it is done, which would end the process
    # with the signal's code instead of 0. And a signal must work in the seconds before, while torch loads.
    before = {number: signal.signal(number, _on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _serve(settings)
    except _Stop:
        return 0
    except Refused as error:
        return _fail(str(error))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(settings: Settings) -> int:
    # Bound first, so that a port in use is told at once; listening last, so that nobody meets half a service.
    with bind(settings.host, settings.port) as listener:
        # Imported here, for they take seconds.
        import uvicorn

        from model import WeightsError
        from service.access.keys import KeysError
        from service.app import create_app, load_sampler
        from service.connections import BodyDeadline, LastWord, allow_many, timed_protocol
        from service.credentials import CredentialsError
        from service.tracing import TracingError

        _log(settings)
        try:
            sampler = load_sampler(settings)
        except (WeightsError, ValueError) as error:
            raise Refused(str(error)) from error
        except RuntimeError as error:  # the device failed, out of memory above all
            reason = str(error).partition("\n")[0]
            raise Refused(f"the weights cannot be put onto {settings.device!r}: {reason}") from error
        try:
            _warm(sampler)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise Refused(f"{sampler.name} draws no face on {sampler.device}: {reason}.") from error
        died = threading.Event()

        def end() -> None:
            """Stop with an error, so that whoever supervises the process starts it again."""
            died.set()
            server.should_exit = True

        try:
            app = create_app(settings, sampler, died=end)
        except (KeysError, CredentialsError, TracingError) as error:
            raise Refused(str(error)) from error

        class Draining(uvicorn.Server):
            """At the first signal it is not ready any more, and goes on answering until nobody new should come."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                if app.state.draining or not settings.drain_seconds:
                    super().handle_exit(sig, frame)
                    return
                app.state.draining = True
                timer = threading.Timer(settings.drain_seconds, super().handle_exit, (sig, frame))
                timer.daemon = True
                timer.start()

        allow_many()
        if not settings.needs_key and not _is_loopback(listener.getsockname()[0]):
            _logger.warning(
                "ANYBODY who reaches this port can draw faces: it listens beyond this machine and needs no key. "
                "EMOFACE_API_KEYS_FILE names a file of keys, which 'emoface key NAME' makes."
            )
        server = Draining(
            uvicorn.Config(
                LastWord(BodyDeadline(app, settings.request_seconds)),
                http=timed_protocol(settings.request_seconds),
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=settings.grace_seconds,
            )
        )
        try:
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Refused(_why(error, settings.host, settings.port)) from error
        # What is there by now stays, torch's half a million objects above all: looking through them for rubbish would
        # stop every answer for 0.2 s, again and again.
        gc.collect()
        gc.freeze()
        _announce(settings.host, listener.getsockname()[1], f"{sampler.name} on {sampler.device}")
        server.run(sockets=[listener])
        if died.is_set():
            raise Refused("an inference thread has ended; the log says why. Start the service again.")
        return 0 if server.started else 1


def _warm(sampler: Sampler) -> None:
    """Draw, because the first faces pay for what is set up then; and log how long others take."""
    from model import EmotionMix, FaceRequest

    face = FaceRequest(EmotionMix.parse(sampler.emotions[0], sampler.emotions), 0)
    took = {}
    for count in (1, sampler.batch_size):
        for _ in range(4):
            began = time.perf_counter()
            sampler.sample([face] * count)
            took[count] = f"{count} in {(time.perf_counter() - began) * 1000:.1f} ms"
    _logger.info("%s draws on %s in %s: %s", sampler.name, sampler.device, sampler.precision, ", ".join(took.values()))


def _log(settings: Settings) -> None:
    """Write the log to standard error, a line of JSON each."""
    from service.observability import JsonLines, access_log

    # What no line of the log says need not be found out for each of them (Logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    access_log.setLevel(logging.INFO if settings.access_log else logging.CRITICAL)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that nobody else has; 0 is any free port. It does not listen yet.

    Raises:
        Refused: there is no such host, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise Refused(
            f"cannot listen on {host!r}: no such host; use an address of this machine with --host."
        ) from error
    # One socket, and IPv4 where a name has both: what people type into curl is 127.0.0.1.
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise Refused(_why(error, host, port)) from error
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port, or stop what uses it."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host!r} is no address of this machine; choose one with --host."
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; choose one above 1023 with --port."
    return f"cannot listen on {host} port {port}: {error.strerror}."


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _announce(host: str, port: int, what: str) -> None:
    # A wildcard is no address to connect to.
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    body = """'{"emotion": "happy", "seed": 4}'"""
    print(f"emoface serves {what} at {address}  (documentation: {address}/docs, stop: Ctrl+C)")
    print("Save a face:")
    print(f"  curl -f {address}/generate -H 'Content-Type: application/json' -d {body} -o happy.png", flush=True)


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise _Stop


def _fail(sentence: str) -> int:
    print(f"emoface: {sentence}", file=sys.stderr)
    return 1
