"""How a classifier behind HTTP is asked: the keys of `http` in a benchmark file. Nothing of the network here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from artattack.errors import ArtattackError
from artattack.validation import Section, explain


class HttpOptions(Section):
    """How a classifier behind HTTP is asked."""

    timeout: PositiveFloat = Field(60.0, description="seconds to wait for a whole answer")
    tries: PositiveInt = Field(5, description="times a request is made that fails, with longer and longer waits")
    per_second: PositiveFloat | None = Field(None, description="requests a second, at most; default: no limit")
    batch_size: PositiveInt = Field(8, description="images in one request, at most")
    channels: Literal["last", "first"] = Field("last", description="of images: (h, w, 3) or (3, h, w)")
    token: str | None = Field(None, description="environment variable with a token, sent as `Authorization: Bearer`")


def parse_http_options(values: HttpOptions | Mapping[str, Any] | None) -> HttpOptions:
    """Validate options given as plain data.

    Raises:
        ArtattackError: something in them is wrong.
    """
    if isinstance(values, HttpOptions):
        return values
    try:
        return HttpOptions.model_validate(dict(values or {}))
    except ValidationError as error:
        raise ArtattackError(f"http: {explain(error, lambda path: ('.'.join(map(str, path)), HttpOptions))}") from error
