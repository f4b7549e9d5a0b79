"""A model whose hash, types and shapes are as its manifest promises, and that ends its interpreter by SIGSEGV."""

from __future__ import annotations

import json
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edge_emotion.models.folder import MANIFEST, load_manifest
from edge_emotion.system.atomic_file import sha256
from support.model_folders import copy_with_first_file


def crashing_model(folder: Path) -> Path:
    """A copy of ``tiny`` whose first convolution has no weights, which the kernel does not check."""
    copy_with_first_file("tiny", folder)
    path = folder / load_manifest(folder).files[0].file
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    convolution = model.subgraphs[0].operators[0]
    data, _, bias = convolution.inputs
    convolution.inputs = [data, -1, bias]
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
