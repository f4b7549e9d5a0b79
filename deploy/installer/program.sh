# shellcheck shell=bash disable=SC2154  # install.sh sets the variables of its options
# The virtual environment and its packages: the choice of OpenCV and numpy, and the reasons.

python_version() {
    ask "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# picamera2, TensorRT and JetPack's OpenCV exist only as packages of the system, hence --system-site-packages.
make_venv() {
    local settings=$root$VENV/pyvenv.cfg
    if [ -d "$root$VENV" ] && [ ! -f "$settings" ] && [ -n "$(ls -A "$root$VENV")" ]; then
        fail "$VENV holds something else: move it away"
    fi
    # After an upgrade of the system its Python is another one; the environment is then created again.
    if [ "$(python_version "$VENV/bin/python")" = "$(python_version python3)" ] &&
        grep -qs 'include-system-site-packages = true' "$settings"; then
        echo "unchanged: $VENV"
    else
        inside python3 -m venv --clear --system-site-packages "$VENV"
    fi
}

choose_opencv() {
    local look='import cv2, re, sys; sys.exit(not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()))'
    [ "$opencv" != auto ] || [ "$platform" = jetson ] || opencv=pip
    [ "$opencv" != pip ] || return 0
    if ask python3 -c "$look"; then
        opencv=system
    else
        echo "warning: python3 finds no OpenCV with GStreamer, so there will be no CSI cameras and pipelines:" >&2
        echo "  on a Jetson: sudo apt-get install nvidia-jetpack; then run this again" >&2
        echo "  if pip once put another one before it: sudo pip3 uninstall opencv-python opencv-python-headless" >&2
        [ "$opencv" = auto ] || fail "--opencv system is not possible"
        opencv=pip
    fi
}

# Extension modules of the system were compiled for its numpy: a numpy 2 in the environment breaks picamera2
# (simplejpeg) on Bookworm and OpenCV on JetPack 6. So the environment has the system's major version.
numpy_limit() {
    if [ "$(ask python3 -c 'import numpy; print(numpy.__version__.split(".")[0])')" = 1 ]; then echo 'numpy<2'; fi
}

# pip of the environment. It builds and unpacks in the stage folder, not in a checkout.
pip() {
    inside "$VENV/bin/python" -m pip --disable-pip-version-check --no-input "$@"
}

install_program() {
    local what=$source again=() requirements=("REQUIREMENTS-OF-EDGE-EMOTION")
    if [ "$kind" != index ]; then
        stage_source
        what=${stage#"$root"}/$(basename "$source")
        again=(--force-reinstall) # pip cannot tell two builds of one version apart
    fi
    # Without requirements first: they are then read from the installed package, and chosen.
    pip install --quiet --no-deps --upgrade "${again[@]}" "$what"
    [ "$dry" = yes ] || mapfile -t requirements < <(requirements_of_program)
    # shellcheck disable=SC2046  # one word or none
    pip install --quiet "${requirements[@]}" $(numpy_limit)
    if [ "$opencv" = system ] && compgen -G "$root$VENV/lib/python*/site-packages/opencv_python_headless-*" >/dev/null; then
        pip uninstall --quiet --yes opencv-python-headless
    fi
    link_command
}

# A copy below the target system's root, where a build may create its folders.
stage_source() {
    stage=$root/tmp/edge-emotion-install
    [ "$dry" = no ] || return 0
    stage=$(mktemp -d "$root/tmp/edge-emotion-install.XXXXXX")
    # shellcheck disable=SC2064  # the folder's name of now
    trap "rm -rf '$stage'" EXIT
    if [ "$kind" = wheel ]; then
        cp "$source" "$stage/"
    else
        mkdir "$stage/$(basename "$source")"
        tar -C "$source" --exclude=__pycache__ -cf - pyproject.toml README.md LICENSE NOTICE edge_emotion |
            tar -C "$stage/$(basename "$source")" --no-same-owner -xf -
    fi
}

link_command() {
    if [ "$(readlink "$root$COMMAND")" = "$VENV/bin/edge-emotion" ]; then
        echo "unchanged: $COMMAND"
    else
        act mkdir -p "$root$(dirname "$COMMAND")"
        act ln -sfn "$VENV/bin/edge-emotion" "$root$COMMAND"
    fi
}

requirements_of_program() {
    local skip=none
    [ "$opencv" != system ] || skip='opencv-python-headless'
    ask "$VENV/bin/python" -c '
import re, sys
from importlib.metadata import requires
for line in requires("edge-emotion") or ():
    if "extra ==" not in line and re.match(r"[\w.-]+", line).group() != sys.argv[1]:
        print(line)' "$skip"
}
