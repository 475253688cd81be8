"""TFLite files that end the process which runs them, found out in another process.

Interpreters are C++ and check little: a few damaged files in a hundred that have all the form of whole ones abort in
the middle of a kernel, where no exception can be had.
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

LONGEST = 300.0  # seconds that a file may take for two images
_NATIVES = {  # of each kind: its package, and where its native module lies in that
    "tflite": ("tensorflow", "lite/python/interpreter_wrapper/_pywrap_tensorflow_interpreter_wrapper*"),
    "lce": ("larq_compute_engine", "tflite/python/interpreter_wrapper_lite*"),
}


def try_elsewhere(
    path: Path, content: bytes, kind: Literal["tflite", "lce"], input_size: tuple[int, int] | None = None
) -> None:
    """Run a file on two images in a process of its own, a third of a second beside what the network takes.

    Args:
        path: the file, for the message.
        content: what is in it.
        kind: whose interpreter runs it.
        input_size: (H, W) in pixels, where the file leaves it open.

    Raises:
        ArtattackError: the process ends before its time, or takes too long. Exceptions there say nothing: whoever
            reads the file meets them, too.
    """
    package, pattern = _NATIVES[kind]
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    files = [file for folder in folders for file in sorted(Path(folder).glob(pattern))]
    natives = [file for file in files if file.name.endswith(tuple(EXTENSION_SUFFIXES))]
    if not natives:  # laid out in another way: then there is nothing to try it with
        return
    command = [sys.executable, "-P", trial_program.__file__, kind, str(natives[0]), *map(str, input_size or ())]
    nowhere = subprocess.DEVNULL
    try:
        done = subprocess.run(command, input=content, stdout=nowhere, stderr=nowhere, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise ArtattackError(f"model '{path}' takes more than {LONGEST:g} s for two images") from None
    if done.returncode:
        raise ArtattackError(
            f"model '{path}' cannot be loaded: it ends the process that runs it, as some damaged files do"
        )
