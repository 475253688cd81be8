"""A program of its own: tries a file of Larq Compute Engine on its standard input, and dies of it where need be.

Larq's interpreter believes what a file says of itself. Some damaged files end the process that runs them, whatever was
checked before. Usage: `python -P lce_trial.py INTERPRETER < FILE`, with the path of the interpreter's native module. It
loads that and NumPy alone, which takes a tenth of a second.
"""

import sys
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType

NATIVE = "interpreter_wrapper_lite"


def _native(path: str) -> ModuleType:
    """Load the interpreter, past the package around it, which would load TensorFlow."""
    loader = ExtensionFileLoader(NATIVE, path)
    spec = spec_from_loader(NATIVE, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def _try(content: bytes, path: str) -> None:
    """Run a network on black images and on noise; what it answers does not matter."""
    import numpy as np

    interpreter = _native(path).LiteInterpreter(content, 1, False, False, False)
    draw = np.random.default_rng(0)
    images = [draw.uniform(-scale, scale, interpreter.input_shapes[0]) for scale in (0, 1)]
    for image in images:
        interpreter.predict([image.astype(interpreter.input_types[0])])


if __name__ == "__main__":
    with suppress(Exception):  # whoever reads the file meets it again, and can say so
        _try(sys.stdin.buffer.read(), sys.argv[1])
