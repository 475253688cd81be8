"""Where the package's own data lies: manifests, class names, styles."""

from pathlib import Path


def data_dir() -> Path:
    """Return the folder of manifests and styles: in the installed package, or in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_datasets"
    return installed if installed.is_dir() else package.parent / "datasets"
