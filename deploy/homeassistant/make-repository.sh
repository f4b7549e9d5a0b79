#!/bin/sh
# Makes a repository that Home Assistant can add: make-repository.sh FOLDER [WHEEL]
# FOLDER gets the app with the wheel of this clone, or with WHEEL: docs/how-to/home-assistant.md says what then.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: make-repository.sh FOLDER [WHEEL]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
target=$1
wheel=${2-}

if [ -e "$target/edge-emotion" ] && [ ! -e "$target/edge-emotion/config.yaml" ]; then
    echo "make-repository.sh: $target/edge-emotion is something else: choose another folder" >&2
    exit 2
fi
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
if [ -z "$wheel" ]; then
    "${PYTHON:-python3}" -m pip wheel --quiet --no-deps --wheel-dir "$made" "$here/../.."
    wheel=$(find "$made" -name 'edge_emotion-*.whl')
fi
[ -f "$wheel" ] || { echo "make-repository.sh: there is no wheel $wheel" >&2; exit 2; }

mkdir -p "$target"
rm -rf "$target/edge-emotion"
cp "$here/repository.yaml" "$target/"
cp -r "$here/edge-emotion" "$target/"
rm -rf "$target/edge-emotion/wheels" "$target/edge-emotion/__pycache__"
mkdir "$target/edge-emotion/wheels"
cp "$wheel" "$target/edge-emotion/wheels/"
echo "$target: $(basename "$wheel")"
