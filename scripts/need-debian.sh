#!/bin/sh
# Installs Debian packages that are missing; where that is not allowed, prints the command for it.
# Usage: need-debian.sh PACKAGE...        Never fails: programs that need a package report it more precisely.
set -u

have() {
    case $1 in
        python3-venv) "${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null ;;
        mosquitto) PATH=$PATH:/usr/sbin command -v mosquitto >/dev/null ;;
        mosquitto-clients) command -v mosquitto_sub >/dev/null ;;
        *) dpkg -s "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
for package in "$@"; do
    have "$package" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "not installed, and this is no Debian: install the equivalent of$missing" >&2
    exit 0
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "not allowed to install:$missing - please run: sudo apt-get install$missing" >&2
        exit 0
    fi
    as_root="sudo -n"
fi
echo "installing Debian packages:$missing"
log=$(mktemp)
# Their services (mosquitto, PostgreSQL, NATS, Prometheus) are not started: tests start programs of their own. This file
# is Debian's way to prevent it; services are enabled, and start with the next boot unless disabled.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi
# shellcheck disable=SC2086  # the lists are meant to be split
{ $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends $missing; } >"$log" 2>&1 ||
    { tail -3 "$log" >&2; echo "could not install:$missing - see $log" >&2; }
exit 0
