"""Published figures of networks: accuracy on ImageNet's validation set, parameters and size.

Each figure is quoted with its source; artattack measured none of them.
"""

from __future__ import annotations

from typing import NamedTuple

_LARQ = "larq-zoo 2.4.0, docstring of the network"
_LARQ_2020 = "larq-zoo in 2020, docstring of QuickNet (weights quicknet-v0.2.0)"
_KERAS = "keras.io/api/applications, table of available models"
_MOBILENET_V3 = "tf-keras 2.19, docstring of mobilenet_v3 (Howard et al., ICCV 2019)"
_LITE = "github.com/tensorflow/tpu, models/official/efficientnet/lite, table of checkpoints (float32)"


class Published(NamedTuple):
    """Published figures of one network.

    Attributes:
        name: a registry name, or the name of a release that is no longer available.
        top1: top-1 accuracy on ImageNet's 50 000 validation images, in [0, 1]; None if not published.
        top5: top-5 accuracy, likewise.
        parameters: number of parameters; None if not published.
        mib: size of the weights in MiB, with one bit per binary weight; None if not published.
        source: source of the figures.
    """

    name: str
    top1: float | None
    top5: float | None
    parameters: int | None
    mib: float | None
    source: str


_IN_ORDER = (
    Published("quicknet (2020)", 0.586, 0.810, 10_518_528, 3.21, _LARQ_2020),
    Published("quicknet", 0.633, 0.846, 13_234_088, 4.17, _LARQ),
    Published("quicknet_small", 0.594, 0.818, 12_655_688, 4.00, _LARQ),
    Published("quicknet_large", 0.669, 0.870, 23_342_248, 5.40, _LARQ),
    Published("binary_alexnet", 0.3630, 0.6153, 61_859_192, 7.49, _LARQ),
    Published("birealnet", 0.5747, 0.7984, 11_699_112, 4.03, _LARQ),
    Published("resnet_e18", 0.5832, 0.8079, 11_699_368, 4.03, _LARQ),
    Published("densenet28", 0.6091, 0.8283, 5_150_504, 4.12, _LARQ),
    Published("densenet37", 0.6289, 0.8419, 8_734_120, 5.25, _LARQ),
    Published("densenet37_dilated", 0.6434, 0.8515, 8_734_120, 5.25, _LARQ),
    Published("densenet45", 0.6459, 0.8521, 13_939_240, 7.54, _LARQ),
    Published("dorefanet", 0.5339, 0.7650, 62_403_912, 22.84, _LARQ),
    Published("meliusnet22", 0.624, 0.839, 6_944_584, 3.88, _LARQ),
    Published("r2b", 0.6501, 0.8572, 11_995_624, 5.13, _LARQ),
    Published("xnornet", 0.4496, 0.6918, 62_396_768, 22.81, _LARQ),
    Published("vgg16", 0.713, 0.901, 138_357_544, 528, _KERAS),
    Published("vgg19", 0.713, 0.900, 143_667_240, 549, _KERAS),
    Published("resnet50", 0.749, 0.921, 25_636_712, 98, _KERAS),
    Published("resnet101", 0.764, 0.928, 44_707_176, 171, _KERAS),
    Published("resnet50_v2", 0.760, 0.930, 25_613_800, 98, _KERAS),
    Published("densenet121", 0.750, 0.923, 8_062_504, 33, _KERAS),
    Published("inception_v3", 0.779, 0.937, 23_851_784, 92, _KERAS),
    Published("inception_resnet_v2", 0.803, 0.953, 55_873_736, 215, _KERAS),
    Published("xception", 0.790, 0.945, 22_910_480, 88, _KERAS),
    Published("mobilenet", 0.704, 0.895, 4_253_864, 16, _KERAS),
    Published("mobilenet_v2", 0.713, 0.901, 3_538_984, 14, _KERAS),
    Published("mobilenet_v3_small", 0.681, None, 2_900_000, None, _MOBILENET_V3),
    Published("mobilenet_v3_large", 0.756, None, 5_400_000, None, _MOBILENET_V3),
    Published("nasnet_mobile", 0.744, 0.919, 5_326_716, 23, _KERAS),
    Published("efficientnet_v2_b0", 0.787, 0.943, 7_200_000, 29, _KERAS),
    Published("efficientnet_lite0", 0.751, None, 4_700_000, None, _LITE),
    Published("efficientnet_lite1", 0.767, None, 5_400_000, None, _LITE),
    Published("efficientnet_lite2", 0.776, None, 6_100_000, None, _LITE),
)
PUBLISHED = {row.name: row for row in _IN_ORDER}
