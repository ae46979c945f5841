#!/usr/bin/env bash
# Rust 1.95 on ELFv1: a backtrace takes no name from the symbol table, and an unoptimised build with
# line-tables-only prints files and lines without names.
#
# Three functions call each other, and the innermost prints std's backtrace. Counted are the three names. On
# x86_64 they are there in every build, debug information or not: the symbol table has them. On PowerPC64 the
# symbol table names descriptors in .opd, and no instruction lies in one, so without debug information each frame
# is <unknown>. With line-tables-only the compiler names functions where it optimises and none where it does
# not, so the very build that is made for looking into has "<unknown>" above the right file and line. debuginfo=limited
# is the least that names them in both.
#
# Guessed before it ran: names come from the symbol table, as on x86_64, since the program is not stripped.
#
# Why it matters: a crash report of a console build says nothing, and whoever sets line-tables-only to have at least
# that in a test build has it in the optimised one only. A test of backtraces passes or fails by opt-level.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian gcc-12-powerpc64-linux-gnu 12.2.0-13cross1
debian qemu-user 1:7.2
[[ $(rustc +1.95.0 --version) == 'rustc 1.95.0 '* ]] || die "Rust 1.95.0 is not installed"
say "with $(rustc +1.95.0 --version | cut -d' ' -f1-2)"

cat > levels.rs << 'END'
use std::backtrace::Backtrace;
use std::hint::black_box;

#[inline(never)]
fn outermost(n: u32) -> u32 {
    black_box(in_between(n + 1)) + 1
}

#[inline(never)]
fn in_between(n: u32) -> u32 {
    black_box(innermost(n + 1)) + 1
}

#[inline(never)]
fn innermost(n: u32) -> u32 {
    print!("{}", Backtrace::force_capture());
    black_box(n)
}

fn main() {
    outermost(1);
}
END

# named TARGET LINKER OPT-LEVEL DEBUGINFO [RUNNER]: how many of the three names, and of their lines, the backtrace has.
named() {
    local text
    rustc +1.95.0 --target "$1-unknown-linux-gnu" -C linker="$2" -C opt-level="$3" -C debuginfo="$4" levels.rs
    text=$("${@:5}" ./levels)
    printf '%s names, %s lines' "$(grep -cE 'innermost|in_between|outermost' <<< "$text" || true)" \
        "$(grep -cE 'levels.rs:(6|11|16):' <<< "$text" || true)"
}

for level in 0 3; do
    expect "x86_64, -O$level, no debug information" "$(named x86_64 gcc $level none)" '3 names, 0 lines'
    expect "PowerPC64, -O$level, no debug information" \
        "$(named powerpc64 powerpc64-linux-gnu-gcc $level none run_ppc64)" '0 names, 0 lines'
done
expect 'PowerPC64, -O0, line-tables-only' \
    "$(named powerpc64 powerpc64-linux-gnu-gcc 0 line-tables-only run_ppc64)" '0 names, 3 lines'
expect 'PowerPC64, -O3, line-tables-only' \
    "$(named powerpc64 powerpc64-linux-gnu-gcc 3 line-tables-only run_ppc64)" '3 names, 3 lines'
expect 'PowerPC64, -O0, limited' "$(named powerpc64 powerpc64-linux-gnu-gcc 0 limited run_ppc64)" '3 names, 3 lines'
