#!/usr/bin/env bash
# ci/gdb stops in a function of a program for either target and shows who called it with what. Run by ci/test (step
# `scripts`); prints `N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

cat > "$tmp/calls.c" << 'C'
#include <stdio.h>
int twice(int n) { return 2 * n; }
int main(void) { printf("%d\n", twice(21)); return 0; }
C
gcc -g -O0 -o "$tmp/x86_64" "$tmp/calls.c"
powerpc64-linux-gnu-gcc -g -O0 -o "$tmp/ppc64" "$tmp/calls.c"
for target in x86_64 ppc64; do
    timeout 60 ci/gdb -batch -ex 'break twice' -ex continue -ex backtrace -ex continue "$tmp/$target" > "$tmp/out" 2>&1 < /dev/null || true
    if grep -qE '#0 .*twice \(n=21\)' "$tmp/out" && grep -qE '#1 .* main ' "$tmp/out" && grep -q '^42' "$tmp/out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "broken promise: ci/gdb shows a breakpoint and its backtrace on $target"
        cat "$tmp/out"
    fi
done

# As CONTRIBUTING.md says of a SIGILL. (ci/cell970 makes the C library for it.)
printf 'int main(void){__asm__ volatile(".machine \\"any\\"\\n isel 3,4,5,2":::"memory");return 0;}\n' |
    powerpc64-linux-gnu-gcc -x c -o "$tmp/isel" -
ci/cell970 "$tmp/ppc64" > "$tmp/out" 2>&1
# shellcheck disable=SC2016  # gdb's $pc
QEMU_CPU=970 timeout 60 ci/gdb -batch -ex continue -ex 'x/i $pc' "$tmp/isel" > "$tmp/out" 2>&1 < /dev/null || true
if grep -q 'SIGILL' "$tmp/out" && grep -q 'iseleq' "$tmp/out"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "broken promise: ci/gdb names the instruction that the 970 does not have"
    cat "$tmp/out"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
