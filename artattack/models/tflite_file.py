"""TFLite files, run by TensorFlow's own interpreter, float or quantized.

TensorFlow's interpreter runs every TensorFlow operator in a file, including operators that read and write files. So
only TFLite's builtin operators are admitted, which touch no files.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from artattack.errors import ArtattackError
from artattack.models.load_options import LoadOptions
from artattack.models.notes import labels_behind, preprocessing_in
from artattack.models.opened import InputRange, Opened
from artattack.models.output_choice import chosen_output
from artattack.models.predictor import Predictor, load_file
from artattack.models.trial import try_elsewhere
from artattack.runtime import quietly

_TYPE = schema.TensorType
_INTEGERS = {_TYPE.INT8: np.int8, _TYPE.UINT8: np.uint8, _TYPE.INT16: np.int16}


def load(path: str, options: LoadOptions) -> Predictor:
    """Load a classifier from a TFLite file; errors as in `artattack.models.predictor.load_file`."""
    return load_file(Path(path), partial(open_tflite, output=options.output), options)


def open_tflite(
    path: Path, input_size: tuple[int, int] | None, *, threads: int | None = None, output: int | str | None = None
) -> Opened:
    """Open a TFLite file.

    Args:
        path: the file.
        input_size: (H, W) in pixels, for a file without fixed size.
        threads: number of the interpreter's threads; None for the interpreter's default.
        output: the output to classify with, if there are several; see `artattack.models.output_choice`.

    Raises:
        ArtattackError: the file holds operators other than TFLite's own, is no network from one image to one vector,
            or crashes the interpreter.
        Exception: any error of TensorFlow on a damaged file.
    """
    content = path.read_bytes()
    check_operators(path, content)
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announcements of TensorFlow's next interpreter
        try_elsewhere(path, content, "tflite", input_size)
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1:
        raise ArtattackError(f"model '{path}' has {len(inputs)} inputs; a classifier takes one image")
    answer = outputs[chosen_output(str(path), output_names(content), output)]
    shape = [int(side) for side in inputs[0]["shape"]]
    for axis, side in enumerate(inputs[0]["shape_signature"]):
        if axis and side < 0:  # a free side; the batch size stays 1
            shape[axis] = 0
    if input_size is not None and shape.count(0) == 2:
        sides = iter(input_size)
        with quietly():
            interpreter.resize_tensor_input(inputs[0]["index"], [side or next(sides) for side in shape])
            interpreter.allocate_tensors()

    def run(x: NDArray[Any]) -> NDArray[Any]:
        interpreter.set_tensor(inputs[0]["index"], _quantized(x, inputs[0]))
        interpreter.invoke()
        return _real(interpreter.get_tensor(answer["index"]), answer)

    step = float(answer["quantization"][0])
    return Opened(
        run,
        tuple(side or None for side in shape),
        labels_behind(path),
        step,
        preprocessing_in(path),
        _input_range(schema.Model.GetRootAs(content, 0).Subgraphs(0), inputs[0]),
    )


def output_names(content: bytes) -> tuple[str, ...]:
    """Return the names of a TFLite file's outputs, in order: from its signature, otherwise from the tensors."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    given: dict[int, str] = {}
    if model.SignatureDefsLength():
        signature = model.SignatureDefs(0)
        for output in (signature.Outputs(k) for k in range(signature.OutputsLength())):
            given[output.TensorIndex()] = (output.Name() or b"").decode(errors="replace")
    tensors = [int(graph.Outputs(k)) for k in range(graph.OutputsLength())]
    return tuple(given.get(k) or (graph.Tensors(k).Name() or b"").decode(errors="replace") for k in tensors)


def check_operators(path: Path, content: bytes, known: Collection[str] = ()) -> None:
    """Refuse a file with operators other than TFLite's own and admitted custom ones, before an interpreter reads it.

    Args:
        path: the file, for messages.
        content: bytes of the file.
        known: names of the admitted custom operators.

    Raises:
        ArtattackError: the file holds other operators, or is no TFLite file.
    """
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ArtattackError(f"model '{path}' is no TFLite file, or has been cut short")
    model = schema.Model.GetRootAs(content, 0)
    for k in range(model.OperatorCodesLength()):
        operator = model.OperatorCodes(k)
        name = (operator.CustomCode() or b"").decode(errors="replace")
        custom = operator.CustomCode() is not None or operator.BuiltinCode() == schema.BuiltinOperator.CUSTOM
        if not custom or name in known:
            continue
        if name.startswith("Lce"):
            raise ArtattackError(
                f"model '{path}' holds the operator '{name[:80]}' of Larq Compute Engine: open it as lce:{path}"
            )
        raise ArtattackError(
            f"model '{path}' cannot be loaded: it holds the operator {name[:80]!r}, which is not TFLite's own and "
            "could touch files; convert it with TFLITE_BUILTINS alone"
        )


def _quantized(x: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    """Return values as a tensor stores them: round(x / scale) + zero point if the tensor is quantized."""
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if not np.issubdtype(dtype, np.integer):
        return np.asarray(x, dtype)
    bounds = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(x / (scale or 1.0)) + zero, bounds.min, bounds.max), dtype)


def _input_range(graph: Any, details: dict[str, Any]) -> InputRange | None:
    """Return the range of a quantized input, or of the tensor that a float input is quantized to; None if unlimited."""
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if not np.issubdtype(dtype, np.integer):
        quantized = _quantized_input(graph)
        if quantized is None:
            return None
        dtype, scale, zero = quantized
    bounds = np.iinfo(dtype)
    step = scale or 1.0
    return InputRange((bounds.min - zero) * step, (bounds.max - zero) * step, step)


def _quantized_input(graph: Any) -> tuple[Any, float, int] | None:
    """Return the type, scale and zero point of a float input's quantization, if that is the graph's first step."""
    image, tensor = int(graph.Inputs(0)), None
    for k in range(graph.OperatorsLength()):
        operator = graph.Operators(k)
        if image in operator.InputsAsNumpy():
            if tensor is not None or operator.InputsLength() != 1 or operator.OutputsLength() != 1:
                return None
            tensor = graph.Tensors(int(operator.Outputs(0)))
    found = None if tensor is None else tensor.Quantization()
    dtype = None if tensor is None else _INTEGERS.get(tensor.Type())
    if found is None or dtype is None or found.ScaleLength() != 1:
        return None
    return dtype, float(found.Scale(0)), int(found.ZeroPoint(0))


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    """Return the numbers that a tensor represents: (values - zero point) scale if the tensor is quantized."""
    scale, zero = details["quantization"]
    if not np.issubdtype(details["dtype"], np.integer):
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float32) - zero) * (scale or 1.0), np.float32)
