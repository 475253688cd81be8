"""Decode, validate, resize and save images. Arrays are uint8 here, float32 in [0, 1] everywhere else."""

from __future__ import annotations

import errno
import io
import stat
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from artattack.errors import ArtattackError, one_line
from artattack.files import readable, write_file
from artattack.remote import takes_turns

_KNOWN_SCALE = frozenset({"PNG", "PPM", "JPEG2000", "TIFF"})  # formats that define white for more than 8 bits
_COMPRESSION = 1  # zlib's level for PNG; the default, 6, takes 2.5 times as long for files 3 % smaller
_WRITERS = 8  # threads that save images
_WIDE = ("RGB", "RGBA", "CMYK")  # modes for which Pillow keeps 8 bits per channel
_ORIENTATION = 0x0112  # EXIF tag
_SIDEWAYS = 5  # from this EXIF orientation on, height and width are exchanged
_UNSIGNED = 1  # TIFF's SampleFormat for unsigned integers, the default


def read_image(path: Path) -> np.ndarray:
    """Read any image file as sRGB, upright, uint8 (H, W, 3).

    The EXIF orientation and the colour profile are applied. Transparent parts become white. 16-bit values are scaled to
    8 bits and rounded; floats are shares of white. Of an animation, the first frame is read.

    Raises:
        ArtattackError: the file is missing, is no image, is truncated, has too many pixels, or has values of unknown
            scale, such as signed or 32-bit integers.
    """
    path = Path(path) if isinstance(path, str) else path
    _check_file(path)
    try:
        with _refusing_bombs(), Image.open(readable(path), formats=_formats()) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            other = _other_bytes(image)
            image.load()
            return np.asarray(_rgb(_rounded(image, path, other) if other else image))
    except UnidentifiedImageError:
        raise ArtattackError(f"{path}: not an image of a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ArtattackError(f"{path}: too many pixels for a photo; scale it down first") from None
    except Exception as error:  # decoders may raise anything on damaged files, such as RuntimeError (AVIF)
        if isinstance(error, OSError) and error.strerror:  # an error of the system, not of a decoder
            raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
        raise ArtattackError(f"{path}: cannot be read as an image: {one_line(error)}") from error


@contextmanager
def _refusing_bombs() -> Iterator[None]:
    """Turn Pillow's warning of too many pixels into an error, in the main thread; filters apply to all threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _check_file(path: Path) -> None:
    """Raise ArtattackError unless a path leads to a regular file; opening a pipe would wait for its writer."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, ValueError):  # ValueError: the name contains a null character
        why = f"a broken link: there is no {path.resolve()}" if path.is_symlink() else "no such file"
        raise ArtattackError(f"{path}: {why}") from None
    except OSError as error:
        why = "a link that leads back to itself" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise ArtattackError(f"{path}: {why}") from error
    if stat.S_ISDIR(kind):
        raise ArtattackError(f"{path}: a folder, not an image")
    if not stat.S_ISREG(kind):
        raise ArtattackError(f"{path}: a pipe or a device, not an image")


def _formats() -> list[str]:
    """Return the formats that Pillow reads, without EPS, for which it starts another program."""
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def _other_bytes(image: Image.Image) -> list[ImageFile._Tile]:
    """Return the tiles of an image with 16 bits per colour channel, changed so that Pillow reads the other byte.

    Pillow reads only the high byte, which truncates values instead of rounding them. Empty for other images.

    Raises:
        ValueError: the file stores its channels in a layout that Pillow reads wrongly.
    """
    tiles = getattr(image, "tile", [])
    modes = [str(tile.args if isinstance(tile.args, str) else tile.args[0]) for tile in tiles if tile.args]
    if image.mode not in _WIDE or len(modes) < len(tiles):
        return []
    if getattr(image, "tag_v2", {}).get(BITSPERSAMPLE, (8,))[0] == 16 and {*modes} & {"R", "G", "B", "A"}:
        raise ValueError("its 16-bit channels are stored one after the other; save them interleaved")
    others = [_OTHER_BYTE.get(mode, "") for mode in modes]
    if not all(others):
        return []
    return [
        tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))
        for tile, other in zip(tiles, others, strict=True)
    ]


_LOW_OF_NATIVE = "B" if sys.byteorder == "little" else "L"
_OTHER_BYTE = {
    **{
        f"{mode};16{order}": f"{mode};16{other}"
        for mode in _WIDE
        for order, other in (("B", "L"), ("L", "B"), ("N", _LOW_OF_NATIVE))
    },
    "LA;16B": "RGBA",  # two channels of two bytes, read as four of one byte
}


def _rounded(image: Image.Image, path: Path, other: list[ImageFile._Tile]) -> Image.Image:
    """Return an image with 16 bits per colour channel, from which Pillow has read one byte, rounded to 8 bits."""
    _scale(image)  # raises an error for signed integers
    grey = str(other[0].args) == "RGBA"
    with Image.open(readable(path), formats=[str(image.format)]) as again:
        again.tile = other
        low = np.asarray(again, np.uint32)
    if grey:  # low holds the two bytes of grey and the two bytes of alpha
        first, second = low[..., [0, 0, 0, 2]], low[..., [1, 1, 1, 3]]
    else:
        first, second = np.asarray(image, np.uint32), low
    values = 256 * first + second
    transparent = image.info.get("transparency")
    channels = [*np.moveaxis((values + 128) // 257, -1, 0)]  # 65535 / 255 is 257
    mode = image.mode
    if mode == "RGB" and isinstance(transparent, tuple):
        channels.append(np.where((values == transparent).all(-1), 0, 255))
        mode = "RGBA"
    rounded = Image.merge(mode, [Image.fromarray(np.asarray(channel, np.uint8)) for channel in channels])
    rounded.info = {key: value for key, value in image.info.items() if key != "transparency"}
    rounded.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return rounded


def _rgb(image: Image.Image) -> Image.Image:
    scale = _scale(image)  # before the rotation, which loses the file's tags
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image, *scale)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        colour = _srgb(image.convert("RGB"), profile)
        white = Image.new("RGB", image.size, "white")
        return Image.composite(colour, white, alpha)
    if image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("RGB")
    return _srgb(image, profile)


def _scale(image: Image.Image) -> tuple[int, bool]:
    """Return the maximum value of a channel, 1 for floats, and whether it means black (TIFF's WhiteIsZero).

    `_eight_bit` needs both. Pillow scales values of 8 bits or fewer itself, and scales 16-bit PNG, PPM and JPEG 2000 to
    0..65535, but leaves TIFF unscaled.
    """
    tags = getattr(image, "tag_v2", {})
    bits, kind = tags.get(BITSPERSAMPLE, (16,))[0], tags.get(SAMPLEFORMAT, (_UNSIGNED,))[0]
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    if image.mode == "F":
        return 1, inverted
    if kind != _UNSIGNED or bits > 16 or (image.mode.startswith("I") and image.format not in _KNOWN_SCALE):
        raise ValueError("the scale of its integers is unknown; save it with 8 or 16 bits per channel, unsigned")
    return 2**bits - 1, inverted


def _eight_bit(image: Image.Image, greatest: int, inverted: bool) -> Image.Image:
    """Scale greyscale of more than 8 bits from 0..`greatest`; the transparent value becomes white."""
    values = np.asarray(image, np.float64)
    if not ((values >= 0) & (values <= greatest)).all():
        raise ValueError(f"it has values outside 0..{greatest}; save it with 8 or 16 bits per channel")
    shares = 1 - values / greatest if inverted else values / greatest
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        shares[values == transparent] = 1
    return Image.fromarray(to_uint8(shares)).convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB by the embedded profile; without a valid profile, the values count as sRGB."""
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")


def image_size(path: Path) -> tuple[int, int] | None:
    """Return the height and width of the upright image in pixels, from the file's header; None if it is unreadable."""
    try:
        _check_file(path)
        with _refusing_bombs(), Image.open(readable(path), formats=_formats()) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # reading the image raises the error again
        return None


def in_pixels(size: tuple[int, int]) -> str:
    """Return a height and a width as text: `48 x 144 px`."""
    return f"{size[0]} x {size[1]} px"


def fit(image: np.ndarray, size: int | tuple[int, int], crop: float = 0.875) -> np.ndarray:
    """Crop an image to its centre and resize it, bicubic and antialiased (Pillow).

    Args:
        image: uint8 (H, W, 3).
        size: side, or (height, width), of the result in pixels.
        crop: share of the largest central rectangle of the result's shape to keep, in (0, 1].

    Returns:
        uint8 (height, width, 3).

    Raises:
        ArtattackError: the size or the crop is out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or not 0 < crop <= 1:
        raise ArtattackError(
            f"cannot fit an image to {height} x {width} with crop {crop}: sizes from 1, crop in (0, 1]"
        )
    scale = crop * min(image.shape[0] / height, image.shape[1] / width)
    # Rounding may put a corner of the box slightly outside the image, which Pillow refuses.
    top, left = max(0.0, (image.shape[0] - scale * height) / 2), max(0.0, (image.shape[1] - scale * width) / 2)
    box = (left, top, image.shape[1] - left, image.shape[0] - top)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))


def to_float(image: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [0, 1]."""
    return np.asarray(image, np.float32) / np.float32(255)


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Return float images in [0, 1] as uint8, clipped and rounded half up.

    Raises:
        ArtattackError: a value is not finite.
    """
    if not np.isfinite(x).all():
        raise ArtattackError("an image has values that are not finite")
    return np.asarray(np.floor(np.clip(x, 0.0, 1.0) * 255.0 + 0.5), np.uint8)


def quantize(x: np.ndarray) -> np.ndarray:
    """Return float images in [0, 1], clipped and rounded to the values of an 8-bit PNG, as float32; see `to_uint8`."""
    return to_float(to_uint8(x))


def as_measured(x: np.ndarray) -> np.ndarray:
    """Return the values of float images in [0, 1] for measuring distances: 8-bit values / 255 in float64.

    Differences of float32 images have rounding errors, so a change of 8/255 could exceed the budget 8/255.
    """
    return to_uint8(x) / 255.0


@contextmanager
def saving() -> Iterator[Callable[[Path, np.ndarray], None]]:
    """Yield a function that saves images like `save_png`, in background threads; on exit, all images are saved.

    Several files at once are faster than one after the other. Only a few images wait in memory at a time.

    Raises:
        DiskError: an image cannot be written.
    """
    with ThreadPoolExecutor(_WRITERS) as pool:
        waiting: deque[Future[None]] = deque()

        def save(path: Path, image: np.ndarray) -> None:
            if takes_turns(path):
                save_png(path, image)
                return
            waiting.append(pool.submit(save_png, path, image))
            if len(waiting) > 2 * _WRITERS:
                waiting.popleft().result()

        yield save
        for saved in waiting:
            saved.result()


def save_png(path: Path, image: np.ndarray) -> None:
    """Write an image uint8 (H, W, 3) atomically as PNG.

    Raises:
        DiskError: the file cannot be written.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", compress_level=_COMPRESSION)
    write_file(path, file.getvalue())
