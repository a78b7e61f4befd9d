"""The documentation: complete, and served without the internet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from model.seeds import MAX_SEED
from service.api.errors import MEDIA_TYPE
from service.api.schemas import GenerateRequest, ProblemDetails
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(Settings(host="127.0.0.1", port=0, device="cpu"), StubSampler())) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_the_root_leads_to_the_documentation(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    (address,) = {found for found in re.findall(r'href="([^"]+)"', page.text) if not found.startswith(("studio/", "#"))}
    assert client.get(page.url.join(address)).url.path == "/docs"


def test_the_page_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert not re.findall(r"https?://|//[a-z]", page.replace("<!-- ", ""))
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) >= 3  # script, style, icon
    for asset in assets:
        response = client.get(asset)
        assert response.status_code == 200
        assert len(response.content) > 100
    assert '"tryItOutEnabled": true' in page
    assert '"validatorUrl": null' in page


def test_redoc_which_would_ask_another_host_is_absent(client: httpx.Client) -> None:
    assert client.get("/redoc").status_code == 404


def test_a_face_is_documented_with_its_pictures_headers_and_problems(document: dict[str, Any]) -> None:
    operation = document["paths"]["/generate"]["post"]
    responses = operation["responses"]
    assert set(responses) == {"200", "400", "401", "406", "408", "413", "415", "422", "429", "500", "503"}
    assert set(responses["200"]["content"]) == {"image/png", "image/webp", "image/jpeg", "image/avif"}
    assert set(responses["200"]["headers"]) == {"X-Seed", "X-Model", "ETag", "Server-Timing", "Content-Disposition"}
    assert "Retry-After" in responses["503"]["headers"]
    first = next(iter(operation["requestBody"]["content"]["application/json"]["examples"].values()))
    assert first["value"]["emotion"] == "happy"


def test_every_documented_problem_has_a_valid_example(document: dict[str, Any]) -> None:
    seen = 0
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")):
                    example = response["content"][MEDIA_TYPE]["example"]
                    assert ProblemDetails.model_validate(example).status == int(status)
                    seen += 1
    assert seen >= 7


def test_every_reference_leads_somewhere_and_the_seed_is_exact(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', str(document).replace("'", '"')):
        assert name in schemas
    assert "HTTPValidationError" not in schemas
    (number,) = (
        branch
        for branch in schemas["GenerateRequest"]["properties"]["seed"]["anyOf"][0]["oneOf"]
        if branch["type"] == "integer"
    )
    assert number["maximum"] == MAX_SEED
    assert set(schemas["GenerateRequest"]["properties"]) == set(GenerateRequest.model_fields)
