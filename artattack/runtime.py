"""Loading TensorFlow once and quietly, and describing the machine."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from artattack.errors import ArtattackError

THREADS = (
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # environment variables that limit the threads of libraries
PACKAGES = (  # packages whose versions may change a result: in run.json and in the cache key
    "tensorflow",
    "tf-keras",
    "keras",
    "larq",
    "larq-zoo",
    "adversarial-robustness-toolbox",
    "foolbox",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "scikit-image",
    "ray",
)
_VECTOR = (
    "sse4",
    "avx",
    "fma",
    "amx",
    "asimd",
    "sve",
    "bf16",
)  # prefixes of CPU features that may change the last digits of results


def load_tensorflow() -> None:
    """Import TensorFlow, larq and ART with Keras 2, quietly; GPU memory grows as needed.

    Further calls do nothing. Afterwards, messages of these libraries for developers stay off the terminal; see
    `silence_libraries`.

    Raises:
        ArtattackError: Keras 3 is in use already.
    """
    silence_libraries()
    with quietly():
        import tensorflow as tf

        try:
            import larq  # noqa: F401
        except AttributeError as error:  # larq looks for layers that Keras 3 has dropped
            raise ArtattackError(
                "TensorFlow runs with Keras 3, larq needs Keras 2: import artattack before tensorflow, "
                "or set TF_USE_LEGACY_KERAS=1"
            ) from error
        write_art_settings()
        import art.attacks.evasion  # noqa: F401
    for device in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # the user's code has initialized TensorFlow already
            tf.config.experimental.set_memory_growth(device, True)


def write_art_settings() -> None:
    """Write atomically the settings file that ART writes on its first import.

    ART itself checks, creates and reads the file without a lock. If several processes import ART for the first time at
    once, one may read a half-written file and fail. Existing settings stay; write errors are left to ART.
    """
    home = Path.home()
    folder = (home if os.access(home, os.W_OK) else Path("/tmp")) / ".art"  # ART's own choice
    settings = folder / "config.json"
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        if not settings.exists():
            handle, temporary = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "w") as file:
                json.dump({"ART_DATA_PATH": str(folder / "data")}, file, indent=4)
            Path(temporary).replace(settings)


def silence_libraries() -> None:
    """Hide developer messages of the libraries in use, from TensorFlow to tqdm.

    Python's warnings stay as `python -W` or PYTHONWARNINGS has set them; what the libraries log is hidden even then.
    """
    for name in ("art", "tensorflow", "absl", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if sys.warnoptions:
        return
    for module in ("tf_keras", "keras", "larq", "art", "tensorflow", "matplotlib", "tqdm"):
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")


def describe_machine() -> dict[str, Any]:
    """Return the properties of the machine that may change the last digits of results: processor, threads, GPUs.

    `repeatable` states in words when two runs give identical records; for example, the batch size changes the order of
    summation in networks.
    """
    import tensorflow as tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    name, features = processor()
    return {
        "processor": name,
        "features": sorted(word for word in features if word.startswith(_VECTOR)),
        "cores": usable_cores(),
        "threads": {word: os.environ[word] for word in THREADS if word in os.environ},
        "gpus": [str(gpu.get("device_name", "GPU")) for gpu in gpus],
        "repeatable": "not to the last digit: sums on a GPU come in any order"
        if gpus
        else "on processors with the same features, with as many threads, in batches of the same size",
    }


def processor() -> tuple[str, list[str]]:
    """Return the processor's name and the feature flags that the system reports."""
    try:
        lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    except OSError:  # not Linux
        return platform.processor() or platform.machine(), []
    said = {key.strip(): value.strip() for key, value in reversed(lines)}
    return said.get("model name", platform.machine()), said.get("flags", said.get("Features", "")).split()


def usable_cores() -> int | None:
    """Return the number of cores this process may use; None if unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def installed_versions(also: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the installed `PACKAGES`, and of further ones."""
    found = {}
    for package in (*PACKAGES, *also):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@contextmanager
def quietly() -> Iterator[None]:
    """Hide the C++ libraries' messages, such as about absent GPUs; Python's exceptions still pass."""
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere:
        warnings.simplefilter("ignore")
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
