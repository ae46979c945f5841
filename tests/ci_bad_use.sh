#!/usr/bin/env bash
# The scripts of ci/, used wrongly or on a machine that lacks a compiler: one clear line that names the thing, a non-zero
# exit, nothing built. Run by ci/test (step `scripts`); prints `N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset HARDSWITCH_NO_INSTALL
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

# expect STATUS TEXT COMMAND...: it ends with STATUS, prints one line on stderr that has TEXT in it, and nothing on stdout
# but what it installs.
expect() {
    local status=0 problem=
    "${@:3}" > "$tmp/out" 2> "$tmp/err" < /dev/null || status=$?
    [ "$status" = "$1" ] || problem="exit $status instead of $1"
    grep -qF -- "$2" "$tmp/err" || problem+="; stderr does not name '$2'"
    [ "$(wc -l < "$tmp/err")" = 1 ] || problem+="; stderr has $(wc -l < "$tmp/err") lines instead of one"
    ! grep -qv '^installing ' "$tmp/out" || problem+="; stdout is not empty"
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "broken promise: ${*:3}: ${problem#; }"
        sed 's/^/    /' "$tmp/out" "$tmp/err" | head -n 20
    fi
}

expect 2 "--bogus" ci/test --bogus
expect 2 "--target" ci/test --target
expect 2 "powerpc" ci/test --target powerpc
expect 2 "no-such-step" ci/test --only no-such-step
expect 2 "'many'" ci/test --jobs many
expect 2 "--bogus" ci/demo --bogus
expect 2 "mips" ci/demo --target mips
expect 2 "--bogus" ci/python --bogus
expect 2 "--every takes a number" ci/python --every some
expect 2 "--bogus" ci/header --bogus
expect 2 "--bogus" ci/cellcheck --bogus
expect 2 "--bogus" ci/keeps-no-vectors --bogus
expect 2 "--bogus" ci/cell970 --bogus
expect 2 "--bogus" ci/watch --bogus
expect 2 "--bogus" ci/floors --bogus
expect 2 "no folder" ci/floors /nonexistent
expect 2 "--bogus" ci/examples --bogus
expect 2 "it takes a target" ci/examples
expect 2 "mips" ci/examples mips
expect 1 "no-such-program" ci/watch no-such-program
expect 2 "--bogus" ci/install --bogus
expect 2 "PREFIX is missing" ci/install
expect 2 "one PREFIX" ci/install --prefix /one /two
touch "$tmp/file"
expect 1 "no files can be made in $tmp/file" ci/install "$tmp/file/prefix"
expect 1 "no files can be made in $tmp/file" env "DESTDIR=$tmp/file" ci/install /usr

# A machine without the cross compiler: every command of this one, but for the powerpc64 ones.
mkdir "$tmp/bin"
IFS=: read -ra folders <<< "$PATH"
for ((i = ${#folders[@]} - 1; i >= 0; i--)); do
    find "${folders[i]}" -mindepth 1 -maxdepth 1 ! -name 'powerpc64-*' -exec ln -sf -t "$tmp/bin" {} + 2> /dev/null || true
done
without_compiler=(env "PATH=$tmp/bin")

expect 1 "powerpc64-linux-gnu-gcc" "${without_compiler[@]}" HARDSWITCH_NO_INSTALL=1 ci/demo

# The same where the package manager does try, and fails.
rm -f "$tmp/bin/apt-get" "$tmp/bin/sudo"
printf '#!/bin/sh\necho "E: Unable to locate package $*" | cut -c1-60 >&2\nexit 100\n' > "$tmp/bin/apt-get"
# shellcheck disable=SC2016  # for the little script
printf '#!/bin/sh\nexec "$@"\n' > "$tmp/bin/sudo"
chmod +x "$tmp/bin/apt-get" "$tmp/bin/sudo"
expect 1 "powerpc64-linux-gnu-gcc" "${without_compiler[@]}" ci/demo
expect 1 "gcc-powerpc64-linux-gnu could not be installed (E: Unable to locate package" "${without_compiler[@]}" ci/demo -- --npcs 10

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
