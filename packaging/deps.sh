#!/bin/sh
# Installs the Debian packages that building, testing and running SurfFS need, and only those that are missing.
# The only place in the project that installs anything. Why each one is there: CONTRIBUTING.md.
#
#   packaging/deps.sh            install what is missing (root, or a user who may sudo)
#   packaging/deps.sh --check    print what is missing; exit 1 if there is anything

set -eu

build="gcc clang cmake ninja-build make pkg-config git protobuf-c-compiler
    libfuse3-dev libssl-dev libprotobuf-c-dev librocksdb-dev libuv1-dev libjansson-dev libyaml-dev libxxhash-dev"
test="libcmocka-dev libclang-rt-14-dev clang-format python3 python3-pytest python3-pytest-timeout
    fuse3 sqlite3 rsync attr fio iproute2 nftables util-linux procps faketime"

missing=""
for package in $build $test; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done

if [ -z "$missing" ]; then
    exit 0
fi
if [ "${1:-}" = --check ]; then
    echo "missing packages:$missing"
    exit 1
fi

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps.sh: missing packages:$missing" >&2
        echo "deps.sh: run it as root, or install sudo" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
install_missing() {
    # shellcheck disable=SC2086  # a list of words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
# The package lists of a fresh machine may be empty or old; fetch them only when installing from them fails.
install_missing 2>/dev/null || { $as_root apt-get update -qq && install_missing; }
