"""Draw the style images in styles/: original pictures, made from numbers only.

Run `python datasets/make_styles.py [FOLDER]`. Every picture has its own fixed seed, so running it again with
the same NumPy, SciPy and Pillow gives the same bytes. Needs SciPy beside the package's own dependencies.

Each function paints at twice the final size and returns that picture; `main` halves it, which smooths edges.
Coordinates are in pixels of the large canvas, x to the right and y down; colours are sRGB, 0..255.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

SIZE = 512
CANVAS = 2 * SIZE

Array = NDArray[np.float64]
Colour = tuple[int, int, int]


def grid() -> tuple[Array, Array]:
    """Return the x and y of every pixel, each (CANVAS, CANVAS)."""
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float64)
    return x, y


def noise(rng: np.random.Generator, scale: float, octaves: int = 4) -> Array:
    """Return smooth noise over the canvas, standard deviation 1; `scale` is its largest feature in pixels."""
    total = np.zeros((CANVAS, CANVAS))
    for octave in range(octaves):
        cell = scale / 2**octave
        n = int(np.ceil(CANVAS / cell)) + 4
        lattice = rng.standard_normal((n, n))
        at = np.arange(CANVAS) / cell + 1.5
        rows, columns = np.meshgrid(at, at, indexing="ij")
        total += map_coordinates(lattice, [rows, columns], order=3) / 2**octave
    return (total - total.mean()) / total.std()


def blend(stops: list[Colour], t: Array) -> Array:
    """Return colours (..., 3) interpolated along `stops`, with t from 0 (first stop) to 1 (last)."""
    at = np.linspace(0, 1, len(stops))
    table = np.array(stops, dtype=np.float64)
    return np.stack([np.interp(t, at, table[:, channel]) for channel in range(3)], axis=-1)


def to_image(pixels: Array) -> Image.Image:
    """Round an (H, W, 3) array of 0..255 to a picture."""
    return Image.fromarray(np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8))


def ink(colour: Array | Colour) -> Colour:
    """Round one colour to what Pillow draws with."""
    r, g, b = np.clip(np.floor(np.asarray(colour, dtype=np.float64) + 0.5), 0, 255).astype(int).tolist()
    return r, g, b


def spline(points: list[tuple[float, float]], n: int) -> Array:
    """Return n points (n, 2) of the smooth curve through `points`, evenly spaced along it."""
    curve, _ = splprep(np.array(points).T, s=0, k=3)
    fine = np.array(splev(np.linspace(0, 1, 20 * n), curve)).T
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(fine, axis=0).T))])
    at = np.linspace(0, length[-1], n)
    return np.stack([np.interp(at, length, fine[:, 0]), np.interp(at, length, fine[:, 1])], axis=-1)


def path(points: Array) -> list[tuple[float, float]]:
    """Return points (n, 2) the way Pillow wants them."""
    return [(float(x), float(y)) for x, y in points]


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: Colour, rim: Colour | None = None) -> None:
    """Draw a filled circle, with a dark rim if one is named."""
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=rim, width=3 if rim else 0)


def waves(rng: np.random.Generator) -> Image.Image:
    """Breaking waves in Prussian blue, striped along the swell, with clawed white foam."""
    deep, blue, pale, foam, line = (24, 46, 92), (45, 94, 148), (146, 186, 205), (247, 243, 228), (17, 30, 62)
    sky = blend([(226, 204, 160), (240, 226, 190), (214, 205, 176)], grid()[1] / CANVAS)
    picture = to_image(sky + 3 * noise(rng, 60)[..., None])
    draw = ImageDraw.Draw(picture)

    # One wave of unit size: its back rises to the crest and hooks over; its face falls away beneath the hook.
    back = spline(
        [(-1.75, 1.15), (-1.2, 0.72), (-0.72, 0.1), (-0.3, -0.52), (0.18, -0.82), (0.62, -0.68), (0.86, -0.3),
         (0.78, 0.0)], 120)  # fmt: skip
    face = spline(
        [(-0.55, 1.15), (-0.28, 0.85), (-0.06, 0.45), (0.06, 0.05), (0.24, -0.26), (0.48, -0.34), (0.66, -0.2),
         (0.74, -0.02)], 120)  # fmt: skip

    def wave(cx: float, cy: float, size: float, facing: int) -> None:
        place = np.array([cx, cy])
        wobble = 1 + 0.05 * rng.standard_normal(2)

        def put(points: Array) -> Array:
            return place + points * size * wobble * np.array([facing, 1])

        trough = spline([(-0.55, 1.15), (0.1, 0.98), (0.75, 1.0), (1.75, 1.25)], 60)
        hollow = np.concatenate([face[:100], [(0.85, 0.35), (1.1, 0.75), (1.8, 1.2)]])
        draw.polygon(path(put(np.concatenate([hollow[::-1], trough[::-1]]))), fill=deep)
        outline = np.concatenate([back, face[::-1]])
        draw.polygon(path(put(outline)), fill=blue)
        # Stripes run from swell to tip between the two edges, as the water does.
        stripes = 15
        for k in range(stripes):
            low, high = (k + 0.12) / stripes, (k + 0.62) / stripes
            band = np.concatenate([back + low * (face - back), (back + high * (face - back))[::-1]])
            draw.polygon(path(put(band)), fill=(deep, pale, blue, foam, deep)[k % 5])
        draw.line(path(put(back)), fill=line, width=5, joint="curve")
        draw.line(path(put(face)), fill=line, width=5, joint="curve")
        # Claws of foam along the crest, each a short hook ending in a knob, then loose spray.
        edge, slope = put(back), np.gradient(put(back), axis=0)
        for i in range(52, 120, 4):
            along = slope[i] / np.hypot(*slope[i])
            out = np.array([along[1], -along[0]]) * facing
            reach = size * rng.uniform(0.1, 0.19)
            for finger in (0.0, 1.0):
                turn = rng.uniform(0.25, 0.9) + finger * 0.5
                t = np.linspace(0, 1, 14)[:, None]
                hook = edge[i] + reach * (t * out + turn * t**2 * along + 0.35 * t**3 * np.array([0, 1.0]))
                radii = size * (0.052 - 0.026 * t[:, 0])
                for (x, y), r in zip(hook, radii, strict=True):
                    disc(draw, x, y, r + 3, line)
                for (x, y), r in zip(hook, radii, strict=True):
                    disc(draw, x, y, r, foam)
                disc(draw, hook[-1, 0], hook[-1, 1], size * 0.035, foam, line)
        for i in rng.integers(46, 116, 20):
            x, y = put(back + 0.08 * (face - back))[i] + rng.normal(0, 0.035 * size, 2)
            disc(draw, x, y, size * rng.uniform(0.025, 0.055), foam, pale)
        for _ in range(26):
            x, y = place + size * np.array([facing * rng.uniform(-0.2, 1.6), rng.uniform(-1.25, 0.1)])
            disc(draw, x, y, size * rng.uniform(0.008, 0.02), foam)

    for row, cy in enumerate(np.linspace(130, CANVAS + 40, 6)):
        size = 135 + 24 * row
        step = 2.15 * size
        # A striped swell behind each row joins its waves.
        x = np.arange(-20, CANVAS + 21, 8.0)
        for k in range(14):
            y = cy + size * (0.55 + 0.13 * k) + 0.13 * size * np.sin(2 * np.pi * x / step + 0.45 * k + 2 * row)
            lower = np.stack([np.append(x, [CANVAS + 20, -20]), np.append(y, [CANVAS + 20] * 2)], axis=-1)
            draw.polygon(path(lower), fill=(blue, deep, pale, deep)[k % 4])
        for cx in np.arange(-0.6 * step + (row % 2) * 0.5 * step, CANVAS + step, step):
            wave(cx + rng.normal(0, 12), cy + rng.normal(0, 12), size * rng.uniform(0.92, 1.1), 1)
    return picture


def stained_glass(rng: np.random.Generator) -> Image.Image:
    """A rose window: rings of saturated panes in dark lead, broken quarries in the corners."""
    centre = CANVAS / 2 + 0.5
    ruby, cobalt, gold, emerald = (190, 18, 38), (18, 58, 176), (250, 184, 22), (14, 132, 74)
    violet, azure, orange, rose = (104, 32, 140), (40, 150, 214), (236, 104, 20), (226, 84, 130)
    sites, colours = [(centre, centre)], [gold]
    rings: list[tuple[float, int, list[Colour]]] = [
        (74, 8, [ruby, azure]), (144, 8, [cobalt]), (206, 16, [gold, ruby]), (276, 16, [cobalt, emerald]),
        (344, 16, [ruby, violet]), (412, 32, [azure, gold, orange, gold]), (474, 32, [cobalt, ruby]),
    ]  # fmt: skip
    for k, (radius, count, palette) in enumerate(rings):
        for i in range(count):
            angle = 2 * np.pi * (i + 0.5 * (k % 2)) / count
            sites.append((centre + radius * np.cos(angle), centre + radius * np.sin(angle)))
            colours.append(palette[i % len(palette)])
    quarries = [cobalt, emerald, ruby, azure, violet, orange, gold, rose]
    for gy in np.arange(-30, CANVAS + 60, 62):
        for gx in np.arange(-30, CANVAS + 60, 62):
            x, y = np.array([gx, gy]) + rng.uniform(-22, 22, 2)
            if np.hypot(x - centre, y - centre) > 536:
                sites.append((x, y))
                colours.append(quarries[rng.integers(len(quarries))])

    x, y = grid()
    points = np.array(sites)
    distance, near = cKDTree(points).query(np.stack([x, y], axis=-1), k=2)
    first, second = points[near[..., 0]], points[near[..., 1]]
    # How far a pixel is from the edge of its Voronoi cell.
    edge = (distance[..., 1] ** 2 - distance[..., 0] ** 2) / (2 * np.hypot(*np.moveaxis(first - second, -1, 0)))

    shade = rng.uniform(0.78, 1.12, len(points))[near[..., 0]]
    ripple = 1 + 0.10 * noise(rng, 46, 3)
    glow = 0.82 + 0.3 * np.clip(edge / 34, 0, 1)  # light spills less near the lead
    glass = np.array(colours, dtype=np.float64)[near[..., 0]] * (shade * ripple * glow)[..., None]
    glint = np.clip(noise(rng, 18, 2) - 2.1, 0, 0.5) * 150
    glass += glint[..., None]
    lead = np.clip((edge - 8) / 2, 0, 1)
    for radius in (36, 240, 444, 510):
        lead = np.minimum(lead, np.clip((np.abs(np.hypot(x - centre, y - centre) - radius) - 8) / 2, 0, 1))
    solder = 20 + 26 * np.clip(1 - np.abs(edge - 3) / 3, 0, 1)  # a dull highlight on the strip
    metal = np.stack([solder, solder, solder * 1.12], axis=-1)
    return to_image(lead[..., None] * glass + (1 - lead[..., None]) * metal)


def stippling(rng: np.random.Generator) -> Image.Image:
    """A riverbank at sunset in pure dots: neighbours of complementary hue that mix in the eye."""
    x, y = grid()
    hills = 430 + 46 * np.sin(x / 150) + 30 * np.sin(x / 61 + 1) + 8 * noise(rng, 70)
    shore = 800 + 50 * np.sin(x / 210 + 2.2) - 0.12 * (x - 512)
    sun = np.hypot(x - 690, y - 250)
    scene = blend([(48, 92, 178), (122, 146, 208), (238, 170, 150), (255, 196, 84)], y / 470)
    halo = np.exp(-((sun / 210) ** 2))[..., None]
    scene = scene * (1 - halo) + np.array([255, 206, 70]) * halo
    scene[sun < 78] = (255, 244, 176)
    hill = blend([(38, 112, 84), (76, 142, 66), (26, 62, 110)], np.clip((y - hills) / 150, 0, 1))
    scene = np.where((y > hills)[..., None], hill, scene)
    shine = np.exp(-(((x - 690) / (50 + 0.25 * np.abs(y - 560))) ** 2)) * (0.55 + 0.45 * np.sin(y / 9 + np.sin(x / 33)))
    water = blend([(66, 150, 190), (30, 84, 160), (24, 50, 112)], np.clip((y - 560) / 260, 0, 1))
    water = water * (1 - shine[..., None]) + np.array([255, 178, 66]) * shine[..., None]
    scene = np.where(((y > 560 + 6 * np.sin(x / 45)) & (y <= shore))[..., None], water, scene)
    bank = blend([(186, 168, 54), (98, 146, 44), (46, 96, 52)], np.clip((y - shore) / 210, 0, 1))
    scene = np.where((y > shore)[..., None], bank, scene)
    for cx, cy, r in ((170, 470, 150), (80, 610, 120), (265, 575, 105), (915, 640, 80)):
        crown = np.hypot(x - cx, (y - cy) * 1.1) + 16 * noise(rng, 40) < r
        lit = np.clip(0.5 + ((x - cx) - (y - cy)) / (2.6 * r), 0, 1)
        scene = np.where(crown[..., None], blend([(30, 38, 96), (22, 104, 62), (196, 188, 48)], lit), scene)
    trunk = (np.abs(x - 175 - 10 * np.sin(y / 60)) < 17) & (y > 600) & (y < 905)
    scene[trunk] = (92, 44, 74)

    picture = Image.new("RGB", (CANVAS, CANVAS), (240, 232, 212))
    draw = ImageDraw.Draw(picture)
    accents = np.array(
        [(255, 128, 40), (64, 64, 200), (232, 72, 108), (30, 150, 140), (250, 214, 60)], dtype=np.float64
    )
    for spacing, radius, strength in ((14.0, 9.0, 0.10), (15.5, 7.0, 0.22), (20.0, 6.0, 0.42)):
        at = np.stack(np.meshgrid(np.arange(0, CANVAS + spacing, spacing), np.arange(0, CANVAS + spacing, spacing)), -1)
        at = at.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (at.size // 2, 2)) * spacing
        for px, py in rng.permutation(at):
            local = scene[min(max(int(py), 0), CANVAS - 1), min(max(int(px), 0), CANVAS - 1)]
            mixed = local + rng.normal(0, 10, 3)
            if rng.random() < 0.5:
                mixed = (1 - strength) * mixed + strength * accents[rng.integers(len(accents))]
            # Pure pigments: push the dot away from grey.
            mixed = mixed.mean() + 1.25 * (mixed - mixed.mean())
            disc(draw, px, py, radius * rng.uniform(0.75, 1.1), ink(mixed))
    return picture


def marble(rng: np.random.Generator) -> Image.Image:
    """Polished green-black marble with white and gold veins: noise whose coordinates are bent by noise."""
    rows, columns = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float64)

    def warped(field: Array, reach: float, scale: float) -> Array:
        dy, dx = noise(rng, scale), noise(rng, scale)
        return map_coordinates(field, [rows + reach * dy, columns + reach * dx], order=1, mode="reflect")

    def veins(scale: float, width: float, reach: float, bend: float) -> Array:
        # A vein is where a smooth field crosses zero; dividing by the slope keeps its width even.
        field = warped(noise(rng, scale, 2), reach, bend)
        slope = np.hypot(*np.gradient(field)) + 1e-3
        swell = np.exp(0.55 * noise(rng, 120, 3))
        return np.exp(-((field / slope / (width * swell)) ** 2))

    clouds = warped(warped(noise(rng, 300, 5), 60, 180), 34, 90)
    base = blend([(4, 22, 20), (8, 52, 44), (20, 92, 74), (96, 152, 128)], np.clip(0.42 + 0.22 * clouds, 0, 1))
    base += 5 * warped(noise(rng, 14, 2), 20, 60)[..., None]
    white, milk, gold = np.array([238, 240, 230]), np.array([150, 186, 168]), np.array([214, 164, 62])
    for colour, vein in (
        (milk, 0.55 * veins(150, 3.0, 52, 120)),
        (milk, 0.6 * veins(110, 1.7, 44, 90)),
        (white, 0.95 * veins(330, 7.0, 80, 170)),
        (white, 0.85 * veins(240, 2.6, 70, 120)),
        (gold, 0.95 * veins(380, 4.6, 78, 150)),
    ):
        strength = np.clip(vein, 0, 1)[..., None]
        base = base * (1 - strength) + colour * strength
    return to_image(base)


def brushstrokes(rng: np.random.Generator) -> Image.Image:
    """A night sky in thick oriented strokes that turn around stars, over dark rolling hills."""
    x, y = grid()
    stars = [(300, 360, 150), (690, 250, 175), (905, 520, 95), (120, 110, 90), (470, 90, 70), (560, 560, 110)]
    ridge = 800 + 58 * np.sin(x / 170 + 0.6) + 26 * np.sin(x / 67)
    # The strokes follow a wind from the left, bent into a vortex around every star.
    u, v = 1.0 + 0 * x, 0.3 * np.sin(x / 140) + 0.25 * np.sin(y / 110)
    sky = blend([(18, 34, 96), (34, 78, 160), (70, 136, 190), (124, 176, 186)], np.clip(y / 800, 0, 1))
    sky += 26 * noise(rng, 120, 3)[..., None] * np.array([0.6, 0.8, 1.0])
    for k, (cx, cy, r) in enumerate(stars):
        dx, dy = x - cx, y - cy
        d = np.hypot(dx, dy)
        pull = 3.4 * np.exp(-((d / (1.25 * r)) ** 2)) * (1 if k % 2 else -1)
        u, v = u - pull * dy / (d + 1), v + pull * dx / (d + 1)
        rings = blend([(255, 250, 206), (252, 216, 74), (238, 160, 38), (150, 190, 160)], np.clip(d / r, 0, 1))
        rings += 34 * np.cos(d / r * 15)[..., None]
        glow = np.exp(-((d / (0.72 * r)) ** 4))[..., None]
        sky = sky * (1 - glow) + rings * glow
    depth = np.clip((y - ridge) / 200, 0, 1)
    land = blend([(30, 84, 96), (40, 110, 62), (150, 150, 46), (20, 40, 54)], depth)
    land += 30 * np.sin((y - ridge) / 13)[..., None]
    below = y > ridge
    scene = np.where(below[..., None], land, sky)
    slope = np.gradient(ridge, axis=1)
    u, v = np.where(below, 1.0, u), np.where(below, slope + 0.5 * np.sin(x / 80), v)
    speed = np.hypot(u, v) + 1e-6
    u, v = gaussian_filter(u / speed, 4), gaussian_filter(v / speed, 4)

    def clamp(value: float) -> int:
        return min(max(int(value), 0), CANVAS - 1)

    picture = to_image(gaussian_filter(scene, (6, 6, 0)) * 0.6)
    draw = ImageDraw.Draw(picture)
    for count, width, steps in ((2600, 24, 12), (5200, 16, 10), (3600, 11, 8)):
        for _ in range(count):
            px, py = rng.uniform(-20, CANVAS + 20, 2)
            colour = scene[clamp(py), clamp(px)] + rng.normal(0, 14) + rng.normal(0, 9, 3)
            colour = colour.mean() + 1.25 * (colour - colour.mean())
            line = [(px, py)]
            for _ in range(steps):
                fx, fy = u[clamp(py), clamp(px)], v[clamp(py), clamp(px)]
                px, py = px + 7 * fx, py + 7 * fy
                line.append((px, py))
            points = np.array(line)
            along = np.gradient(points, axis=0)
            side = np.stack([-along[:, 1], along[:, 0]], axis=-1) / (np.hypot(*along.T)[:, None] + 1e-6)
            # A stroke narrows at both ends; a shadow on one side and bristle marks give it body.
            taper = np.sqrt(np.clip(np.sin(np.linspace(0.25, np.pi - 0.2, len(points))), 0, 1))[:, None] * width / 2

            def ribbon(low: float, high: float, shade: float, side: Array = side, points: Array = points,
                       taper: Array = taper, colour: Array = colour) -> None:  # fmt: skip
                shape = np.concatenate([points + low * taper * side, (points + high * taper * side)[::-1]])
                draw.polygon(path(shape), fill=ink(colour * shade))

            ribbon(-1.0, 1.25, 0.62)
            ribbon(-1.0, 1.0, 1.0)
            ribbon(-0.85, -0.5, 1.28)
            ribbon(-0.1, 0.12, 0.86)
            ribbon(0.3, 0.55, 1.14)
    return picture


def woodcut(rng: np.random.Generator) -> Image.Image:
    """Black lines cut in cream: rays around a sun, hatched hills and a lake, tone carried by line width."""
    x, y = grid()
    paper, black = np.array([240, 229, 204]), np.array([24, 20, 18])
    chatter = noise(rng, 24, 2)  # the knife's small slips

    def lines(phase: Array, period: float, tone: Array) -> Array:
        """Return ink (1) where a line of share `tone` of each period runs; phase in pixels across the lines."""
        ridge = np.abs(((phase + 0.7 * chatter) / period) % 1 - 0.5) * 2  # 0 on a line's axis, 1 between lines
        return np.clip((np.clip(tone, 0.0, 1.0) - ridge) * period / 3 + 0.5, 0, 1)

    sun_x, sun_y = 640.0, 300.0
    distance, angle = np.hypot(x - sun_x, y - sun_y), np.arctan2(y - sun_y, x - sun_x)
    rays = 72
    flame = 0.15 + 0.62 * np.clip(distance / 640, 0, 1) + 0.05 * noise(rng, 90)
    wide = lines(angle * rays / (2 * np.pi) * 20, 20, flame)
    # Twice as many rays far out, so that the lines stay equally fine.
    fine = lines(angle * 2 * rays / (2 * np.pi) * 20, 20, flame)
    picture = np.where(distance < 330, wide, fine)
    cloud = y - 170 - 40 * np.sin(x / 90) - 20 * np.sin(x / 37 + 2)
    for offset in (0, 150):
        band = np.abs(cloud - offset + 0.25 * (x - 300)) < 42 * np.clip(np.sin(x / 190 + offset), 0, 1)
        picture = np.where(band, lines(cloud + 0.25 * x, 15, 0.22 + 0 * x), picture)
    picture = np.where(np.abs(distance - 104) < 5, 1.0, picture)
    picture = np.where(distance < 100, 0.0, picture)
    for base, height, wavelength, period, tilt, dark in (
        (520, 70, 130, 15, 0.9, 0.34), (600, 60, 170, 17, -0.8, 0.5), (690, 50, 110, 19, 0.55, 0.66),
    ):  # fmt: skip
        shift = rng.uniform(0, 6)
        top = base - height * np.abs(np.sin(x / wavelength + shift)) ** 1.4 - 0.25 * height * np.sin(x / 43 + shift)
        inside = y > top
        # Hatching follows the slope and bends with depth; the side away from the sun is darker.
        slope = np.gradient(top, axis=1)
        tone = dark + 0.28 * np.tanh(slope * np.sign(x - sun_x) * 1.5) + 0.05 * noise(rng, 70)
        hatch = lines(tilt * x + (y - top) * 0.9 + 14 * np.sin((y - top) / 38), period, tone)
        picture = np.where(inside, hatch, picture)
        picture = np.where(np.abs(y - top) < 5, 1.0, picture)
    lake = y > 740
    ripple = y + 7 * np.sin(x / 38 + y / 23) + 4 * np.sin(x / 17 - y / 31)
    glitter = np.exp(-(((x - sun_x) / (60 + 0.5 * (y - 740))) ** 2))
    picture = np.where(lake, lines(ripple, 18, 0.66 - 0.5 * glitter + 0.06 * noise(rng, 80)), picture)
    picture = np.where(np.abs(y - 740) < 5, 1.0, picture)
    shore = 930 - 90 * np.exp(-(((x - 150) / 210) ** 2)) + 18 * np.sin(x / 70)
    picture = np.where(y > shore, lines(x * 0.8 - y * 0.6 + 9 * np.sin(y / 21), 15, 0.72 + 0 * x), picture)
    picture = np.where(np.abs(y - shore) < 6, 1.0, picture)
    # A fir on the shore: stacked solid boughs with cut highlights.
    for foot, tip, centre, spread in ((900, 330, 150, 120), (915, 520, 290, 84), (900, 560, 40, 80)):
        along = (y - tip) / (foot - tip)
        saw = 0.45 + 0.55 * ((along * 9) % 1)
        bough = (np.abs(x - centre) < spread * along * saw + 3) & (along > 0) & (along < 1)
        cut = lines(np.abs(x - centre) * 0.8 - y, 19, 0.78 - 0.25 * np.clip((x - centre) / spread, -0.5, 1))
        picture = np.where(bough, cut, picture)
        picture = np.where((np.abs(x - centre) < 9) & (along >= 1) & (y < shore + 40), 1.0, picture)
    picture[:14], picture[-14:], picture[:, :14], picture[:, -14:] = 1, 1, 1, 1
    grain = 1 - 0.16 * np.clip(noise(rng, 10, 2) - 1.2, 0, 1)[..., None]
    tone = (picture * 1.0)[..., None]
    return to_image(paper * (1 - tone) + (black * tone) * grain + 30 * tone * (1 - grain))


STYLES: dict[str, tuple[int, Callable[[np.random.Generator], Image.Image]]] = {
    "brushstrokes": (1, brushstrokes),
    "marble": (2, marble),
    "stained-glass": (3, stained_glass),
    "stippling": (4, stippling),
    "waves": (5, waves),
    "woodcut": (6, woodcut),
}


def main(folder: Path) -> None:
    """Draw every style into `folder` as a palette PNG of SIZE x SIZE."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (seed, paint) in STYLES.items():
        picture = paint(np.random.default_rng(seed)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        # 256 colours hardly show on these pictures and keep the files small.
        picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "styles")
