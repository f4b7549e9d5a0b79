"""Vision Transformers (Dosovitskiy et al. 2021): a small one from scratch, and ViT-B/16 with published weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edge_emotion.errors import ConfigError
from edge_emotion.protocols import FloatArray
from train.keras import K, tf
from train.networks.layers import classifier
from train.networks.vit_weights import copy_hugging_face
from train.networks.weights import require_colour, start

Model = Any


@dataclass(frozen=True)
class Sizes:
    """Pixels per side of a patch; token width, blocks, heads, hidden width of a block's MLP; dropout in a block."""

    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    dropout: float = 0.0
    epsilon: float = 1e-12


SMALL = Sizes(patch=6, width=128, depth=6, heads=4, hidden=256, dropout=0.1, epsilon=1e-6)
BASE_16 = Sizes(patch=16, width=768, depth=12, heads=12, hidden=3072)
"""Table 1 of Dosovitskiy et al. 2021; the epsilon is that of the Hugging Face checkpoint."""


def vit(input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.1, weights: str | None = None) -> Model:
    """A small Vision Transformer, 0.8 M parameters: N x H x W x C in -1..1 -> N x classes logits.

    ``weights``: the .h5 of another run with the same input, or None. Raises DataError for weights that do not fit.
    """
    model = vision_transformer(input_shape, classes, SMALL, dropout=dropout, name="vit")
    return start(model, weights, "small Vision Transformer")


def vit_b16(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.0, weights: str | None = None
) -> Model:
    """ViT-B/16, 85.8 M parameters below the head at 224 px: N x H x W x 3 RGB in -1..1 -> N x classes logits.

    ``weights``: model.safetensors (or the same tensors as .npz) of ``google/vit-base-patch16-224-in21k`` or of another
    checkpoint of the same shape, whose pooler and head are left out; the .h5 of another run with the same input; or
    None. At another size than the checkpoint's, its position embeddings are interpolated.
    Raises ConfigError for an input without three colours, DataError for weights that do not fit.
    """
    require_colour(input_shape, "ViT-B/16", BASE_16.patch)
    model = vision_transformer(input_shape, classes, BASE_16, dropout=dropout, name="vit_b16")
    give = "model.safetensors of google/vit-base-patch16-224-in21k"
    return start(model, weights, "ViT-B/16", give=give, tensors=partial(copy_hugging_face, what="ViT-B/16"))


def vision_transformer(
    input_shape: tuple[int, int, int], classes: int, sizes: Sizes, *, dropout: float, name: str
) -> Model:
    """A Vision Transformer: a class token and patch tokens, pre-norm blocks, logits from the class token: N x classes.

    A picture whose size is no multiple of the patch is padded with zeros. Layers: ``patches`` (one convolution),
    ``tokens``, ``encoder_<block>_{norm_1, attention, add_1, norm_2, mlp_1, mlp_2, add_2}``, ``norm``, ``logits``.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = K.layers.Conv2D(sizes.width, sizes.patch, sizes.patch, "same", name="patches")(inputs)
    x = Tokens(name="tokens")(K.layers.Reshape((-1, sizes.width), name="sequence")(x))
    for block in range(sizes.depth):
        x = _block(x, sizes, f"encoder_{block}_")
    x = K.layers.LayerNormalization(epsilon=sizes.epsilon, name="norm")(x)
    # A slice would add a TensorFlow operation as a layer to the graph, which not every tool can clone.
    x = K.layers.Cropping1D((0, x.shape[1] - 1), name="class_token")(x)
    x = K.layers.Flatten(name="flatten")(x)
    return K.Model(inputs, classifier(x, classes, dropout), name=name)


def _block(x: Any, sizes: Sizes, name: str) -> Any:
    layers = K.layers
    hidden = layers.LayerNormalization(epsilon=sizes.epsilon, name=name + "norm_1")(x)
    attention = layers.MultiHeadAttention(sizes.heads, sizes.width // sizes.heads, name=name + "attention")
    hidden = layers.Dropout(sizes.dropout, name=name + "dropout_1")(attention(hidden, hidden))
    x = layers.Add(name=name + "add_1")([x, hidden])
    hidden = layers.LayerNormalization(epsilon=sizes.epsilon, name=name + "norm_2")(x)
    hidden = layers.Dense(sizes.hidden, activation="gelu", name=name + "mlp_1")(hidden)
    hidden = layers.Dense(sizes.width, name=name + "mlp_2")(hidden)
    hidden = layers.Dropout(sizes.dropout, name=name + "dropout_2")(hidden)
    return layers.Add(name=name + "add_2")([x, hidden])


@K.utils.register_keras_serializable("edge_emotion")
class Tokens(K.layers.Layer):  # type: ignore[misc]
    """Prepends a learned class token to the patches and adds a learned position embedding to every token.

    N x patches x width -> N x (1 + patches) x width.
    """

    def build(self, input_shape: Any) -> None:
        """Create the class token (1 x 1 x width) and the position embeddings (1 x (1 + patches) x width)."""
        _, patches, width = input_shape
        self.class_token = self.add_weight("class_token", (1, 1, width), initializer="zeros")
        normal = K.initializers.TruncatedNormal(stddev=0.02)
        self.positions = self.add_weight("positions", (1, 1 + patches, width), initializer=normal)
        super().build(input_shape)

    def call(self, patches: Any) -> Any:
        """The tokens of a batch of patches."""
        first = tf.repeat(self.class_token, tf.shape(patches)[0], axis=0)
        return tf.concat([first, patches], axis=1) + self.positions


def attention_maps(model: Model, batch: FloatArray) -> list[FloatArray]:
    """Attention weights of each block of a Vision Transformer: N x heads x tokens x tokens, rows sum to 1.

    ``batch``: model input, N x H x W x C. Row 0 and column 0 are the class token; the others are the patches, row by
    row. Raises ConfigError for a network without attention.
    """
    layers = [layer for layer in model.layers if isinstance(layer, K.layers.MultiHeadAttention)]
    if not layers:
        raise ConfigError(f"{model.name} has no attention layers; attention maps need a run of vit or vit_b16")
    inputs = K.Model(model.input, [layer.input for layer in layers])(batch, training=False)
    # The layers are called once more instead of becoming part of a second graph, which would change the first one.
    maps = [layer(x, x, return_attention_scores=True)[1] for layer, x in zip(layers, inputs, strict=True)]
    return [np.asarray(scores, np.float32) for scores in maps]
