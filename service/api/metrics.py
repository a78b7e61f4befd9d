"""GET /metrics: the service's figures, as Prometheus reads them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Figures for Prometheus",
    operation_id="metrics",
)
def metrics(request: Request) -> Response:
    """Answer in Prometheus's text format."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
