"""A classifier behind HTTP, in TensorFlow Serving's JSON format, with retries and a rate limit."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.models.http_options import HttpOptions, parse_http_options
from artattack.models.load_options import LoadOptions
from artattack.models.model import parse_preprocessing
from artattack.models.predictor import Predictor, predictor
from artattack.version import __version__

Array = NDArray[Any]

_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses worth a retry
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0  # seconds before the second try, doubled each time up to the maximum
_CONNECTING = 10.0  # seconds, maximum time to connect
PIECE = 2**16  # bytes read at once
LARGEST = 2**26  # maximum bytes of an answer
_SHOWN = 200  # maximum characters of a server's error message


class _PassingError(Exception):
    """A failure after which to retry, with the seconds that the server asks to wait."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class Endpoint:
    """A URL that classifies images.

    Args:
        url: URL for POST requests.
        options: settings for requests.

    Raises:
        ArtattackError: the token is not set, or would be sent unencrypted.
    """

    def __init__(self, url: str, options: HttpOptions) -> None:
        self.name = shown(url)
        self._url = url
        self._options = options
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"artattack/{__version__}"
        if options.token is not None:
            self._session.auth = _Token(_token(url, self.name, options.token))
        self._free = 0.0  # earliest start of the next request

    def __call__(self, x: Array) -> Array:
        """Return values (N, K) float32 of preprocessed images (N, h, w, 3) float32.

        Raises:
            ArtattackError: the server does not answer, or its answer lacks a number for each image and class.
        """
        if self._options.channels == "first":
            x = x.transpose(0, 3, 1, 2)
        size = self._options.batch_size
        values = [self._patiently(x[i : i + size]) for i in range(0, len(x), size)]
        if len({part.shape[1] for part in values}) != 1:
            counts = ", ".join(str(part.shape[1]) for part in values)
            raise self._mistake(f"varying numbers of classes: {counts}")
        return np.concatenate(values)

    def _patiently(self, x: Array) -> Array:
        """Send a batch of images, again after a passing failure, until the server answers or no try is left."""
        content = json.dumps({"instances": x.tolist()}).encode()
        wait, tries = _FIRST_WAIT, self._options.tries
        for left in range(tries - 1, -1, -1):
            self._hold_back()
            try:
                return self._values(self._ask(content), len(x))
            except _PassingError as failure:
                if not left:
                    often = f"{tries} {'try' if tries == 1 else 'tries'}"
                    raise self._mistake(f"no answer in {often}: {failure}") from failure
                sleep(min(max(wait, failure.wait), _LONGEST_WAIT))
                wait *= 2
        raise AssertionError("there is at least one try")

    def _hold_back(self) -> None:
        """Wait until the rate limit allows another request."""
        if self._options.per_second is None:
            return
        if (early := self._free - now()) > 0:
            sleep(early)
        self._free = max(self._free, now()) + 1 / self._options.per_second

    def _ask(self, content: bytes) -> bytes:
        """Send one request, and return the answer."""
        limit = self._options.timeout
        end = now() + limit
        try:
            with self._session.post(
                self._url,
                data=content,
                headers={"Content-Type": "application/json"},
                timeout=(min(limit, _CONNECTING), limit),
                allow_redirects=False,
                stream=True,
            ) as response:
                found = bytearray()
                for piece in response.iter_content(PIECE):
                    found += piece
                    if len(found) > LARGEST:
                        raise self._mistake(f"an answer of more than {LARGEST // 2**20} MiB")
                    if now() > end:
                        raise _PassingError(f"no complete answer within {limit:g} s")
                self._check(response, bytes(found))
                return bytes(found)
        except requests.Timeout as error:
            raise _PassingError(f"no answer within {limit:g} s") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise _PassingError(f"no connection, or a broken one: {_cause(error)}") from error
        except requests.RequestException as error:
            raise self._mistake(f"no answer: {_cause(error)}") from error

    def _check(self, response: requests.Response, content: bytes) -> None:
        """Raise an error for any status other than 200."""
        status = f"status {response.status_code}{f' {response.reason}' if response.reason else ''}"
        if response.status_code in _PASSING:
            raise _PassingError(status, _seconds(response.headers.get("Retry-After", "")))
        if 300 <= response.status_code < 400:
            raise self._mistake(f"redirects to {_one_line(response.headers.get('Location', '?'))}: give that URL")
        if response.status_code != 200:
            said = _one_line(content.decode(errors="replace"))
            raise self._mistake(f"{status}{f': {said}' if said else ''}")

    def _values(self, content: bytes, count: int) -> Array:
        """Parse an answer into values (N, K) float32."""
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._mistake(f"no JSON: {_one_line(content[:_SHOWN].decode(errors='replace'))}") from error
        if not isinstance(answer, dict) or "predictions" not in answer:
            raise self._mistake("JSON without `predictions`")
        try:
            values = np.asarray(answer["predictions"], np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._mistake("`predictions` without a number for each image and class") from error
        if values.ndim != 2 or len(values) != count:
            raise self._mistake(f"predictions of shape {values.shape} for {count} images, not ({count}, classes)")
        return values

    def _mistake(self, what: str) -> ArtattackError:
        return ArtattackError(f"model '{self.name}': the server returns {what}")


class _Token(requests.auth.AuthBase):
    """Sends a token with each request, regardless of a .netrc file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def load(url: str, options: LoadOptions) -> Predictor:
    """Make a classifier of a server.

    Raises:
        ArtattackError: preprocessing or size is missing, or the server does not answer as a classifier.
    """
    endpoint = Endpoint(url, parse_http_options(options.http))
    if options.preprocessing is None or options.size is None:
        raise ArtattackError(
            f"model '{endpoint.name}': say what the server expects: input_size, and preprocessing=imagenet, caffe, tf, "
            "unit or byte, or mean and std in 0..255"
        )
    return predictor(
        endpoint.name,
        endpoint,
        preprocessing=parse_preprocessing(options.preprocessing),
        input_size=options.size,
        label_space=options.space,
        outputs=options.outputs,
        weights="http",
        weights_sha256=lambda values: identity(url, values),
    )


def shown(url: str) -> str:
    """Return a URL without its query string, which may hold secrets."""
    return url.partition("?")[0]


def identity(url: str, values: Array) -> str:
    """Return a hash that identifies a classifier behind HTTP, from its URL and its classes on a few images.

    The values are not hashed, since their last digits may vary between requests.
    """
    return hashlib.sha256(json.dumps([url, values.argmax(1).tolist(), values.shape[1]]).encode()).hexdigest()


def _token(url: str, name: str, variable: str) -> str:
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ArtattackError(f"model '{name}': the environment variable {variable}, which holds its token, is not set")
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ArtattackError(f"model '{name}': a token is sent only over https or to this machine")
    return token


def _seconds(text: str) -> float:
    """Return the seconds in a Retry-After header, or 0 if it holds no number."""
    return float(text) if text.isdigit() else 0.0


def _cause(error: BaseException) -> str:
    """Return the root cause of a requests error, in one line."""
    while error.__context__ is not None or error.__cause__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    """Return the beginning of foreign text in one line, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * _SHOWN]).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def now() -> float:
    """Return the time of a monotonic clock, in seconds."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
