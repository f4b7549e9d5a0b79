"""Every symbol of TensorRT and CUDA that the code names exists in every version, or is looked for before it is used.

The tables in tests/support/surfaces come from the packages themselves (scripts/extract_surfaces.py). They are
committed because a test must not depend on downloads, and making them takes a compiler and half a minute.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.nvidia_surface import CUDA, TENSORRT, Rows, table
from support.paths import ROOT

PACKAGE = ROOT / "edge_emotion" / "backends" / "tensorrt"
TENSORRT_VARIABLES = {
    "trt": "module",
    "_trt": "module",
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "creation": "NetworkDefinitionCreationFlag",
    "engine": "ICudaEngine",
    "fault": "ParserError",
    "_engine": "ICudaEngine",
    "layer": "ILayer",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "_runtime": "Runtime",
    "tensor": "ITensor",
    "timings": "ITimingCache",
}
CUDA_VARIABLES = {"_cuda": "module", "properties": "cudaDeviceProp"}
"""What our variables hold."""

LACKING = {
    "8.6.1": {"NetworkDefinitionCreationFlag.STRONGLY_TYPED"},
    "10.3.0": set(),
    "10.13.3.9": set(),
    "11.4.0.106": {
        "BuilderFlag.FP16",
        "BuilderFlag.INT8",
        "IBuilderConfig.int8_calibrator",
        "IInt8EntropyCalibrator2",
        "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "PreviewFeature.PROFILE_SHARING_0806",
    },
}
"""What the code uses behind a ``hasattr``; that it does not use it elsewhere is seen by running on the fakes."""


def owner(node: ast.expr, variables: dict[str, str]) -> str | None:
    """The class, or 'module', that an expression stands for; None for what is not NVIDIA's."""
    if isinstance(node, ast.Name):
        return variables.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    if owner(node.value, variables) == "module":
        return node.attr
    return variables.get(node.attr) if isinstance(node.value, ast.Name) and node.value.id == "self" else None


def symbols(paths: Iterable[Path], variables: dict[str, str]) -> set[str]:
    """'Builder.create_network' and so on; what belongs to the module by its name alone."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (name := owner(node.value, variables)):
                found.add(node.attr if name == "module" else f"{name}.{node.attr}")
    return {symbol for symbol in found if "__" not in symbol}


def tensorrt_symbols() -> set[str]:
    return symbols(PACKAGE.glob("*.py"), TENSORRT_VARIABLES)


def cuda_symbols() -> set[str]:
    return symbols([PACKAGE / "cuda.py"], CUDA_VARIABLES)


def has(rows: Rows, symbol: str) -> bool:
    name, _, member = symbol.partition(".")
    return name in rows and (not member or member in rows[name])


@pytest.mark.parametrize("version", TENSORRT)
def test_a_version_lacks_only_what_is_looked_for_first(version: str) -> None:
    rows = table("tensorrt", version)
    assert {symbol for symbol in tensorrt_symbols() if not has(rows, symbol)} == LACKING[version]


@pytest.mark.parametrize("version", CUDA)
def test_every_version_of_cuda_python_has_all_that_is_used(version: str) -> None:
    rows = table("cuda", version)
    assert {symbol for symbol in cuda_symbols() if not has(rows, symbol)} == set()


def test_the_search_finds_what_the_code_uses() -> None:
    assert {
        "Builder.build_serialized_network",
        "BuilderFlag.GPU_FALLBACK",
        "IExecutionContext.execute_async_v3",
        "Runtime.DLA_core",
        "TensorIOMode.INPUT",
    } <= tensorrt_symbols()
    assert {"cudaMallocHost", "cudaDeviceProp.major", "cudaMemcpyKind.cudaMemcpyHostToDevice"} <= cuda_symbols()


def test_calls_by_index_and_binding_are_not_used() -> None:
    gone = {"execute_async_v2", "execute_v2", "set_binding_shape", "num_bindings", "build_engine", "max_workspace_size"}
    assert not gone & {symbol.rpartition(".")[2] for symbol in tensorrt_symbols()}
