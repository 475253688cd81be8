"""Speed of FGSM and PGD: ART on this package's estimator, ART on its own TensorFlow classifier, and foolbox.

All three use the same network, images, labels, eps and steps. Run as `python benchmarks/art_estimator.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import measure, parser, report

DEFAULT = (("quicknet_tiny", 64, 8), ("quicknet_tiny", 224, 4), ("efficientnet_lite0", 224, 4))
EPS, EPS_STEP, STEPS = 8 / 255, 2 / 255, 20


def cases(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, dict[str, Callable[[], np.ndarray]]]:
    """Return, for each attack, the functions that run it and return adversarial images (N, H, W, 3)."""
    import foolbox
    import tensorflow as tf
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    from artattack.models.estimator import to_estimator

    one_hot = np.eye(model.classes, dtype=np.float32)[y]
    estimators = {
        "artattack": to_estimator(model),
        "ART": TensorFlowV2Classifier(
            model=lambda x, training=False: model.logits(x),
            nb_classes=one_hot.shape[1],
            input_shape=x.shape[1:],
            loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
            clip_values=(0, 1),
            preprocessing=None,
        ),
    }
    pgd: dict[str, Callable[[], np.ndarray]] = {}
    fgsm: dict[str, Callable[[], np.ndarray]] = {}
    for name, estimator in estimators.items():
        pgd_attack = ProjectedGradientDescent(
            estimator, eps=EPS, eps_step=EPS_STEP, max_iter=STEPS, batch_size=len(x), verbose=False
        )
        fgsm_attack = FastGradientMethod(estimator, eps=EPS, batch_size=len(x))
        pgd[name] = partial(pgd_attack.generate, x, one_hot)
        fgsm[name] = partial(fgsm_attack.generate, x, one_hot)

    subject = foolbox.TensorFlowModel(model.logits, bounds=(0, 1))
    images, labels = tf.constant(x), tf.constant(y)
    foolbox_pgd = foolbox.attacks.LinfPGD(abs_stepsize=EPS_STEP, steps=STEPS, random_start=False)
    foolbox_fgsm = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    pgd["foolbox"] = lambda: foolbox_pgd.run(subject, images, labels, epsilon=EPS).numpy()
    fgsm["foolbox"] = lambda: foolbox_fgsm.run(subject, images, labels, epsilon=EPS).numpy()
    return {f"PGD-{STEPS}": pgd, "FGSM": fgsm}


def main() -> None:
    """Measure and report."""
    from artattack.models import load_model

    options = parser(__doc__)
    options.add_argument(
        "--case", nargs=3, action="append", metavar=("MODEL", "SIZE", "IMAGES"), help=f"default: {DEFAULT}"
    )
    arguments = options.parse_args()
    rows = []
    for name, size, count in arguments.case or DEFAULT:
        model = load_model(name, input_size=int(size))
        x = np.random.default_rng(0).random((int(count), int(size), int(size), 3), dtype=np.float32)
        y = model.predict(x).argmax(axis=1)
        for attack, ways in cases(model, x, y).items():
            seconds = measure(ways, arguments.repeats)
            rows += [
                {
                    "model": name,
                    "px": int(size),
                    "batch": int(count),
                    "attack": attack,
                    "with": way,
                    "images/s": int(count) / seconds[way],
                    "artattack is faster": seconds[way] / seconds["artattack"],
                }
                for way in ways
            ]
    report("Attack speed", rows, arguments.json)


if __name__ == "__main__":
    main()
