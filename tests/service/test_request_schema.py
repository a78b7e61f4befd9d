"""What a request may say, as properties."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from model import EmotionError, EmotionMix, FaceRequest
from model.emotions import ALIASES, FER2013, FERPLUS
from model.encode import FORMATS as ENCODER_FORMATS
from model.sampler import DEFAULT_TRUNCATION
from model.seeds import MAX_SEED
from service.api.schemas import EXAMPLES, FORMATS, MAX_SIZE, MIN_SIZE, RULES, GenerateRequest
from service.api.validation import emotion_error, field_errors
from service.engine import Encoding

known = st.sampled_from([*FER2013, *(alias for alias, name in ALIASES.items() if name in FER2013), "HAPPY", " sad "])
weights = st.floats(0, 1e300, allow_subnormal=False)
mixes = st.dictionaries(known, weights, min_size=1, max_size=8).filter(lambda mix: max(mix.values()) > 1e-300)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
good = st.fixed_dictionaries(
    {"emotion": known | mixes},
    optional={
        "seed": st.none() | st.integers(0, MAX_SEED) | texts,
        "intensity": st.floats(0, 1.5) | st.sampled_from([0, 1]),
        "truncation": st.floats(0, 1) | st.sampled_from([0, 1]),
        "size": st.none() | st.integers(MIN_SIZE, MAX_SIZE),
        "format": st.sampled_from(["png", "webp", "jpeg"]),
    },
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def errors_of(body: Any) -> list[Any]:
    """Validate as FastAPI does, and return what the client is told; empty when the body is fine."""
    try:
        GenerateRequest.model_validate(body)
    except ValidationError as error:
        return field_errors([{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()])
    return []


@given(good)
def test_every_allowed_request_becomes_a_face_request(body: dict[str, Any]) -> None:
    wish = GenerateRequest.model_validate(json.loads(json.dumps(body)))
    face = wish.face(FER2013)
    assert isinstance(face, FaceRequest)
    assert hash(face) == hash(face)
    assert math.isclose(sum(weight for _, weight in face.mix.weights), 1.0)
    assert face.mix == EmotionMix.parse(body["emotion"], FER2013)
    assert (face.intensity, face.truncation) == (body.get("intensity", 1.0), body.get("truncation", DEFAULT_TRUNCATION))
    assert wish.encoding("avif") == Encoding(body.get("size"), body.get("format", "avif"))


@given(st.dictionaries(st.sampled_from([*RULES, "emotoin", "x"]), anything, max_size=5) | anything)
def test_anything_else_gets_sentences_that_point_into_the_body(body: Any) -> None:
    for error in errors_of(body):
        assert error.pointer.startswith("#")
        assert error.detail.endswith((".", "?"))
        assert len(error.detail) < 400
        if error.pointer == "#":
            continue
        field = unquote(error.pointer.removeprefix("#/").split("/")[0]).replace("~1", "/").replace("~0", "~")
        assert error.allowed
        assert field == "emotion" or field in body


@given(st.sampled_from(sorted(RULES)), anything)
def test_a_wrong_value_is_blamed_on_its_field(field: str, value: Any) -> None:
    errors = errors_of({"emotion": "happy", field: value})
    assert all(error.pointer.split("/")[1] == field for error in errors)
    # All that a number, a name or a mix can be wrong about is a range or a rule, which the answer repeats.
    if field not in ("emotion", "format") and errors:
        assert {error.allowed for error in errors} == {RULES[field]}


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({}, "#/emotion", "emotion is missing"),
        ({"emotion": ""}, "#/emotion", "emotion must be a name"),
        ({"emotion": None}, "#/emotion", "emotion must be a name"),
        ({"emotion": ["happy"]}, "#/emotion", "emotion must be a name"),
        ({"emotion": {}}, "#/emotion", "emotion must be a name"),
        ({"emotion": {"happy": -0.1}}, "#/emotion/happy", "The weight of 'happy' must be a finite number"),
        ({"emotion": {"happy": math.nan}}, "#/emotion/happy", "The weight of 'happy'"),
        ({"emotion": {"happy": math.inf}}, "#/emotion/happy", "The weight of 'happy'"),
        ({"emotion": {"happy": True}}, "#/emotion/happy", "The weight of 'happy'"),
        ({"emotion": {"happy": "1"}}, "#/emotion/happy", "The weight of 'happy'"),
        ({"emotion": {"mix": -1}}, "#/emotion/mix", "The weight of 'mix'"),
        ({"emotion": {"a/b~ é": -1}}, "#/emotion/a~1b~0%20%C3%A9", "The weight of 'a/b~ é'"),
        ({"emotion": "happy", "seed": -1}, "#/seed", "seed must be a whole number from 0"),
        ({"emotion": "happy", "seed": MAX_SEED + 1}, "#/seed", str(MAX_SEED)),
        ({"emotion": "happy", "seed": True}, "#/seed", "seed must be"),
        ({"emotion": "happy", "seed": 7.0}, "#/seed", "seed must be"),
        ({"emotion": "happy", "seed": ""}, "#/seed", "1 to 256 characters"),
        ({"emotion": "happy", "seed": "x" * 257}, "#/seed", "1 to 256 characters"),
        ({"emotion": "happy", "seed": "\ud800"}, "#/seed", "seed must be"),
        ({"emotion": "happy", "intensity": 1.51}, "#/intensity", "a number from 0 to 1.5"),
        ({"emotion": "happy", "intensity": None}, "#/intensity", "a number from 0 to 1.5"),
        ({"emotion": "happy", "intensity": math.nan}, "#/intensity", "a number from 0 to 1.5"),
        ({"emotion": "happy", "truncation": -0.1}, "#/truncation", "a number from 0 to 1."),
        ({"emotion": "happy", "size": 47}, "#/size", "48 to 1024"),
        ({"emotion": "happy", "size": 1025}, "#/size", "48 to 1024"),
        ({"emotion": "happy", "size": 64.0}, "#/size", "48 to 1024"),
        ({"emotion": "happy", "format": "jpg"}, "#/format", "did you mean 'jpeg'?"),
        ({"emotion": "happy", "format": 3}, "#/format", "one of png, webp, jpeg"),
        ({"emotion": "happy", "emotoin": 3}, "#/emotoin", "Unknown field 'emotoin'; did you mean 'emotion'?"),
    ],
)
def test_the_sentence_names_what_is_wrong(body: dict[str, Any], pointer: str, said: str) -> None:
    (error,) = errors_of(body)
    assert error.pointer == pointer
    assert said in error.detail


def test_all_wrong_fields_are_told_at_once_but_not_thousands() -> None:
    body = {"emotion": {"happy": -1, "sad": "x"}, "seed": -1, "size": 1, "nonsense": 1}
    assert {error.pointer for error in errors_of(body)} == {
        "#/emotion/happy", "#/emotion/sad", "#/seed", "#/size", "#/nonsense",
    }  # fmt: skip
    assert 1 <= len(errors_of({"emotion": {str(n): -1 for n in range(5000)}})) <= 20
    assert len(errors_of({"emotion": "happy", **{f"f{n}": 1 for n in range(5000)}})) == 20


@pytest.mark.parametrize(
    ("emotion", "pointer", "said"),
    [
        ("hapy", "#/emotion", "did you mean 'happy'?"),
        ({"happy": 1, "sadd": 1}, "#/emotion/sadd", "did you mean 'sad'?"),
        ("contempt", "#/emotion", "Known: angry"),
        ({"happy": 0.0, "sad": 0}, "#/emotion", "sums to nothing"),
    ],
)
def test_an_emotion_the_weights_cannot_draw(emotion: Any, pointer: str, said: str) -> None:
    wish = GenerateRequest.model_validate({"emotion": emotion})
    with pytest.raises(EmotionError) as raised:
        wish.face(FER2013)
    error = emotion_error(raised.value, wish.emotion, FER2013)
    assert error.pointer == pointer
    assert said in error.detail
    assert error.allowed == list(FER2013)


def test_the_vocabulary_is_the_weights_own() -> None:
    assert GenerateRequest(emotion="contempt").face(FERPLUS).mix.weights == (("contempt", 1.0),)


def test_weights_that_overflow_together_are_still_one_mix() -> None:
    wish = GenerateRequest.model_validate({"emotion": {"happy": 1e308, "joy": 1e308}})
    assert wish.face(FER2013).mix.weights == (("happy", 1.0),)


@given(st.integers(0, MAX_SEED))
def test_a_number_as_text_is_that_number(seed: int) -> None:
    def person(value: int | str) -> int | str:
        return GenerateRequest(emotion="happy", seed=value).face(FER2013).seed

    assert person(str(seed)) == person(seed) == seed


@given(texts)
def test_any_other_text_is_itself(seed: str) -> None:
    assume(not (seed.isascii() and seed.isdecimal()))
    assert GenerateRequest(emotion="happy", seed=seed).face(FER2013).seed == seed


@pytest.mark.parametrize("seed", ["007", "-1", "+7", " 7", "7 ", "7.0", "1e3", "٧", str(MAX_SEED + 1), "9" * 256])
def test_only_a_numbers_own_spelling_is_the_number(seed: str) -> None:
    assert GenerateRequest(emotion="happy", seed=seed).face(FER2013).seed == seed


def test_a_drawn_seed_fits_a_double_and_differs() -> None:
    seeds = [GenerateRequest(emotion="happy").face(FER2013).seed for _ in range(200)]
    assert all(isinstance(seed, int) and 0 <= seed < 2**53 for seed in seeds)
    assert len(set(seeds)) == 200


def test_rules_and_formats_are_complete() -> None:
    assert set(RULES) == set(GenerateRequest.model_fields)
    assert list(FORMATS) == list(ENCODER_FORMATS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documentations_examples_work(name: str) -> None:
    GenerateRequest.model_validate(EXAMPLES[name]["value"]).face(FER2013)
