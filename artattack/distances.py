"""Distances between two batches of images: pure functions with one number for each image.

`DISTANCES` and `CHANGE_MEASURES` list them with units and meanings. The tables, the figures and the benchmark file read
these lists, so a new distance is a function and an entry here. scikit-image and SciPy take long to import, so
functions import them when called.

Every distance and every measure raises ArtattackError for a batch of another shape than (N, H, W, 3), and for two
batches whose shapes differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from artattack.errors import ArtattackError
from artattack.runtime import usable_cores

Images = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

_SSIM_SIGMA = 1.5
_SSIM_WINDOW = 11  # px; the Gaussian window of Wang et al., cut at 3.5 sigma
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, from the finest scale
_MS_SSIM_SIDE = _SSIM_WINDOW * 2 ** (len(_SCALE_WEIGHTS) - 1)  # px; the coarsest scale must hold the window
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
_EIGHT_BIT_NOISE = 1.0 / 12.0 / 255.0**2  # variance of the rounding error of 8-bit values
_ROWS = 32  # rows of an image whose colours are compared at once; their arrays fit in the cache
_GMSD_C = 170 / 255**2  # the paper's constant, for values in [0, 1]
_RING = 8  # bins; neighbours farther from a grid frequency tell little about it
_MIN_REPEATS = 4  # least number of periods along a side; with fewer, harmonics of the grid share neighbours


def _batch(x: Images) -> Floats:
    if x.ndim != 4 or x.shape[-1] != 3:
        raise ArtattackError(f"expected a batch of images of shape (N, H, W, 3), got {x.shape}")
    return np.asarray(x, np.float64)


def _pair(x: Images, y: Images) -> tuple[Floats, Floats]:
    if x.shape != y.shape:
        raise ArtattackError(f"images to compare must have the same shape, got {x.shape} and {y.shape}")
    return _batch(x), _batch(y)


def _difference(x: Images, y: Images) -> Floats:
    """Return y - x with the values of each image in a row, (N, H * W * 3)."""
    x, y = _pair(x, y)
    return (y - x).reshape(len(x), math.prod(x.shape[1:]))


def l0(x: Images, y: Images) -> Floats:
    """Return the number of the H * W * 3 values that differ: two batches (N, H, W, 3) -> (N,) float64."""
    return np.asarray(np.count_nonzero(_difference(x, y), axis=1), np.float64)


def l1(x: Images, y: Images) -> Floats:
    """Return the sum of absolute differences, in image units: two batches (N, H, W, 3) -> (N,) float64."""
    return np.asarray(np.abs(_difference(x, y)).sum(axis=1))


def l2(x: Images, y: Images) -> Floats:
    """Return the Euclidean distance, in image units: two batches (N, H, W, 3) -> (N,) float64."""
    return np.asarray(np.sqrt(np.square(_difference(x, y)).sum(axis=1)))


def linf(x: Images, y: Images) -> Floats:
    """Return the largest absolute difference, in image units: two batches (N, H, W, 3) -> (N,) float64."""
    return np.asarray(np.abs(_difference(x, y)).max(axis=1))


def psnr(x: Images, y: Images) -> Floats:
    """Return the peak signal-to-noise ratio, -10 log10(mean squared difference), peak 1.

    Args:
        x, y: two batches (N, H, W, 3) in [0, 1].

    Returns:
        (N,) float64 in dB; larger is nearer, inf for identical images.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-10.0 * np.log10(np.square(_difference(x, y)).mean(axis=1)))


def ssim(x: Images, y: Images) -> Floats:
    """Return the structural similarity, mean over channels and over pixels whose window lies inside the image.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Trans. Image Processing 13(4), 2004, with that paper's constants: an 11 x 11
    Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03; here on each of R, G and B.

    Args:
        x, y: two batches (N, H, W, 3) in [0, 1].

    Returns:
        (N,) float64 in [-1, 1]; 1 for identical images.

    Raises:
        ArtattackError: the shapes differ, or a side is shorter than the window, 11 px.
    """
    return _similarities(*_pair(x, y), scales=1)[0]


def ms_ssim(x: Images, y: Images) -> Floats:
    """Return the multi-scale structural similarity, mean over channels.

    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image quality assessment",
    Asilomar 2003: five scales, each the means of 2 x 2 px of the previous one, with that paper's weights as exponents
    and negative similarities as 0. TensorFlow's `ssim_multiscale` gives the same values but takes ten times as long.

    Args:
        x, y: two batches (N, H, W, 3) in [0, 1].

    Returns:
        (N,) float64 in [0, 1], 1 for identical images; NaN where a side is below 176 px, since the smallest
        scale must hold the 11 px window.

    Raises:
        ArtattackError: the shapes differ.
    """
    x, y = _pair(x, y)
    return np.full(len(x), np.nan) if min(x.shape[1:3]) < _MS_SSIM_SIDE else _similarities(x, y)[1]


def _similarities(x: Floats, y: Floats, scales: int = len(_SCALE_WEIGHTS)) -> tuple[Floats, Floats]:
    """Return `ssim` and `ms_ssim`, which share the finest scale; with fewer scales, `ms_ssim` is missing (NaN).

    Each channel is computed by itself, because NumPy is several times as fast on arrays that fit in the cache.
    """
    if min(x.shape[1:3]) < _SSIM_WINDOW:
        raise ArtattackError(
            f"ssim uses a window of {_SSIM_WINDOW} x {_SSIM_WINDOW} px, the images are only "
            f"{x.shape[1]} x {x.shape[2]}: use larger images"
        )
    if min(x.shape[1:3]) < _MS_SSIM_SIDE:
        scales = 1
    whole, structures = np.empty((2, scales, len(x), 3))
    for image, channel in np.ndindex(len(x), 3):
        a, b = (np.ascontiguousarray(batch[image, :, :, channel]) for batch in (x, y))
        for scale in range(scales):
            if scale:
                a, b = _halved(a), _halved(b)
            luminance, structure = _luminance_and_structure(a, b)
            whole[scale, image, channel] = (luminance * structure).mean()
            structures[scale, image, channel] = structure.mean()
    if scales < len(_SCALE_WEIGHTS):
        return np.asarray(whole[0].mean(axis=1)), np.full(len(x), np.nan)
    factors = np.maximum([*structures[:-1], whole[-1]], 0.0) ** np.reshape(_SCALE_WEIGHTS, (-1, 1, 1))
    return np.asarray(whole[0].mean(axis=1)), np.asarray(factors.prod(axis=0).mean(axis=1))


def _halved(x: Floats) -> Floats:
    """Return means of 2 x 2 px of (H, W); an odd side repeats its last row or column."""
    x = np.pad(x, [(0, side % 2) for side in x.shape], "symmetric")
    return np.asarray((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4)


def _luminance_and_structure(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the two factors of SSIM of one channel (H, W) where its window lies inside, (H - 10, W - 10) each."""
    from scipy.ndimage import correlate1d

    inside = _SSIM_WINDOW // 2
    window = np.exp(-np.square(np.arange(-inside, inside + 1)) / (2 * _SSIM_SIGMA**2))
    window /= window.sum()

    def smooth(values: Floats) -> Floats:
        rows = correlate1d(values, window, axis=0)[inside:-inside]
        return np.asarray(correlate1d(rows, window, axis=1)[:, inside:-inside])

    mean_x, mean_y = smooth(x), smooth(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance, variances = smooth(x * y) - product, smooth(x**2 + y**2) - squares
    c1, c2 = 0.01**2, 0.03**2
    return (2 * product + c1) / (squares + c1), (2 * covariance + c2) / (variances + c2)


def gmsd(x: Images, y: Images) -> Floats:
    """Return the gradient magnitude similarity deviation: the loss of edges, independent of colour and brightness.

    W. Xue, L. Zhang, X. Mou, A. C. Bovik, "Gradient magnitude similarity deviation: a highly efficient perceptual image
    quality index", IEEE Trans. Image Processing 23(2), 2014: on the luma, averaged over 2 x 2 px and halved; Prewitt
    gradients; the standard deviation over pixels of (2 m n + c) / (m^2 + n^2 + c), m and n their magnitudes.

    Args:
        x, y: two batches (N, H, W, 3) in [0, 1].

    Returns:
        (N,) float64; 0 for identical images, larger the more edges are lost or moved.
    """
    from scipy.ndimage import correlate1d

    def magnitude(images: Floats) -> Floats:
        luma = images @ _LUMA
        mean = (luma[:, :-1, :-1] + luma[:, 1:, :-1] + luma[:, :-1, 1:] + luma[:, 1:, 1:]) / 4
        half = mean[:, ::2, ::2]
        across, down = (
            correlate1d(correlate1d(half, [1 / 3, 1 / 3, 1 / 3], axis=a), [-1, 0, 1], axis=b)
            for a, b in ((1, 2), (2, 1))
        )
        return np.asarray(np.hypot(across, down))

    m, n = (magnitude(images) for images in _pair(x, y))
    similarity = (2 * m * n + _GMSD_C) / (m**2 + n**2 + _GMSD_C)
    return np.asarray(similarity.std(axis=(1, 2)), np.float64)


def delta_e(x: Images, y: Images) -> Floats:
    """Return the colour difference CIEDE2000 (CIE 142-2001), mean over pixels.

    Args:
        x, y: two batches (N, H, W, 3), sRGB in [0, 1], taken under D65.

    Returns:
        (N,) float64 of 10 decimals, 0 for identical images; about 1 for a just noticeable difference.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    x, y = _pair(x, y)
    rows = range(0, x.shape[1], _ROWS)
    each = [deltaE_ciede2000(rgb2lab(x[:, i : i + _ROWS]), rgb2lab(y[:, i : i + _ROWS])) for i in rows]
    mean = np.concatenate(each, axis=1).mean(axis=(1, 2))
    # The last digit depends on the memory layout of NumPy's intermediate results, and would differ between equal runs.
    return np.asarray(np.round(mean, 10), np.float64)


def total_variation(x: Images) -> Floats:
    """Return the anisotropic total variation: the mean absolute difference of neighbouring values.

    The absolute differences of vertical and of horizontal neighbours, all summed and divided by the number of
    values H * W * 3: the anisotropic form of L. I. Rudin, S. Osher, E. Fatemi, Physica D 60, 1992.

    Args:
        x: one batch (N, H, W, 3), of images or of perturbations.

    Returns:
        (N,) float64 in image units per value.
    """
    x = _batch(x)
    down, across = np.abs(np.diff(x, axis=1)), np.abs(np.diff(x, axis=2))
    return np.asarray((down.sum(axis=(1, 2, 3)) + across.sum(axis=(1, 2, 3))) / math.prod(x.shape[1:]))


def checkerboard(x: Images, period: int | tuple[int, ...]) -> Floats:
    """Return the checkerboard score: energy at the frequencies of a grid over that of neighbouring frequencies.

    The luma is cut at its centre to whole repeats of the periods, so that every harmonic (i / period,
    j / period) of the grid falls on a bin of the Fourier transform, and Hann-windowed, so that the picture's
    borders do not leak. At each harmonic but zero, the power is divided by the power expected there: the
    median of a ring of neighbouring bins (for a harmonic on an axis, neighbours on that axis, where pictures
    have more energy), over ln 2, since noise has exponentially distributed power. The score is the mean of
    these ratios. The power of 8-bit rounding is added to both, so that fainter grids do not count.

    The score does not depend on the grid's position, nor on a constant added to the image. It detects a grid
    that is the same everywhere. For a pattern whose sign changes from place to place, such as noise that is
    strong at every fourth pixel, score the absolute value.

    Args:
        x: one batch (N, H, W, 3), of images or of perturbations, in image units.
        period: period of the grid in px, such as a network's stride. Several periods are scored together, and
            shared harmonics count once: the harmonics of 2, 4 and 8 are among those of 16.

    Returns:
        (N,) float64: near 1 without a grid, growing with the square of a grid's amplitude. The fewer
        harmonics, the wider the scatter around 1: about 0.1 for period 16, 0.7 for period 2.

    Raises:
        ArtattackError: no period is given, one is below 2, or a side is shorter than 4 times their least common
            multiple.
    """
    x = _batch(x)
    periods = (period,) if isinstance(period, int) else period
    if not periods or min(periods) < 2:
        raise ArtattackError(f"the period of a grid is at least 2 px, got {period}")
    repeat = math.lcm(*periods)
    rows, columns = (side // repeat for side in x.shape[1:3])
    if min(rows, columns) < _MIN_REPEATS:
        raise ArtattackError(
            f"a grid of period {period} needs images of at least {_MIN_REPEATS * repeat} px a side, "
            f"these are {x.shape[1]} x {x.shape[2]}: use larger images or fewer periods"
        )
    power = _power(x @ _LUMA, rows * repeat, columns * repeat)
    harmonics = {(i * repeat // p, j * repeat // p) for p in periods for i in range(p) for j in range(p)}
    ratios = [_over_ring(power, i, j, rows, columns) for i, j in sorted(harmonics - {(0, 0)})]
    return np.asarray(np.mean(ratios, axis=0), np.float64)


def _power(luma: Floats, height: int, width: int) -> Floats:
    """Return the periodogram (N, height, width) of the centre; white noise of variance v has power v."""
    top, left = (luma.shape[1] - height) // 2, (luma.shape[2] - width) // 2
    centre = luma[:, top : top + height, left : left + width]
    window = np.outer(_hann(height), _hann(width))
    spectrum = np.fft.fft2((centre - centre.mean(axis=(1, 2), keepdims=True)) * window)
    return np.asarray(np.square(np.abs(spectrum)) / np.square(window).sum())


def _hann(n: int) -> Floats:
    """Return the periodic Hann window, which spreads a frequency on a bin to the two neighbouring bins only."""
    return np.asarray(np.square(np.sin(np.pi * np.arange(n) / n)))


def _over_ring(power: Floats, i: int, j: int, rows: int, columns: int) -> Floats:
    """Return the power at harmonic (i, j) of a grid repeated (rows, columns) times, over its neighbours' power."""
    reach_y, reach_x = min(_RING, rows // 2), min(_RING, columns // 2)
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    ring = np.maximum(np.abs(y), np.abs(x)) > 1  # the window spreads the harmonic itself over one bin around
    if i == 0:
        ring &= y == 0
    if j == 0:
        ring &= x == 0
    height, width = power.shape[1:]
    at_y, at_x = i * rows, j * columns
    neighbours = power[:, (at_y + y[ring]) % height, (at_x + x[ring]) % width]
    expected = np.median(neighbours, axis=1) / math.log(2)
    return np.asarray((power[:, at_y, at_x] + _EIGHT_BIT_NOISE) / (expected + _EIGHT_BIT_NOISE))


@dataclass(frozen=True)
class Measure:
    """A measure of perturbations, with its column.

    Attributes:
        name: name of the column.
        function: one batch of changes (N, H, W, 3), adversarial minus original -> (N,) float64.
        unit: unit of the number.
        meaning: meaning of the column, in Markdown.
    """

    name: str
    function: Callable[..., Floats]
    unit: str
    meaning: str


@dataclass(frozen=True)
class Distance(Measure):
    """A distance or similarity of images; a call measures two batches (N, H, W, 3) -> (N,) float64.

    Attributes:
        function: two such batches -> (N,) float64.
        axis: label of a figure's axis.
        untouched: value for two equal images: 0 for a distance, more for a similarity.
        budgets: default budgets; empty for a distance without budgets.
        farthest: function from the number of an image's values to the largest distance of two images in [0, 1]; None if
            unknown.
    """

    axis: str
    untouched: float = 0.0
    budgets: tuple[float, ...] = ()
    farthest: Callable[[int], float] | None = None

    def __call__(self, x: Images, y: Images) -> Floats:
        """Measure two batches of images, (N, H, W, 3) each in [0, 1] -> (N,) float64."""
        return self.function(x, y)

    @property
    def is_similarity(self) -> bool:
        """Whether the value decreases as images move apart."""
        return self.untouched > 0


BALLS = ("linf", "l2", "psnr")  # distances to whose balls attacks project images at every step

# Default budgets range from barely visible to a style attack's own distance at 224 px.
DISTANCES: dict[str, Distance] = {
    distance.name: distance
    for distance in (
        Distance("l0", l0, "values", "how many of the height x width x 3 values differ", "L0, values", farthest=float),
        Distance("l1", l1, "image units", "sum of absolute differences", "L1, image units", farthest=float),
        Distance(
            "l2",
            l2,
            "image units",
            "root of the sum of squared differences",
            "L2, image units",
            budgets=(2.5, 5.0, 10.0, 20.0, 40.0),
            farthest=math.sqrt,
        ),
        Distance(
            "linf",
            linf,
            "image units",
            "largest absolute difference",
            "Linf, image units",
            budgets=(2 / 255, 4 / 255, 8 / 255, 16 / 255, 32 / 255, 64 / 255),
            farthest=lambda values: 1.0,
        ),
        Distance(
            "psnr",
            psnr,
            "dB",
            "peak signal-to-noise ratio, -10 log10(mean squared difference); `inf` for identical images",
            "PSNR, dB",
            untouched=math.inf,
        ),
        Distance(
            "ssim",
            ssim,
            "[-1, 1]",
            "structural similarity (Wang et al. 2004), mean over pixels and R, G, B; 1 for identical images",
            "SSIM",
            untouched=1.0,
            budgets=(0.99, 0.95, 0.9, 0.8, 0.6, 0.4),
        ),
        Distance(
            "ms_ssim",
            ms_ssim,
            "[0, 1]",
            "multi-scale SSIM (Wang et al. 2003), five scales; missing below 176 px",
            "MS-SSIM",
            untouched=1.0,
        ),
        Distance(
            "gmsd",
            gmsd,
            "GMSD",
            "gradient magnitude similarity deviation (Xue et al. 2014): how much of the content, its edges, is lost; 0 "
            "for identical images",
            "GMSD",
        ),
        Distance(
            "delta_e",
            delta_e,
            "CIEDE2000",
            "colour difference, mean over pixels; 1 is just noticeable",
            "CIEDE2000",
            budgets=(1.0, 2.0, 5.0, 10.0, 20.0),
        ),
    )
}

GRID = 4  # px; period of the grid to detect, the stride of the first layers of most binarized networks


def default_budgets() -> dict[str, tuple[float, ...]]:
    """Return the distances with budgets, each with its default budgets."""
    return {name: distance.budgets for name, distance in DISTANCES.items() if distance.budgets}


def _grid(change: Images) -> Floats:
    """Return the checkerboard score of changes for a grid of 4 px; NaN for images that are too small."""
    large = min(change.shape[1:3]) >= _MIN_REPEATS * GRID
    return checkerboard(change, GRID) if large else np.full(len(change), np.nan)


CHANGE_MEASURES = (
    Measure(
        "total_variation",
        total_variation,
        "image units per value",
        "of the perturbation (after minus before): absolute differences of vertical and of horizontal neighbours, "
        "summed, over height x width x 3",
    ),
    Measure(
        "checkerboard",
        _grid,
        "ratio",
        "energy of the perturbation at the frequencies of a 4 px grid over that of neighbouring frequencies; near 1 "
        "without a grid",
    ),
)


def distance_columns(clean: Images, adversarial: Images) -> dict[str, Floats]:
    """Measure perturbations for the distance columns of records.csv, with images in parallel on all cores.

    Args:
        clean: original images (N, H, W, 3) in [0, 1].
        adversarial: perturbed images of the same shape and range.

    Returns:
        A value (N,) float64 for each column: all of `DISTANCES`, then all of `CHANGE_MEASURES` for the perturbation
        `adversarial - clean`. NaN for images that are too small.

    Raises:
        ArtattackError: the shapes differ or the images are too small for SSIM.
    """
    clean, adversarial = _pair(clean, adversarial)
    if not len(clean):
        return _columns_of(clean, adversarial)
    with ThreadPoolExecutor(usable_cores()) as pool:  # more threads would wait for one another
        each = list(pool.map(lambda i: _columns_of(clean[i : i + 1], adversarial[i : i + 1]), range(len(clean))))
    return {name: np.concatenate([columns[name] for columns in each]) for name in each[0]}


def _columns_of(clean: Floats, adversarial: Floats) -> dict[str, Floats]:
    shared = dict(zip(("ssim", "ms_ssim"), _similarities(clean, adversarial), strict=True))
    columns = {n: shared[n] if n in shared else measure(clean, adversarial) for n, measure in DISTANCES.items()}
    return columns | {measure.name: measure.function(adversarial - clean) for measure in CHANGE_MEASURES}
