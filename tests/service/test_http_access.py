"""Keys and rates over loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.access.gate import _network
from service.access.keys import new_key
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, until_now

KEY, LINE = new_key("alice")
POOR, POOR_LINE = new_key("bob")
WISH = {"emotion": "happy", "seed": 7}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[httpx.Client]:
    file = tmp_path / "keys"
    file.write_text(f"{LINE}\n{POOR_LINE}:3/hour\n")
    with live(create_app(Settings(api_keys_file=file, address_rate="5/hour"), StubSampler())) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_nothing_is_drawn_and_it_is_said_how(guarded: httpx.Client) -> None:
    for method, address in (("POST", "/generate"), ("GET", "/faces/happy/7.png"), ("GET", "/nothing/here")):
        answer = guarded.request(method, address, json=WISH if method == "POST" else None)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "X-API-Key" in answer.json()["detail"]
    sampler = guarded.get("/metrics", headers=bearer(KEY)).text
    assert "emoface_batch_faces_count 0.0" in sampler, "nobody without a key reached the engine"


@pytest.mark.parametrize("headers", [bearer(KEY), {"Authorization": f"bearer  {KEY}"}, {"X-API-Key": KEY}])
def test_with_a_key_faces_are_drawn(guarded: httpx.Client, headers: dict[str, str]) -> None:
    answer = guarded.post("/generate", json=WISH, headers=headers)
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("headers", [bearer("wrong"), {"X-API-Key": KEY[:-1]}, {"Authorization": f"Basic {KEY}"}])
def test_a_wrong_key_is_refused(guarded: httpx.Client, headers: dict[str, str]) -> None:
    assert guarded.post("/generate", json=WISH, headers=headers).status_code == 401


def test_health_and_documentation_need_no_key(guarded: httpx.Client) -> None:
    for _ in range(10):  # and are not counted
        for address in ("/healthz", "/readyz", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"):
            assert guarded.get(address).status_code == 200


def test_wrong_keys_are_counted_by_address_and_do_not_lock_out_right_ones(guarded: httpx.Client) -> None:
    tried = [guarded.post("/generate", json=WISH, headers=bearer(f"guess {k}")) for k in range(7)]
    assert [answer.status_code for answer in tried] == [401] * 5 + [429] * 2
    assert int(tried[-1].headers["retry-after"]) > 1
    assert guarded.post("/generate", json=WISH, headers=bearer(KEY)).status_code == 200


def test_each_key_has_its_own_rate(guarded: httpx.Client) -> None:
    answers = [guarded.get(f"/faces/happy/{seed}.png", headers=bearer(POOR)) for seed in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
        f'"3 a hour";r={left}' for left in (2, 1, 0, 0)
    ]
    assert answers[0].headers["ratelimit-policy"] == '"3 a hour";q=3;w=3600;qu="faces"'
    problem = answers[-1].json()
    assert "3 a hour" in problem["detail"]
    assert f"{answers[-1].headers['retry-after']} seconds" in problem["detail"]
    rich = guarded.post("/generate", json=WISH, headers=bearer(KEY))
    assert (rich.status_code, "ratelimit" in rich.headers) == (200, False)


def test_many_faces_count_as_many() -> None:
    with live(create_app(Settings(address_rate="20/hour"), StubSampler())) as client:
        batch = {"requests": [{"emotion": "happy", "seed": seed} for seed in range(8)]}
        answer = client.post("/generate/batch", json=batch)
        assert (answer.status_code, answer.headers["ratelimit"].partition(";t=")[0]) == (200, '"20 a hour";r=12')
        grid = client.get("/grid.png", params={"emotions": "happy,sad", "seeds": "1,2"})
        assert (grid.status_code, grid.headers["ratelimit"].partition(";t=")[0]) == (200, '"20 a hour";r=8')
        known = {"If-None-Match": grid.headers["etag"]}
        have = client.get("/grid.png", params={"emotions": "happy,sad", "seeds": "1,2"}, headers=known)
        assert have.status_code == 304
        assert have.headers["ratelimit"].partition(";t=")[0] == '"20 a hour";r=7', "nothing had to be drawn"
        morph = {"seed": 1, "frames": 9, "keyframes": [{"emotion": "neutral"}, {"emotion": "happy"}]}
        assert client.post("/morph", json=morph).status_code == 429
        asked = {"prompt": "happy", "n": 7, "response_format": "b64_json"}
        refused = client.post("/v1/images/generations", json=asked)
        assert refused.status_code == 429, "one of 7 was counted at the gate for each of two requests: 5 are left"
        assert refused.json()["error"]["message"] == refused.json()["detail"]
        never = client.post("/generate/batch", json={"requests": [{"emotion": "happy"}] * 21})
        assert never.status_code == 429
        assert "retry-after" not in never.headers
        assert "21 faces at once" in never.json()["detail"]


def test_pages_elsewhere_may_send_a_key_and_read_what_is_left(guarded: httpx.Client) -> None:
    origin = {"Origin": "https://example.org"}
    asked = guarded.options(
        "/faces/happy/7.png",
        headers={**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"},
    )
    assert asked.status_code == 200
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    answer = guarded.get("/faces/happy/7.png", headers=origin)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "RateLimit" in answer.headers["access-control-expose-headers"]


def test_the_log_names_the_key_and_never_tells_it(guarded: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "emoface.access"):
        guarded.post("/generate", json=WISH, headers=bearer(KEY))
        guarded.post("/generate", json=WISH)
        until_now(lambda: len(caplog.records) == 2)
    named = [getattr(record, "key", None) for record in caplog.records if record.name == "emoface.access"]
    assert named == ["alice", None]
    assert KEY not in json.dumps([vars(record) for record in caplog.records], default=str)


def test_the_document_says_what_the_gate_answers(guarded: httpx.Client) -> None:
    document = guarded.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    drawing = document["paths"]["/generate"]["post"]
    assert {} in drawing["security"]
    assert {"401", "429"} <= set(drawing["responses"])
    assert "security" not in document["paths"]["/healthz"]["get"]


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_household_is_one_address(host: str, network: str) -> None:
    assert _network({"type": "http", "client": (host, 1)}) == network
    assert _network({"type": "http", "client": None}) == ""
