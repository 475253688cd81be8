"""Loading TensorFlow once, quietly, the way the product needs it."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from artattack.errors import ArtattackError

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")  # by which libraries go
PACKAGES = (  # whose versions may change a result: run.json records them, and they are part of the cache key
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
    "torch",
    "timm",
    "onnxruntime",
    "larq-compute-engine",
    "ray",
)
_VECTOR = ("sse4", "avx", "fma", "amx", "asimd", "sve", "bf16")  # instructions that numbers may go through


def load_tensorflow() -> None:
    """Import TensorFlow, larq and ART with Keras 2, quietly; GPU memory grows as needed.

    Safe to call again.

    Raises:
        ArtattackError: Keras 3 is in use already.
    """
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
        with suppress(RuntimeError):  # TensorFlow is at work already, as its user has set it up
            tf.config.experimental.set_memory_growth(device, True)


def write_art_settings() -> None:
    """Write the settings that ART writes when it is first imported by a user, whole or not at all.

    ART looks for them, creates them and reads them one after the other: of several processes that import it for the
    first time at once, one would read what another has half written, and fail. Settings that are there stay, and a
    disk that does not take them is left to ART.
    """
    home = Path.home()
    folder = (home if os.access(home, os.W_OK) else Path("/tmp")) / ".art"  # where ART looks
    settings = folder / "config.json"
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        if not settings.exists():
            handle, temporary = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "w") as file:
                json.dump({"ART_DATA_PATH": str(folder / "data")}, file, indent=4)
            Path(temporary).replace(settings)


def silence_libraries() -> None:
    """Keep off the terminal what TensorFlow, Keras, larq and ART warn their developers of.

    Unless Python was asked for warnings (`python -W`). For the command line: a library leaves this to its user.
    """
    if sys.warnoptions:
        return
    for module in ("tf_keras", "keras", "larq", "art", "tensorflow"):
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
    for name in ("art", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def describe_machine() -> dict[str, Any]:
    """Return what of a machine may show in the last digits of results: processor, cores, threads, GPUs.

    `repeatable` says in words when two runs give identical records: networks add in another order when they see another
    number of images at once.
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
    """Return a processor's name, and all that the system says it can do."""
    try:
        lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    except OSError:  # no Linux
        return platform.processor() or platform.machine(), []
    said = {key.strip(): value.strip() for key, value in reversed(lines)}
    return said.get("model name", platform.machine()), said.get("flags", said.get("Features", "")).split()


def usable_cores() -> int | None:
    """Return how many cores this process may use, None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def installed_versions() -> dict[str, str]:
    """Return the versions of those `PACKAGES` that are installed."""
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the C++ side's notes, such as on absent GPUs, off the terminal; Python's own errors still come through."""
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere:
        warnings.simplefilter("ignore")
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
