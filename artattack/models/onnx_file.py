"""ONNX files, run by onnxruntime. Such a file is a graph of onnxruntime's own operators and holds no code."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.models.load_options import LoadOptions
from artattack.models.opened import InputRange, Opened, names_in
from artattack.models.output_choice import chosen_output
from artattack.models.predictor import Predictor, load_file

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_DTYPES_OF_PIXELS = {"tensor(uint8)": np.uint8}
_ELSEWHERE = b"\n\x08location\x12"  # protobuf's field with the name of another file that holds a tensor
_FATAL = 4  # the only messages that onnxruntime prints


def load(path: str, options: LoadOptions) -> Predictor:
    """Load a classifier from an ONNX file; errors as in `artattack.models.predictor.load_file`."""
    return load_file(Path(path), partial(open_onnx, output=options.output), options)


def open_onnx(path: Path, input_size: tuple[int, int] | None, *, output: int | str | None = None) -> Opened:
    """Open an ONNX file on the CPU.

    Args:
        path: the file.
        input_size: not used; a graph without fixed size takes images of any size.
        output: the output to classify with, if there are several; see `artattack.models.output_choice`.

    Raises:
        ArtattackError: the file holds no network from one image to one vector, or keeps its weights in other files.
        Exception: any error of onnxruntime on a damaged file.
    """
    session = open_session(path)
    inputs, outputs = session.get_inputs(), [found.name for found in session.get_outputs()]
    if len(inputs) != 1:
        raise ArtattackError(f"model '{path}' has {len(inputs)} inputs; a classifier takes one image")
    answer = outputs[chosen_output(str(path), outputs, output)]
    taken = inputs[0]
    dtype: Any = (_DTYPES | _DTYPES_OF_PIXELS).get(taken.type)
    if dtype is None:
        raise ArtattackError(f"model '{path}' takes {taken.type}; an image is float or uint8")

    def run(x: NDArray[Any]) -> NDArray[Any]:
        given = np.clip(np.rint(x), 0, 255).astype(dtype) if dtype is np.uint8 else x.astype(dtype)
        return np.asarray(session.run([answer], {taken.name: given})[0])

    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in taken.shape)
    said = session.get_modelmeta().custom_metadata_map
    return Opened(
        run,
        shape,
        names_in(said.get("names", "")),
        preprocessing=said.get("preprocessing", ""),
        input_range=InputRange(0, 255, 1) if dtype is np.uint8 else None,
    )


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU, without looking at its inputs and outputs; errors as in `open_onnx`."""
    content = path.read_bytes()
    if _ELSEWHERE in content:
        raise ArtattackError(
            f"model '{path}' keeps weights in other files, which are not read: save it in one file with "
            "onnx.save(onnx.load(PATH), NEW)"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
