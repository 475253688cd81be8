"""Fault injection: interrupt and corrupt real runs at random points, resume them, and compare the results.

Each trial starts a run, injects a fault, resumes the run, injects another fault, and so on; finally it resumes the run
without faults. Every second trial instead extends a finished run with one attack. Tables and images must then equal
those of an uninterrupted run with all attacks, byte for byte, except for the columns of seconds and `from_cache` (all
runs share one cache). `--seed` determines the faults and their moments:

- kill: SIGKILL when a file in the run folder is opened, renamed or removed, or after some time
- full: from a file event on, the disk accepts no more data; or no file may exceed some bytes (a real limit of the
  system, which leaves files half-written)
- read-only: from a file event on, the folder cannot be written
- gone: from a file event on, nothing in the folder can be reached, as with an unplugged disk
- image: from a file event on, a photo of the image set is missing
- corrupt: between two starts, a file in the run folder is truncated, gets a flipped bit, is emptied, filled with zeros
  or deleted
- cache: the same happens to a file in the cache

The run folder is given as a relative path, and originals are read late, during attacks.

After each fault the run must either have ended with a one-line message, or have continued. Run as
`python benchmarks/faults.py`; the exit code is 1 if anything was lost.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("kill", "kill later", "full", "full files", "read-only", "gone", "image", "corrupt", "cache")
DAMAGE = ("cut", "flip", "empty", "zeros", "delete")
TABLES = ("records", "summary", "controls", "pooled", "pairs", "judges", "areas")
MODEL = "quicknet_tiny"
BENCHMARK: dict[str, Any] = {
    "name": "faults",
    "batch_size": 2,
    "classifiers": MODEL,
    "feature_model": MODEL,
    "style_judges": MODEL,
    "attacks": [
        {"attack": "fgsm", "source": MODEL, "eps": "8/255"},
        {"attack": "noise", "like": "fgsm"},
        {"attack": "style", "backbone": MODEL, "style": "waves", "steps": 1},
        {"attack": "blur", "like": "style"},
    ],
}
_ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "gone": errno.EIO}
_CHANGES = ("os.rename", "os.remove", "os.mkdir")
_WATCHED = ("open", "os.listdir", "os.scandir", *_CHANGES)
_LATE = 0.05  # seconds by which reading the originals of a cell is delayed
_PEACE = 3  # maximum number of final resumes without faults


@dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: one of `KINDS`.
        moment: number of the file event; milliseconds for "kill later", bytes for "full files".
        image: the photo to remove, for "image".
    """

    kind: str
    moment: int
    image: Path | None = None


class _Watch:
    """Counts file events in a run folder, and injects the fault at its moment."""

    def __init__(self) -> None:
        self.folder, self.fault, self.events, self.struck = "", None, 0, False
        sys.addaudithook(self)  # audit hooks cannot be removed

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or event not in _WATCHED or not str(arguments[0]).startswith(self.folder):
            return
        self.events += 1
        fault: Fault | None = self.fault
        if fault is None or self.events < fault.moment or fault.kind not in ("kill", "image", *_ERRORS):
            return
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "image":
            if not self.struck:
                self.struck = True
                assert fault.image is not None
                fault.image.rename(fault.image.with_suffix(".away"))
            return
        writes = event in _CHANGES or (event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
        if writes or fault.kind == "gone":
            self.struck = True
            raise OSError(_ERRORS[fault.kind], os.strerror(_ERRORS[fault.kind]), str(arguments[0]))

    @contextmanager
    def over(self, folder: Path, fault: Fault | None) -> Iterator[None]:
        """Watch a folder; afterwards, `events` and `struck` hold the result."""
        self.fault, self.events, self.struck = fault, 0, False
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = ""


_watch: _Watch | None = None


def attempt(images: Path, folder: Path, fault: Fault | None) -> tuple[str, bool, int]:
    """Start, resume or extend a run of the benchmark under a fault.

    Returns:
        The error message, or "" if the run has finished; whether the fault struck; the number of file events.
    """
    global _watch
    from artattack import ArtattackError

    _watch = _watch or _Watch()
    benchmark = BENCHMARK | {"images": {"set": str(images), "size": 32}}
    told = ""
    with _watch.over(folder, fault), _limit_files(fault), _kill_later(fault), _read_late(), chdir(folder.parent):
        try:
            _how_to_go_on(Path(folder.name), benchmark)()
        except ArtattackError as error:
            told = str(error)
        except Exception:  # a defect: users should never see a traceback
            told = traceback.format_exc()
    struck = _watch.struck or (fault is not None and fault.kind == "full files" and bool(told))
    return told, struck, _watch.events


def _how_to_go_on(folder: Path, benchmark: dict[str, Any]) -> Callable[[], Any]:
    """Return the function that starts, resumes or extends a run, depending on the folder."""
    from artattack import load_run, run_benchmark
    from artattack.config import parse_benchmark
    from artattack.evaluation.extending import extended
    from artattack.evaluation.plan import make_plan
    from artattack.evaluation.run import run_plan

    if not (folder / "run.json").exists():
        return partial(run_benchmark, benchmark, out=folder)
    attacks = load_run(folder).info["config"]["benchmark"]["attacks"]
    if len(attacks) == len(benchmark["attacks"]):
        return partial(run_benchmark, benchmark, out=folder, resume=True)
    asked = parse_benchmark(benchmark)
    return lambda: run_plan(make_plan(extended(folder, asked)), folder, extend=True)


def small(images: Path, folder: Path) -> None:
    """Finish a run with the first attack alone."""
    from artattack import run_benchmark

    run_benchmark(
        BENCHMARK | {"images": {"set": str(images), "size": 32}, "attacks": BENCHMARK["attacks"][:1]}, out=folder
    )


@contextmanager
def _read_late() -> Iterator[None]:
    """Delay reading originals ahead, so that an attack is likely to be running."""
    from artattack.evaluation.cells import CellWorker

    read = CellWorker.read

    def late(worker: CellWorker, cell: Any) -> Any:
        time.sleep(_LATE)
        return read(worker, cell)

    CellWorker.read = late  # type: ignore[method-assign]
    try:
        yield
    finally:
        CellWorker.read = read  # type: ignore[method-assign]


@contextmanager
def _limit_files(fault: Fault | None) -> Iterator[None]:
    """Limit the size of files, for the fault "full files"."""
    if fault is None or fault.kind != "full files":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writes fail instead of killing the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (fault.moment, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@contextmanager
def _kill_later(fault: Fault | None) -> Iterator[None]:
    """Kill this process after some time, for the fault "kill later"."""
    if fault is None or fault.kind != "kill later":
        yield
        return
    timer = threading.Timer(fault.moment / 1000, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def corrupt(folder: Path, rng: np.random.Generator, damage: str = "") -> str:
    """Damage a file in an idle run folder; return the kind of damage and the file.

    `run.json` is never deleted: without it, a folder holds no run, and artattack refuses to start a new one there.
    """
    damage = damage or str(rng.choice(DAMAGE))
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size and p.suffix != ".lock")
    if damage == "delete":
        files = [path for path in files if path.name != "run.json"]
    if not files:
        return ""
    kinds = sorted({path.suffix for path in files})  # first draw a file type, since images outnumber tables
    suffix = rng.choice(kinds)
    path = files[int(rng.choice([i for i, each in enumerate(files) if each.suffix == suffix]))]
    content = bytearray(path.read_bytes())
    at = int(rng.integers(len(content)))
    if damage == "flip":
        content[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(
        {"cut": content[:at], "empty": b"", "zeros": bytes(len(content))}.get(damage, bytes(content))  # type: ignore
    )
    if damage == "delete":
        path.unlink()
    return f"{damage} {path.relative_to(folder)}"


def compare(folder: Path, reference: Path) -> list[str]:
    """Return the differences of a run folder from that of an uninterrupted run."""
    from artattack import load_run

    run, right = load_run(folder), load_run(reference)
    wrong = []
    for name in TABLES:
        seconds = [column for column in getattr(right, name).columns if "seconds" in column or column == "from_cache"]
        left, expected = (getattr(each, name).drop(columns=seconds) for each in (run, right))
        if len(left) != len(expected):
            wrong.append(f"{name}: {len(left)} rows, not the {len(expected)} of the uninterrupted run")
        elif not left.equals(expected):
            other = [column for column in expected if not left[column].equals(expected[column])]
            row = next(
                i for i in range(len(left)) if not left[other[0]][i : i + 1].equals(expected[other[0]][i : i + 1])
            )
            values = f"{left[other[0]][row]!r}, not {expected[other[0]][row]!r}"
            wrong.append(f"{name}: other values in {', '.join(other)}; the first in row {row}: {values}")
    pictures = {path.relative_to(reference) for path in reference.glob("images/*/*")}
    found = {path.relative_to(folder) for path in folder.glob("images/*/*")}
    wrong += [f"{path}: missing" for path in sorted(pictures - found)]
    wrong += [f"{path}: left over" for path in sorted(found - pictures)]
    wrong += [
        f"{path}: other pixels"
        for path in sorted(pictures & found)
        if (folder / path).read_bytes() != (reference / path).read_bytes()
    ]
    wrong += [f"{path.relative_to(folder)}: left over" for path in folder.rglob("*.tmp")]
    return wrong


def make_images(folder: Path, count: int) -> None:
    """Write images of smoothed noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


Attempt = Callable[[Path, Path, Fault | None], tuple[str, bool, int]]


def draw_fault(rng: np.random.Generator, images: Path, events: int, kind: str) -> Fault:
    """Draw the moment of a fault among the remaining file events of a run."""
    if kind == "kill later":
        return Fault(kind, int(rng.integers(1, 4000)))
    if kind == "full files":
        return Fault(kind, int(rng.integers(100, 6000)))
    photo = sorted(images.glob("*.png"))[int(rng.integers(len(list(images.glob("*.png")))))]
    return Fault(kind, int(rng.integers(1, max(2, events))), photo if kind == "image" else None)


def put_back(images: Path) -> None:
    """Restore removed photos."""
    for away in images.glob("*.away"):
        away.rename(away.with_suffix(".png"))


class Worker:
    """A process that runs attempts; after a kill, the next attempt starts a new process."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["artattack.attacks.features", "artattack.evaluation.cells"])

    def __call__(self, images: Path, folder: Path, fault: Fault | None) -> tuple[str, bool, int]:
        """Like `attempt`; a killed process returns no message."""
        try:
            return self._processes().submit(attempt, images, folder, fault).result()
        except BrokenProcessPool:
            self.close()
            return "", True, 0

    def make_small(self, images: Path, folder: Path) -> None:
        """Like `small`."""
        self._processes().submit(small, images, folder).result()

    def _processes(self) -> ProcessPoolExecutor:
        self._pool = self._pool or ProcessPoolExecutor(1, mp_context=self._context, initializer=keep_models)
        return self._pool

    def close(self) -> None:
        """End the process."""
        if self._pool:
            self._pool.shutdown()
        self._pool = None


def keep_models() -> None:
    """Load models and compile attacks once per process for all runs, since both are slow."""
    from artattack.evaluation import loading
    from artattack.evaluation.perturbing import Perturber
    from artattack.runtime import silence_libraries

    silence_libraries()
    load, make = loading.load_models, Perturber.attack
    models: list[Any] = []
    attacks: dict[Any, Any] = {}

    def load_models(plan: Any, *tells: Any) -> Any:
        models[:] = models or [load(plan, *tells)]
        return models[0]

    def attack(self: Perturber, variant: Any) -> Any:
        key = variant.entry.made_alike(variant)
        attacks[key] = attacks.get(key) or make(self, variant)
        return attacks[key]

    loading.load_models = load_models
    Perturber.attack = attack  # type: ignore[method-assign]


def trial(
    run: Attempt,
    images: Path,
    folder: Path,
    reference: Path,
    events: int,
    kinds: Iterable[str],
    rng: np.random.Generator,
    cache: Path | None = None,
) -> tuple[Counter[str], list[str]]:
    """Inject faults into a run one after the other, then resume it without faults and compare.

    Returns:
        Number of faults of each kind that struck, and the final differences.
    """
    struck: Counter[str] = Counter()
    wrong, history = [], []
    for kind in kinds:
        if kind in ("corrupt", "cache"):
            at = folder if kind == "corrupt" else cache
            done = corrupt(at, rng) if at and at.exists() and (kind == "cache" or (at / "run.json").exists()) else ""
            struck[kind] += bool(done)
            history.append(done)
            continue
        fault = draw_fault(rng, images, events // 2, kind)
        told, hit, _ = run(images, folder, fault)
        put_back(images)
        struck[kind] += hit
        history.append(f"{fault.kind} {fault.moment}{'' if hit else ' (missed)'}: {told or '-'}")
        if "\n" in told:
            wrong.append(f"{kind}: more than one line: {told}")
    for _ in range(_PEACE):
        told, _, _ = run(images, folder, None)
        history.append(f"without fault: {told or 'finished'}")
        if not told:
            break
    wrong += [f"without fault: {told}"] if told else compare(folder, reference)
    return struck, [*wrong, *(f"    {line}" for line in history)] if wrong else []


def main() -> int:
    """Inject faults until enough have struck, and report losses."""
    from common import parser

    options = parser(__doc__, repeats=1, quick="five faults")
    options.add_argument("--faults", type=int, default=60, help="number of faults that must strike")
    options.add_argument("--seed", type=int, default=0, help="seed of the faults and their moments")
    options.add_argument("--images", type=int, default=3, help="photos per run")
    arguments = options.parse_args()
    wanted = 5 if arguments.quick else arguments.faults
    rng = np.random.default_rng(arguments.seed)
    worker, start = Worker(), time.perf_counter()
    struck: Counter[str] = Counter()
    lost: list[str] = []
    trials = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images, reference, folder, cache = (place / word for word in ("photos", "reference", "run", "cache"))
        os.environ["ARTATTACK_CACHE"] = str(cache)  # for the worker processes
        make_images(images, arguments.images)
        told, _, events = worker(images, reference, None)
        if told:
            raise SystemExit(f"the uninterrupted run: {told}")
        worker.make_small(images, place / "small")
        try:
            while struck.total() < wanted:
                trials += 1
                if trials % 2 == 0:
                    shutil.copytree(place / "small", folder)
                kinds = [str(kind) for kind in rng.choice(KINDS, int(rng.integers(2, 5)))]
                hit, wrong = trial(worker, images, folder, reference, events, kinds, rng, cache)
                struck += hit
                lost += wrong
                shutil.rmtree(folder, ignore_errors=True)
                print(f"{struck.total()} of {wanted} faults, {'WRONG' if wrong else 'ok'}", flush=True)
                for line in wrong:
                    print(line, flush=True)
        finally:
            worker.close()
    print(f"{trials} runs, {struck.total()} faults in {(time.perf_counter() - start) / 60:.0f} min:", end=" ")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(struck.items())))
    print("LOST" if lost else "nothing lost, duplicated or half-written")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
