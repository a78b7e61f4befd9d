"""From a request that is well-formed to a face that the loaded weights can draw."""

from __future__ import annotations

from model import EmotionError, FaceRequest
from model.provenance import model_tag
from service.api.errors import invalid
from service.api.schemas import GenerateRequest
from service.api.validation import emotion_error, model_error
from service.engine import Sampler


def check_model(model: str | None, sampler: Sampler, *, where: str = "body") -> None:
    """Refuse weights that are not loaded; they are named by their name, or with the start of their hash.

    Raises:
        Problem: 422.
    """
    if model is None or model == sampler.name:
        return
    tag = model_tag(sampler.name, sampler.sha256)
    if model.startswith(f"{sampler.name}@") and tag.startswith(model):
        return
    raise invalid([model_error(model, sampler.name, tag, where=where)])


def wished_face(wish: GenerateRequest, sampler: Sampler, *, where: str = "body") -> FaceRequest:
    """Return the face that is asked for.

    Raises:
        Problem: 422, the weights do not know the emotion, or are not those that were asked for.
    """
    check_model(wish.model, sampler, where=where)
    try:
        return wish.face(sampler.emotions)
    except EmotionError as error:
        raise invalid([emotion_error(error, wish.emotion, sampler.emotions, where=where)]) from None
