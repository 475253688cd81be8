"""Float networks of `keras.applications`, with their ImageNet weights. No TensorFlow at import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artattack.models.info import ModelInfo


def _network(
    name: str,
    source: str,
    size: int,
    preprocessing: str,
    download: str,
    style_layers: tuple[str, ...],
    content_layer: str,
) -> ModelInfo:
    return ModelInfo(
        name=name,
        family="keras_applications",
        source=source,
        binary=False,
        input_size=(size, size),
        preprocessing=preprocessing,
        style_layers=style_layers,
        content_layers=(content_layer,),
        weights=("imagenet", "random"),
        needs="a download from keras.applications",
        download=f"models/{download}.h5",
    )


# Gatys et al. (2016), Image Style Transfer Using Convolutional Neural Networks, section 3.
_GATYS_STYLE = tuple(f"block{stage}_conv1" for stage in range(1, 6))
_GATYS_CONTENT = "block4_conv2"

_TF = "_weights_tf_dim_ordering_tf_kernels"

# Layers of the other networks: about one activation per stage for style, a middle one for content. All names are fixed
# by Keras or count layers, since numbered names (`activation_7`) depend on the networks built before.
NETWORKS = (
    _network("vgg16", "VGG16", 224, "caffe", f"vgg16{_TF}", _GATYS_STYLE, _GATYS_CONTENT),
    _network("vgg19", "VGG19", 224, "caffe", f"vgg19{_TF}", _GATYS_STYLE, _GATYS_CONTENT),
    _network(
        "resnet50",
        "ResNet50",
        224,
        "caffe",
        f"resnet50{_TF}",
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out"),
        "conv3_block4_out",
    ),
    _network(
        "resnet101",
        "ResNet101",
        224,
        "caffe",
        f"resnet101{_TF}",
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out"),
        "conv3_block4_out",
    ),
    _network(
        "resnet50_v2",
        "ResNet50V2",
        224,
        "tf",
        f"resnet50v2{_TF}",
        (
            "conv2_block1_preact_relu",
            "conv2_block3_preact_relu",
            "conv3_block4_preact_relu",
            "conv4_block6_preact_relu",
        ),
        "conv3_block4_preact_relu",
    ),
    _network(
        "densenet121",
        "DenseNet121",
        224,
        "imagenet",
        f"densenet121{_TF}",
        ("conv1/relu", "pool2_relu", "pool3_relu", "pool4_relu"),
        "pool3_relu",
    ),
    _network(
        "inception_v3",
        "InceptionV3",
        299,
        "tf",
        f"inception_v3{_TF}",
        ("conv:2", "conv:4", "mixed2", "mixed7"),
        "mixed4",
    ),
    _network(
        "inception_resnet_v2",
        "InceptionResNetV2",
        299,
        "tf",
        f"inception_resnet_v2{_TF}",
        ("conv:2", "conv:4", "block35_10_ac", "block17_20_ac"),
        "block17_1_ac",
    ),
    _network(
        "xception",
        "Xception",
        299,
        "tf",
        f"xception{_TF}",
        ("block1_conv2_act", "block3_sepconv2_act", "block4_sepconv2_act", "block13_sepconv1_act"),
        "block4_sepconv2_act",
    ),
    _network(
        "mobilenet",
        "MobileNet",
        224,
        "tf",
        "mobilenet_1_0_224_tf",
        ("conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu"),
        "conv_pw_5_relu",
    ),
    _network(
        "mobilenet_v2",
        "MobileNetV2",
        224,
        "tf",
        f"mobilenet_v2{_TF}_1.0_224",
        ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu"),
        "block_6_expand_relu",
    ),
    _network(
        "mobilenet_v3_small",
        "MobileNetV3Small",
        224,
        "byte",
        "weights_mobilenet_v3_small_224_1.0_float",
        ("Conv/BatchNorm", "expanded_conv_1/expand/BatchNorm", "expanded_conv_2/Add", "expanded_conv_7/Add"),
        "expanded_conv_5/Add",
    ),
    _network(
        "mobilenet_v3_large",
        "MobileNetV3Large",
        224,
        "byte",
        "weights_mobilenet_v3_large_224_1.0_float",
        ("expanded_conv/Add", "expanded_conv_2/Add", "expanded_conv_5/Add", "expanded_conv_11/Add"),
        "expanded_conv_5/Add",
    ),
    _network(
        "efficientnet_b0",
        "EfficientNetB0",
        224,
        "byte",
        "efficientnetb0",
        (
            "block2a_expand_activation",
            "block3a_expand_activation",
            "block4a_expand_activation",
            "block6a_expand_activation",
        ),
        "block4a_expand_activation",
    ),
    _network(
        "efficientnet_v2_b0",
        "EfficientNetV2B0",
        224,
        "byte",
        "efficientnetv2-b0",
        (
            "stem_activation",
            "block2b_expand_activation",
            "block4a_expand_activation",
            "block6a_expand_activation",
        ),
        "block4a_expand_activation",
    ),
    _network(
        "nasnet_mobile",
        "NASNetMobile",
        224,
        "tf",
        "nasnet_mobile",
        ("reduction_concat_stem_1", "normal_concat_0", "normal_concat_5", "normal_concat_9"),
        "normal_concat_3",
    ),
    _network(
        "convnext_tiny",
        "ConvNeXtTiny",
        224,
        "byte",
        "convnext_tiny",
        tuple(f"convnext_tiny_stage_{stage}_block_2_gelu" for stage in range(4)),
        "convnext_tiny_stage_2_block_2_gelu",
    ),
)


def build(info: ModelInfo, weights: str | Path, classes: int) -> Any:
    """Build a network for `classes` classes with weights `imagenet`, `random` or from an h5 file."""
    from tf_keras import applications

    network = getattr(applications, info.source)(
        weights=None if weights == "random" else str(weights),
        input_shape=(*info.input_size, 3),
        classes=classes,
        classifier_activation=None,
    )
    if info.source == "EfficientNetB0" and isinstance(weights, Path):
        _scale_as_published(network)
    return network


def _scale_as_published(network: Any) -> None:
    """Apply the rescaling that Keras adds only for `imagenet` to an EfficientNetB0 loaded from a file.

    The published weights contain standard deviations instead of variances. Keras compensates with a layer that
    divides by sqrt(std); this function changes the variances to the same effect.
    """
    std = network.get_layer(index=2)
    mean, variance, count = std.get_weights()
    std.set_weights([mean, variance * (0.229, 0.224, 0.225), count])
    std.finalize_state()
