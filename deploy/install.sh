#!/usr/bin/env bash
# Installs edge-emotion as a systemd service on Raspberry Pi OS, on a Jetson, or on another 64-bit Debian or Ubuntu.
# What it does and why: docs/tutorial/raspberry-pi.md. A second run repairs or upgrades; what is correct is not changed.
set -euo pipefail

ACCOUNT=edge-emotion
VENV=/opt/edge-emotion
CONFIG=/etc/edge-emotion
STATE=/var/lib/edge-emotion
CACHE=/var/cache/edge-emotion
UNIT=/etc/systemd/system/edge-emotion.service
COMMAND=/usr/local/bin/edge-emotion
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=installer/system.sh
. "$HERE/installer/system.sh"
# shellcheck source-path=SCRIPTDIR source=installer/program.sh
. "$HERE/installer/program.sh"

usage() {
    cat <<END
usage: install.sh [options] [SOURCE]
       install.sh --uninstall [--purge] [options]

SOURCE is a checkout, a wheel, or a name for pip such as edge-emotion==1.0.0; default: the checkout around this script.

  --dry-run            print every action, do none
  --platform NAME      pi, jetson or generic; default: found out
  --opencv WHICH       system: the system's OpenCV, for GStreamer pipelines; pip: the one from PyPI;
                       auto (default): the system's on a Jetson if it has GStreamer, else pip's
  --root DIR           work on the system below DIR (an image of an SD card) with chroot; nothing is started there
  --uninstall          remove the service and the program; settings and state stay
  --purge              with --uninstall: remove settings, certificates, state and the account too
END
}

parse_arguments() {
    root='' platform='' opencv=auto dry=no uninstall=no purge=no source=''
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry=yes ;;
            --uninstall) uninstall=yes ;;
            --purge) purge=yes ;;
            --platform | --opencv | --root)
                [ $# -ge 2 ] || fail "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift
                ;;
            -h | --help) usage; exit 0 ;;
            -*) usage >&2; fail "unknown option $1" ;;
            *) [ -z "$source" ] || fail "one SOURCE is enough: $source, $1"; source=$1 ;;
        esac
        shift
    done
    case $platform in '' | pi | jetson | generic) ;; *) fail "--platform $platform: expected pi, jetson or generic" ;; esac
    case $opencv in auto | system | pip) ;; *) fail "--opencv $opencv: expected auto, system or pip" ;; esac
    [ "$purge" = no ] || [ "$uninstall" = yes ] || fail "--purge goes with --uninstall"
    if [ -n "$root" ]; then
        [ -d "$root" ] || fail "--root $root: no such folder"
        root=$(cd "$root" && pwd)
        root=${root%/}
    fi
    [ "$dry" = yes ] || [ "$(id -u)" -eq 0 ] || fail "must run as root: sudo $0 (or look first: $0 --dry-run)"
}

find_source() {
    [ -n "$source" ] || source=$(cd "$HERE/.." && pwd)
    if grep -qs '^name = "edge-emotion"' "$source/pyproject.toml"; then
        kind=checkout
    elif [[ $source == *.whl && -f $source ]]; then
        kind=wheel
    elif [[ $source =~ ^edge-emotion([=\<\>~!].*)?$ ]]; then
        kind=index
    else
        fail "$source is no checkout, no wheel file and no name like edge-emotion==1.0.0"
    fi
}

find_platform() {
    local model=/proc/device-tree/model
    [ -z "$root" ] || model=/dev/null # this machine's model is not that of the image
    if [ -n "$platform" ]; then
        :
    elif exists /etc/nv_tegra_release || grep -qsi jetson "$model"; then
        platform=jetson
    elif exists /etc/rpi-issue || grep -qsi 'raspberry pi' "$model"; then
        platform=pi
    else
        platform=generic
    fi
}

check_target() {
    local architecture python
    architecture=$(ask dpkg --print-architecture) || fail "no dpkg: this is no Debian or Ubuntu"
    case $architecture in
        arm64 | amd64) ;;
        *) fail "$architecture: the interpreter has no package for it; install the 64-bit system (arm64)" ;;
    esac
    python=$(python_version python3) || fail "no python3: sudo apt-get install python3"
    case $python in
        3.10 | 3.11 | 3.12 | 3.13) ;;
        *) fail "Python $python: expected 3.10 to 3.13 (Raspberry Pi OS Bookworm or Trixie, JetPack 6 or 7)" ;;
    esac
    echo "platform: $platform, $architecture, Python $python; source: $source ($kind)"
}

install_packages() {
    local package missing=()
    local wanted=(python3-venv)
    [ "$platform" != pi ] || wanted+=(python3-picamera2)
    for package in "${wanted[@]}"; do
        if installed "$package"; then echo "unchanged: package $package"; else missing+=("$package"); fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    inside apt-get update --quiet
    for package in "${missing[@]}"; do
        if [ "$dry" = no ] && [ -z "$(ask apt-cache search --names-only "^$package\$")" ]; then
            echo "warning: no package $package here: cameras on the CSI connector need Raspberry Pi OS" >&2
            continue
        fi
        inside env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "$package"
    done
}

make_account() {
    local group
    if ask getent passwd "$ACCOUNT" >/dev/null; then
        echo "unchanged: account $ACCOUNT"
    else
        inside useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$ACCOUNT"
    fi
    # So that `sudo -u edge-emotion edge-emotion doctor` can open the cameras as the service can.
    for group in video render; do
        ask getent group "$group" >/dev/null || continue
        [[ " $(ask id -nG "$ACCOUNT") " == *" $group "* ]] || inside usermod --append --groups "$group" "$ACCOUNT"
    done
}

make_settings() {
    [ "$(ask stat -c '%a %G' "$CONFIG")" = "750 $ACCOUNT" ] ||
        inside install -d -m 0750 -o root -g "$ACCOUNT" "$CONFIG"
    if exists "$CONFIG/edge-emotion.yaml"; then
        echo "unchanged: $CONFIG/edge-emotion.yaml"
    else
        act install -m 0640 "$HERE/../examples/edge-emotion.yaml" "$root$CONFIG/edge-emotion.yaml"
        inside chown "root:$ACCOUNT" "$CONFIG/edge-emotion.yaml"
    fi
}

make_service() {
    put "$HERE/systemd/edge-emotion.service" "$UNIT"
    [ "$platform" != jetson ] || put "$HERE/systemd/jetson.conf" "$UNIT.d/jetson.conf"
    [ -n "$root" ] || control daemon-reload
    control enable edge-emotion.service
    [ -z "$root" ] || return 0
    # Loads every model and runs its self-test on this machine.
    if inside runuser -u "$ACCOUNT" -- "$VENV/bin/edge-emotion" check-config --config "$CONFIG/edge-emotion.yaml" \
        >/dev/null; then
        control try-restart edge-emotion.service
    else
        echo "warning: these settings do not pass (see above), so nothing was restarted" >&2
    fi
}

uninstall() {
    if exists "$UNIT"; then
        if [ -n "$root" ]; then control disable edge-emotion.service; else control disable --now edge-emotion.service; fi
        remove "$UNIT" "$UNIT.d"
        [ -n "$root" ] || control daemon-reload
    fi
    if [ "$(readlink "$root$COMMAND")" = "$VENV/bin/edge-emotion" ]; then remove "$COMMAND"; fi
    if exists "$VENV/pyvenv.cfg"; then remove "$VENV"; fi
    remove "$CACHE"
    if [ "$purge" = yes ]; then
        remove "$CONFIG" "$STATE"
        if ask getent passwd "$ACCOUNT" >/dev/null; then inside userdel "$ACCOUNT"; fi
    elif exists "$CONFIG"; then
        echo "kept: $CONFIG, $STATE and the account $ACCOUNT (--purge removes them)"
    fi
}

main() {
    parse_arguments "$@"
    if [ "$uninstall" = yes ]; then
        uninstall
        return
    fi
    find_source
    find_platform
    check_target
    install_packages
    choose_opencv
    make_account
    make_venv
    install_program
    make_settings
    make_service
    [ "$dry" = no ] || return 0
    cat <<END
done. Next: sudo nano $CONFIG/edge-emotion.yaml
            sudo -u $ACCOUNT edge-emotion check-config --config $CONFIG/edge-emotion.yaml
            sudo systemctl restart edge-emotion && journalctl -fu edge-emotion
END
}

main "$@"
