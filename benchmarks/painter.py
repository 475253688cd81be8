"""Painting in one pass beside the style attack, and where the time of a painter's run goes.

Three tables: images per second of the painter and of the style attack of the same ball, in turns; seconds for a photo
of 12 megapixels; milliseconds per image of a whole run, by its parts, without the time for loading and compiling. Run
as `python benchmarks/painter.py`.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, measure, parser, repeated_samples, report, start

STYLE = "waves"
PHOTO = (3000, 4000)  # height and width in pixels
PARTS = {  # of a run: a function of the package, by file and name
    "reading images": ("images.py", "read_image"),
    "painting": ("painter_network.py", "paint"),
    "writing PNG": ("cell_images.py", "write"),
    "distances": ("distances.py", "distance_columns"),
    "feature distance": ("objective.py", "__call__"),
    "style distances": ("painter_entry.py", "columns"),
    "judges of style": ("style_judging.py", "columns"),
    "classifiers": ("asking.py", "of_perturbed"),
}


def side_by_side(painter: str, size: int, count: int, repeats: int) -> list[Row]:
    """Return the images per second of both attacks on the same images."""
    from artattack import StyleTransferAttack, load_images, load_model
    from artattack.attacks.painter import PainterAttack
    from artattack.attacks.painter_card import PainterFile
    from artattack.models.estimator import to_estimator

    card = PainterFile(painter).card
    estimator = to_estimator(load_model(card.backbone), input_shape=(size, size, 3))
    x = load_images("samples", size=size, limit=count).x
    attacks = {
        "style, 40 steps": StyleTransferAttack(estimator, styles=STYLE, budget=card.budget),
        "painter, one pass": PainterAttack(estimator, painter=painter, style=STYLE),
    }
    seconds = measure({name: lambda attack=attack: attack.generate(x) for name, attack in attacks.items()}, repeats)
    slowest = max(seconds.values())
    return [
        {"attack": name, "images": len(x), "images/s": len(x) / spent, "x style": slowest / spent}
        for name, spent in seconds.items()
    ]


def photo(painter: str, shape: tuple[int, int], repeats: int) -> list[Row]:
    """Return the time for one large photo."""
    from artattack.attacks.painter_card import PainterFile
    from artattack.attacks.painter_network import Painter

    file = PainterFile(painter)
    network, mix = Painter(file), file.mix(STYLE)
    x = np.random.default_rng(0).random((1, *shape, 3), np.float32)
    seconds = measure({"photo": lambda: network.paint(x, mix)}, repeats)["photo"]
    megapixels = shape[0] * shape[1] / 1e6
    return [
        {
            "photo": f"{shape[1]} x {shape[0]}",
            "megapixels": megapixels,
            "s": seconds,
            "s/megapixel": seconds / megapixels,
        }
    ]


def parts(painter: str, size: int, count: int, classifiers: list[str]) -> list[Row]:
    """Return the milliseconds per image of each part of a run: the difference between a long and a short run."""
    with tempfile.TemporaryDirectory() as folder:
        benchmark: dict[str, Any] = {
            "images": {"size": size},
            "classifiers": classifiers,
            "attacks": [{"attack": "painter", "painter": painter, "style": STYLE}],
        }
        few = _profiled(benchmark, Path(folder) / "few", 10)
        many = _profiled(benchmark, Path(folder) / "many", count + 10)
    spent = {part: 1000 * (many[part] - few[part]) / count for part in PARTS}
    return [{"part": p, "ms/image": ms, "x painting": ms / spent["painting"]} for p, ms in spent.items()]


def _profiled(benchmark: dict[str, Any], folder: Path, count: int) -> dict[str, float]:
    """Run a benchmark of `count` images, repeated as needed, and return the seconds of its parts."""
    from artattack import run_benchmark

    folder.mkdir()
    profile = cProfile.Profile()
    whole = benchmark | {"images": benchmark["images"] | {"set": str(repeated_samples(folder, count))}}
    profile.runcall(run_benchmark, whole, out=folder / "run", cache=False)
    stats: Any = pstats.Stats(profile)
    return {
        part: sum(
            entry[3]
            for (path, _, function), entry in stats.stats.items()
            if function == name and Path(path).name == file and "artattack" in path
        )
        for part, (file, name) in PARTS.items()
    }


def main() -> None:
    """Measure and report."""
    options = parser(__doc__, repeats=3, quick="32 px, two images, one round")
    options.add_argument("--painter", default="bundled", help="a painter's file")
    options.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    options.add_argument("--limit", type=int, default=20, help="images for the comparison with the style attack")
    options.add_argument("--images", type=int, default=100, help="images of the run whose parts are timed")
    options.add_argument("--classifier", action="append", help="classifiers of that run; default: efficientnet_lite0")
    arguments = options.parse_args()
    shape = PHOTO
    if arguments.quick:
        arguments.size, arguments.limit, arguments.images, arguments.repeats, shape = 32, 2, 2, 1, (64, 96)
    start()
    rows = side_by_side(arguments.painter, arguments.size, arguments.limit, arguments.repeats)
    more = {
        "one large photo": photo(arguments.painter, shape, arguments.repeats),
        "parts of a run": parts(
            arguments.painter, arguments.size, arguments.images, arguments.classifier or ["efficientnet_lite0"]
        ),
    }
    report(f"painter and style attack, {arguments.size} px, style {STYLE}", rows, arguments.json, more)


if __name__ == "__main__":
    main()
