"""GET /models: what draws here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from model.provenance import model_tag
from service.api.deps import SamplerDep

router = APIRouter(tags=["faces"])


class LoadedModel(BaseModel):
    """A set of weights that is loaded."""

    name: str
    tag: Annotated[str, Field(description="Name and start of the hash, as in X-Model; what `model` takes.")]
    sha256: Annotated[str, Field(description="Of the weights' content.")]
    emotions: list[str]
    resolution: Annotated[int, Field(description="Pixels a side of a face as it is drawn.")]
    channels: Annotated[int, Field(description="1 grey, 3 colour.")]
    device: str
    batch_size: Annotated[int, Field(description="Faces that are drawn at once.")]


class Models(BaseModel):
    """All sets of weights that are loaded: one."""

    models: list[LoadedModel]


@router.get("/models", summary="List the loaded weights", operation_id="models")
async def models(sampler: SamplerDep) -> Models:
    """Tell which weights draw the faces, and where."""
    return Models(
        models=[
            LoadedModel(
                name=sampler.name,
                tag=model_tag(sampler.name, sampler.sha256),
                sha256=sampler.sha256,
                emotions=list(sampler.emotions),
                resolution=sampler.resolution,
                channels=sampler.channels,
                device=sampler.device,
                batch_size=sampler.batch_size,
            )
        ]
    )
