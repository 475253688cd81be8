"""Reading image files of many kinds, cropping and resizing them, and writing them."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from artattack.errors import ArtattackError, DiskError
from artattack.inputs.images import fit, quantize, read_image, save_png, saving, to_float, to_uint8

RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (100, 100, 100)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture without symmetries, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG by the letter of its standard, for kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, kind: int, rows: bytes, photometric: int = 1) -> bytes:
    """A greyscale TIFF by the letter of its standard, little-endian, in one strip; `kind` is its SampleFormat."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(rows)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted((tags | {339: kind}).items())]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return struct.pack("<2sHI", b"II", 42, 8 + len(rows)) + rows + directory


UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # TIFF's SampleFormat


def refused(path: Path, why: str) -> None:
    with pytest.raises(ArtattackError, match=why) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.count(str(path)) == 1


# Kinds of image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_rgb_comes_back_as_it_was(tmp_path: Path, suffix: str):
    image = photo(5, 7)
    Image.fromarray(image).save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    read = read_image(tmp_path / f"a{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


def test_greyscale_fills_three_channels(tmp_path: Path):
    grey = photo(4, 6)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))


def test_one_bit(tmp_path: Path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_image(tmp_path / "one.png"), [[WHITE, (0, 0, 0)]])


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, name: str):
    # 65535 / 255 = 257 to a step: 128 is just below half a step, 129 just above.
    Image.fromarray(np.array([[0, 128, 129, 256, 128 * 257, 65535]], np.uint16)).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name)[0, :, 0], [0, 0, 1, 1, 128, 255])


def test_sixteen_bit_grey_big_endian_tiff(tmp_path: Path):
    Image.fromarray(np.array([[0, 128 * 257, 65535]], ">u2")).save(tmp_path / "big.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "big.tiff")[0, :, 2], [0, 128, 255])


def test_sixteen_bit_rgb(tmp_path: Path):
    values = np.array([[0, 257 * 10, 65535], [257 * 128, 257 * 200, 257 * 255]], ">u2")
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, b"\0" + values.tobytes()))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), [[[0, 10, 255], [128, 200, 255]]])


# Steps of 257: 128 lies just below half a step and 129 just above; 32768 is 127.5 steps and a little, 65407 254.5.
DEEP = {0: 0, 128: 0, 129: 1, 255: 1, 32767: 127, 32768: 128, 65406: 254, 65407: 255, 65535: 255}


@pytest.mark.parametrize(("colour", "channels"), [(2, [0, 1, 2]), (6, [0, 1, 2]), (4, [0, 0, 0])])
def test_sixteen_bit_colour_is_rounded_not_cut(tmp_path: Path, colour: int, channels: list[int]):
    samples = {2: 3, 6: 4, 4: 2}[colour]
    values = np.array([np.roll(list(DEEP), -k) for k in range(samples)], ">u2").T.copy()
    if colour != 2:
        values[:, -1] = 65535  # opaque
    (tmp_path / "deep.png").write_bytes(png(len(DEEP), 1, 16, colour, b"\0" + values.tobytes()))
    expected = np.array([[DEEP[int(value)] for value in pixel] for pixel in values])[:, channels]
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[0], expected)


def test_sixteen_bit_alpha_is_rounded_too(tmp_path: Path):
    values = np.array([[0, 0, 0, 0], [0, 0, 0, 257 * 51], [0, 0, 0, 65407]], ">u2")  # 1/5 black on white: 204
    (tmp_path / "deep.png").write_bytes(png(3, 1, 16, 6, b"\0" + values.tobytes()))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[0, :, 0], [255, 204, 0])


@pytest.mark.parametrize(("colour", "pixel", "beside"), [(0, [515], [514]), (2, [515, 0, 7], [515, 0, 8])])
def test_a_transparent_sixteen_bit_value_lies_on_white(
    tmp_path: Path, colour: int, pixel: list[int], beside: list[int]
):
    values = np.array([pixel, beside], ">u2")  # all but equal: both are 2 in 8 bits, and one is transparent
    file = png(2, 1, 16, colour, b"\0" + values.tobytes())
    transparent = b"tRNS" + np.array(pixel, ">u2").tobytes()
    chunk = struct.pack(">I", len(transparent) - 4) + transparent + struct.pack(">I", zlib.crc32(transparent))
    start = file.index(b"IDAT") - 4
    (tmp_path / "deep.png").write_bytes(file[:start] + chunk + file[start:])
    left, right = read_image(tmp_path / "deep.png")[0]
    assert tuple(left) == WHITE
    assert tuple(right) == ((2, 2, 2) if colour == 0 else (2, 0, 0))


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_colour_tiff_is_rounded_and_upright(tmp_path: Path, order: str, compression: str | None):
    values = np.array([[[129, 0, 65535], [255, 32768, 65406]]], f"{order}u2")
    rows = values.tobytes() if compression is None else zlib.compress(values.tobytes())
    kind = {None: 1, "tiff_deflate": 8}[compression]
    tags = {256: 2, 257: 1, 259: kind, 262: 2, 273: 14, 274: 2, 277: 3, 278: 1, 279: len(rows)}  # 274: mirrored
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries.insert(2, struct.pack(f"{order}HHII", 258, 3, 3, 8))  # three numbers of bits, at byte 8
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    start = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 14 + len(rows))
    (tmp_path / "deep.tiff").write_bytes(start + struct.pack(f"{order}HHH", 16, 16, 16) + rows + directory)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tiff"), [[[1, 128, 254], [1, 0, 255]]])


def test_floats_are_shares_of_white(tmp_path: Path):
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "float.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "float.tiff")[0, :, 1], [0, 128, 255])


@pytest.mark.parametrize("values", [np.array([[0, 255]], np.float32), np.array([[np.nan]], np.float32)])
def test_floats_of_unknown_scale_are_refused(tmp_path: Path, values: np.ndarray):
    Image.fromarray(values).save(tmp_path / "odd.tiff")
    refused(tmp_path / "odd.tiff", r"values outside 0\.\.1;")


@pytest.mark.parametrize("top", [1, 100, 127, 255, 32767, 65535, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("dtype", ["<i1", "<i2", "<i4", "<u4"])
def test_integers_of_unknown_scale_are_refused(tmp_path: Path, dtype: str, top: int):
    # 255 may be white, or a seventh of a thousandth of it.
    kind, bits = (UNSIGNED if dtype[1] == "u" else SIGNED), 8 * int(dtype[2])
    values = np.array([[0, top // 2, min(top, np.iinfo(dtype).max)]]).astype(dtype)
    (tmp_path / "odd.tiff").write_bytes(tiff(3, 1, bits, kind, values.tobytes()))
    refused(tmp_path / "odd.tiff", "the scale of its integers is unknown; save it with 8 or 16 bits")


@pytest.mark.parametrize(("dtype", "top"), [("<u1", 255), ("<u2", 65535), ("<f4", 1.0)])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_tiff_is_scaled_by_its_bits_and_turned_where_white_is_0(
    tmp_path: Path, dtype: str, top: float, inverted: bool
):
    values = np.array([[0, 0.2 * top, top]]).astype(dtype)  # a fifth of 255 is 51
    kind = FLOAT if "f" in dtype else UNSIGNED
    data = tiff(3, 1, 8 * values.itemsize, kind, values.tobytes(), 0 if inverted else 1)
    (tmp_path / "grey.tiff").write_bytes(data)
    expected = [255, 204, 0] if inverted else [0, 51, 255]
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tiff")[0, :, 1], expected)


def test_twelve_bit_grey_fills_the_scale(tmp_path: Path):
    # 0x000, 0x333 and 0xFFF of 0xFFF: none, a fifth, all; two values in three bytes.
    (tmp_path / "grey.tiff").write_bytes(tiff(4, 1, 12, UNSIGNED, bytes.fromhex("000333FFF000")))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tiff")[0, :, 0], [0, 51, 255, 0])


def test_a_turned_tiff_keeps_its_scale(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "turned.tiff", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.tiff")[0, :, 0], [255, 0])


@pytest.mark.parametrize("kind", ["PPM", "JPEG2000"])
def test_sixteen_bit_grey_of_other_kinds(tmp_path: Path, kind: str):
    values = np.repeat(np.array([[0, 257 * 51, 65535]], np.uint16), 4, 0)
    Image.fromarray(values).save(tmp_path / "deep", kind)
    np.testing.assert_array_equal(read_image(tmp_path / "deep")[0, :, 0], [0, 51, 255])


def test_integers_of_a_kind_of_file_without_a_known_white_are_refused(tmp_path: Path):
    Image.fromarray(np.array([[0, 255, 4095]], np.uint16)).save(tmp_path / "odd.im")
    refused(tmp_path / "odd.im", "the scale of its integers is unknown")


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path):
    inks = {(0, 0, 0, 0): WHITE, (255, 0, 0, 0): (0, 255, 255), (0, 255, 255, 0): RED, (0, 0, 0, 255): (0, 0, 0)}
    for ink, colour in inks.items():
        Image.new("CMYK", (8, 8), ink).save(tmp_path / "cmyk.jpg", quality=95)
        assert b"Adobe" in (tmp_path / "cmyk.jpg").read_bytes()[:100]  # this marker says: stored inverted
        np.testing.assert_allclose(read_image(tmp_path / "cmyk.jpg")[4, 4].astype(int), colour, atol=3)


def test_palette(tmp_path: Path):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([1, 0])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "index.png", transparency=1)
    image.save(tmp_path / "alpha.png", transparency=bytes([255, 51]))  # blue at a fifth
    np.testing.assert_array_equal(read_image(tmp_path / "plain.png"), [[BLUE, RED]])
    np.testing.assert_array_equal(read_image(tmp_path / "index.png"), [[WHITE, RED]])
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), [[(204, 204, 255), RED]])


def test_transparent_lies_on_white(tmp_path: Path):
    Image.fromarray(np.array([[[*RED, 255], [*RED, 0], [*RED, 102]]], np.uint8)).save(tmp_path / "rgba.png")
    Image.fromarray(np.array([[[100, 255], [100, 0], [100, 51]]], np.uint8)).save(tmp_path / "la.png")
    # By hand: 255 - (255 - c) * alpha / 255.
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), [[RED, WHITE, (255, 153, 153)]])
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), [[GREY, WHITE, (224, 224, 224)]])


def test_one_transparent_colour(tmp_path: Path):
    Image.fromarray(np.array([[RED, GREEN]], np.uint8)).save(tmp_path / "key.png", transparency=GREEN)
    np.testing.assert_array_equal(read_image(tmp_path / "key.png"), [[RED, WHITE]])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    extra = {"lossless": True} if suffix == ".webp" else {}
    first.save(tmp_path / f"moving{suffix}", save_all=True, append_images=[second], duration=100, **extra)
    np.testing.assert_array_equal(read_image(tmp_path / f"moving{suffix}"), np.full((4, 4, 3), RED, np.uint8))


# Orientation and colour profiles


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda up: up),
        (2, lambda up: up[:, ::-1]),  # mirrored
        (3, lambda up: up[::-1, ::-1]),  # upside down
        (4, lambda up: up[::-1]),
        (5, lambda up: up.transpose(1, 0, 2)),
        (6, lambda up: np.rot90(up)),  # stored a quarter turn anticlockwise
        (7, lambda up: up.transpose(1, 0, 2)[::-1, ::-1]),
        (8, lambda up: np.rot90(up, -1)),
    ],
)
def test_orientation(tmp_path: Path, orientation: int, stored):
    upright = photo(3, 5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored(upright))).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), upright)


def swapped_profile() -> bytes:
    """An RGB profile with sRGB's curves and white, whose red is sRGB's blue and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)  # the table of tags follows a 128-byte header
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff"])
def test_colour_profile_is_applied(tmp_path: Path, suffix: str):
    path = tmp_path / f"profiled{suffix}"
    Image.new("RGB", (8, 8), (200, 30, 60)).save(path, icc_profile=swapped_profile(), quality=95)
    np.testing.assert_allclose(read_image(path)[4, 4].astype(int), (60, 30, 200), atol=4)


def test_colour_profile_is_applied_to_transparent_and_turned_images(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.array([[[200, 30, 60, 255], [200, 30, 60, 0]]], np.uint8))
    image.save(tmp_path / "a.png", icc_profile=swapped_profile(), exif=exif)
    read = read_image(tmp_path / "a.png")
    assert read.shape == (2, 1, 3)
    np.testing.assert_allclose(read[:, 0].astype(int), [(60, 30, 200), WHITE], atol=2)


@pytest.mark.parametrize("profile", [b"no profile at all", swapped_profile()[:200]])
def test_a_broken_profile_is_ignored(tmp_path: Path, profile: bytes):
    Image.new("RGB", (2, 2), (200, 30, 60)).save(tmp_path / "broken.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "broken.png")[0, 0], (200, 30, 60))


def test_a_profile_of_another_kind_of_colour_is_ignored(tmp_path: Path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (2, 2), (200, 30, 60)).save(tmp_path / "lab.png", icc_profile=lab)
    np.testing.assert_array_equal(read_image(tmp_path / "lab.png")[0, 0], (200, 30, 60))


# Refused files


def test_missing_folder_empty_and_text(tmp_path: Path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image here")
    refused(tmp_path / "absent.png", "no such file")
    refused(tmp_path, "a folder")
    refused(tmp_path / "empty.png", "not an image")
    refused(tmp_path / "text.jpg", "not an image")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated(tmp_path: Path, suffix: str):
    path = tmp_path / f"short{suffix}"
    Image.fromarray(photo(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "truncated")


@pytest.mark.parametrize("trip", [struct.error("bad\nvalue"), IndexError(), RuntimeError("decoder"), MemoryError()])
def test_any_error_of_a_decoder_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trip: Exception):
    def broken(self: Image.Image) -> None:
        raise trip

    save_png(tmp_path / "a.png", photo(2, 2))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", broken)
    refused(tmp_path / "a.png", "cannot be read as an image: .+")


@pytest.mark.parametrize("side", [10_000, 20_000])  # Pillow warns of the one and refuses the other
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, side: int):
    (tmp_path / "bomb.png").write_bytes(png(side, side, 1, 0, b"\0" * 100))
    refused(tmp_path / "bomb.png", "too many pixels")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ArtattackError, match="too many pixels"):
        pool.submit(read_image, tmp_path / "bomb.png").result()


def test_a_thread_that_reads_leaves_the_filters_of_warnings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They are the whole process's: two threads that each put them back as they were may leave the other's."""
    save_png(tmp_path / "a.png", photo(2, 2))
    filters, same, opening = warnings.filters, [], Image.open

    def looking(*given, **options):
        same.append(warnings.filters is filters)
        return opening(*given, **options)

    monkeypatch.setattr(Image, "open", looking)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(read_image, tmp_path / "a.png").result()
    assert same == [True]


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(9, 9)).save(file, format=kind)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow tells of damaged tables besides
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "JPEG2000"]),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    keep=st.floats(0.1, 1),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, kind: str, damage, keep: float):
    content = bytearray(encoded(kind))
    for at, value in damage:
        content[at % len(content)] = value
    path = tmp_path / "damaged"
    path.write_bytes(content[: int(keep * len(content))])
    try:
        image = read_image(path)
    except ArtattackError as error:
        message = str(error)
    else:
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
        return
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


# Geometry


def test_a_cut_without_scaling_is_a_slice():
    image = photo(64, 80)
    np.testing.assert_array_equal(fit(image, 56), image[4:60, 12:68])  # 0.875 of 64 rows, the same width
    np.testing.assert_array_equal(fit(image, 64, crop=1.0), image[:, 8:72])
    np.testing.assert_array_equal(fit(image, (64, 80), crop=1.0), image)
    np.testing.assert_array_equal(fit(image, (32, 40), crop=0.5), image[16:48, 20:60])


def test_whole_images_are_resized_as_pillow_does():
    image = photo(60, 90)
    plain = Image.fromarray(image).resize((30, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(fit(image, (20, 30), crop=1.0), np.asarray(plain))


def test_inside_the_cut_all_is_as_if_cut_first():
    image = photo(80, 120)
    first = Image.fromarray(image).crop((40, 20, 80, 60)).resize((20, 20), Image.Resampling.BICUBIC)
    # The filter reaches two result pixels far; near the edge it sees what lies outside the cut, as it should.
    np.testing.assert_array_equal(fit(image, 20, crop=0.5)[2:-2, 2:-2], np.asarray(first)[2:-2, 2:-2])


@pytest.mark.parametrize(("height", "width", "size", "crop"), [(200, 250, 50, 0.875), (100, 250, 80, 1.0)])
def test_centres_of_pixels_lie_where_arithmetic_says(height: int, width: int, size: int, crop: float):
    ramp = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()
    side = crop * height
    expected = (width - side) / 2 + (np.arange(size) + 0.5) * side / size - 0.5
    got = fit(ramp, size, crop)[size // 2, :, 0]
    np.testing.assert_allclose(got[4:-4], expected[4:-4], atol=0.51)


@given(
    shape=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    crop=st.floats(0.05, 1) | st.just(1.0),
)
@example(shape=(7, 14), size=(25, 26), crop=1.0)  # rounding puts the top edge at -4e-16
@settings(deadline=None)
def test_every_image_can_be_cut_to_every_size(shape, size, crop: float):
    colour = np.full((*shape, 3), (10, 128, 250), np.uint8)
    np.testing.assert_array_equal(fit(colour, size, crop), np.full((*size, 3), (10, 128, 250)))


@pytest.mark.parametrize(("size", "crop"), [(0, 1.0), ((10, -1), 1.0), (10, 0.0), (10, 1.5), (10, float("nan"))])
def test_senseless_sizes(size, crop: float):
    with pytest.raises(ArtattackError, match="cannot fit"):
        fit(photo(8, 8), size, crop)


# Numbers


def test_rounding_by_hand():
    steps = np.array([-0.5, 0, 0.49, 0.5, 0.51, 1.5, 254.49, 254.5, 255, 300])
    np.testing.assert_array_equal(to_uint8(steps / 255), [0, 0, 0, 1, 1, 2, 254, 255, 255, 255])
    assert to_uint8(np.float32([0.5])).tolist() == [128]  # 127.5 goes up
    assert to_float(np.uint8([0, 51, 255])).tolist() == [0, np.float32(0.2), 1]
    assert to_float(np.uint8([7])).dtype == np.float32


def test_all_bytes_survive():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(every)), every)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float):
    with pytest.raises(ArtattackError, match="not finite"):
        to_uint8(np.array([0.5, bad], np.float32))


@given(arrays(np.float32, (3, 4, 3), elements=st.floats(-2, 3, width=32)))
def test_quantizing_twice_is_quantizing_once(x: np.ndarray):
    once = quantize(x)
    assert once.dtype == np.float32
    np.testing.assert_array_equal(quantize(once), once)
    assert np.abs(once - np.clip(x, 0, 1)).max() <= 0.5 / 255 + 1e-6


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(x=arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32)))
def test_quantized_values_are_those_of_a_png(tmp_path: Path, x: np.ndarray):
    save_png(tmp_path / "x.png", to_uint8(x))
    np.testing.assert_array_equal(to_float(read_image(tmp_path / "x.png")), quantize(x))


# Writing


def test_save_makes_folders_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "x.png"
    save_png(path, photo(3, 4))
    np.testing.assert_array_equal(read_image(path), photo(3, 4))
    assert list(path.parent.iterdir()) == [path]


def test_a_write_cut_off_before_the_end_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.png"
    save_png(path, photo(3, 4, seed=1))

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_png(path, photo(3, 4, seed=2))
    monkeypatch.undo()
    np.testing.assert_array_equal(read_image(path), photo(3, 4, seed=1))
    save_png(path, photo(3, 4, seed=2))
    np.testing.assert_array_equal(read_image(path), photo(3, 4, seed=2))
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.png"
    save_png(path, photo(3, 4))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ArtattackError, match=r"x\.png: cannot be written: No space left"):
        save_png(path, photo(3, 4, seed=2))
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_image(path), photo(3, 4))


def test_many_images_are_saved_meanwhile_and_one_that_cannot_be_is_told(tmp_path: Path):
    images = [photo(3, 4, seed) for seed in range(40)]
    with saving() as save:
        for n, image in enumerate(images):
            save(tmp_path / f"{n}.png", image)
    for n, image in enumerate(images):
        assert (read_image(tmp_path / f"{n}.png") == image).all()
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"a\.png: cannot be written"), saving() as save:
        save(tmp_path / "file" / "a.png", images[0])


def test_a_folder_that_cannot_be(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtattackError, match=r"x\.png: cannot be written: ") as caught:
        save_png(tmp_path / "file" / "x.png", photo(2, 2))
    assert "\n" not in str(caught.value)


def test_postscript_is_refused_without_starting_ghostscript(tmp_path: Path) -> None:
    path = tmp_path / "drawing.eps"
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(ArtattackError, match="image"):
        read_image(path)
