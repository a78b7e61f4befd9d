"""GET /emotions: what can be asked for."""

from __future__ import annotations

from fastapi import APIRouter

from model.emotions import FERPLUS, aliases_of
from model.provenance import model_tag
from service.api.deps import SamplerDep
from service.api.schemas import Emotions, KnownEmotion

router = APIRouter(tags=["faces"])


@router.get("/emotions", summary="List the emotions", operation_id="emotions")
async def emotions(sampler: SamplerDep) -> Emotions:
    """List the vocabulary with its aliases, and whether the loaded weights can draw each emotion."""
    names = dict.fromkeys((*sampler.emotions, *FERPLUS))
    return Emotions(
        model=model_tag(sampler.name, sampler.sha256),
        emotions=[
            KnownEmotion(
                name=name,
                aliases=aliases_of(name),
                known=name in sampler.emotions,
            )
            for name in names
        ],
    )
