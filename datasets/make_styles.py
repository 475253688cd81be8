"""Draw the style images in styles/: original pictures, made from numbers only.

Run `python datasets/make_styles.py [FOLDER]`. Every picture has its own fixed seed, so running it again with
the same NumPy, SciPy and Pillow on the same kind of machine gives the same bytes.

Each function paints at twice the final size and returns that picture; `draw_style` halves it, which smooths edges.
Coordinates are in pixels of the large canvas, x to the right and y down; colours are sRGB, 0..255.
"""

# ruff: noqa: SIM300  (X and Y are grids here, not constants)
# NumPy types sums and products of arrays as Any:
# mypy: disable-error-code="no-any-return"

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import splev, splprep
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

SIZE = 512
CANVAS = 2 * SIZE

Colour = tuple[int, int, int]

Y, X = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float64)


def noise(rng: np.random.Generator, scale: float, octaves: int = 4, x: np.ndarray = X, y: np.ndarray = Y) -> np.ndarray:
    """Return smooth noise at x and y, standard deviation 1; `scale` is its largest feature in pixels."""
    total = np.zeros(x.shape)
    for octave in range(octaves):
        cell = scale / 2**octave
        n = int(np.ceil(CANVAS / cell)) + 4
        lattice = rng.standard_normal((n, n))
        total += map_coordinates(lattice, [y / cell, x / cell], order=3, mode="grid-wrap") / 2**octave
    return (total - total.mean()) / total.std()


def blend(stops: list[Colour], t: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) interpolated along `stops`, with t from 0 (first stop) to 1 (last)."""
    at = np.linspace(0, 1, len(stops))
    table = np.array(stops, dtype=np.float64)
    return np.stack([np.interp(t, at, table[:, channel]) for channel in range(3)], axis=-1)


def lay(picture: np.ndarray, over: np.ndarray | Colour, share: np.ndarray) -> np.ndarray:
    """Return `picture` with a colour or another picture laid over it, where and as thickly as `share` says, 0 to 1."""
    cover = np.clip(share, 0.0, 1.0)[..., None]
    return picture * (1 - cover) + np.asarray(over, dtype=np.float64) * cover


def vivid(colour: np.ndarray) -> np.ndarray:
    """Push one colour away from grey, as pure pigments are."""
    return colour.mean() + 1.25 * (colour - colour.mean())


def to_image(pixels: np.ndarray) -> Image.Image:
    """Round an (H, W, 3) array of 0..255 to a picture."""
    return Image.fromarray(np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8))


def ink(colour: np.ndarray) -> Colour:
    """Round one colour to what Pillow draws with."""
    r, g, b = np.clip(np.floor(colour + 0.5), 0, 255).astype(int).tolist()
    return r, g, b


def pixel(x: float, y: float) -> tuple[int, int]:
    """Return the row and column of the pixel nearest to a point that may lie outside."""
    return min(max(int(y), 0), CANVAS - 1), min(max(int(x), 0), CANVAS - 1)


def spline(points: list[tuple[float, float]], n: int) -> np.ndarray:
    """Return n points (n, 2) of the smooth curve through `points`, evenly spaced along it."""
    curve, _ = splprep(np.array(points).T, s=0, k=3)
    fine = np.array(splev(np.linspace(0, 1, 20 * n), curve)).T
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(fine, axis=0).T))])
    at = np.linspace(0, length[-1], n)
    return np.stack([np.interp(at, length, fine[:, 0]), np.interp(at, length, fine[:, 1])], axis=-1)


def fill(draw: ImageDraw.ImageDraw, there: np.ndarray, back: np.ndarray, colour: Colour) -> None:
    """Fill the shape between two lines (n, 2), walked there along the one and back along the other."""
    draw.polygon([(float(x), float(y)) for x, y in np.concatenate([there, back[::-1]])], fill=colour)


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour, rim: Colour | None = None) -> None:
    """Draw a filled circle, with a rim if its colour is given."""
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=rim, width=3 if rim else 0)


def waves(rng: np.random.Generator) -> Image.Image:
    """Breaking waves in Prussian blue, striped along the swell, with clawed white foam."""
    deep, blue, pale, foam, line = (24, 46, 92), (45, 94, 148), (146, 186, 205), (247, 243, 228), (17, 30, 62)
    sky = blend([(226, 204, 160), (240, 226, 190), (214, 205, 176)], Y / CANVAS)
    picture = to_image(sky + 3 * noise(rng, 60)[..., None])
    draw = ImageDraw.Draw(picture)

    # One wave of unit size: its back rises to the crest and hooks over; its face falls away beneath the hook.
    back = spline(
        [(-1.75, 1.15), (-1.2, 0.72), (-0.72, 0.1), (-0.3, -0.52), (0.18, -0.82), (0.62, -0.68), (0.86, -0.3),
         (0.78, 0.0)], 120)  # fmt: skip
    face = spline(
        [(-0.55, 1.15), (-0.28, 0.85), (-0.06, 0.45), (0.06, 0.05), (0.24, -0.26), (0.48, -0.34), (0.66, -0.2),
         (0.74, -0.02)], 120)  # fmt: skip
    trough = spline([(-0.55, 1.15), (0.1, 0.98), (0.75, 1.0), (1.75, 1.25)], 60)
    hollow = np.concatenate([face[:100], [(0.85, 0.35), (1.1, 0.75), (1.8, 1.2)]])

    def wave(cx: float, cy: float, size: float) -> None:
        place = np.array([cx, cy])
        stretch = size * (1 + 0.05 * rng.standard_normal(2))

        def put(points: np.ndarray) -> np.ndarray:
            return place + points * stretch

        fill(draw, put(hollow), put(trough), deep)
        fill(draw, put(back), put(face), blue)
        # Stripes run from swell to tip between the two edges, as the water does.
        for k in range(15):
            low, high = put(back + (k + 0.12) / 15 * (face - back)), put(back + (k + 0.62) / 15 * (face - back))
            fill(draw, low, high, (deep, pale, blue, foam, deep)[k % 5])
        for edge in (put(back), put(face)):
            draw.line([(float(x), float(y)) for x, y in edge], fill=line, width=5, joint="curve")
        # Claws of foam along the crest, each a short hook ending in a knob, then loose spray.
        crest = put(back)
        slope = np.gradient(crest, axis=0)
        t = np.linspace(0, 1, 14)[:, None]
        for i in range(52, 120, 4):
            along = slope[i] / np.hypot(*slope[i])
            out = np.array([along[1], -along[0]])
            reach = size * rng.uniform(0.1, 0.19)
            for finger in (0.0, 0.5):
                turn = rng.uniform(0.25, 0.9) + finger
                hook = crest[i] + reach * (t * out + turn * t**2 * along + 0.35 * t**3 * np.array([0, 1.0]))
                for rim, colour in ((3, line), (0, foam)):
                    for (x, y), thin in zip(hook, t[:, 0], strict=True):
                        disc(draw, x, y, size * (0.052 - 0.026 * thin) + rim, colour)
                disc(draw, hook[-1, 0], hook[-1, 1], size * 0.035, foam, line)
        for i in rng.integers(46, 116, 20):
            x, y = put(back + 0.08 * (face - back))[i] + rng.normal(0, 0.035 * size, 2)
            disc(draw, x, y, size * rng.uniform(0.025, 0.055), foam, pale)
        for _ in range(26):
            x, y = place + size * rng.uniform((-0.2, -1.25), (1.6, 0.1))
            disc(draw, x, y, size * rng.uniform(0.008, 0.02), foam)

    x = np.arange(-20, CANVAS + 21, 8.0)
    floor = np.stack([x, np.full(x.shape, CANVAS + 20.0)], axis=-1)
    for row, cy in enumerate(np.linspace(130, CANVAS + 40, 6)):
        size = 135 + 24 * row
        step = 2.15 * size
        # A striped swell behind each row joins its waves.
        for k in range(14):
            y = cy + size * (0.55 + 0.13 * k) + 0.13 * size * np.sin(2 * np.pi * x / step + 0.45 * k + 2 * row)
            fill(draw, np.stack([x, y], axis=-1), floor, (blue, deep, pale, deep)[k % 4])
        for cx in np.arange(-0.6 * step + (row % 2) * 0.5 * step, CANVAS + step, step):
            wave(cx + rng.normal(0, 12), cy + rng.normal(0, 12), size * rng.uniform(0.92, 1.1))
    return picture


def stained_glass(rng: np.random.Generator) -> Image.Image:
    """A rose window: rings of saturated panes in dark lead, broken quarries in the corners."""
    centre = CANVAS / 2 + 0.5
    ruby, cobalt, gold, emerald = (190, 18, 38), (18, 58, 176), (250, 184, 22), (14, 132, 74)
    violet, azure, orange, rose = (104, 32, 140), (40, 150, 214), (236, 104, 20), (226, 84, 130)
    rings: list[tuple[float, int, list[Colour]]] = [
        (74, 8, [ruby, azure]), (144, 8, [cobalt]), (206, 16, [gold, ruby]), (276, 16, [cobalt, emerald]),
        (344, 16, [ruby, violet]), (412, 32, [azure, gold, orange, gold]), (474, 32, [cobalt, ruby]),
    ]  # fmt: skip
    sites, colours = [(centre, centre)], [gold]
    for k, (radius, count, palette) in enumerate(rings):
        for i in range(count):
            angle = 2 * np.pi * (i + 0.5 * (k % 2)) / count
            sites.append((centre + radius * np.cos(angle), centre + radius * np.sin(angle)))
            colours.append(palette[i % len(palette)])
    quarries = [cobalt, emerald, ruby, azure, violet, orange, gold, rose]
    for corner in np.mgrid[-30 : CANVAS + 60 : 62, -30 : CANVAS + 60 : 62].reshape(2, -1).T:
        x, y = corner + rng.uniform(-22, 22, 2)
        if np.hypot(x - centre, y - centre) > 536:
            sites.append((x, y))
            colours.append(quarries[rng.integers(len(quarries))])

    points = np.array(sites)
    distance, near = cKDTree(points).query(np.stack([X, Y], axis=-1), k=2)
    first, second = points[near[..., 0]], points[near[..., 1]]
    # How far a pixel is from the edge of its Voronoi cell.
    edge = (distance[..., 1] ** 2 - distance[..., 0] ** 2) / (2 * np.hypot(*np.moveaxis(first - second, -1, 0)))
    for radius in (36, 240, 444, 510):
        edge = np.minimum(edge, np.abs(np.hypot(X - centre, Y - centre) - radius))

    shade = rng.uniform(0.78, 1.12, len(points))[near[..., 0]]
    ripple = 1 + 0.10 * noise(rng, 46, 3)
    glow = 0.82 + 0.3 * np.clip(edge / 34, 0, 1)  # light spills less near the lead
    glass = np.array(colours, dtype=np.float64)[near[..., 0]] * (shade * ripple * glow)[..., None]
    lead = blend([(46, 46, 50), (20, 20, 23), (20, 20, 23)], edge / 8)  # a dull highlight along the strip
    return to_image(lay(glass, lead, (10 - edge) / 2))


def stippling(rng: np.random.Generator) -> Image.Image:
    """A riverbank at sunset in pure dots: neighbours of complementary hue that mix in the eye."""
    hills = 430 + 46 * np.sin(X / 150) + 30 * np.sin(X / 61 + 1) + 8 * noise(rng, 70)
    shore = 800 + 50 * np.sin(X / 210 + 2.2) - 0.12 * (X - 512)
    sun = np.hypot(X - 690, Y - 250)
    scene = blend([(48, 92, 178), (122, 146, 208), (238, 170, 150), (255, 196, 84)], Y / 470)
    scene = lay(scene, (255, 206, 70), np.exp(-((sun / 210) ** 2)))
    scene = lay(scene, (255, 244, 176), sun < 78)
    scene = lay(scene, blend([(38, 112, 84), (76, 142, 66), (26, 62, 110)], (Y - hills) / 150), Y > hills)
    water = blend([(66, 150, 190), (30, 84, 160), (24, 50, 112)], (Y - 560) / 260)
    shine = np.exp(-(((X - 690) / (50 + 0.25 * np.abs(Y - 560))) ** 2)) * (0.55 + 0.45 * np.sin(Y / 9 + np.sin(X / 33)))
    scene = lay(scene, lay(water, (255, 178, 66), shine), Y > 560 + 6 * np.sin(X / 45))
    scene = lay(scene, blend([(186, 168, 54), (98, 146, 44), (46, 96, 52)], (Y - shore) / 210), Y > shore)
    for cx, cy, r in ((170, 470, 150), (80, 610, 120), (265, 575, 105), (915, 640, 80)):
        lit = 0.5 + ((X - cx) - (Y - cy)) / (2.6 * r)
        crown = np.hypot(X - cx, (Y - cy) * 1.1) + 16 * noise(rng, 40) < r
        scene = lay(scene, blend([(30, 38, 96), (22, 104, 62), (196, 188, 48)], lit), crown)
    scene = lay(scene, (92, 44, 74), (np.abs(X - 175 - 10 * np.sin(Y / 60)) < 17) & (Y > 600) & (Y < 905))

    picture = to_image(lay(scene, (250, 242, 222), np.full(X.shape, 0.45)))  # a pale ground between the dots
    draw = ImageDraw.Draw(picture)
    accents = np.array([(255, 128, 40), (64, 64, 200), (232, 72, 108), (30, 150, 140), (250, 214, 60)], float)
    for spacing, radius, strength in ((13.0, 8.0, 0.10), (15.5, 7.0, 0.3), (20.0, 6.0, 0.5)):
        at = np.mgrid[0 : CANVAS + spacing : spacing, 0 : CANVAS + spacing : spacing].reshape(2, -1).T
        for x, y in rng.permutation(at + rng.uniform(-0.4, 0.4, at.shape) * spacing):
            colour = scene[pixel(x, y)] + rng.normal(0, 14, 3)
            if rng.random() < 0.5:
                colour = (1 - strength) * colour + strength * accents[rng.integers(len(accents))]
            disc(draw, x, y, radius * rng.uniform(0.75, 1.1), ink(vivid(colour)))
    return picture


def marble(rng: np.random.Generator) -> Image.Image:
    """Polished green-black marble with white and gold veins: noise whose coordinates are bent by noise."""
    # The stone was pressed along a diagonal: across it all is narrower. A coarse and a fine bend shape everything.
    along, across = (X + Y) / 2.4, (Y - X) / 1.1
    bends = [(60 * noise(rng, 260), 60 * noise(rng, 260)), (16 * noise(rng, 60, 3), 16 * noise(rng, 60, 3))]
    along, across = along + sum(a for a, _ in bends), across + sum(b for _, b in bends)

    def veins(scale: float, width: float) -> np.ndarray:
        # A vein is where a smooth field crosses zero; dividing by the slope keeps its width in hand.
        field = noise(rng, scale, 2, along, across)
        slope = np.hypot(*np.gradient(field))
        swell = np.exp(0.7 * noise(rng, 150, 3))
        return width * swell - np.abs(field) / np.maximum(slope, slope.mean())

    picture = blend(
        [(3, 16, 15), (8, 46, 40), (22, 92, 74), (104, 158, 132)], 0.4 + 0.2 * noise(rng, 260, 6, along, across)
    )
    for colour, scale, width, strength in (
        ((92, 148, 126), 90, 1.6, 0.6),
        ((160, 194, 176), 140, 1.8, 0.8),
        ((240, 242, 232), 300, 4.0, 0.95),
        ((222, 170, 66), 420, 4.0, 1.0),
    ):
        vein = veins(scale, width)
        picture = lay(picture, colour, 0.35 * strength * np.exp(-((np.minimum(vein, 0) / 9) ** 2)))  # a soft halo
        picture = lay(picture, colour, strength * np.clip(vein + 0.5, 0, 1))
    return to_image(picture)


def stroke(draw: ImageDraw.ImageDraw, line: np.ndarray, width: float, colour: np.ndarray) -> None:
    """Draw a stroke of thick paint along a line (n, 2): narrow at both ends, a shadow on one side, bristle marks."""
    along = np.gradient(line, axis=0)
    side = np.stack([-along[:, 1], along[:, 0]], axis=-1) / (np.hypot(*along.T)[:, None] + 1e-6)
    side *= width / 2 * np.sqrt(np.sin(np.linspace(0.25, np.pi - 0.2, len(line))))[:, None]
    marks = ((-1.0, 1.25, 0.62), (-1.0, 1.0, 1.0), (-0.85, -0.5, 1.28), (-0.1, 0.12, 0.86), (0.3, 0.55, 1.14))
    for low, high, shade in marks:
        fill(draw, line + low * side, line + high * side, ink(colour * shade))


def brushstrokes(rng: np.random.Generator) -> Image.Image:
    """A night sky in thick oriented strokes that turn around stars, over dark rolling hills."""
    sky = blend([(18, 34, 96), (34, 78, 160), (70, 136, 190), (124, 176, 186)], Y / 800)
    sky += 26 * noise(rng, 120, 3)[..., None] * np.array([0.6, 0.8, 1.0])
    # The strokes follow a wind from the left, bent into a vortex around every star.
    u, v = np.ones(X.shape), 0.3 * np.sin(X / 140) + 0.25 * np.sin(Y / 110)
    stars = [(300, 360, 150), (690, 250, 175), (905, 520, 95), (120, 110, 90), (470, 90, 70), (560, 560, 110)]
    for k, (cx, cy, r) in enumerate(stars):
        dx, dy = X - cx, Y - cy
        d = np.hypot(dx, dy)
        pull = 3.4 * np.exp(-((d / (1.25 * r)) ** 2)) * (1 if k % 2 else -1) / (d + 1)
        u, v = u - pull * dy, v + pull * dx
        rings = blend([(255, 250, 206), (252, 216, 74), (238, 160, 38), (150, 190, 160)], d / r)
        sky = lay(sky, rings + 34 * np.cos(d / r * 15)[..., None], np.exp(-((d / (0.72 * r)) ** 4)))
    ridge = 800 + 58 * np.sin(X / 170 + 0.6) + 26 * np.sin(X / 67)
    below = Y > ridge
    land = blend([(30, 84, 96), (40, 110, 62), (150, 150, 46), (20, 40, 54)], (Y - ridge) / 200)
    scene = lay(sky, land + 30 * np.sin((Y - ridge) / 13)[..., None], below)
    u, v = np.where(below, 1.0, u), np.where(below, np.gradient(ridge, axis=1) + 0.5 * np.sin(X / 80), v)
    speed = np.hypot(u, v) + 1e-6
    wind = np.stack([gaussian_filter(u / speed, 4), gaussian_filter(v / speed, 4)], axis=-1)

    picture = to_image(gaussian_filter(scene, (6, 6, 0)) * 0.6)
    draw = ImageDraw.Draw(picture)
    for count, width, steps in ((2600, 24, 12), (5200, 16, 10), (3600, 11, 8)):
        for _ in range(count):
            line = [rng.uniform(-20, CANVAS + 20, 2)]
            colour = scene[pixel(*line[0])] + rng.normal(0, 14) + rng.normal(0, 9, 3)
            for _ in range(steps):
                line.append(line[-1] + 7 * wind[pixel(*line[-1])])
            stroke(draw, np.array(line), width, vivid(colour))
    return picture


def woodcut(rng: np.random.Generator) -> Image.Image:
    """Black lines cut in cream: rays around a sun, hatched hills and a lake, tone carried by line width."""
    chatter = noise(rng, 24, 2)  # the knife's small slips

    def lines(phase: np.ndarray, period: float, tone: np.ndarray | float) -> np.ndarray:
        """Return ink (1) where a line of share `tone` of each period runs; phase in pixels across the lines."""
        ridge = np.abs(((phase + 0.7 * chatter) / period) % 1 - 0.5) * 2  # 0 on a line's axis, 1 between lines
        return np.clip((np.clip(tone, 0.0, 1.0) - ridge) * period / 3 + 0.5, 0, 1)

    sun_x, sun_y = 640.0, 300.0
    distance, angle = np.hypot(X - sun_x, Y - sun_y), np.arctan2(Y - sun_y, X - sun_x)
    flame = 0.15 + 0.62 * distance / 640 + 0.05 * noise(rng, 90)
    # Twice as many rays far out, so that the lines stay equally fine; a bare ring parts the two.
    turn = angle / (2 * np.pi) * 20
    picture = np.where(distance < 330, lines(72 * turn, 20, flame), lines(144 * turn, 20, flame))
    picture[np.abs(distance - 330) < 6] = 0
    cloud = Y - 170 - 40 * np.sin(X / 90) - 20 * np.sin(X / 37 + 2) + 0.25 * X
    for offset in (75, 225):
        band = np.abs(cloud - offset) < 42 * np.clip(np.sin(X / 190 + offset - 75), 0, 1)
        picture = np.where(band, lines(cloud, 15, 0.22), picture)
    picture[distance < 109] = 1
    picture[distance < 100] = 0
    for base, height, wavelength, period, tilt, dark in (
        (520, 70, 130, 15, 0.9, 0.34), (600, 60, 170, 17, -0.8, 0.5), (690, 50, 110, 19, 0.55, 0.66),
    ):  # fmt: skip
        shift = rng.uniform(0, 6)
        top = base - height * np.abs(np.sin(X / wavelength + shift)) ** 1.4 - 0.25 * height * np.sin(X / 43 + shift)
        # Hatching follows the slope and bends with depth; the side away from the sun is darker.
        away = np.tanh(1.5 * np.gradient(top, axis=1) * np.sign(X - sun_x))
        hatch = tilt * X + (Y - top) * 0.9 + 14 * np.sin((Y - top) / 38)
        picture = np.where(Y > top, lines(hatch, period, dark + 0.28 * away + 0.05 * noise(rng, 70)), picture)
        picture[np.abs(Y - top) < 5] = 1
    ripple = Y + 7 * np.sin(X / 38 + Y / 23) + 4 * np.sin(X / 17 - Y / 31)
    glitter = np.exp(-(((X - sun_x) / (60 + 0.5 * np.maximum(Y - 740, 0))) ** 2))
    picture = np.where(Y > 740, lines(ripple, 18, 0.66 - 0.5 * glitter + 0.06 * noise(rng, 80)), picture)
    picture[np.abs(Y - 740) < 5] = 1
    shore = 930 - 90 * np.exp(-(((X - 150) / 210) ** 2)) + 18 * np.sin(X / 70)
    picture = np.where(Y > shore, lines(X * 0.8 - Y * 0.6 + 9 * np.sin(Y / 21), 15, 0.72), picture)
    picture[np.abs(Y - shore) < 6] = 1
    # Firs on the shore: stacked solid boughs with cut highlights.
    for foot, tip, centre, spread in ((900, 330, 150, 120), (915, 520, 290, 84), (900, 560, 40, 80)):
        down = (Y - tip) / (foot - tip)
        out = np.abs(X - centre)
        bough = (out < spread * down * (0.45 + 0.55 * ((down * 9) % 1)) + 3) & (down > 0) & (down < 1)
        cut = lines(out * 0.8 - Y, 19, 0.78 - 0.25 * np.clip((X - centre) / spread, -0.5, 1))
        picture = np.where(bough, cut, picture)
        picture[(out < 9) & (down >= 1) & (Y < shore + 40)] = 1
    picture[:14], picture[-14:], picture[:, :14], picture[:, -14:] = 1, 1, 1, 1
    worn = 0.16 * np.clip(noise(rng, 10, 2) - 1.2, 0, 1)  # specks where the ink did not take
    return to_image(lay(np.full((CANVAS, CANVAS, 3), (240.0, 229.0, 204.0)), (24, 20, 18), picture * (1 - worn)))


STYLES: dict[str, tuple[int, Callable[[np.random.Generator], Image.Image]]] = {
    "brushstrokes": (1, brushstrokes),
    "marble": (2, marble),
    "stained-glass": (3, stained_glass),
    "stippling": (4, stippling),
    "waves": (5, waves),
    "woodcut": (6, woodcut),
}


def draw_style(name: str, folder: Path) -> Path:
    """Draw one style into a folder as a palette PNG of SIZE x SIZE, and return its path."""
    seed, paint = STYLES[name]
    picture = paint(np.random.default_rng(seed)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    path = folder / f"{name}.png"
    # 256 colours hardly show on these pictures and keep the files small.
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "styles"
    target.mkdir(parents=True, exist_ok=True)
    for style in STYLES:
        draw_style(style, target)
