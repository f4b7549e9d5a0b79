"""The graphs of the models that ship, against the networks whose ImageNet weights they take."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.paths import SHARED

pytest.importorskip("tf_keras")

from train.data.faces import DataError
from train.keras import K
from train.networks.efficientnet_lite import efficientnet_lite0
from train.networks.mobilenet_v2 import mobilenet_v2

WEIGHTS = SHARED / "weights" / "mobilenet_v2_1.0_imagenet_no_top.h5"
LITE_WEIGHTS = SHARED / "weights" / "efficientnet_lite0_imagenet_torch_layout.npz"


def test_the_graph_is_keras_own_mobilenet_v2_on_grey_pictures() -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"no weights at {WEIGHTS}")
    ours = mobilenet_v2((96, 96, 1), 8, weights=str(WEIGHTS))
    theirs = K.applications.MobileNetV2((96, 96, 3), include_top=False, weights=str(WEIGHTS))
    features = K.Model(ours.input, ours.get_layer("out_relu").output)
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    assert np.allclose(features(grey), theirs(np.repeat(grey, 3, axis=3)), atol=3e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no weights file"):
        mobilenet_v2((96, 96, 1), 8, weights=str(tmp_path / "nowhere.h5"))
    (tmp_path / "wrong.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no MobileNetV2"):
        mobilenet_v2((96, 96, 1), 8, weights=str(tmp_path / "wrong.h5"))


IMAGENET = {"chelsea": {281, 282, 285}, "coffee": {967, 968}, "rocket": {657, 744}}
"""Pictures of scikit-image, and the ImageNet classes that they show: cats, coffee, missile and projectile."""


@pytest.mark.parametrize("name", IMAGENET)
def test_lite0_with_its_weights_sees_what_is_in_photographs(name: str) -> None:
    data = pytest.importorskip("skimage.data")
    if not LITE_WEIGHTS.is_file():
        pytest.skip(f"no weights at {LITE_WEIGHTS}")
    picture = getattr(data, name)()
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = cv2.resize(picture[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    model = efficientnet_lite0((224, 224, 3), 1000, weights=str(LITE_WEIGHTS))
    assert int(np.argmax(model((square[None].astype(np.float32) - 127) / 128))) in IMAGENET[name]


def test_one_grey_channel_is_the_same_function_on_grey_pictures() -> None:
    if not LITE_WEIGHTS.is_file():
        pytest.skip(f"no weights at {LITE_WEIGHTS}")
    one, three = (efficientnet_lite0((96, 96, c), 8, weights=str(LITE_WEIGHTS)) for c in (1, 3))
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    pooled = [K.Model(model.input, model.get_layer("pool").output) for model in (one, three)]
    assert np.allclose(pooled[0](grey), pooled[1](np.repeat(grey, 3, axis=3)), atol=3e-4)


def test_lite0_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read weights"):
        efficientnet_lite0((96, 96, 1), 8, weights=str(tmp_path / "nowhere.npz"))
    np.savez(tmp_path / "wrong.npz", other=np.zeros(3))
    with pytest.raises(DataError, match=r"not EfficientNet-Lite0's: '_conv_stem.weight'"):
        efficientnet_lite0((96, 96, 1), 8, weights=str(tmp_path / "wrong.npz"))
