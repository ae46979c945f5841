# shellcheck shell=bash disable=SC2034
# What ci/test, ci/demo and their helpers share: where things are, what must be installed, and how to say so. Source it.
#
# Everything a machine needs is listed here, once. A package is installed only when the thing it brings is missing, so a
# second run says nothing, and a tool that came from elsewhere is respected. With HARDSWITCH_NO_INSTALL=1 nothing is ever
# installed: what is missing is named, and the script fails.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit 1

X86_64=x86_64-unknown-linux-gnu
PPC64=powerpc64-unknown-linux-gnu
PPC64_SYSROOT=/usr/powerpc64-linux-gnu
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
RUST_VERSION=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
CROSS_VERSION=0.2.5

# Debian packages (Ubuntu has the same names), each with the command or file that shows it is there.
PACKAGES_BUILD=(curl:curl ca-certificates:/etc/ssl/certs/ca-certificates.crt gcc:gcc g++:g++ make:make cmake:cmake)
PACKAGES_PPC64=(
    gcc-powerpc64-linux-gnu:powerpc64-linux-gnu-gcc
    g++-powerpc64-linux-gnu:powerpc64-linux-gnu-g++
    qemu-user:qemu-ppc64
)
PACKAGES_TEST=(
    doctest-dev:/usr/include/doctest/doctest.h
    cbindgen:cbindgen
    gdb-multiarch:gdb-multiarch
    nginx-light:/usr/sbin/nginx # host/tests download from it
    pkg-config:pkg-config
    python3:python3
    shellcheck:shellcheck
    valgrind:valgrind
)
# The module for Python: headers, and what makes environments.
PACKAGES_PYTHON=(python3.11-dev:/usr/include/python3.11/Python.h python3.11-venv:/usr/lib/python3.11/ensurepip)
# With these, ci/cross/run needs no docker and no registry. runc, because crun refuses to start where cgroups are confined.
PACKAGES_CROSS=(podman:podman runc:/usr/sbin/runc uidmap:newuidmap mmdebstrap:mmdebstrap
    debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg)

PROGRAM=${PROGRAM:-ci/$(basename "$0")}

# A line for the user; `die` also ends the script.
say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; exit 1; }
usage_error() { printf '%s: %s (--help shows the options)\n' "$PROGRAM" "$*" >&2; exit 2; }

# x86_64 or ppc64: the short name of a target, as steps are named.
short_name() { case $1 in "$PPC64") echo ppc64 ;; *) echo x86_64 ;; esac }

# The target that --target names: both targets by their full names only, so that a typing error is never a default.
check_target() {
    case $1 in
        "$X86_64" | "$PPC64") ;;
        *) usage_error "unknown target '$1': $X86_64 or $PPC64" ;;
    esac
}

is_there() { case $1 in /*) [ -e "$1" ] ;; *) command -v "$1" > /dev/null ;; esac }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        say "not root, and there is no sudo"
        return 1
    fi
}

# ensure_packages PACKAGE:SHOWN_BY...
ensure_packages() {
    local entry missing=() log
    for entry in "$@"; do
        is_there "${entry#*:}" || missing+=("$entry")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    log=$(mktemp)
    if [ "${HARDSWITCH_NO_INSTALL:-0}" = 1 ]; then
        say "HARDSWITCH_NO_INSTALL is set" > "$log"
    else
        say "installing Debian packages: ${missing[*]%%:*}"
        # RUNLEVEL=1 keeps packages from starting their services (nginx) where there is no systemd.
        {
            as_root apt-get -o DPkg::Lock::Timeout=300 update &&
                as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
                    install -y --no-install-recommends "${missing[@]%%:*}"
        } > "$log" 2>&1 < /dev/null || true
    fi
    hash -r
    for entry in "${missing[@]}"; do
        is_there "${entry#*:}" || {
            local why
            why=$(grep -E '^(E:|sudo:|HARDSWITCH|not root)' "$log" | tail -n 1)
            rm -f "$log"
            die "${entry#*:} is missing and Debian's package ${entry%%:*} could not be installed (${why:-apt-get failed})"
        }
    done
    rm -f "$log"
}

# The pinned toolchain, with what its rust-toolchain.toml cannot ask for: rust-src, for the PS3's core and alloc.
# ensure_rust [TARGET...]
ensure_rust() {
    local have want missing
    export PATH="$HOME/.cargo/bin:$PATH"
    if ! command -v rustup > /dev/null; then
        [ "${HARDSWITCH_NO_INSTALL:-0}" != 1 ] || die "rustup is missing (HARDSWITCH_NO_INSTALL is set)"
        say "installing rustup with its official installer, into $HOME/.cargo and $HOME/.rustup"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain none ||
            die "rustup could not be installed; install it (rustup.rs) and try again"
        hash -r
    fi
    export RUSTUP_TOOLCHAIN=$RUST_VERSION
    if ! rustc --version > /dev/null 2>&1; then
        [ "${HARDSWITCH_NO_INSTALL:-0}" != 1 ] || die "Rust $RUST_VERSION is missing (HARDSWITCH_NO_INSTALL is set)"
        say "installing Rust $RUST_VERSION"
        rustup --quiet toolchain install "$RUST_VERSION" --profile minimal --component rustfmt --component clippy ||
            die "Rust $RUST_VERSION could not be installed"
    fi
    have=$(rustup component list --installed)
    missing=()
    for want in rustfmt clippy rust-src "${@/#/rust-std-}"; do
        grep -q "^$want" <<< "$have" || missing+=("$want")
    done
    for want in "${missing[@]}"; do
        [ "${HARDSWITCH_NO_INSTALL:-0}" != 1 ] || die "Rust's component $want is missing (HARDSWITCH_NO_INSTALL is set)"
        say "installing Rust's component $want"
        case $want in
            rust-std-*) rustup --quiet target add "${want#rust-std-}" ;;
            *) rustup --quiet component add "$want" ;;
        esac || die "Rust's component $want could not be installed"
    done
}

# What it takes to build for a target, and to run what was built.
ensure_target() {
    ensure_packages "${PACKAGES_BUILD[@]}"
    if [ "$1" = "$PPC64" ]; then
        ensure_packages "${PACKAGES_PPC64[@]}"
    fi
    ensure_rust "$1"
}

# What the names of a target's compiler and binutils begin with.
binutils() { if [ "$1" = "$PPC64" ]; then echo powerpc64-linux-gnu-; fi; }

# The command prefix under which programs of a target run here, one word a line; nothing for the machine's own.
runner() {
    if [ "$1" = "$PPC64" ]; then
        printf '%s\n' qemu-ppc64 -L "$PPC64_SYSROOT"
    fi
}

# What the dependency `context` brings under Boost's names. A host may link Boost.Context itself: the linker would take one of the two
# for both, whichever it meets first.
BOOST_SYMBOLS=(jump_fcontext make_fcontext ontop_fcontext)

# A static library for hosts, from what cargo makes: static_library TARGET MADE LIBRARY CARGO-OPTION...
# It is cargo's archive with names of its own; another file, since cargo's is cargo's to make anew, or not.
static_library() {
    local made=$TARGET_DIR/$1/release/$2 library=$3 symbol names=()
    cargo rustc --release --lib --crate-type staticlib --target "$1" "${@:4}" || return
    [ -f "$made" ] || die "cargo made no $made"
    # The names with a dot are ELFv1's: of the code, beside those of the descriptors.
    for symbol in "${BOOST_SYMBOLS[@]}"; do
        names+=(--redefine-sym "$symbol=hsw_$symbol" --redefine-sym ".$symbol=.hsw_$symbol")
    done
    mkdir -p "${library%/*}"
    # With cargo's date: what is linked with an unchanged library need not be linked again. Without the bitcode that Rust's own
    # libraries bring: no linker of a host has a use for it, and that of another LLVM stumbles over it.
    "$(binutils "$1")objcopy" -p -R .llvmbc -R .llvmcmd "${names[@]}" "$made" "$library.new" && mv "$library.new" "$library"
}

# The library keeps no vector register where an exception goes through; ci/keeps-no-vectors says why, and looks.
without_vectors() { if [ "$1" = "$PPC64" ]; then printf '%s\n' -C target-feature=-altivec; fi; }

# The static library that C++ hosts link, built in release mode: build_library TARGET [CARGO-OPTION...]
# It has these features, and those of the options.
LIBRARY_FEATURES=http
library_path() { echo "$TARGET_DIR/$1/release/c/libhardswitch.a"; }
build_library() {
    local features=(${LIBRARY_FEATURES:+--features "$LIBRARY_FEATURES"}) options
    mapfile -t options < <(without_vectors "$1")
    static_library "$1" libhardswitch.a "$(library_path "$1")" "${features[@]}" "${@:2}" -- "${options[@]}"
}

# Configure host/ for a target, with its tests (which need more packages) or without:
# configure_host TARGET ON|OFF FOLDER [CMAKE-OPTION...]
configure_host() {
    local options=(-DCMAKE_BUILD_TYPE=Release "-DHARDSWITCH_LIB=$(library_path "$1")" "-DHARDSWITCH_TESTS=$2" "${@:4}")
    if [ "$1" = "$PPC64" ]; then
        options+=("-DCMAKE_TOOLCHAIN_FILE=$ROOT/ci/cmake/powerpc64-linux-gnu.cmake")
    fi
    cmake -S host -B "$3" "${options[@]}"
}

# Configure and build all of it: build_host TARGET ON|OFF [FOLDER], in build/TARGET by default
build_host() {
    configure_host "$1" "$2" "${3:-build/$1}" || return
    cmake --build "${3:-build/$1}" --parallel "$(nproc)"
}
