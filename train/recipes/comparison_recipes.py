"""The systems that this project grew out of, as recipes to compare with.

Known of them and kept: the grey 48 px baseline; VGG16 with frozen convolutions, 128 hidden units and dropout 0.1;
class weights for EfficientNet-B4; ViT-B/16 at 224 px from the in21k checkpoint; 160 px for the Inception-ResNet, whose
last layers learn. The rest is our choice: 96 px, as for the edge models, wherever no size is known, so that the network
makes the difference; the size of the small transformer; rates, epochs and batches.
"""

from __future__ import annotations

from train.networks.applications import efficientnet_b0, efficientnet_b4, resnet50_v2, vgg16
from train.networks.convnets import baseline_cnn, resnet34
from train.networks.inception_resnet import inception_resnet
from train.networks.vision_transformer import vit, vit_b16
from train.recipes.recipe import Recipe, gray_input, rgb_input

VGG16_CONVOLUTIONS = 13 / 15
"""Of its layers with weights; after them come the hidden layer and the head."""

INCEPTION_RESNET_BELOW_LAST_GRID = 189 / 246
"""Of its layers with weights; the six units of the last grid, the embedding and the head learn."""

COMPARISON: tuple[Recipe, ...] = (
    Recipe(
        name="efficientnet_b0",
        network=efficientnet_b0,
        summary="EfficientNet-B0 at 96 px from ImageNet weights",
        weights="imagenet",
        input=rgb_input(96, scale=1.0, offset=0.0),
        learning_rate=7e-4,
    ),
    Recipe(
        name="baseline_cnn",
        network=baseline_cnn,
        summary="a plain CNN of eight convolutions at 48 px grey, from scratch",
        input=gray_input(48),
        epochs=60,
        optimizer="adam",
        schedule="plateau",
        patience=10,
    ),
    Recipe(
        name="vgg16",
        network=vgg16,
        summary="VGG16 at 96 px, ImageNet convolutions frozen, 128 hidden units",
        weights="imagenet",
        input=rgb_input(96, scale=1.0, offset=0.0).model_copy(update={"colour": "bgr"}),
        freeze=VGG16_CONVOLUTIONS,
        optimizer="adam",
    ),
    Recipe(
        name="resnet34",
        network=resnet34,
        summary="ResNet-34 at 96 px grey, from scratch",
        epochs=60,
        weight_decay=5e-2,
    ),
    Recipe(
        name="resnet50_v2",
        network=resnet50_v2,
        summary="ResNet50V2 at 96 px from ImageNet weights",
        weights="imagenet",
        input=rgb_input(96, scale=1 / 127.5, offset=-1.0),
        learning_rate=3e-4,
    ),
    Recipe(
        name="efficientnet_b4",
        network=efficientnet_b4,
        summary="EfficientNet-B4 at 96 px from ImageNet weights, every class alike",
        weights="imagenet",
        input=rgb_input(96, scale=1.0, offset=0.0),
        learning_rate=5e-4,
        class_weights=1.0,
    ),
    Recipe(
        name="vit",
        network=vit,
        summary="a small Vision Transformer at 48 px grey in patches of 6, from scratch",
        input=gray_input(48),
        epochs=100,
        weight_decay=5e-2,
        warmup_epochs=5.0,
    ),
    Recipe(
        name="vit_b16",
        network=vit_b16,
        summary="ViT-B/16 at 224 px; from in21k weights with --weights model.safetensors",
        input=rgb_input(224, scale=1 / 127.5, offset=-1.0),
        epochs=10,
        batch_size=32,
        learning_rate=5e-5,
    ),
    Recipe(
        name="inception_resnet",
        network=inception_resnet,
        summary="Inception-ResNet-v1 at 160 px; its last grid learns, from FaceNet's weights with --weights",
        input=rgb_input(160, scale=1 / 128, offset=-127.5 / 128),
        freeze=INCEPTION_RESNET_BELOW_LAST_GRID,
        learning_rate=5e-4,
    ),
)
"""vit_b16 and inception_resnet start from random weights unless a path is given."""
