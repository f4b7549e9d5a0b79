"""Writes down which symbols TensorRT's and CUDA's Python packages have, version by version, for the tests.

Neither can be run without NVIDIA's hardware, and TensorRT's libraries cannot be had from PyPI for every version. Their
bindings can: `tensorrt_bindings` is imported here over empty libraries that this script compiles with gcc (it needs gcc
and nm, of binutils), `cuda` as it is. Nothing of them is called. Needs a Python that all of them support: 3.10, 3.11.

    python scripts/extract_surfaces.py tests/support/surfaces            # write the tables
    python scripts/extract_surfaces.py tests/support/surfaces --check    # compare
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TENSORRT = {
    "8.6.1": "tensorrt_bindings",
    "10.3.0": "tensorrt_cu12_bindings",
    "10.13.3.9": "tensorrt_cu12_bindings",
    "11.4.0.106": "tensorrt_cu12_bindings",
}
"""Version -> distribution. 8.6, 10.3 and 10.13 are those of JetPack 6.0, 6.1 and 7."""
CUDA = {"12.2.1": "cuda-python", "12.6.2.post1": "cuda-python", "12.9.4": "cuda-bindings", "13.4.4": "cuda-bindings"}

TENSORRT_NAMES = """
    Builder BuilderFlag DataType DeviceType IBuilderConfig ICudaEngine IExecutionContext IHostMemory ILayer ILogger
    INetworkDefinition IInt8EntropyCalibrator2 IOptimizationProfile ITensor ITimingCache LayerType MemoryPoolType
    NetworkDefinitionCreationFlag OnnxParser ParserError PreviewFeature Runtime TensorIOMode
"""
CUDA_NAMES = """
    cudaDeviceProp cudaError_t cudaFree cudaFreeHost cudaGetDeviceCount cudaGetDeviceProperties cudaGetErrorName
    cudaGetErrorString cudaGetLastError cudaGraphDestroy cudaGraphExecDestroy cudaGraphInstantiate cudaGraphLaunch
    cudaHostAlloc cudaMalloc cudaMallocHost cudaMemcpyAsync cudaMemcpyKind cudaStreamBeginCapture cudaStreamCaptureMode
    cudaStreamCreate cudaStreamCreateWithFlags cudaStreamDestroy cudaStreamEndCapture cudaStreamNonBlocking
    cudaStreamSynchronize
"""

STUBBED = (
    r"\w+_INTERNAL|get(Builder)?PluginRegistry|getNvOnnxParserVersion|initLibNvInferPlugins|_ZN\d+nv(uff|caffe)parser.*"
)
"""What the bindings take from NVIDIA's libraries; all the rest is virtual."""

INTROSPECT = r"""
import json, re, sys

def signatures(item):
    # pybind11 and Cython write them into the first lines of the docstring; numbered where there are several.
    found = []
    for line in (item.__doc__ or "").splitlines():
        match = re.match(r"(?:\d+\. )?\w+\((.*?)\)(?: -> .*)?$", line.strip())
        if match:
            parts = re.split(r", (?![^\[]*\])", match[1]) if match[1] else []
            names = []
            for part in parts:
                name = re.sub(r"[:=].*", "", part).strip().split(" ")[-1]
                names.append(name + "=" if "=" in part else name)
            found.append([name for name in names if name != "self"])
        elif found and "Overloaded" not in item.__doc__:
            break
    return [names for names in found if "**kwargs" not in names] or None

def members(owner):
    if hasattr(owner, "__members__"):
        return {name: int(value) for name, value in owner.__members__.items()}
    names = {name for name in dir(owner) if not name.startswith("_") or name == "__init__"}
    return {name: describe(getattr(owner, name)) for name in sorted(names)}

def describe(item):
    if isinstance(item, property) and item.fset:
        return "settable"
    return signatures(item) if callable(item) and not isinstance(item, type) else None

module_name, wanted = sys.argv[1:]
module = __import__(module_name, fromlist=["x"])
table = {}
for name in wanted.split():
    item = getattr(module, name, None)
    if isinstance(item, type):
        table[name] = members(item)
        for inner in vars(item):
            if isinstance(vars(item)[inner], type) and not inner.startswith("_"):
                table[name + "." + inner] = members(vars(item)[inner])
    elif item is not None:
        table[name] = describe(item)
print(json.dumps(table))
"""


def run(*command: str, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def install(requirement: str, folder: Path) -> Path:
    """The distribution, alone, in a folder of its own. Raises SystemExit if there is no wheel for this Python."""
    options = ["-q", "--no-deps", "--only-binary=:all:", "--target", str(folder)]
    run(sys.executable, "-m", "pip", "install", *options, requirement)
    return folder


def compile_empty_libraries(bindings: Path, folder: Path) -> None:
    """One shared library per NVIDIA library that the bindings are linked to, with the functions they expect."""
    undefined = run("nm", "--dynamic", "--undefined-only", "--format=posix", str(bindings)).split()
    functions = [name for name in undefined if re.fullmatch(STUBBED, name)]
    source = folder / "empty.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in functions))
    for library in sorted(set(re.findall(rb"libnv\w+\.so\.\d+", bindings.read_bytes()))):
        soname = library.decode()
        run("gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(folder / soname), str(source))


def introspect(module: str, names: str, **environment: str) -> str:
    """The table of a module, as text, made in a process of its own."""
    table = json.loads(run(sys.executable, "-c", INTROSPECT, module, names, **environment))
    lines = []
    for name, content in table.items():
        if isinstance(content, dict) and content:
            rows = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            lines.append(f"  {json.dumps(name)}: {{\n{rows}\n  }}")
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(content)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def tensorrt_table(version: str, distribution: str, folder: Path) -> str:
    """Classes, members and parameters of one version of TensorRT."""
    site = install(f"{distribution}=={version}", folder)
    compile_empty_libraries(site / "tensorrt_bindings" / "tensorrt.so", folder)
    paths = {"PYTHONPATH": str(site), "LD_LIBRARY_PATH": str(folder)}
    return introspect("tensorrt_bindings", TENSORRT_NAMES, **paths)


def cuda_table(version: str, distribution: str, folder: Path) -> str:
    """Functions, constants and members of one version of the CUDA runtime's bindings."""
    site = install(f"{distribution}=={version}", folder)
    install("cuda-pathfinder", folder / "pathfinder")
    module = "cuda.bindings.runtime" if (site / "cuda" / "bindings").is_dir() else "cuda.cudart"
    return introspect(module, CUDA_NAMES, PYTHONPATH=f"{site}:{folder / 'pathfinder'}")


def main() -> None:
    """Write or compare one table per version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    jobs = [("tensorrt", tensorrt_table, item) for item in TENSORRT.items()]
    jobs += [("cuda", cuda_table, item) for item in CUDA.items()]
    different = []
    for kind, make, (version, distribution) in jobs:
        with tempfile.TemporaryDirectory() as folder:
            table = make(version, distribution, Path(folder))
        path = options.folder / f"{kind}-{version}.json"
        if not options.check:
            path.write_text(table)
        elif path.read_text() != table:
            different.append(str(path))
        print(f"{path}: {len(table)} bytes")
    if different:
        raise SystemExit(f"not what the packages say: {', '.join(different)}")


if __name__ == "__main__":
    main()
