"""POST /v1/images/generations, driven by the official client."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from model import EmotionError
from model.emotions import FER2013
from service.api.openai import named_emotion
from service.app import create_app
from service.settings import Settings
from tests.service.serving import live, tiny_sampler
from tests.service.test_http_problems import problem

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


@pytest.fixture(scope="module")
def official(client: httpx.Client) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as official:
        yield official


def test_the_official_client_gets_faces(official: openai.OpenAI, client: httpx.Client) -> None:
    answer = official.images.generate(
        prompt="a happy face", n=3, size="256x256", response_format="b64_json", extra_body={"seed": 7}
    )
    assert answer.data is not None
    files = [base64.b64decode(image.b64_json or "") for image in answer.data]
    assert [Image.open(io.BytesIO(file)).size for file in files] == [(256, 256)] * 3
    assert len(set(files)) == 3
    assert files[0] == client.get("/faces/happy/7.png?size=256").content
    for image, file in zip(answer.data, files, strict=True):
        emotion, _, seed = (image.revised_prompt or "").partition(", seed ")
        assert client.get(f"/faces/{emotion}/{seed}.png?size=256").content == file


def test_addresses_lead_to_the_faces(official: openai.OpenAI, client: httpx.Client) -> None:
    answer = official.images.generate(
        prompt="happy=0.7,surprise=0.3",
        response_format="url",
        size="96x96",
        extra_body={"seed": "Ada / Zoë?", "intensity": 0.5, "truncation": 0.7},
    )
    assert answer.data is not None
    (image,) = answer.data
    got = client.get(image.url or "")
    assert got.status_code == 200, got.text
    wish: dict[str, Any] = {"emotion": {"happy": 0.7, "surprise": 0.3}, "seed": "Ada / Zoë?", "size": 96}
    assert got.content == client.post("/generate", json={**wish, "intensity": 0.5, "truncation": 0.7}).content


def test_what_other_programs_send_works(official: openai.OpenAI) -> None:
    for model in (openai.omit, "tiny", "dall-e-2", "gpt-image-1"):
        answer = official.images.generate(
            prompt="Surprise!", model=model, size="auto", quality="standard", style="vivid", user="somebody"
        )
        assert answer.data is not None
        assert Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json or ""))).size == (256, 256)


def test_errors_reach_the_clients_user(official: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="names no emotion that is known"):
        official.images.generate(prompt="a cat")
    with pytest.raises(openai.UnprocessableEntityError, match="No weights called"):
        official.images.generate(prompt="happy", model="other")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"prompt": ""}, "#/prompt"),
        ({"prompt": "happy=x"}, "#/prompt"),
        ({"n": 11}, "#/n"),
        ({"size": "256x128"}, "#/size"),
        ({"size": "4096x4096"}, "#/size"),
        ({"response_format": "png"}, "#/response_format"),
        ({"seed": -1}, "#/seed"),
    ],
)
def test_wrong_fields_are_named(client: httpx.Client, change: dict[str, Any], pointer: str) -> None:
    (error,) = problem(client.post("/v1/images/generations", json={"prompt": "happy", **change}), 422)["errors"]
    assert error["pointer"] == pointer


@pytest.mark.parametrize(
    ("prompt", "emotion"),
    [
        ("happy", "happy"),
        ("A joyful, I mean HAPPY person!", "happy"),
        ("joy", "joy"),
        ("someone who shows joy and happiness", "happy"),
        ("sad=1,fear=2", "sad=1,fear=2"),
    ],
)
def test_the_emotion_that_a_prompt_names(prompt: str, emotion: str) -> None:
    assert named_emotion(prompt, FER2013) == emotion


@pytest.mark.parametrize("prompt", ["a face", "happy and sad", "sadness-free zone? sad, fear"])
def test_a_prompt_that_names_none_or_several(prompt: str) -> None:
    with pytest.raises(EmotionError, match="names"):
        named_emotion(prompt, FER2013)
