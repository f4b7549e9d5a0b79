"""Vision Transformers: a published checkpoint computes what the paper says, and shows what it attends to."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_emotion.errors import BackendUnavailable, ConfigError
from train.data.faces import DataError

pytest.importorskip("tf_keras")

from train.keras import K
from train.networks.mobilenet_v2 import tiny
from train.networks.torch_weights import read_tensors
from train.networks.vision_transformer import BASE_16, Sizes, attention_maps, vision_transformer, vit, vit_b16
from train.networks.vit_weights import copy_hugging_face

Tensors = dict[str, np.ndarray[Any, Any]]
RANDOM = np.random.default_rng(0)


def pictures(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def features(model: Any, layer: str) -> Any:
    return K.Model(model.input, model.get_layer(layer).output)


TINY = Sizes(patch=4, width=12, depth=2, heads=3, hidden=20)
GRID = 3


def made_up_vit(sizes: Sizes = TINY, grid: int = GRID) -> Tensors:
    """The tensors of a Hugging Face checkpoint, with the axes of PyTorch."""
    width, hidden = sizes.width, sizes.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, 1 + grid * grid, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, sizes.patch, sizes.patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
    for block in range(sizes.depth):
        name = f"encoder.layer.{block}."
        for part in ("attention.attention.query", "attention.attention.key", "attention.attention.value"):
            shapes |= {f"{name}{part}.weight": (width, width), f"{name}{part}.bias": (width,)}
        shapes |= {
            f"{name}attention.output.dense.weight": (width, width),
            f"{name}attention.output.dense.bias": (width,),
        }
        shapes |= {f"{name}intermediate.dense.weight": (hidden, width), f"{name}intermediate.dense.bias": (hidden,)}
        shapes |= {f"{name}output.dense.weight": (width, hidden), f"{name}output.dense.bias": (width,)}
        for norm in ("layernorm_before", "layernorm_after"):
            shapes |= {f"{name}{norm}.weight": (width,), f"{name}{norm}.bias": (width,)}
    return {name: RANDOM.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def numpy_vit(tensors: Tensors, images: np.ndarray[Any, Any], sizes: Sizes = TINY) -> tuple[Any, list[Any]]:
    """Dosovitskiy et al. 2021 by hand: the normalised class token, and the attention of each block."""

    def dense(x: Any, name: str) -> Any:
        return x @ tensors[f"{name}.weight"].T.astype(np.float64) + tensors[f"{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-12)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def heads(x: Any) -> Any:
        return x.reshape(*x.shape[:2], sizes.heads, -1).transpose(0, 2, 1, 3)

    n, size, _, _ = images.shape
    grid = size // sizes.patch
    cut = images.reshape(n, grid, sizes.patch, grid, sizes.patch, 3).transpose(0, 1, 3, 5, 2, 4)
    kernel = tensors["embeddings.patch_embeddings.projection.weight"].reshape(sizes.width, -1)
    x = cut.reshape(n, grid * grid, -1) @ kernel.T + tensors["embeddings.patch_embeddings.projection.bias"]
    token = np.repeat(tensors["embeddings.cls_token"], n, axis=0)
    x = np.concatenate([token, x], axis=1) + tensors["embeddings.position_embeddings"]
    maps = []
    for block in range(sizes.depth):
        name = f"encoder.layer.{block}."
        seen = norm(x, name + "layernorm_before")
        query, key, value = (heads(dense(seen, f"{name}attention.attention.{p}")) for p in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 1, 3, 2) / math.sqrt(sizes.width / sizes.heads))
        maps.append(scores / scores.sum(-1, keepdims=True))
        mixed = (maps[-1] @ value).transpose(0, 2, 1, 3).reshape(n, -1, sizes.width)
        x = x + dense(mixed, name + "attention.output.dense")
        inner = dense(norm(x, name + "layernorm_after"), name + "intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = x + dense(inner, name + "output.dense")
    return norm(x, "layernorm")[:, 0], maps


def tiny_vit(size: int = GRID * TINY.patch, sizes: Sizes = TINY) -> Any:
    return vision_transformer((size, size, 3), 7, sizes, dropout=0.0, name="vit")


def test_a_checkpoint_computes_what_the_paper_says() -> None:
    tensors, model = made_up_vit(), tiny_vit()
    copy_hugging_face(model, tensors, what="ViT")
    images = pictures(2, 12, 12, 3)
    expected, attention = numpy_vit(tensors, images)
    assert np.allclose(features(model, "flatten")(images), expected, atol=1e-4)
    maps = attention_maps(model, images)
    assert [scores.shape for scores in maps] == [(2, 3, 10, 10)] * 2
    assert np.allclose(maps, attention, atol=1e-5)


def test_every_tensor_of_a_checkpoint_is_needed_and_none_is_left_over() -> None:
    tensors, model = made_up_vit(), tiny_vit()
    for name in tensors:
        fewer = {other: tensor for other, tensor in tensors.items() if other != name}
        with pytest.raises(DataError, match=f"not ViT's: '{name}' is missing"):
            copy_hugging_face(model, fewer, what="ViT")
    with pytest.raises(DataError, match=r"1 left over, such as 'encoder.layer.2.output.dense.bias'"):
        copy_hugging_face(model, {**tensors, "encoder.layer.2.output.dense.bias": np.zeros(12, np.float32)}, what="ViT")
    head = {"pooler.dense.weight": np.zeros((12, 12)), "classifier.bias": np.zeros(2)}
    copy_hugging_face(model, {f"vit.{name}": tensor for name, tensor in {**tensors, **head}.items()}, what="ViT")


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.1.attention.attention.key.weight",
        "embeddings.cls_token",
        "encoder.layer.0.intermediate.dense.bias",
    ],
)
def test_a_tensor_of_another_shape_is_refused(name: str) -> None:
    tensors = made_up_vit()
    tensors[name] = np.concatenate([tensors[name]] * 2, axis=-1)
    with pytest.raises(DataError, match=r"not ViT's: layer (encoder_1_attention|tokens|encoder_0_mlp_1) needs"):
        copy_hugging_face(tiny_vit(), tensors, what="ViT")


def test_positions_are_interpolated_for_pictures_of_another_size() -> None:
    tensors, model = made_up_vit(), tiny_vit(24)
    rows = np.repeat(np.arange(GRID, dtype=np.float32), GRID)
    tensors["embeddings.position_embeddings"][0, 1:] = rows[:, None]
    copy_hugging_face(model, tensors, what="ViT")
    positions = np.asarray(model.get_layer("tokens").positions)[0]
    assert np.array_equal(positions[0], tensors["embeddings.position_embeddings"][0, 0])
    grid = positions[1:].reshape(6, 6, -1)
    assert np.allclose(grid, grid[:, :1]) and np.all(np.diff(grid[:, 0], axis=0) > 0), "rows stay rows, in their order"


def test_safetensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    tensors = made_up_vit()
    save_file({**tensors, "bn.num_batches_tracked": np.zeros(1, np.int64)}, tmp_path / "model.safetensors")
    found = read_tensors(tmp_path / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot read weights .*model.safetensors"):
        read_tensors(tmp_path / "model.safetensors")


def test_the_package_for_safetensors_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(BackendUnavailable, match="pip install safetensors"):
        read_tensors(tmp_path / "model.safetensors")


def test_vit_b16_reads_a_checkpoint_from_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = replace(TINY, patch=16)
    monkeypatch.setattr("train.networks.vision_transformer.BASE_16", sizes)
    tensors = made_up_vit(sizes, grid=2)
    np.savez(tmp_path / "model.npz", **tensors)  # type: ignore[arg-type]
    model = vit_b16((32, 32, 3), 7, weights=str(tmp_path / "model.npz"))
    images = pictures(2, 32, 32, 3)
    assert np.allclose(features(model, "flatten")(images), numpy_vit(tensors, images, sizes)[0], atol=1e-4)


def test_attention_maps_leave_the_model_as_it_is() -> None:
    model = vit((32, 32, 1), 7)
    grey = pictures(2, 32, 32, 1)
    before = np.asarray(model(grey))
    maps = attention_maps(model, grey)
    assert len(maps) == 6 and maps[0].shape == (2, 4, 37, 37)
    assert np.allclose(np.sum(maps, axis=-1), 1, atol=1e-5)
    assert np.array_equal(model(grey), before)
    assert len(model.get_layer("encoder_0_attention").inbound_nodes) == 1


def test_a_network_without_attention_has_no_attention_maps() -> None:
    with pytest.raises(ConfigError, match="tiny has no attention layers"):
        attention_maps(tiny((48, 48, 1), 7), pictures(1, 48, 48, 1))


def test_vit_b16_has_the_published_number_of_parameters() -> None:
    one, two = (
        vision_transformer((224, 224, 3), 7, replace(BASE_16, depth=depth), dropout=0.0, name="vit") for depth in (1, 2)
    )
    block = below_the_head(two) - below_the_head(one)
    assert below_the_head(one) + (BASE_16.depth - 1) * block == 85_798_656


def below_the_head(model: Any) -> int:
    return int(model.count_params() - model.layers[-1].count_params())


def test_vit_b16_says_which_checkpoint_to_give_instead_of_imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.networks.vision_transformer.BASE_16", TINY)
    with pytest.raises(DataError, match=r"no ImageNet weights of ViT-B/16 .*give --weights with model.safetensors"):
        vit_b16((48, 48, 3), 7, weights="imagenet")
