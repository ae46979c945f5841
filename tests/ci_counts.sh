#!/usr/bin/env bash
# ci/test with steps of this script's own: what it counts, and when it says that all is well. Run by ci/test (step `scripts`);
# prints `N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/ci"
cp ci/test ci/lib.sh "$tmp/ci/"
cp rust-toolchain.toml "$tmp/"
cat > "$tmp/ci/steps.sh" << 'END'
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
STEPS='
lone     | none   | quick | 1    | -   | a check by itself
enough   | none   | quick | 1    | 3   | three tests and one that is left out
gone     | none   | quick | 1    | 3   | tests that vanish
two      | both   | quick | 1    | 5/2 | fewer on one target
fewer    | x86_64 | quick | 1    | 2/1 | fewer than on the other target
hangs    | none   | quick | 0.05 | -   | a test that does not end
crashes  | none   | quick | 1    | -   | a program that a signal ends
'
step_setup() { :; }
step_lone() { :; }
step_enough() { echo 'test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out'; echo '1 passed, 0 failed, 1 skipped'; }
step_gone() { echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 98 filtered out'; }
step_two() { case $1 in x86*) echo '5 passed, 0 failed' ;; *) echo '2 passed, 0 failed' ;; esac; }
step_fewer() { echo '1 passed, 0 failed'; }
step_hangs() {
    echo 'test slow has been running for over 60 seconds'
    echo 'test stuck::here has been running for over 60 seconds'
    echo 'test slow ... ok'
    sleep 60
}
step_crashes() { echo 'deps/some-1: ended by SIGSEGV'; return 1; }
if [ "$0" = "${BASH_SOURCE[0]}" ]; then "step_$1" "${@:2}"; fi
END
passed=0 failed=0

# promise TEXT STEP STATUS LINE...: with this step alone, ci/test ends so and prints these lines (regular expressions).
promise() {
    local status=0 problem='' line
    "$tmp/ci/test" --only "$2" > "$tmp/out" 2>&1 < /dev/null || status=$?
    [ "$status" = "$3" ] || problem="exit $status instead of $3"
    for line in "${@:4}"; do
        grep -qE -- "$line" "$tmp/out" || problem+="; missing: $line"
    done
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "broken promise: $1: ${problem#; }"
        sed 's/^/    /' "$tmp/out"
    fi
}

promise "a check by itself counts as one" lone 0 '^1 passed, 0 failed$'
promise "what is left out is counted, as left out" enough 0 '^2 passed, 0 failed, 2 skipped$'
promise "a step whose tests vanish fails, and says so" gone 1 '^gone +FAILED' 'of at least 3 tests .* 2 were run'
promise "the least number may be smaller under qemu" two-ppc64 0 '^2 passed, 0 failed$'
promise "and is not smaller elsewhere for that" fewer-x86_64 1 'of at least 2 tests .* 1 were run'
promise "a test that hangs is named" hangs 1 ':test stuck::here did not end$' 'ended after its time'
if grep -q 'test slow did not end' "$tmp/out"; then
    failed=$((failed + 1))
    echo "broken promise: a test that was slow is not named"
fi
promise "a program that a signal ends is named" crashes 1 'deps/some-1: ended by SIGSEGV'

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
