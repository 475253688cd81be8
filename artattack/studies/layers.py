"""Layers of a backbone that studies measure, from input to output."""

from __future__ import annotations

from artattack.models.registry import model_infos

_FEWEST = 4  # fewest layers to split into halves
_QUICKNET = ("activation:0", *(f"sum:{k}" for k in range(1, 12, 2)))
_LITE = ("stem_relu6", *(f"block{k}a_expand_relu6" for k in range(2, 8)))
_SUMS = {"sota.QuickNet": ("activation:0", "sum:3", "sum:7", "sum:11"), "lite": ("sum:0", "sum:1", "sum:3", "sum:6")}
_CONVOLUTIONS = {
    "sota.QuickNet": ("binary:2", "binary:5", "binary:8", "binary:13"),
    "lite": tuple(f"block{k}a_expand_conv" for k in (2, 3, 4, 6)),
}


def layers_in_turn(backbone: str) -> tuple[str, ...]:
    """Return layers spread over a backbone's depth.

    For a registry model of another architecture than QuickNet and EfficientNet-Lite, these are its default style and
    content layers; for other names, ().
    """
    match _kind(backbone):
        case "sota.QuickNet":
            return _QUICKNET
        case "lite":
            return _LITE
    info = next((info for info in model_infos() if info.name == backbone), None)
    return tuple(dict.fromkeys((*info.style_layers, *info.content_layers))) if info else ()


def default_layers(backbone: str) -> tuple[str, ...]:
    """Return the default style layers of a registry model; () for other names."""
    return next((info.style_layers for info in model_infos() if info.name == backbone), ())


def layer_sets(backbone: str) -> dict[str, tuple[str, ...]]:
    """Return sets of style layers: the default, the early half, the late half, and all; empty for other backbones."""
    layers = layers_in_turn(backbone)
    if len(layers) < _FEWEST:
        return {}
    half = len(layers) // 2
    return {"default": default_layers(backbone), "early": layers[:half], "late": layers[half:], "all": layers}


def sums_or_convolutions(backbone: str) -> dict[str, tuple[str, ...]]:
    """Return style layers by kind: sums of residual branches, convolutions, and both.

    For a backbone of another architecture than QuickNet and EfficientNet-Lite, the only kind is `default`: its default
    style layers.
    """
    kind = _kind(backbone)
    if not kind:
        return {"default": default_layers(backbone)}
    sums, convolutions = _SUMS[kind], _CONVOLUTIONS[kind]
    return {"sums": sums, "convolutions": convolutions, "both": (*sums, *convolutions)}


def pools_by_maximum(backbone: str) -> bool:
    """Whether a backbone may have max pooling, which average pooling can replace; True for unknown ones."""
    return _kind(backbone) != "lite"


def steps_in_its_stem(backbone: str) -> bool:
    """Whether a backbone has QuickNet's architecture, whose float stem has a total stride of four pixels."""
    return _kind(backbone) == "sota.QuickNet"


def _kind(backbone: str) -> str:
    """Return `lite` for an EfficientNet-Lite, `sota.QuickNet` for a QuickNet architecture, else an empty string."""
    for info in model_infos():
        if info.name == backbone:
            return "lite" if info.family == "efficientnet_lite" else info.source if info.source in _SUMS else ""
    return ""
