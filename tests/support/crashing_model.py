"""A model whose hash, types and shapes are as its manifest promises, and that ends its interpreter by SIGSEGV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edge_emotion.models.folder import MANIFEST, load_manifest
from edge_emotion.system.atomic_file import sha256
from support.model_folders import copy_with_first_file

_BOOL = schema.TensorType.BOOL


def crashing_model(folder: Path) -> Path:
    """A copy of ``tiny`` with a branch into a second graph, which branches into itself: the stack is never enough."""
    copy_with_first_file("tiny", folder)
    path = folder / load_manifest(folder).files[0].file
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
    model.operatorCodes.append(code)
    true = schema.BufferT()
    true.data = [1]
    model.buffers.append(true)
    constant, number = len(model.buffers) - 1, len(model.operatorCodes) - 1

    graph = schema.SubGraphT()
    graph.name, graph.inputs, graph.outputs = b"itself", [1], [2]
    graph.tensors = [_tensor(constant), _tensor(0), _tensor(0)]
    graph.operators = [_branch(number, 0)]
    model.subgraphs.append(graph)
    main = model.subgraphs[0]
    first = len(main.tensors)
    main.tensors += [_tensor(constant), _tensor(constant), _tensor(0)]
    main.operators.insert(0, _branch(number, first))

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    promise_hash(folder)
    return folder


def promise_hash(folder: Path) -> None:
    """Write the hash of a changed first file into its manifest."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][0]["sha256"] = sha256(folder / manifest["files"][0]["file"])
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _tensor(buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = [1], _BOOL, buffer, b""
    return tensor


def _branch(code: int, first: int) -> Any:
    """IF of the tensors ``first`` (condition), next (input) and next (output), into the second graph either way."""
    operator, options = schema.OperatorT(), schema.IfOptionsT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [first, first + 1], [first + 2]
    options.thenSubgraphIndex = options.elseSubgraphIndex = 1
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.IfOptions, options
    return operator
