"""POST /generate/batch: many faces in one request, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import logging
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response, StreamingResponse

from model import FaceRequest
from model.encode import FORMATS, file_name
from model.provenance import model_tag
from service.access.gate import charge
from service.api.answer import model_header
from service.api.deps import EngineDep, SamplerDep, json_only
from service.api.errors import as_problem, documented, invalid, problem_details
from service.api.generate import DRAWS, READS_JSON
from service.api.negotiate import accepted
from service.api.schemas import BATCH_RULES, MAX_FACES, GenerateRequest, ProblemDetails
from service.api.stills import AT_ONCE
from service.api.validation import field_errors
from service.api.wish import wished_face
from service.credentials import signed
from service.engine import Encoding, Engine, EngineFailed, EngineStopped, Sampler

log = logging.getLogger(__name__)
router = APIRouter(tags=["faces"])

_KINDS: Final = {
    "zip": "application/zip",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
}
_COLUMNS: Final = ("index", "status", "file", "emotion", "seed", "intensity", "truncation", "size", "format", "error")
_ADDED: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP knows: the same faces are the same archive
_PIECE: Final = 32 * 1024  # bytes of an archive that go out at a time, at least: not every face is worth a write


class BatchRequest(BaseModel):
    """Up to 256 faces."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    requests: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=MAX_FACES,
            description=f"{BATCH_RULES['requests']}; one that is wrong fails alone.",
            json_schema_extra={"items": {"$ref": "#/components/schemas/GenerateRequest"}},
        ),
    ]
    output: Annotated[
        Literal["zip", "json", "ndjson"] | None,
        Field(
            description=(
                "zip: the pictures and manifest.csv; json: an object with all of them in base64; ndjson: the same a "
                "line each, as they are ready. Without it the Accept header decides, and where that leaves the choice "
                "it is zip."
            )
        ),
    ] = None


class BatchFace(BaseModel):
    """The outcome of one request of a batch."""

    index: Annotated[int, Field(description="Its place among the requests, from 0.")]
    status: Annotated[int, Field(description="What POST /generate would have answered.")]
    emotion: str | None = None
    seed: Annotated[str | None, Field(description="As text, for not every JSON reader takes 63 bits.")] = None
    intensity: float | None = None
    truncation: float | None = None
    size: int | None = None
    format: str | None = None
    file: Annotated[str | None, Field(description="Its name in the archive.")] = None
    image: Annotated[str | None, Field(description="The file, base64.")] = None
    problem: ProblemDetails | None = None


class BatchResult(BaseModel):
    """All outcomes, in the order of the requests."""

    model: str
    faces: list[BatchFace]


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All outcomes; the faces that failed say why.",
        "model": BatchResult,
        "content": {
            _KINDS["zip"]: {"schema": {"type": "string", "format": "binary"}},
            _KINDS["ndjson"]: {"schema": {"type": "string"}},
        },
    },
    **{status: DRAWS[status] for status in (422, 500)},
    **READS_JSON,
    **documented(406, f"Nothing is acceptable to the Accept header; a batch is {', '.join(_KINDS.values())}."),
    **documented(503, "No face can be drawn at the moment; /readyz says when it can."),
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    index: int
    face: FaceRequest | None = None
    encoding: Encoding | None = None
    content: bytes | None = None
    problem: ProblemDetails | None = None

    def told(self) -> BatchFace:
        """Return what is said of it, without the picture."""
        if self.face is None or self.encoding is None:
            return BatchFace(index=self.index, status=self._status, problem=self.problem)
        return BatchFace(
            index=self.index,
            status=self._status,
            emotion=str(self.face.mix),
            seed=str(self.face.seed),
            intensity=self.face.intensity,
            truncation=self.face.truncation,
            size=self.encoding.size,
            format=self.encoding.format,
            file=None if self.content is None else f"{self.index:03d}-{file_name(self.face, self.encoding.format)}",
            problem=self.problem,
        )

    @property
    def _status(self) -> int:
        return 200 if self.problem is None else self.problem.status

    def line(self) -> str:
        """Return it as one JSON object, with the picture."""
        image = None if self.content is None else base64.b64encode(self.content).decode()
        return self.told().model_copy(update={"image": image}).model_dump_json(exclude_none=True)


@router.post(
    "/generate/batch",
    response_class=Response,
    responses=_RESPONSES,
    dependencies=[Depends(json_only)],
    summary="Draw up to 256 faces",
    operation_id="generate_batch",
)
async def generate_batch(
    request: Request,
    wish: Annotated[
        BatchRequest,
        Body(
            openapi_examples={
                "one person, two emotions": {
                    "value": {"requests": [{"emotion": "happy", "seed": 7}, {"emotion": "sad", "seed": 7}]}
                }
            }
        ),
    ],
    engine: EngineDep,
    sampler: SamplerDep,
) -> Response:
    """Answer with a ZIP of the faces and a manifest, or with JSON; a request that is wrong takes no other with it."""
    output = wish.output or accepted(request, _KINDS, "Nothing is acceptable to the Accept header; a batch is")
    if not engine.alive:
        raise EngineStopped
    charge(request, len(wish.requests))
    headers = {"Vary": "Accept", "X-Model": model_header(sampler)}
    outcomes = _outcomes(request, wish.requests, engine, sampler)
    if output == "ndjson":
        return StreamingResponse(_lines(outcomes), headers=headers, media_type=_KINDS[output])
    if output == "zip":
        headers["Content-Disposition"] = 'attachment; filename="faces.zip"'
        return StreamingResponse(_archive(_in_order(outcomes)), headers=headers, media_type=_KINDS[output])
    return StreamingResponse(
        _whole(_in_order(outcomes), model_tag(sampler.name, sampler.sha256)), headers=headers, media_type=_KINDS[output]
    )


async def _outcomes(
    request: Request, bodies: Sequence[dict[str, Any]], engine: Engine, sampler: Sampler
) -> AsyncIterator[_Outcome]:
    """Give every outcome once, as they are ready; when nobody takes them any more, nothing more is drawn."""
    waiting = iter(enumerate(bodies))
    working: set[asyncio.Task[_Outcome]] = set()
    # Not asyncio.wait, which looks at all that are working each time that one of them is done.
    done: asyncio.Queue[asyncio.Task[_Outcome]] = asyncio.Queue()

    def begin(most: int) -> None:
        for index, body in islice(waiting, most):
            task = asyncio.create_task(_outcome(request, index, body, engine, sampler))
            task.add_done_callback(done.put_nowait)
            working.add(task)

    try:
        begin(AT_ONCE)
        while working:
            task = await done.get()
            working.remove(task)
            begin(1)
            yield task.result()
    finally:
        for task in working:
            task.cancel()


async def _outcome(request: Request, index: int, body: dict[str, Any], engine: Engine, sampler: Sampler) -> _Outcome:
    face, encoding = None, None
    try:
        try:
            wish = GenerateRequest.model_validate(body)
        except ValidationError as error:
            found = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()]
            raise invalid(field_errors(found)) from None
        face, encoding = wished_face(wish, sampler), wish.encoding("png")
        content = (await engine.face(face, encoding)).content
        return _Outcome(index, face, encoding, await signed(request, content, FORMATS[encoding.format]))
    except Exception as error:
        problem = as_problem(error)
        if problem.status_code == 500 and not isinstance(error, EngineFailed):
            log.exception("a face of a batch failed")
        return _Outcome(index, face, encoding, problem=problem_details(problem))


async def _in_order(outcomes: AsyncIterator[_Outcome]) -> AsyncIterator[_Outcome]:
    early: dict[int, _Outcome] = {}
    following = 0
    async for outcome in outcomes:
        early[outcome.index] = outcome
        while following in early:
            yield early.pop(following)
            following += 1


async def _lines(outcomes: AsyncIterator[_Outcome]) -> AsyncIterator[str]:
    async for outcome in outcomes:
        yield outcome.line() + "\n"


async def _whole(outcomes: AsyncIterator[_Outcome], model: str) -> AsyncIterator[str]:
    """Write a :class:`BatchResult` down, face by face."""
    yield f'{{"model":{json.dumps(model)},"faces":['
    comma = ""
    async for outcome in outcomes:
        yield comma + outcome.line()
        comma = ","
    yield "]}"


class _Parts(io.RawIOBase):
    """A file that is only ever appended to, and read as it grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.waiting = 0  # bytes that nobody has taken yet

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts, self.waiting = self._parts, [], 0
        return b"".join(parts)


async def _archive(outcomes: AsyncIterator[_Outcome]) -> AsyncIterator[bytes]:
    """Give a ZIP piece by piece: the pictures as they are, for they are compressed, and the manifest last."""
    file, manifest = _Parts(), io.StringIO()
    rows = csv.DictWriter(manifest, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        async for outcome in outcomes:
            told = outcome.told()
            rows.writerow(told.model_dump() | {"error": "" if told.problem is None else told.problem.detail})
            if outcome.content is not None and told.file is not None:
                archive.writestr(zipfile.ZipInfo(told.file, _ADDED), outcome.content)
            if file.waiting >= _PIECE:
                yield file.taken()
        archive.writestr(zipfile.ZipInfo("manifest.csv", _ADDED), manifest.getvalue())
    yield file.taken()
