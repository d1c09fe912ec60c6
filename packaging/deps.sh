#!/bin/sh
# Installs the Debian packages that building, testing and running SurfFS need, and only those that are missing.
# The only place in the project that installs anything. Why each one is there: CONTRIBUTING.md.
#
#   packaging/deps.sh            install what is missing (root, or a user who may sudo)
#   packaging/deps.sh --check    print what is missing; exit 1 if there is anything
#   packaging/deps.sh bench      also what only `make bench-raft` and `make bench-kv` need
#   packaging/deps.sh soak       also what only `make soak` needs
#   packaging/deps.sh browser    also a browser, for the test of the page that nodes serve

set -eu

build="gcc clang cmake ninja-build make pkg-config git protobuf-c-compiler
    libfuse3-dev libssl-dev libprotobuf-c-dev librocksdb-dev libuv1-dev libjansson-dev libmicrohttpd-dev libyaml-dev
    libxxhash-dev libzstd-dev libisal-dev"
test="libcmocka-dev libclang-rt-dev clang-format python3 python3-pytest python3-pytest-timeout python3-pytest-xdist
    python3-yaml fuse3 sqlite3 rsync acl attr fio iproute2 nftables util-linux procps faketime"

more=""
case "${1:-}" in
bench) more="libnghttp2-dev etcd-server" ;;
browser) more="chromium chromium-driver python3-selenium" ;;
soak)
    more="postgresql stress-ng"
    # However it was installed: Debian's brings hundreds of packages.
    command -v npm >/dev/null 2>&1 || more="$more npm"
    ;;
esac

missing=""
for package in $build $test $more; do
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
