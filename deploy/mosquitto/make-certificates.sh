#!/usr/bin/env bash
# A certificate authority of your own for the broker and its nodes. Needs openssl 1.1.1 or newer.
set -euo pipefail
umask 077

usage() {
    cat <<END
usage: make-certificates.sh [--out DIR] [--days N] ca
       make-certificates.sh [--out DIR] [--days N] server NAME_OR_ADDRESS...
       make-certificates.sh [--out DIR] [--days N] client NAME...

ca       the authority: ca.pem, which everybody gets, and ca.key, which stays here, best offline
server   the broker: server.pem and server.key; give every name and address by which it is called
client   NAME.pem and NAME.key, for a node its node name

Files go to DIR (default: certificates) with mode 0600; none is ever overwritten. N is the days of validity
(default: 3650 for the authority, 825 for the others).
END
}

fail() {
    echo "make-certificates.sh: $*" >&2
    exit 1
}

# Keys and certificates are made aside and appear whole, or not at all.
make_workplace() {
    mkdir -p "$out"
    [ -e "$out/.gitignore" ] || echo '*' >"$out/.gitignore" # keys have no place in a repository
    work=$(mktemp -d "$out/.making.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

refuse_existing() {
    local name
    for name in "$@"; do
        [ ! -e "$out/$name" ] || fail "$out/$name is there already; move it away first"
    done
}

new_key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" # before 3.0 there is no -quiet
}

make_authority() {
    refuse_existing ca.pem ca.key
    make_workplace
    new_key "$work/ca.key"
    cat >"$work/ca.cnf" <<END
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = edge-emotion authority of $(hostname)
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
    openssl req -x509 -new -sha256 -key "$work/ca.key" -config "$work/ca.cnf" -days "${days:-3650}" -out "$work/ca.pem"
    mv "$work/ca.key" "$work/ca.pem" "$out/"
    echo "made $out/ca.pem and $out/ca.key; keep the key offline"
}

# Usage: make_certificate FILE COMMON_NAME PURPOSE [ALTERNATIVE_NAMES]
make_certificate() {
    [ -f "$out/ca.key" ] || fail "no $out/ca.key: run '$0 --out $out ca' first"
    new_key "$work/$1.key"
    {
        echo "basicConstraints = critical, CA:FALSE"
        echo "keyUsage = critical, digitalSignature"
        echo "extendedKeyUsage = $3"
        echo "subjectKeyIdentifier = hash"
        echo "authorityKeyIdentifier = keyid"
        [ -z "${4-}" ] || echo "subjectAltName = $4"
    } >"$work/$1.ext"
    openssl req -new -sha256 -key "$work/$1.key" -subj "/CN=$2" -out "$work/$1.csr"
    openssl x509 -req -sha256 -in "$work/$1.csr" -CA "$out/ca.pem" -CAkey "$out/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/$1.ext" -days "${days:-825}" -out "$work/$1.pem" \
        2>"$work/log" || fail "$(cat "$work/log")"
    mv "$work/$1.key" "$work/$1.pem" "$out/"
    echo "made $out/$1.pem and $out/$1.key"
}

make_server() {
    local name names=()
    for name in "$@"; do
        if [[ $name =~ ^[0-9]+(\.[0-9]+){3}$ || ($name == *:* && $name =~ ^[0-9a-fA-F:.]+$) ]]; then
            names+=("IP:$name")
        elif [[ $name =~ ^[a-zA-Z0-9*]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$ ]]; then
            names+=("DNS:$name")
        else
            fail "$name is no host name and no address"
        fi
    done
    refuse_existing server.pem server.key
    make_workplace
    make_certificate server "$1" serverAuth "$(IFS=,; echo "${names[*]}")"
}

make_clients() {
    local name
    for name in "$@"; do
        [[ $name =~ ^[a-zA-Z0-9_-]{1,64}$ ]] || fail "$name: only letters, digits, - and _ make a node name"
        case $name in ca | server) fail "no client can be called $name here" ;; esac
        refuse_existing "$name.pem" "$name.key"
    done
    make_workplace
    for name in "$@"; do
        make_certificate "$name" "$name" clientAuth
    done
}

main() {
    out=certificates days=''
    while [ $# -gt 0 ]; do
        case $1 in
            --out | --days) [ $# -ge 2 ] || fail "$1 needs a value"; printf -v "${1#--}" %s "$2"; shift ;;
            -h | --help) usage; exit 0 ;;
            -*) usage >&2; fail "unknown option $1" ;;
            *) break ;;
        esac
        shift
    done
    [[ $days =~ ^[0-9]*$ ]] || fail "--days $days: expected a number"
    command -v openssl >/dev/null || fail "openssl is missing: sudo apt-get install openssl"
    local what=${1-}
    shift || true
    case $what in
        ca) [ $# -eq 0 ] || fail "ca takes no name"; make_authority ;;
        server) [ $# -gt 0 ] || fail "server needs the broker's names and addresses"; make_server "$@" ;;
        client) [ $# -gt 0 ] || fail "client needs a name"; make_clients "$@" ;;
        *) usage >&2; fail "expected ca, server or client" ;;
    esac
}

main "$@"
