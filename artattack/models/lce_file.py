"""Files of Larq Compute Engine: TFLite files in which binarized convolutions work on packed bits.

The optimized kernels are for ARM v8. On other processors, reference kernels give the same answers.

The interpreter does not validate a file, so a damaged file may crash the process. TensorFlow's interpreter, which
checks the file's structure, reads it first, and both interpreters run it in another process before.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.models.load_options import LoadOptions
from artattack.models.notes import labels_behind, preprocessing_in
from artattack.models.opened import Opened
from artattack.models.output_choice import chosen_output
from artattack.models.predictor import Predictor, load_file
from artattack.models.tflite_file import check_operators, output_names
from artattack.models.trial import try_elsewhere
from artattack.runtime import quietly

# Operators of Larq Compute Engine; they only compute, and touch no files.
_OPERATORS = ("LceQuantize", "LceDequantize", "LceBconv2d", "LceBMaxPool2d")


def load(path: str, options: LoadOptions) -> Predictor:
    """Load a classifier from a file of Larq Compute Engine; errors as in `artattack.models.predictor.load_file`."""
    return load_file(Path(path), partial(open_lce, output=options.output), options)


def open_lce(
    path: Path, input_size: tuple[int, int] | None, *, threads: int = 1, output: int | str | None = None
) -> Opened:
    """Open a file that Larq Compute Engine's converter wrote.

    Args:
        path: the file.
        input_size: not used, since such files fix their input size.
        threads: number of the interpreter's threads.
        output: the output to classify with, if there are several; see `artattack.models.output_choice`.

    Raises:
        ArtattackError: the file holds operators other than TFLite's and Larq's, is no float network from one image to
            one vector, or crashes the interpreter.
        Exception: any error of the interpreter on a damaged file.
    """
    content = path.read_bytes()
    check_operators(path, content, _OPERATORS)
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announcements of TensorFlow's next interpreter
        try_elsewhere(path, content, "tflite")
        tf.lite.Interpreter(model_content=content)  # raises on an incomplete file, and allocates nothing
        try_elsewhere(path, content, "lce")
        from larq_compute_engine.tflite.python.interpreter import Interpreter

        interpreter = Interpreter(content, num_threads=threads)
    shapes = interpreter.input_shapes
    if len(shapes) != 1:
        raise ArtattackError(f"model '{path}' has {len(shapes)} inputs; a classifier takes one image")
    answer = chosen_output(str(path), output_names(content), output)
    if {np.dtype(kind) for kind in (*interpreter.input_types, interpreter.output_types[answer])} != {
        np.dtype(np.float32)
    }:
        raise ArtattackError(f"model '{path}' takes or gives integers; convert it with inputs and outputs of float32")

    def run(x: NDArray[Any]) -> NDArray[Any]:
        values = interpreter.predict(np.asarray(x, np.float32))
        return np.asarray(values[answer] if isinstance(values, list) else values, np.float32)

    shape = (None, *(int(side) for side in shapes[0][1:]))
    return Opened(run, shape, labels_behind(path), preprocessing=preprocessing_in(path))
