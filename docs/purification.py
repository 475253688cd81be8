"""Run EfficientNet-Lite0 behind a painter that repaints each image: `python docs/purification.py FOLDER`.

docs/defences.md shows the figures. The defence is a function in front of the model, as a user would write one, so
attacks cannot read it. Style and distance were chosen on other photos, the even half of `imagenet-sample`.
"""

import sys
from pathlib import Path

import numpy as np

import artattack
from artattack.attacks.painter_card import BUNDLED, PainterFile
from artattack.attacks.painter_network import Painter
from artattack.bound import Bound

STYLE, FARTHEST = "brushstrokes", Bound("l2", 10.0)


def main() -> None:
    """Attack the undefended network, and score both."""
    undefended = artattack.load_model("efficientnet_lite0")
    file = PainterFile(BUNDLED)
    painter, mix = Painter(file), file.mix(STYLE)

    def repainted(x: np.ndarray) -> np.ndarray:
        return undefended.predict(painter.paint(x, mix, FARTHEST))

    size, classes = undefended.input_size, "imagenet"
    benchmark = {
        "name": "purification",
        "images": {"set": "imagenet-sample", "size": 224, "half": "odd", "limit": 80},
        "batch_size": 10,
        "classifiers": ["efficientnet_lite0", "repainted"],
        "style_judges": "efficientnet_lite2",
        "attacks": [
            {"attack": "style", "style": ["waves", "woodcut"], "budget": "l2=20"},
            {"attack": "pgd", "source": "efficientnet_lite0", "norm": 2, "eps": 2, "eps_step": 0.5, "max_iter": 10},
            *({"attack": name, "like": "style"} for name in ("noise", "blur", "jpeg")),
        ],
    }
    models = {"repainted": artattack.load_model(repainted, input_size=size, label_space=classes)}
    artattack.run_benchmark(benchmark, models=models, out=Path(sys.argv[1]))


if __name__ == "__main__":
    main()
