# shellcheck shell=bash disable=SC2154  # install.sh sets the variables of its options
# Actions on the target system, each printed; with --dry-run only printed. install.sh sets $dry and $root.

# Actions are printed here, also where a command's own output is discarded.
exec 3>&1

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# Prints a command, and runs it unless this is a dry run.
act() {
    {
        if [ "$dry" = yes ]; then printf 'would run:'; else printf '+'; fi
        printf ' %q' "$@"
        echo
    } >&3
    [ "$dry" = yes ] || "$@"
}

# The same with a command of the target system.
inside() {
    if [ -n "$root" ]; then act chroot "$root" "$@"; else act "$@"; fi
}

# Queries the target system, also in a dry run; must not change anything.
ask() {
    if [ -n "$root" ]; then chroot "$root" "$@" 2>/dev/null; else "$@" 2>/dev/null; fi
}

exists() {
    [ -e "$root$1" ] || [ -L "$root$1" ]
}

remove() {
    local path
    for path in "$@"; do
        if exists "$path"; then act rm -rf "$root$path"; fi
    done
}

put() {
    if cmp -s "$1" "$root$2"; then echo "unchanged: $2"; else act install -D -m 0644 "$1" "$root$2"; fi
}

control() {
    if [ -n "$root" ]; then act systemctl --root="$root" "$@"; else act systemctl "$@"; fi
}

installed() {
    # shellcheck disable=SC2016  # dpkg-query's own variable
    [ "$(ask dpkg-query --show --showformat='${db:Status-Status}' "$1")" = installed ]
}
