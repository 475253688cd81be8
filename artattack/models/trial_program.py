"""Program that runs a TFLite file from standard input on two images, in a process that may crash.

Usage: `python -P trial_program.py KIND NATIVE [HEIGHT WIDTH] < FILE`. KIND is `tflite` or `lce`, NATIVE the path of the
interpreter's native module, and HEIGHT and WIDTH the image size if the file leaves it open. The program loads only the
native module and NumPy, since the packages around them take many times as long.
"""

import sys
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any


def _native(path: str) -> Any:
    """Load an interpreter's native module without the package around it."""
    name = Path(path).name.partition(".")[0]
    loader = ExtensionFileLoader(name, path)
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def _images(shape: Any, dtype: Any) -> Any:
    """Return a black image and noise."""
    import numpy as np

    draw = np.random.default_rng(0)
    return [draw.uniform(-scale, scale, shape).astype(dtype) for scale in (0, 1)]


def _try_lce(native: Any, content: bytes) -> None:
    interpreter = native.LiteInterpreter(content, 1, False, False, False)
    for image in _images(interpreter.input_shapes[0], interpreter.input_types[0]):
        interpreter.predict([image])


def _try_tflite(native: Any, content: bytes, sides: list[int]) -> None:
    # The arguments that tf.lite.Interpreter passes: all built-in operators, no custom ones, one thread.
    interpreter = native.CreateWrapperFromBuffer(content, 1, [], [], False, False, 1, False)
    interpreter.AllocateTensors()
    (image,) = interpreter.InputIndices()
    open_sides = [axis for axis, side in enumerate(interpreter.TensorSizeSignature(image, 0)) if axis and side < 0]
    if len(open_sides) == len(sides) == 2:
        shape = interpreter.TensorSize(image, 0).copy()
        shape[open_sides] = sides
        interpreter.ResizeInputTensor(image, shape, False)
        interpreter.AllocateTensors()
    for values in _images(interpreter.TensorSize(image, 0), interpreter.TensorType(image, 0)):
        interpreter.SetTensor(image, values)
        interpreter.Invoke()
        for answer in interpreter.OutputIndices():
            interpreter.GetTensor(answer, 0)


if __name__ == "__main__":
    with suppress(Exception):  # loading the file raises the same error again, with a message
        kind, path, *size = sys.argv[1:]
        if kind == "lce":
            _try_lce(_native(path), sys.stdin.buffer.read())
        else:
            _try_tflite(_native(path), sys.stdin.buffer.read(), [int(side) for side in size])
