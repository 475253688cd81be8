"""Paths of the package's own data: manifests, class names, styles."""

from pathlib import Path


def data_dir() -> Path:
    """Return the folder of manifests and styles: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_datasets"
    return installed if installed.is_dir() else package.parent / "datasets"
