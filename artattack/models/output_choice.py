"""Choice of the output to classify with, for a network with several outputs. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Sequence

from artattack.errors import ArtattackError, nearest


def chosen_output(model: str, names: Sequence[str], output: int | str | None) -> int:
    """Return the index of the output to classify with.

    Args:
        model: the model as its user names it, for messages.
        names: names of the network's outputs, in order.
        output: a name, or an index from 0 as a number or its digits; None if there is one output.

    Raises:
        ArtattackError: there are several outputs and `output` is None, or there is no such output.
    """
    if output is None and len(names) == 1:
        return 0
    outputs = ", ".join(f"{place} ('{name}')" for place, name in enumerate(names))
    if output is None:
        raise ArtattackError(
            f"model '{model}' has {len(names)} outputs: {outputs}; choose one by its place or name, such as output: 0"
        )
    if output in names:
        return names.index(str(output))
    if isinstance(output, int) or output.isdecimal():
        if 0 <= int(output) < len(names):
            return int(output)
        hint = ""
    else:
        hint = nearest(output, names)
    raise ArtattackError(f"model '{model}' has no output {output!r}{hint}: choose one of {outputs}")


def check_output(model: str, output: object) -> None:
    """Check that `output` is None, a name or an index from 0.

    Raises:
        ArtattackError: it is anything else.
    """
    whole = isinstance(output, int) and not isinstance(output, bool) and output >= 0
    if not (output is None or whole or (isinstance(output, str) and output)):
        raise ArtattackError(f"model {model}: output is an output's name, or its place from 0, not {output!r}")
