"""A CUDA runtime without a GPU: memory with addresses, a stream that does nothing until it is waited for, graphs."""

from __future__ import annotations

import ctypes
import enum
import types
from collections.abc import Callable
from typing import Any

from support.nvidia_surface import checked, guarded, table

Work = Callable[[], None]


class FakeCuda(types.ModuleType):
    """The module of one version of cuda-python.

    ``failing`` maps a function to the error that it answers; those in ``uncapturable`` fail while a stream captures.
    """

    def __init__(self, version: str, device: str = "Orin", capability: tuple[int, int] = (8, 7)) -> None:
        super().__init__("cuda")
        rows = table("cuda", version)
        self._memory: dict[int, tuple[str, Any]] = {}
        self._queued: list[Work] = []
        self._capturing: list[Work] | None = None
        self._properties = device, capability
        self._rows = rows
        self.failing: dict[str, str] = {}
        self.uncapturable: set[str] = set()
        self.calls: list[str] = []
        self.captures: list[list[Work]] = []
        for name, content in rows.items():
            if isinstance(content, list):
                setattr(self, name, checked(name, content, self._function(name)))
            elif isinstance(content, dict) and name != "cudaDeviceProp":
                setattr(self, name, enum.IntEnum(name, content))
            else:
                setattr(self, name, content)

    @property
    def held(self) -> int:
        """Allocations, streams and graphs that were not given back."""
        made = ("cudaStreamCreateWithFlags", "cudaGraphInstantiate")
        freed = ("cudaStreamDestroy", "cudaGraphExecDestroy")
        return len(self._memory) + sum(map(self.calls.count, made)) - sum(map(self.calls.count, freed))

    def enqueue(self, work: Work) -> None:
        (self._queued if self._capturing is None else self._capturing).append(work)

    def on_device(self, address: int) -> Any:
        """The ctypes array at an address that must be on the device."""
        place, memory = self._memory[address]
        assert place == "device"
        return memory

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.failing:
                self._capturing = None  # a failed capture has ended
                return self.cudaError_t[self.failing[name]], None
            if name in self.uncapturable and self._capturing is not None:
                return self.cudaError_t.cudaErrorStreamCaptureUnsupported, None
            values = getattr(self, f"_{name}", lambda *_: None)(*arguments)
            return (self.cudaError_t.cudaSuccess, *([] if values is None else [values]))

        return call

    def _cudaGetDeviceProperties(self, device: int) -> Any:  # noqa: N802
        made = guarded("cudaDeviceProp", self._rows["cudaDeviceProp"], types.SimpleNamespace)()
        name, (major, minor) = self._properties
        made.__dict__.update(name=name.encode(), major=major, minor=minor)
        return made

    def _allocate(self, place: str, size: int) -> int:
        memory = (ctypes.c_byte * size)()
        self._memory[ctypes.addressof(memory)] = place, memory
        return ctypes.addressof(memory)

    def _cudaMalloc(self, size: int) -> int:  # noqa: N802
        return self._allocate("device", size)

    def _cudaMallocHost(self, size: int) -> int:  # noqa: N802
        return self._allocate("host", size)

    def _cudaFree(self, address: int) -> None:  # noqa: N802
        assert self._memory.pop(address)[0] == "device"

    def _cudaFreeHost(self, address: int) -> None:  # noqa: N802
        assert self._memory.pop(address)[0] == "host"

    def _cudaStreamCreateWithFlags(self, flags: Any) -> int:  # noqa: N802
        return 77

    def _cudaMemcpyAsync(self, target: int, source: int, count: int, kind: Any, stream: int) -> None:  # noqa: N802
        places = self._memory[source][0], self._memory[target][0]
        assert places == (("host", "device") if kind.name == "cudaMemcpyHostToDevice" else ("device", "host"))
        assert count <= min(len(self._memory[source][1]), len(self._memory[target][1]))
        self.enqueue(lambda: ctypes.memmove(target, source, count) and None)

    def _cudaStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        assert self._capturing is None, "a stream that captures cannot be waited for"
        while self._queued:
            self._queued.pop(0)()

    def _cudaStreamBeginCapture(self, stream: int, mode: Any) -> None:  # noqa: N802
        self._capturing = []

    def _cudaStreamEndCapture(self, stream: int) -> Any:  # noqa: N802
        captured, self._capturing = self._capturing, None
        assert captured is not None
        return captured

    def _cudaGraphInstantiate(self, graph: list[Work], flags: int) -> Any:  # noqa: N802
        self.captures.append(graph)
        return graph

    def _cudaGraphLaunch(self, graph: list[Work], stream: int) -> None:  # noqa: N802
        self._queued.extend(graph)
