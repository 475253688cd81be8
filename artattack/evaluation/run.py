"""Run a benchmark: cells -> adversarial images -> records, in a run folder that can be resumed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, Any

import numpy as np

from artattack.config import Benchmark, StyleEntry, load_benchmark, parse_benchmark
from artattack.distances import distance_columns
from artattack.errors import ArtattackError
from artattack.evaluation.perturbing import Perturber
from artattack.evaluation.plan import Cell, Plan, Variant, make_plan
from artattack.evaluation.scoring import restricted, score_batch
from artattack.files import sha256_file
from artattack.inputs.image_sets import Sample, read_sample
from artattack.inputs.images import save_png, to_float, to_uint8
from artattack.inputs.labels import LabelSpace, class_name
from artattack.inputs.styles import style_names
from artattack.models.registry import parse_label_space
from artattack.results.exports import check_parquet
from artattack.results.run_folder import RunFolder, versions

if TYPE_CHECKING:
    import pandas as pd

    from artattack.attacks.features import Features
    from artattack.models.model import Model

_CHUNK = 32  # images that originals are looked at in: larger batches are no faster
_LONGEST_ERROR = 500  # characters of an error in the records

Progress = Callable[[str, int, int], None]  # what is under way, units done, units in all


def run_benchmark(
    benchmark: Benchmark | dict[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Run a benchmark and return its records, a row for each image x attack x classifier.

    Args:
        benchmark: a benchmark file, its contents as a dict, or None for the default benchmark.
        out: the run folder; by default `results/NAME-DATE-TIME`.
        resume: whether to go on with a run that stopped, in `out`, instead of starting a new one.
        on_progress: called with what is under way, the cells done and the cells in all.

    Returns:
        The records, with the columns that results/README.md describes.

    Raises:
        ArtattackError: the benchmark, an image set or a model is not usable. A cell that fails later raises
            nothing: its records say why.
    """
    if isinstance(benchmark, dict):
        benchmark = parse_benchmark(benchmark)
    elif not isinstance(benchmark, Benchmark):
        benchmark = load_benchmark(None if benchmark is None else Path(benchmark))
    run = Run(make_plan(benchmark), run_path(benchmark, out), resume=resume, on_progress=on_progress)
    return run()[0]


def run_path(benchmark: Benchmark, out: str | Path | None) -> Path:
    """Return the folder a run goes to."""
    return Path(out) if out else Path("results") / f"{benchmark.name}-{datetime.now():%Y%m%d-%H%M%S}"


class Run:
    """One execution of a plan, into one run folder."""

    def __init__(self, plan: Plan, path: Path, *, resume: bool = False, on_progress: Progress | None = None) -> None:
        self._plan = plan
        self._benchmark = plan.benchmark
        self._path = path
        self._resume = resume
        self._on_progress = on_progress or (lambda what, done, total: None)

    def __call__(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Do the cells that are not done yet; return records and summary."""
        cells = self._plan.cells
        if self._benchmark.parquet:
            check_parquet()
        self._read_images()
        self._load_models()
        self._shared = {name: self._shared_classes(name) for name in self._benchmark.classifiers}
        self._perturber = Perturber(self._benchmark, self._models, self._untrained, self._path)
        self._perturber.check(self._plan.variants)
        self._folder = RunFolder.create(self._path, self._info(), resume=self._resume)
        for sample in self._readable:
            save_png(self._folder.images / "original" / f"{sample.id}.png", self._pixels[sample.id])
        self._folder.write_cell(
            "images", [self._unreadable(sample) for sample in self._plan.samples if sample.id in self._failed]
        )
        self._clean = {name: self._clean_logits(model) for name, model in self._models.items()}
        done = self._folder.done()
        for number, cell in enumerate(cells):
            self._on_progress(cell.variant.title, number, len(cells))
            if cell.key not in done:
                self._folder.write_cell(cell.key, self._records(cell))
        self._on_progress("done", len(cells), len(cells))
        return self._folder.finish(["images", *(cell.key for cell in cells)], parquet=self._benchmark.parquet)

    def _read_images(self) -> None:
        images = self._benchmark.images
        self._pixels: dict[str, np.ndarray] = {}
        self._hashes: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        for sample in self._plan.samples:
            try:
                self._pixels[sample.id] = read_sample(sample, images.size, images.crop)
                self._hashes[sample.id] = sample.sha256 or sha256_file(sample.path)
            except ArtattackError as error:
                self._failed[sample.id] = str(error)
        self._readable = [sample for sample in self._plan.samples if sample.id in self._pixels]
        if not self._readable:
            first = next(iter(self._failed.values()), "it is empty")
            raise ArtattackError(f"image set '{images.set}': no image can be read: {first}")

    def _load_models(self) -> None:
        from artattack.models import load_model
        from artattack.runtime import load_tensorflow

        load_tensorflow()
        self._models: dict[str, Model] = {}
        for name in self._benchmark.model_names():
            self._on_progress(f"loading {name}", 0, len(self._plan.cells))
            self._models[name] = load_model(**self._benchmark.spec(name).arguments(), seed=self._benchmark.seed)
        self._untrained: dict[str, Model] = {}
        for name in {variant.source for variant in self._plan.variants if variant.entry.attack == "random-backbone"}:
            arguments = self._benchmark.spec(name).arguments() | {"weights": "random"}
            self._untrained[name] = load_model(**arguments, seed=self._benchmark.seed)
        self._features = self._made_features(self._models[self._benchmark.feature_model])

    def _made_features(self, model: Model) -> Features:
        from artattack.attacks.features import Features

        if not model.content_layers:
            raise ArtattackError(f"feature_model '{model.name}' has no default content layers: name a registry model")
        return Features(model, model.content_layers)

    def _shared_classes(self, name: str) -> LabelSpace | None:
        """Return the classes a classifier shares with the image set, in its own order; None for all of its own."""
        declared, own = self._benchmark.images.label_space, self._models[name].label_space
        if declared is None or own is None:
            return own
        if declared == "own":
            classes = {sample.label for sample in self._plan.image_set.samples}
        else:
            classes = set(parse_label_space(declared))
        shared = tuple(index for index in own if index in classes)
        if len(shared) < 2:
            raise ArtattackError(f"classifier '{name}' has {len(shared)} classes of images.label_space: leave it out")
        return shared

    def _info(self) -> dict[str, Any]:
        models = {
            name: {
                "weights": model.weights,
                "sha256": model.weights_sha256,
                "binary": model.binary,
                "classes": model.classes,
            }
            for name, model in self._models.items()
        }
        return {
            # All that decides the results: a run is resumed only where none of it has changed.
            "config": {
                "benchmark": self._benchmark.model_dump(mode="json"),
                "images": self._hashes,
                "files": self._file_hashes(),
                "models": models,
            },
            "image_set": {"name": self._plan.image_set.name, "note": self._plan.image_set.note},
            "versions": versions(),
        }

    def _file_hashes(self) -> dict[str, str]:
        """Return the hashes of the files that style entries name: styles, masks and first images."""
        words: set[str | Path] = set()
        for entry in self._benchmark.attacks:
            if isinstance(entry, StyleEntry):
                words |= {part for style in entry.style for part in (style, *style.split("+"))} - set(style_names())
                words |= {path for path in (entry.init, entry.mask, entry.style_mask) if path}
        files = {str(word): Path(word).expanduser() for word in words}
        return {word: sha256_file(path) for word, path in sorted(files.items()) if path.is_file()}

    def _clean_logits(self, model: Model) -> dict[str, np.ndarray]:
        logits: dict[str, np.ndarray] = {}
        for start in range(0, len(self._readable), _CHUNK):
            ids = [sample.id for sample in self._readable[start : start + _CHUNK]]
            logits |= zip(ids, model.predict(to_float(np.stack([self._pixels[id_] for id_ in ids]))), strict=True)
        return logits

    def _unreadable(self, sample: Sample) -> dict[str, Any]:
        return self._image_columns(sample) | {"error": self._failed[sample.id]}

    def _records(self, cell: Cell) -> list[dict[str, Any]]:
        """Attack and score the images of a cell; what goes wrong becomes records that say so."""
        samples = [sample for sample in cell.samples if sample.id in self._pixels]
        if not samples:
            return []
        x = to_float(np.stack([self._pixels[sample.id] for sample in samples]))
        started = time.perf_counter()
        try:
            adversarial = to_uint8(self._perturber(cell, samples, x, self._clean))
            seconds = (time.perf_counter() - started) / len(samples)
            return self._scored(cell, samples, x, adversarial, seconds)
        except Exception as error:  # whatever an attack raises: the run goes on, the records tell
            self._perturber.forget()
            self._log(cell, error)
            why = {"error": _in_one_line(error)}
            return [
                self._image_columns(sample) | self._attack_columns(cell, sample) | self._classifier_columns(name) | why
                for sample in samples
                for name in self._benchmark.classifiers
            ]

    def _log(self, cell: Cell, error: Exception) -> None:
        """Keep the traceback, for whoever looks for the cause of a failed cell."""
        with (self._folder.path / "errors.log").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {cell.key}\n{''.join(format_exception(error))}\n")

    def _scored(
        self, cell: Cell, samples: Sequence[Sample], x: np.ndarray, adversarial: np.ndarray, seconds: float
    ) -> list[dict[str, Any]]:
        """Write the adversarial images, and score the files as a user would receive them."""
        if cell.variant.kind != "clean":
            for sample, image in zip(samples, adversarial, strict=True):
                save_png(self._folder.path / cell.variant.file(sample), image)
        received = to_float(adversarial)
        distances = distance_columns(x, received) | self._seen_distances(cell, x, received)
        starts = [
            self._image_columns(sample)
            | self._attack_columns(cell, sample)
            | {column: values[i] for column, values in distances.items()}
            | {"file": cell.variant.file(sample).as_posix(), "seconds": seconds}
            for i, sample in enumerate(samples)
        ]
        views = {name: self._views(name, cell, samples, received) for name in self._benchmark.classifiers}
        return [
            start | self._classifier_columns(name) | views[name][i]
            for i, start in enumerate(starts)
            for name in self._benchmark.classifiers
        ]

    def _seen_distances(self, cell: Cell, x: np.ndarray, received: np.ndarray) -> dict[str, np.ndarray]:
        """Return the distance columns that networks say: in the feature model, and to the style in the backbone."""
        from artattack.attacks.objective import feature_distance

        columns = {"feature_distance": feature_distance(self._features, x, received)}
        return columns | self._perturber.style_distances(cell.variant, x, received)

    def _views(self, name: str, cell: Cell, samples: Sequence[Sample], received: np.ndarray) -> list[dict[str, Any]]:
        """Return what one classifier makes of each image; one that fails fails alone."""
        model = self._models[name]
        clean = np.stack([self._clean[name][sample.id] for sample in samples])
        truth = np.array([-1 if sample.label is None else sample.label for sample in samples])
        try:
            own, shared = model.label_space, self._shared[name]
            # Untouched images are not asked again: in a batch of another size, logits differ by rounding.
            logits = clean if cell.variant.kind == "clean" else model.predict(received)
            logits = restricted(logits, own, shared)
            return score_batch(restricted(clean, own, shared), logits, truth, shared)
        except ArtattackError as error:
            return [{"error": str(error)} for _ in samples]

    def _image_columns(self, sample: Sample) -> dict[str, Any]:
        name = None if sample.label is None else class_name(sample.label)
        return {
            "image": sample.id,
            "image_sha256": self._hashes.get(sample.id),
            "true_class": sample.label,
            "true_name": name,
        }

    def _attack_columns(self, cell: Cell, sample: Sample) -> dict[str, Any]:
        variant = cell.variant
        return {
            "kind": variant.kind,
            "attack": variant.entry.name,
            "parameters": _json(variant.entry.parameters),
            "backbone": variant.source if variant.style and variant.source else None,
            "style": variant.style or None,
            "source": variant.source or None,
            "source_weights": self._source_weights(variant),
            "matched_to": variant.matched.label if variant.matched and not variant.budget else None,
            "budget_distance": variant.budget[0] if variant.budget else None,
            "budget": variant.budget[1] if variant.budget else None,
            "seed": cell.image_seed(self._benchmark.seed, sample),
        }

    def _source_weights(self, variant: Variant) -> str | None:
        if not variant.source:
            return None
        return "random" if variant.kind == "control" else self._models[variant.source].weights

    def _classifier_columns(self, name: str) -> dict[str, Any]:
        return {"classifier": name, "classifier_weights": self._models[name].weights}


def _in_one_line(error: Exception) -> str:
    """Return an error's message, with its kind unless it is one of ours; TensorFlow's may be pages long."""
    message = str(error) if isinstance(error, ArtattackError) else f"{type(error).__name__}: {error}"
    message = " ".join(message.split())
    return message if len(message) <= _LONGEST_ERROR else f"{message[:_LONGEST_ERROR]}..."


def _json(parameters: dict[str, Any]) -> str:
    """Return parameters as JSON, which has no infinity: ART's `norm: inf` is the word."""
    known = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in parameters.items()
    }
    return json.dumps(known, sort_keys=True, allow_nan=False)
