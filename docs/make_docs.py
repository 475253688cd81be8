"""Draw the README's picture, and the gallery and table of docs/style.md, from runs of the tool itself.

artattack run docs/options.yaml --out results/options
python docs/make_docs.py results/options
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from artattack.attacks.objective import Objective, Targets
from artattack.config import StyleOptions
from artattack.distances import checkerboard
from artattack.images import fit, read_image, to_float
from artattack.models import load_model
from artattack.results import load_run
from artattack.styles import load_styles

HERE = Path(__file__).parent
STRIDE = 4  # of QuickNet's stem, in pixels: the grid that its gradients paint
SHOWN = ("imagenet_01_559", "imagenet_02_438", "imagenet_05_853", "imagenet_17_22")
CLASSIFIER = "efficientnet_lite0"
INK, PAPER = (30, 30, 30), (255, 255, 255)


def caption(picture: np.ndarray, text: str, height: int = 36) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with a line or two of text beneath."""
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + height), PAPER)
    canvas.paste(Image.fromarray(picture))
    ImageDraw.Draw(canvas).multiline_text((4, picture.shape[0] + 3), text, INK, ImageFont.load_default(13))
    return np.asarray(canvas)


def seen(row: pd.Series, when: str) -> str:
    """Return what the classifier saw: name and confidence."""
    return f"{row[f'top1_name_{when}'][:24]}\n{row[f'top1_confidence_{when}']:.0%}"


def readme_picture(folder: Path, records: pd.DataFrame, image: str) -> np.ndarray:
    """Return content, style, result in a row, with labels before and after."""
    row = records.query("image == @image and attack == 'pixel' and classifier == @CLASSIFIER").iloc[0]
    original = read_image(folder / "images" / "original" / f"{image}.png")
    style = (load_styles(row["style"], 224)[0] * 255).astype(np.uint8)
    painted = read_image(folder / row["file"])
    panels = [
        caption(original, seen(row, "before")),
        caption(style, f"style: {row['style']}"),
        caption(painted, seen(row, "after")),
    ]
    return np.concatenate(panels, 1)


def gallery(folder: Path, records: pd.DataFrame) -> np.ndarray:
    """Return a grid: an image in each row, the original and each attack in the columns."""
    attacks = list(dict.fromkeys(records["attack"]))
    rows = []
    for image in SHOWN:
        original = read_image(folder / "images" / "original" / f"{image}.png")
        panels = [caption(fit(original, 160, 1.0), "original\n")]
        for attack in attacks:
            row = records.query("image == @image and attack == @attack and classifier == @CLASSIFIER").iloc[0]
            panels.append(
                caption(fit(read_image(folder / row["file"]), 160, 1.0), f"{attack}\n{row['top1_name_after'][:22]}")
            )
        rows.append(panels)
    half = (len(rows[0]) + 1) // 2
    blank = np.full_like(rows[0][0], 255)
    lines = [np.concatenate((line + [blank] * half)[:half], 1) for row in rows for line in (row[:half], row[half:])]
    return np.concatenate(lines, 0)


def table(folder: Path, records: pd.DataFrame) -> str:
    """Return flips, style left, distances and checkerboard energy of each attack, as Markdown."""
    lines = [
        "| attack | flips, EfficientNet-Lite0 | flips, quicknet_tiny | style left | L2 | SSIM | grid | s/image |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    objective = Objective(load_model("quicknet_tiny"), StyleOptions())
    styles = objective.style_targets(load_styles("stained-glass", 224))
    for attack, rows in records.groupby("attack", sort=False):
        ours = rows[rows["classifier"] == CLASSIFIER]
        painted = np.stack([to_float(read_image(folder / file)) for file in ours["file"]])
        originals = [to_float(read_image(folder / "images" / "original" / f"{image}.png")) for image in ours["image"]]
        left = objective(tf.constant(painted), Targets(styles, objective.content_targets(painted))).style
        other = rows[rows["classifier"] != CLASSIFIER]
        flips = [f"{part['flip'].sum()} of {len(part)}" for part in (ours, other)]
        lines.append(
            f"| {attack} | {flips[0]} | {flips[1]} | {float(tf.reduce_mean(left)):.2f} | {ours['l2'].mean():.1f} "
            f"| {ours['ssim'].mean():.2f} | {np.median(checkerboard(painted - np.stack(originals), STRIDE)):.1f} "
            f"| {ours['seconds'].mean():.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write the pictures, and put the table between its two marks in docs/style.md."""
    folder = Path(sys.argv[1])
    records = load_run(folder).records
    images = HERE / "images"
    Image.fromarray(readme_picture(folder, records, "imagenet_01_559")).save(images / "readme.png")
    Image.fromarray(gallery(folder, records)).save(images / "gallery.png", optimize=True)
    page = HERE / "style.md"
    before, mark, rest = page.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->")
    page.write_text(before + mark + table(folder, records) + "\n" + end + after)


if __name__ == "__main__":
    main()
