"""GET /faces/..., format negotiation, entity tags and the other headers of a face, over a real connection."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from model.encode import FORMATS, SUFFIXES
from model.sampler import DEFAULT_TRUNCATION
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, tiny_sampler
from tests.service.test_http_problems import problem

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_address_has_the_very_bytes_of_generate(client: httpx.Client, suffix: str) -> None:
    wish = {"emotion": "happy", "seed": 7, "size": 96, "intensity": 0.5, "truncation": 0.7, "format": SUFFIXES[suffix]}
    posted = client.post("/generate", json=wish)
    got = client.get(f"/faces/happy/7.{suffix}?size=96&intensity=0.5&truncation=0.7")
    assert (got.status_code, got.content) == (200, posted.content)
    for name in ("content-type", "etag", "x-seed", "x-model", "content-disposition"):
        assert got.headers[name] == posted.headers[name]
    assert got.headers["content-type"] == FORMATS[SUFFIXES[suffix]]
    assert Image.open(io.BytesIO(got.content)).size == (96, 96)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.text(st.characters(codec="utf-8"), min_size=1, max_size=100).filter(lambda text: text not in (".", ".."))
)
def test_any_text_is_somebody(client: httpx.Client, seed: str) -> None:
    got = client.get(f"/faces/sad/{quote(seed, safe='')}.png")
    assert got.status_code == 200, got.text
    assert got.content == client.post("/generate", json={"emotion": "sad", "seed": seed}).content


@pytest.mark.parametrize("seed", ["a/b", "../../etc/passwd", "x.png", "ada@example.org", "?#&=%", "a b", "0", "007"])
def test_seeds_that_look_like_something_else(client: httpx.Client, seed: str) -> None:
    got = client.get(f"/faces/sad/{quote(seed, safe='')}.webp")
    assert (got.status_code, unquote(got.headers["x-seed"])) == (200, seed)


def test_a_mix_as_an_address(client: httpx.Client) -> None:
    posted = client.post("/generate", json={"emotion": {"happy": 0.7, "surprise": 0.3}, "seed": 7})
    assert client.get("/faces/happy=0.7,surprise=0.3/7.png").content == posted.content
    assert client.get("/faces/joy=7,surprised=3/7.png").content == posted.content


def test_browsers_may_keep_it_and_are_told_when_they_have_it(client: httpx.Client) -> None:
    got = client.get("/faces/fear/7.png")
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    tag = got.headers["etag"]
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/faces/fear/7.png", headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, got.headers["cache-control"])
    for held in ('"other"', tag[:-2] + '"', tag.strip('"')):
        assert client.get("/faces/fear/7.png", headers={"If-None-Match": held}).status_code == 200


def test_who_has_it_costs_no_drawing() -> None:
    sampler = StubSampler()
    with live(create_app(SETTINGS, sampler)) as client:
        tag = client.get("/faces/fear/7.png").headers["etag"]
        client.get("/faces/fear/7.png?size=48", headers={"If-None-Match": tag})
        drawn = len(sampler.batches)
        assert client.get("/faces/fear/7.png", headers={"If-None-Match": tag}).status_code == 304
        assert len(sampler.batches) == drawn


def test_whatever_changes_the_bytes_changes_the_tag(client: httpx.Client) -> None:
    addresses = [
        "fear/7.png",
        "sad/7.png",
        "fear/8.png",
        "fear/7.webp",
        "fear/7.png?size=96",
        "fear/7.png?intensity=0.5",
    ]
    addresses += ["fear/7.png?truncation=1", "fear=0.5,sad=0.5/7.png"]
    tags = [client.get(f"/faces/{address}").headers["etag"] for address in addresses]
    assert len(set(tags)) == len(tags)
    assert client.get(f"/faces/scared/7.png?truncation={DEFAULT_TRUNCATION:.3f}&intensity=1").headers["etag"] == tags[0]
    other = StubSampler()
    other.sha256 = "1" * 64
    with live(create_app(SETTINGS, other)) as client_of_others:
        assert client_of_others.get("/faces/fear/7.png").headers["etag"] not in tags


def test_how_long_it_may_be_kept_is_the_operators_choice() -> None:
    for age, said in ((3600, "public, max-age=3600, immutable"), (0, "no-cache")):
        with live(create_app(SETTINGS.model_copy(update={"face_max_age": age}), StubSampler())) as client:
            assert client.get("/faces/sad/7.png").headers["cache-control"] == said


def test_head_has_the_headers_and_no_body(client: httpx.Client) -> None:
    got, head = client.get("/faces/sad/7.png"), client.head("/faces/sad/7.png")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "cache-control", "x-seed"):
        assert head.headers[name] == got.headers[name]


def test_any_page_may_show_and_read_it_but_not_post(client: httpx.Client) -> None:
    got = client.get("/faces/sad/7.png", headers={"Origin": "https://example.org"})
    assert got.headers["access-control-allow-origin"] == "*"
    assert "X-Seed" in got.headers["access-control-expose-headers"]
    asking = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    asking["Access-Control-Request-Headers"] = "content-type"
    assert client.options("/generate", headers=asking).status_code == 400
    asking["Access-Control-Request-Method"] = "GET"
    del asking["Access-Control-Request-Headers"]
    assert client.options("/faces/sad/7.png", headers=asking).status_code == 200


@pytest.mark.parametrize(
    ("address", "parameter", "said"),
    [
        ("hapy/7.png", "emotion", "did you mean 'happy'?"),
        ("happy=x/7.png", "emotion", "emotion=weight"),
        ("happy=-1/7.png", "emotion", "weight of 'happy'"),
        ("happy=0/7.png", "emotion", "sums to nothing"),
        ("happy/7.gif", "format", "png, webp, jpg, jpeg, avif"),
        (f"happy/{'x' * 257}.png", "seed", "1 to 256 characters"),
        ("happy/7.png?size=10", "size", "48 to 1024"),
        ("happy/7.png?size=96.5", "size", "48 to 1024"),
        ("happy/7.png?intensity=nan", "intensity", "0 to 1.5"),
        ("happy/7.png?truncation=2", "truncation", "0 to 1"),
        ("happy/7.png?intensty=1", "intensty", "did you mean 'intensity'?"),
        ("happy/7.png?model=other", "model", "tiny@"),
    ],
)
def test_a_wrong_address_names_the_part_and_what_is_allowed(
    client: httpx.Client, address: str, parameter: str, said: str
) -> None:
    body = problem(client.get(f"/faces/{address}"), 422)
    (error,) = body["errors"]
    assert (error["parameter"], "pointer" in error) == (parameter, False)
    assert said in f"{error['detail']} {error['allowed']}"


def test_the_model_may_be_named_and_no_other_draws(client: httpx.Client) -> None:
    tag = client.get("/emotions").json()["model"]
    for name in ("tiny", tag, tag[:9]):
        assert client.get(f"/faces/sad/7.png?model={name}").status_code == 200
        assert client.post("/generate", json={"emotion": "sad", "model": name}).status_code == 200
    for name in ("tin", "tiny@f00", "TINY", f"{tag}00"):
        (error,) = problem(client.post("/generate", json={"emotion": "sad", "model": name}), 422)["errors"]
        assert (error["pointer"], error["allowed"]) == ("#/model", ["tiny", tag])


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("image/jpeg;q=0.5, image/avif;q=0.9", "avif"),
        ("text/html,image/webp;q=0.8", "webp"),
        ("image/png;q=0, image/jpeg", "jpeg"),
    ],
)
def test_the_accept_header_decides_where_the_body_does_not(client: httpx.Client, accept: str | None, kind: str) -> None:
    headers = {"Accept": accept} if accept else {}
    body: dict[str, Any] = {"emotion": "sad", "seed": 7}
    answer = client.post("/generate", json=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"image/{kind}")
    assert "Accept" in answer.headers["vary"].split(", ")
    named = client.post("/generate", json={**body, "format": "webp"}, headers=headers)
    assert named.headers["content-type"] == "image/webp"


@pytest.mark.parametrize("accept", ["text/html", "application/json", "image/gif", "image/png;q=0", "*/*;q=0"])
def test_nothing_acceptable_is_a_406_that_says_what_there_is(client: httpx.Client, accept: str) -> None:
    answer = client.post("/generate", json={"emotion": "sad"}, headers={"Accept": accept})
    assert "image/avif" in problem(answer, 406)["detail"]


def test_the_timing_names_the_rooms_and_then_the_cache(client: httpx.Client) -> None:
    first = client.get("/faces/disgust/12345.png").headers["server-timing"]
    rooms = dict(part.split(";dur=") for part in first.split(", "))
    assert list(rooms) == ["queue", "generate", "encode"]
    assert all(float(value) >= 0 for value in rooms.values())
    assert float(rooms["generate"]) > 0
    assert client.get("/faces/disgust/12345.png").headers["server-timing"] == "cache"


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (7, "sad-7.png"),
        ("Ada Lovelace", "sad-Ada_Lovelace.png"),
        ('"; x=\r\n', "sad-___x___.png"),
        ("é", "sad-_.png"),
    ],
)
def test_the_name_to_save_it_under_breaks_no_header(client: httpx.Client, seed: int | str, name: str) -> None:
    answer = client.post("/generate", json={"emotion": "sad", "seed": seed})
    assert answer.headers["content-disposition"] == f'inline; filename="{name}"'


def test_a_late_face_is_a_503_that_says_when_to_come_again() -> None:
    sampler = StubSampler()
    with live(create_app(SETTINGS.model_copy(update={"deadline_seconds": 0.2}), sampler)) as client:
        sampler.gate.clear()
        answer = client.get("/faces/sad/7.png")
        assert "not ready in time" in problem(answer, 503)["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert "cache-control" not in answer.headers
        sampler.gate.set()
        assert client.get("/faces/sad/8.png").status_code == 200
