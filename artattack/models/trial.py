"""Trial of a TFLite file in another process, since a damaged file may crash the process that runs it.

Interpreters are C++ and check little: a few damaged files in a hundred pass all checks of their structure and abort
inside a kernel, which raises no exception.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from artattack.errors import ArtattackError
from artattack.models import trial_program

LONGEST = 300.0  # time limit in seconds for two images
_NATIVES = {  # package of each kind, and path of the native module in it
    "tflite": ("tensorflow", "lite/python/interpreter_wrapper/_pywrap_tensorflow_interpreter_wrapper*"),
    "lce": ("larq_compute_engine", "tflite/python/interpreter_wrapper_lite*"),
}


def try_elsewhere(
    path: Path, content: bytes, kind: Literal["tflite", "lce"], input_size: tuple[int, int] | None = None
) -> None:
    """Run a file on two images in a separate process, which adds a third of a second to the network's time.

    Exceptions in the separate process are ignored: reading the file raises them again.

    Args:
        path: the file, for the message.
        content: bytes of the file.
        kind: kind of the file, which decides on the interpreter.
        input_size: (H, W) in pixels, if the file leaves it open.

    Raises:
        ArtattackError: the process crashes, or takes longer than `LONGEST` seconds.
    """
    package, pattern = _NATIVES[kind]
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    files = [file for folder in folders for file in sorted(Path(folder).glob(pattern))]
    natives = [file for file in files if file.name.endswith(tuple(EXTENSION_SUFFIXES))]
    if not natives:  # another version of the package may place the module elsewhere; skip the trial
        return
    command = [sys.executable, "-P", trial_program.__file__, kind, str(natives[0]), *map(str, input_size or ())]
    nowhere = subprocess.DEVNULL
    try:
        done = subprocess.run(command, input=content, stdout=nowhere, stderr=nowhere, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise ArtattackError(f"model '{path}' takes more than {LONGEST:g} s for two images") from None
    if done.returncode:
        raise ArtattackError(
            f"model '{path}' cannot be loaded: it crashes the process that runs it, as some damaged files do"
        )
