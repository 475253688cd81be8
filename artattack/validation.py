"""Numbers as people write them: `8/255`, `0.03`, `1e-3`."""

import math

from artattack.errors import ArtattackError


def parse_number(text: str) -> float:
    """Read a finite number, or a quotient of two such as `8/255`.

    Raises:
        ArtattackError: the text is neither.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ArtattackError(f"'{text}' is not a number; write one such as 0.03, 1e-3 or 8/255")
    return number
