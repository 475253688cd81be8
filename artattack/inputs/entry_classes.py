"""The 16 entry-level classes of cue-conflict images, whose shape shows one class and whose texture another.

R. Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias improves accuracy and
robustness", ICLR 2019: a photo of one class painted in the texture of another. The ImageNet classes of an entry-level
class are their published mapping (rgeirhos/texture-vs-shape, code/helper/human_categories.py).
"""

from __future__ import annotations

import re

_CLASSES = {  # ImageNet indices; ranges include both ends
    "airplane": "404",
    "bear": "294-297",
    "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145",
    "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898-899 901 907",
    "car": "436 511 817",
    "cat": "281-286",
    "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385-386",
    "keyboard": "508 878",
    "knife": "499",
    "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}


def _indices(text: str) -> tuple[int, ...]:
    ends = [part.partition("-") for part in text.split()]
    return tuple(k for first, _, last in ends for k in range(int(first), int(last or first) + 1))


ENTRY_CLASSES: dict[str, tuple[int, ...]] = {name: _indices(text) for name, text in _CLASSES.items()}

_CUES = re.compile(rf"({'|'.join(_CLASSES)})\d+-({'|'.join(_CLASSES)})\d+")


def cues_of(image: str) -> tuple[str, str] | None:
    """Return the entry-level classes of shape and texture in an image id such as `cat7-elephant1`; None for others."""
    found = _CUES.fullmatch(image)
    return (found[1], found[2]) if found else None
