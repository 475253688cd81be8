"""Models by name or from files: `load_model("quicknet_tiny")`. Importing this does not load TensorFlow."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier as Classifier
    from artattack.models.info import ModelInfo as ModelInfo
    from artattack.models.model import Model as Model
    from artattack.models.model import Preprocessing as Preprocessing
    from artattack.models.registry import load_model as load_model
    from artattack.models.registry import model_infos as model_infos

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classifier": ["Classifier"],
        "info": ["ModelInfo"],
        "model": ["Model", "Preprocessing"],
        "registry": ["load_model", "model_infos"],
    },
)
