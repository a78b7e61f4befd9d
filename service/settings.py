"""The service's settings in one typed class; each is also an environment variable ``EMOFACE_<NAME>``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.access.rates import RULE, read_rates


def _rate(text: str) -> str:
    if text:
        read_rates(text)
    return text


#: A text that :func:`service.access.rates.read_rates` can read, or an empty one.
Rate = Annotated[str, AfterValidator(_rate)]


class SettingsError(ValueError):
    """A setting that cannot be used; its text is one sentence for the user."""


class Settings(BaseSettings):
    """What the service needs to know. Values given to the constructor win over the environment.

    Use :meth:`read` where a wrong value should become one sentence.
    """

    model_config = SettingsConfigDict(env_prefix="EMOFACE_", env_ignore_empty=True, extra="ignore", frozen=True)

    weights: Annotated[
        Path | None,
        Field(description="the path of a .safetensors file of emoface weights (default: those that ship)"),
    ] = None
    host: Annotated[str, Field(min_length=1, description="the name or address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="a port from 0 to 65535, where 0 takes any free one")] = 8000
    device: Annotated[
        str,
        Field(
            pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$",
            description='"auto" (the GPU when there is one), "cpu", "cuda" or "cuda:N"',
        ),
    ] = "auto"
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Field(description='"float32", or "bfloat16" where the hardware has it and a few grey levels do not matter'),
    ] = "float32"
    batch_size: Annotated[
        int,
        Field(ge=0, le=4096, description="how many faces are computed at a time, up to 4096; 0 takes what is usual"),
    ] = 0
    threads: Annotated[
        int,
        Field(ge=0, le=1024, description="how many cores draw where no GPU does, up to 1024; 0 takes all there are"),
    ] = 0
    queue_limit: Annotated[
        int, Field(ge=1, le=1_000_000, description="how many faces may be in work or wait, from 1 to 1000000")
    ] = 1024
    encoder_threads: Annotated[int, Field(ge=1, le=64, description="how many threads encode images, from 1 to 64")] = 2
    cache_mib: Annotated[
        int, Field(ge=0, le=1_048_576, description="how many MiB of pictures are kept ready, from 0 to 1048576")
    ] = 64
    deadline_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="after how many seconds a face that is not ready is given up, up to 3600"),
    ] = 30.0
    request_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            description="how many seconds a client has to send a request's head, and as many for its body, up to 3600",
        ),
    ] = 30.0
    face_max_age: Annotated[
        int,
        Field(ge=0, le=31536000, description="how many seconds browsers may keep GET /faces, from 0 to 31536000"),
    ] = 31536000
    drain_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="how many seconds after SIGTERM it still takes requests while /readyz says 503, from 0 to 600",
        ),
    ] = 0.0
    grace_seconds: Annotated[
        int,
        Field(ge=0, le=3600, description="how many seconds open requests get at shutdown, from 0 to 3600"),
    ] = 10
    api_keys: Annotated[
        SecretStr,
        Field(description="lines of keys as 'emoface key NAME' prints them, with blanks between them"),
    ] = SecretStr("")
    api_keys_file: Annotated[
        Path | None,
        Field(description="the path of a file with a line for each key, as 'emoface key NAME' prints them"),
    ] = None
    key_rate: Annotated[
        Rate, Field(description=f"how many faces each key may ask for, {RULE}, or empty for as many as it likes")
    ] = ""
    address_rate: Annotated[
        Rate,
        Field(description=f"how many faces each address without a key may ask for, {RULE}, or empty for any number"),
    ] = ""
    c2pa_certificate: Annotated[
        Path | None,
        Field(description="the path of a PEM file, the chain of the certificate that pictures are signed with"),
    ] = None
    c2pa_key: Annotated[Path | None, Field(description="the path of a PEM file, that certificate's private key")] = None
    c2pa_algorithm: Annotated[
        Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"],
        Field(description="one of es256, es384, es512, ps256, ps384, ps512 and ed25519, which fits the key"),
    ] = "es256"
    c2pa_timestamps: Annotated[
        str | None,
        Field(pattern=r"^https?://", description="the http(s) address of an RFC 3161 timestamp authority"),
    ] = None
    traces: Annotated[
        bool,
        Field(description="true or false, whether traces are sent, where OTEL_EXPORTER_OTLP_ENDPOINT says"),
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description='"debug", "info", "warning" or "error"'),
    ] = "warning"
    access_log: Annotated[bool, Field(description="true or false, whether every request leaves a line in the log")] = (
        True
    )

    @property
    def needs_key(self) -> bool:
        """Whether faces are drawn for those alone who have a key."""
        return self.api_keys_file is not None or bool(self.api_keys.get_secret_value().split())

    @classmethod
    def read(cls, **given: Any) -> Settings:
        """Build the settings from ``given`` (values of ``None`` count as not given) and the environment.

        Raises:
            SettingsError: a value cannot be used; the sentence names it and what is allowed.
        """
        present = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**present)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            field = cls.model_fields.get(name)
            rule = field.description if field is not None else first["msg"]
            source = name if name in present else f"EMOFACE_{name.upper()}"
            raise SettingsError(f"{source} must be {rule}; it is {str(first['input'])[:80]!r}.") from None
