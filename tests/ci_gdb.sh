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

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
