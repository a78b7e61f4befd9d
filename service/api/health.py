"""GET /healthz and /readyz, for whatever supervises the process."""

from __future__ import annotations

from fastapi import APIRouter, Request

from model.provenance import model_tag
from service.api.deps import EngineDep, SamplerDep
from service.api.errors import Problem, documented
from service.api.schemas import Health, Ready

router = APIRouter(tags=["health"])
_NOT_READY = "An inference thread has ended, or encoding hangs: no face can be drawn."


@router.get("/healthz", summary="Is the process alive?", operation_id="healthz")
async def healthz() -> Health:
    """Answer as long as the process does."""
    return Health(status="alive")


@router.get("/readyz", summary="Can it draw faces?", operation_id="readyz", responses={**documented(503, _NOT_READY)})
async def readyz(request: Request, engine: EngineDep, sampler: SamplerDep) -> Ready:
    """Answer 200 when the weights are loaded, faces are drawn and encoded, and the service is not about to end."""
    if not engine.alive:
        raise Problem(503, _NOT_READY)
    if request.app.state.draining:
        raise Problem(503, "The service is ending: what is asked for now is answered, but ask another one.")
    return Ready(status="ready", model=model_tag(sampler.name, sampler.sha256), device=sampler.device)
