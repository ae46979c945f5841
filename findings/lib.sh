# shellcheck shell=bash
# What the findings share. Source it first. It makes a temporary folder, changes into it, and removes it
# at the end. Nothing here uses the product.
set -euo pipefail
FINDING=$(basename "$0" .sh)
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$FINDING" "$*" >&2; exit 1; }

# debian PACKAGE VERSION-PREFIX: the installed package has the version that the finding was made with.
debian() {
    local have
    have=$(dpkg-query -W -f '${Version}' "$1" 2> /dev/null) || die "Debian's package $1 is not installed"
    [[ $have == "$2"* ]] || die "made with $1 $2, and $have is installed: read it again before you trust it"
    say "with $1 $have"
}

# expect NAME VALUE EXPECTED: fails where the behaviour is not the one described.
expect() {
    [ "$2" = "$3" ] || die "changed: $1 was '$3' and is '$2'"
    say "seen: $1 = $2"
}

run_ppc64() { QEMU_LD_PREFIX=/usr/powerpc64-linux-gnu qemu-ppc64 "$@"; }

# cargo_project NAME DEPENDENCY-LINE...: a new package in ./NAME with pinned dependencies; main.rs comes from stdin.
cargo_project() {
    local name=$1
    shift
    mkdir -p "$name/src"
    printf '[package]\nname = "%s"\nversion = "0.0.0"\nedition = "2021"\n\n[dependencies]\n' "$name" > "$name/Cargo.toml"
    printf '%s\n' "$@" >> "$name/Cargo.toml"
    cat > "$name/src/main.rs"
    say "with $(rustc --version | cut -d' ' -f1-2), $*"
}
