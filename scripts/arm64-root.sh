#!/bin/sh
# Makes the environment of an arm64 device on another machine: Debian's Python for arm64, the arm64 wheels of the
# packages that edge-emotion requires, and an emulator of the processor. tests/test_arm64.py runs the program in it.
# Usage: arm64-root.sh FOLDER         Needs mmdebstrap and uv ($UV), no root. Existing parts of FOLDER are kept.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
UV=${UV:-uv}

# As on Raspberry Pi OS Bookworm. Packages are unpacked but not configured: running them in the emulator takes long.
debian=bookworm python=3.11 glibc=2_36
include=python3,ca-certificates,libstdc++6,libgcc-s1
# In QEMU 8 and older, programs read this machine's /proc/cpuinfo, and the interpreter crashes.
emulator=trixie

# make NAME RECIPE WORDS...: run RECIPE with a new folder, unless there is a complete one for exactly these words.
make() {
    name=$1 recipe=$2 words=$*
    [ "$(cat "$folder/$name/.made" 2>/dev/null)" != "$words" ] || return 0
    echo "making $folder/$name"
    rm -rf "${folder:?}/$name" "$folder/$name.part"
    "$recipe" "$folder/$name.part" >"$folder/$name.log" 2>&1 || {
        tail -5 "$folder/$name.log" >&2
        echo "arm64-root.sh: could not make $folder/$name: see $folder/$name.log" >&2
        exit 1
    }
    echo "$words" >"$folder/$name.part/.made"
    mv "$folder/$name.part" "$folder/$name"
}

unpack() {
    timeout 900 mmdebstrap --mode=chrootless --variant=extract "$@"
}

root() {
    unpack --architectures=arm64 --include="$include" "$debian" "$1"
}

qemu() {
    unpack --architectures="$(dpkg --print-architecture)" --include=qemu-user "$emulator" "$1.all" &&
        mkdir "$1" && cp "$1.all/usr/bin/qemu-aarch64" "$1/" && rm -rf "$1.all"
}

wheels() {
    timeout 900 "$UV" pip install --quiet --python-platform "aarch64-manylinux_$glibc" --python-version "$python" \
        --only-binary :all: --target "$1" --requirement "$project/pyproject.toml" \
        --constraint "$project/constraints.txt"
}

case $(uname -m) in
    aarch64) echo "arm64-root.sh: this machine is arm64: make test tests it as it is" >&2 && exit 1 ;;
esac
make qemu qemu "$emulator"
make root root "$debian" "$include"
make wheels wheels "$python" "$glibc" "$(cat "$project/pyproject.toml" "$project/constraints.txt" | sha256sum)"
