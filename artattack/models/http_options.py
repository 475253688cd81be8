"""Settings for a classifier behind HTTP: the keys of `http` in a benchmark file. No network code here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from artattack.errors import ArtattackError
from artattack.validation import Section, explain


class HttpOptions(Section):
    """Settings for requests to a classifier behind HTTP."""

    timeout: PositiveFloat = Field(60.0, description="seconds to wait for a complete answer")
    tries: PositiveInt = Field(5, description="maximum tries per request, with doubled waits between them")
    per_second: PositiveFloat | None = Field(None, description="maximum requests per second; default: no limit")
    batch_size: PositiveInt = Field(8, description="maximum images per request")
    channels: Literal["last", "first"] = Field(
        "last", description="layout of images: last for (h, w, 3), first for (3, h, w)"
    )
    token: str | None = Field(None, description="environment variable that holds the token for `Authorization: Bearer`")


def parse_http_options(values: HttpOptions | Mapping[str, Any] | None) -> HttpOptions:
    """Validate options given as plain data.

    Raises:
        ArtattackError: an option is unknown or invalid.
    """
    if isinstance(values, HttpOptions):
        return values
    try:
        return HttpOptions.model_validate(dict(values or {}))
    except ValidationError as error:
        raise ArtattackError(f"http: {explain(error, lambda path: ('.'.join(map(str, path)), HttpOptions))}") from error
