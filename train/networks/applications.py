"""Networks with the graphs and ImageNet weights of ``tf_keras.applications``, as flat models with our own heads.

``weights`` of each: 'imagenet' (downloaded by Keras), the path of Keras' no-top .h5 or of a run's, or None. All raise
ConfigError for an input that is too small or has not three colours, DataError for weights that do not fit.
"""

from __future__ import annotations

from typing import Any

from train.keras import K
from train.networks.layers import classifier
from train.networks.weights import require_colour, start

Model = Any
Shape = tuple[int, int, int]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue in 0..1 over ImageNet."""

VGG_MEAN = (103.939, 116.779, 123.68)
"""Mean of blue, green and red in 0..255 over ImageNet: Simonyan and Zisserman 2015 subtract it, without scaling."""


def efficientnet_b0(input_shape: Shape, classes: int, *, dropout: float = 0.2, weights: str | None = None) -> Model:
    """EfficientNet-B0 (Tan and Le 2019), 4.0 M parameters below the head: N x H x W x 3 RGB in 0..255 -> logits."""
    return _efficientnet("B0", input_shape, classes, dropout, weights)


def efficientnet_b4(input_shape: Shape, classes: int, *, dropout: float = 0.4, weights: str | None = None) -> Model:
    """EfficientNet-B4 (Tan and Le 2019), 17.7 M parameters below the head: N x H x W x 3 RGB in 0..255 -> logits."""
    return _efficientnet("B4", input_shape, classes, dropout, weights)


def vgg16(input_shape: Shape, classes: int, *, dropout: float = 0.1, weights: str | None = None) -> Model:
    """VGG16 (Simonyan and Zisserman 2015) with a hidden layer of 128: N x H x W x 3 BGR in 0..255 -> logits.

    Its 13 convolutions are the first 13 of its 15 layers with weights.
    """
    require_colour(input_shape, "VGG16")
    inputs = K.Input(input_shape, name="pixels")
    centred = K.layers.Rescaling(1.0, offset=[-mean for mean in VGG_MEAN], name="minus_mean")(inputs)
    x = K.applications.VGG16(include_top=False, weights=None, input_tensor=centred).output
    x = K.layers.Dense(128, activation="relu", name="dense")(K.layers.Flatten(name="flatten")(x))
    model = K.Model(inputs, classifier(x, classes, dropout), name="vgg16")
    return _start(model, weights, "VGG16", K.applications.VGG16, top=2)


def resnet50_v2(input_shape: Shape, classes: int, *, dropout: float = 0.0, weights: str | None = None) -> Model:
    """ResNet50V2 (He et al. 2016b), 23.6 M parameters below the head: N x H x W x 3 RGB in -1..1 -> logits."""
    require_colour(input_shape, "ResNet50V2")
    inputs = K.Input(input_shape, name="pixels")
    x = K.applications.ResNet50V2(include_top=False, weights=None, input_tensor=inputs).output
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(inputs, classifier(x, classes, dropout), name="resnet50_v2")
    return _start(model, weights, "ResNet50V2", K.applications.ResNet50V2)


def _efficientnet(size: str, input_shape: Shape, classes: int, dropout: float, weights: str | None) -> Model:
    what = f"EfficientNet-{size}"
    require_colour(input_shape, what)
    application = getattr(K.applications, f"EfficientNet{size}")
    inputs = K.Input(input_shape, name="pixels")
    body = application(include_top=False, weights=None, input_shape=input_shape)
    x = K.models.clone_model(body, inputs, _with_constant_statistics).output
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(inputs, classifier(x, classes, dropout), name=f"efficientnet_{size.lower()}")
    return _start(model, weights, what, application)


def _with_constant_statistics(layer: Any) -> Any:
    """A copy of the layer, with ImageNet's mean and variance as constants of the graph.

    Keras stores them as weights, with the standard deviation in place of the variance, and corrects that by a further
    multiplication, but only in the graph for 'imagenet': a graph for a run's own weights would compute another
    function. (Their integer counter of pictures could not be averaged either.)
    """
    if isinstance(layer, K.layers.Normalization):
        variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
        return K.layers.Normalization(axis=-1, mean=list(IMAGENET_MEAN), variance=variance, name="normalization")
    config = layer.get_config()
    if isinstance(layer, K.layers.Rescaling):
        config["name"] = "rescaling"
    return type(layer).from_config(config)


def _start(model: Model, weights: str | None, what: str, application: Any, top: int = 1) -> Model:
    give = "its no-top .h5 of Keras"
    return start(
        model, weights, what, give=give, top=top, imagenet=lambda: application(include_top=False, weights="imagenet")
    )
