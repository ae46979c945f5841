#!/usr/bin/env bash
# The steps of ci/test, one function each. ci/test starts them as `ci/steps.sh NAME`, so that a step cannot harm another,
# and counts the tests in what they print. To add a step: a line in STEPS, and a function named after it.
set -euo pipefail
PROGRAM=${PROGRAM:-ci/steps.sh}
# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# name | targets it is run for: none, both, or one short name | quick, full or cross | minutes it may take | tests it has at least | what it promises
# A step for targets gets the target's short name as a suffix: test-x86_64, test-ppc64. Order matters: cheap ones first, then long
# ones, so that none runs alone at the end; and what a step builds the later ones find built.
# A step that ends well with fewer tests fails: a check that finds nothing to check any more is none. `-` is one check by itself; where there are two
# numbers the second is for ppc64. The numbers lie a little below what there is; raise them with it.
# shellcheck disable=SC2034  # read by ci/test
STEPS='
fmt      | none   | quick | 2  | -         | rustfmt would change nothing
scripts  | none   | quick | 5  | 118       | the scripts pass shellcheck, the checkers of ci/ catch what they promise, bad use gets one clear line
floors   | none   | quick | 2  | 16        | no floor of src/ names one that stands on it, no circle of imports is large (bench/ has none), no file long, and no comment wide
header   | none   | quick | 5  | -         | include/hardswitch.h is what cbindgen generates
clippy   | both   | quick | 10 | -         | clippy has nothing to say, with and without std
test     | both   | quick | 20 | 840       | the Rust tests
no-std   | both   | quick | 10 | 8         | the library builds from core and alloc alone, and keeps times there by the clock of the host
gdb      | both   | full  | 15 | 10        | gdb lists tasklets and shows their backtraces, and the CFI is right at every instruction of the assembly
release  | both   | full  | 20 | 840       | the Rust tests, optimised as a game ships; PowerPC64: on a processor without anything newer than Cell
cross    | none   | cross | 40 | 440       | Rust tests for powerpc64 in a container, by cross
mutate   | both   | full  | 15 | 8/80      | the register tests notice when the switch forgets a register, whichever it is
counts   | both   | full  | 10 | 18/12     | no operation takes more instructions, and no parked tasklet more bytes, than the table of bench/ says; the bench passes its own tests
valgrind | x86_64 | full  | 30 | 800       | Valgrind has nothing to say of the Rust, C and C++ tests
asan     | x86_64 | full  | 30 | 800       | AddressSanitizer has nothing to say of the Rust, C and C++ tests
tsan     | x86_64 | full  | 30 | 250       | ThreadSanitizer has nothing to say of the tests with threads, in Rust, C and C++
fuzz     | both   | full  | 15 | 6         | random programs over the C interface, and random input, find nothing: with seeds that are always the same, and with new ones
bugs     | none   | full  | 15 | 2         | tests/seed_bug.rs fails with either historical bug put back
loom     | none   | full  | 10 | 27        | no wake-up is lost between threads in any order that models/ tries, nor an object while it is used; one is with each of six orders broken
cellcheck| ppc64  | full  | 10 | -         | libhardswitch.a has no instruction that Cell lacks, and its own code uses no vector register that unwinding loses
cell970  | ppc64  | full  | 10 | 11        | the tests of the C and C++ interface on a processor without anything newer than Cell
ps3      | ppc64  | full  | 10 | 9         | core + alloc build for targets/powerpc64-sony-ps3.json, and a program of them runs on the 970
host     | both   | full  | 20 | 25        | the C++ host and the tests of the C and C++ interface, nginx among them
install  | both   | full  | 15 | 15        | a C++ project finds and links the installed library, by CMake and by pkg-config
demo     | both   | full  | 10 | 6         | ci/demo downloads its three files both ways and verifies them
interop  | both   | full  | 15 | 4         | WebSocket and TLS libraries of others run between two tasklets of one thread
python   | both   | full  | 20 | 250/250   | the module stackless installs with pip for CPython 3.11 of Debian, or is linked into a host with a CPython without a compiler (ppc64), and its tests pass, golden programs (a tenth under qemu) among them
golden   | both   | full  | 20 | 3000/300  | every golden case behaves as Stackless did (a tenth of them under qemu)
'

# Runs Rust tests so that one that hangs is named. What is given runs them in turn: watched NAME-OF-CARGO'S-VARIABLE [RUNNER...]
watched() { export "CARGO_TARGET_$1_RUNNER=$ROOT/ci/watch ${*:2}"; }
watch_tests() {
    local ppc64
    mapfile -t ppc64 < <(runner "$PPC64")
    watched X86_64_UNKNOWN_LINUX_GNU
    watched POWERPC64_UNKNOWN_LINUX_GNU "${ppc64[@]}"
}

# Tests of CMake's: run_ctest FOLDER [OPTION...]
run_ctest() { ctest --test-dir "$1" --output-on-failure --no-tests=error "${@:2}"; }

step_fmt() {
    cargo fmt --all --check
    rustfmt --edition 2021 --check ci/ps3/src/lib.rs
}

step_scripts() {
    local scripts script
    mapfile -t scripts < <(find ci .ci tests host findings -type f 2> /dev/null | while read -r script; do
        if head -n 1 "$script" | grep -qaE '^#!.*(bash|/sh)$|shellcheck shell='; then echo "$script"; fi
    done | sort)
    shellcheck -x -P SCRIPTDIR -P "$ROOT" "${scripts[@]}"
    say "shellcheck: ${#scripts[@]} scripts are clean"
    ci/cellcheck --self-test
    ci/keeps-no-vectors --self-test
    ci/cell970 --self-test
    ci/watch --self-test
    for script in tests/ci_*.sh; do
        say "$script"
        "$script"
    done
}

step_floors() {
    ci/floors --self-test
    ci/floors
    ci/floors --no-circles bench/src
}

step_header() { ci/header --check; }

step_clippy() {
    cargo clippy --target "$1" --all-targets --features gzip,serde -- -D warnings
    cargo clippy --target "$1" --lib -- -D warnings
    cargo clippy --target "$1" --no-default-features --lib -- -D warnings
    cargo clippy --target "$1" -p hardswitch-pollshim -- -D warnings
    [ "$1" = "$PPC64" ] || cargo clippy --target "$1" --all-targets -p fuzz -p models -p hardswitch-interop -- -D warnings
}

# On x86_64 without optimisation, as the first build of whoever uses the crate is; it also takes a third of the time. Under an
# emulator what is saved when it is built is lost when it is run.
step_test() {
    [ "$1" = "$PPC64" ] || export CARGO_PROFILE_DEV_OPT_LEVEL=0
    # All with the same features, or the library is built anew.
    cargo test --no-fail-fast --features gzip,serde --target "$1"
    # As where there is no epoll.
    HSW_POLLER=poll cargo test --no-fail-fast --features gzip,serde --target "$1" --test net_tcp --test net_sockets --test main_loop
    ci/examples "$1" --features gzip,serde
}

step_no-std() {
    cargo build --no-default-features --features serde --lib --target "$1"
    cargo test --no-default-features --features serde --test no_std --target "$1"
}

step_gdb() { tests/gdb/run "$1"; }

step_release() {
    # What the tests find there they would find on a newer one; `test` runs them on what qemu takes by itself.
    watched POWERPC64_UNKNOWN_LINUX_GNU "$ROOT/ci/cell970"
    # The examples of the documentation have been run by `test`: each is a program of its own, which takes long to link.
    cargo test --no-fail-fast --release --tests --features gzip,serde --target "$1"
}

step_mutate() { ci/mutate --target "$1"; }

step_counts() {
    bench/ppc64-count --check --target "$1"
    if [ "$1" = "$X86_64" ]; then
        cargo test --release -p bench --target "$1"
    fi
}

# fuzz_all FOLDER SECONDS RUNS [RUNNER...]: each target so many times with the same seeds, and for so long with new ones, which it prints.
fuzz_all() {
    local source target passed=0 failed=0 skipped=0
    for source in fuzz/src/bin/*.rs; do
        target=$1/$(basename "$source" .rs)
        if "${@:4}" "$target" --seed 1 --runs "$3" --patience 120; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
        # What a new seed finds is printed, to be looked into; it says nothing of the change that is tried here.
        if "${@:4}" "$target" --seconds "$2" --patience 120; then passed=$((passed + 1)); else skipped=$((skipped + 1)); fi
    done
    say "$passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ]
}

step_fuzz() {
    local prefix seconds=20 runs=100 # 20 s for each target
    mapfile -t prefix < <(runner "$1")
    if [ "$1" = "$PPC64" ]; then seconds=8 runs=10; fi
    cargo test --release -p fuzz --target "$1"
    cargo build --release -p fuzz --target "$1"
    fuzz_all "$TARGET_DIR/$1/release" $seconds $runs "${prefix[@]}"
}

# must_fail WORDS COMMAND...: a test of the command fails, by what it finds; anything else that goes wrong with it is no proof.
must_fail() {
    local status=0
    timeout 120 "${@:2}" > build/log/must-fail.log 2>&1 || status=$?
    cat build/log/must-fail.log
    if [ $status != 0 ] && grep -qE '^test .* FAILED$|: ended by SIG' build/log/must-fail.log; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "broken promise: with $1 a test must fail, and none has"
    fi
}

# The test that can fail does: the flags put the order back in which a value was lost. Only this package is compiled with them.
step_bugs() {
    local flag passed=0 failed=0
    for flag in hsw_bug_late_claim hsw_bug_spill_clobber; do
        printf '#!/bin/sh\nexec "$@" --cfg %s\n' $flag > "build/log/rustc-$flag"
        chmod +x "build/log/rustc-$flag"
        export RUSTC_WORKSPACE_WRAPPER=$ROOT/build/log/rustc-$flag
        cargo test --target "$X86_64" --test seed_bug --no-run || return
        must_fail "--cfg $flag" cargo test --target "$X86_64" --test seed_bug
    done > build/log/bugs-runs.log 2>&1
    grep -E 'broken promise|error: could not compile' build/log/bugs-runs.log || true
    say "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed = 2 ]
}

# Which tests run under which tool, and why others do not: the tables in docs/debugging.md. A new file of tests/ runs under the first two.
NOT_UNDER_VALGRIND='conformance deadlock_log deadlock_race fork fork_events fork_http fork_lookup golden host_lock measure model net_downloads net_http_client net_leaks net_shim net_tcp no_std overflow pollshim readme shutdown signals'
NOT_UNDER_ASAN='conformance deadlock_race fork golden measure model net_downloads net_http_client net_leaks no_memory no_std pollshim readme shutdown signals slices'
TSAN_TESTS='drive host_lock host_lock_all host_lock_replaced local main_loop net_backend net_lookup net_poller net_sockets net_tcp offload seed_bug select_threads soak stacklesslib sync threads threads_bind threads_deadlock
    threads_end threads_remote timers'

# all_tests_but NAME...: the others, by name
all_tests_but() {
    local file name
    for file in tests/*.rs tests/*/main.rs; do
        name=${file#tests/} name=${name%.rs} name=${name%/main}
        [[ " $* " == *" $name "* ]] || echo "$name"
    done
}

# The tests of the C and C++ interface, by name.
host_tests() { sed -n 's/^host_test(\(\(c\|cpp\)_[a-z_]*\).*/\1/p' host/tests/CMakeLists.txt; }

MEMCHECK=(valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
    --fair-sched=yes "--suppressions=$ROOT/ci/valgrind.supp")

# Each tool has its own target directory, so its step may run beside any other. Without optimisation it would be built in a third of
# the time, but then frames that a tool enlarges fit no small window any more.
export_for_tools() { export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16; }

# rust_under FEATURE TARGET TESTS [CARGO-OPTION...]: the unit tests and these, built in a folder of their own.
rust_under() {
    # shellcheck disable=SC2046,SC2086  # lists
    cargo test --no-fail-fast --features "$1" --target "$2" --target-dir "$TARGET_DIR/$1" \
        --lib $(printf -- '--test %s ' $3) "${@:4}"
}

# host_under FEATURE TARGET CARGO-OPTION CMAKE-OPTION...: the tests of the C and C++ interface, with a library built there too.
host_under() {
    export CARGO_TARGET_DIR=$TARGET_DIR/$1
    TARGET_DIR=$CARGO_TARGET_DIR
    build_library "$2" --features "$1" ${3:+"$3"} || return
    configure_host "$2" ON "build/$1" "${@:4}" || return
    # shellcheck disable=SC2046,SC2086  # a list
    cmake --build "build/$1" --parallel "$(nproc)" --target $(printf 'test_%s ' $(host_tests)) || return
    run_ctest "build/$1" -R "^($(host_tests | paste -sd'|'))\$"
}

step_valgrind() (
    export_for_tools
    export HSW_SEED_VALUES=20000 HSW_SOAK_TASKLETS=25 HSW_THREADS=300
    watched X86_64_UNKNOWN_LINUX_GNU "${MEMCHECK[@]}"
    rust=0
    # shellcheck disable=SC2086  # a list
    rust_under valgrind "$1" "$(all_tests_but $NOT_UNDER_VALGRIND)" || rust=$?
    IFS=';'
    emulator=-DCMAKE_CROSSCOMPILING_EMULATOR=${MEMCHECK[*]}
    unset IFS
    host_under valgrind "$1" '' "$emulator" && [ $rust = 0 ]
)

# RUSTC_BOOTSTRAP: the pinned compiler has the sanitizers, behind options that are for nightly ones.
step_asan() (
    export_for_tools
    export ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1
    rust=0
    # shellcheck disable=SC2086  # a list
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address rust_under asan "$1" "$(all_tests_but $NOT_UNDER_ASAN)" || rust=$?
    # The library's own code is not instrumented here, the host's is: that is what a host does.
    host_under asan "$1" '' -DCMAKE_C_FLAGS=-fsanitize=address -DCMAKE_CXX_FLAGS=-fsanitize=address && [ $rust = 0 ]
)

# Here the library is instrumented as well: what it does with atomics and locks is the order in which the host's threads go. The runtime is that of the Rust
# compiler, whose code calls functions that gcc's does not have.
step_tsan() (
    export_for_tools
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread
    rust=0
    rust_under tsan "$1" "$TSAN_TESTS" -Zbuild-std || rust=$?
    runtime=$(rustc --print target-libdir)/librustc-stable_rt.tsan.a
    link="<CMAKE_CXX_COMPILER> <OBJECTS> -o <TARGET> <LINK_LIBRARIES> -Wl,--whole-archive $runtime -Wl,--no-whole-archive"
    # -Wno-tsan: fences are not seen, and the host has none.
    host_under tsan "$1" -Zbuild-std -DCMAKE_C_FLAGS=-fsanitize=thread '-DCMAKE_CXX_FLAGS=-fsanitize=thread -Wno-tsan' \
        "-DCMAKE_CXX_LINK_EXECUTABLE=$link" && [ $rust = 0 ]
)

# The models hold; and they are no use if a broken protocol holds as well.
step_loom() {
    local bug passed=0 failed=0
    cargo test --release -p models || return
    for bug in hsw_bug_early_look hsw_bug_late_park hsw_bug_deaf hsw_bug_late_queue hsw_bug_double_claim hsw_bug_late_pin; do
        HSW_BUG=$bug cargo test --release -p models --no-run || return
        HSW_BUG=$bug must_fail "$bug" cargo test --release -p models
    done > build/log/loom-runs.log 2>&1
    grep -E 'broken promise|error: could not compile' build/log/loom-runs.log || true
    say "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed = 6 ]
}

step_cellcheck() {
    build_library "$1"
    # An archive that lost its code has nothing that Cell lacks.
    ci/cellcheck "$(library_path "$1")" | tee build/log/cellcheck-found.log
    [ "$(sed -n 's/.*: \([0-9]*\) instructions, .*/\1/p' build/log/cellcheck-found.log)" -gt 100000 ] || return
    ci/keeps-no-vectors "$(library_path "$1")" | tee build/log/vectors-found.log
    [ "$(sed -n 's/.*: \([0-9]*\) instructions of the library, .*/\1/p' build/log/vectors-found.log)" -gt 20000 ]
}

step_cell970() {
    export HARDSWITCH_PPC64_RUNNER="$ROOT/ci/cell970"
    build_library "$1"
    build_host "$1" ON build/cell970-host
    run_ctest build/cell970-host -R "^(sha256|$(host_tests | paste -sd'|'))\$"
}

step_ps3() { ci/ps3/run; }

step_host() {
    build_library "$1"
    build_host "$1" ON
    run_ctest "build/$1"
}

step_install() { ci/install-test "$1"; }

step_demo() {
    ci/demo --target "$1"
}

step_golden() {
    local only=()
    if [ "$1" = "$PPC64" ]; then
        only=(--every 10)
    fi
    # It says nothing for minutes.
    export HSW_TEST_PATIENCE=1200
    cargo run --release --target "$1" --example golden -- tests/golden/golden.jsonl.gz "${only[@]}"
}

step_interop() {
    cargo clippy --target "$1" -p hardswitch-interop --all-targets -- -D warnings
    cargo test --no-fail-fast --target "$1" -p hardswitch-interop
}

# The environment is made anew when the interpreter has changed; what pip builds it builds in the folder of all targets.
step_python() {
    if [ "$1" = "$PPC64" ]; then
        ci/python --target "$1"
        # With one window every switch copies.
        STACKLESS_WINDOWS=1 ci/python --target "$1"
        return
    fi
    local python=/usr/bin/python3.11 venv=build/python
    ensure_packages "${PACKAGES_PYTHON[@]}"
    PYO3_PYTHON=$python cargo clippy --release -p hardswitch-python -- -D warnings
    "$python" -m venv --clear "$venv"
    CARGO_TARGET_DIR=$TARGET_DIR "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ./python
    "$venv/bin/python" -X faulthandler python/tests
    STACKLESS_WINDOWS=1 "$venv/bin/python" -X faulthandler python/tests
}

# `test` has run all tests on this target: what is tried here is that they are built and run in the container, for a part that needs
# threads, sockets, windows, unwinding and the allocator. `ci/cross/run --tests` runs all.
step_cross() {
    ci/cross/run --lib --test backtrace --test net_sockets --test net_tcp --test overflow --test registers --test slices \
        --test stackless --test threads --test unwind
}

# All packages and toolchain parts that the steps for these targets need: setup CROSS TARGET...
step_setup() {
    # A full disk ends a compiler, or the whole machine, without such words.
    local free
    free=$(df -Pk "$ROOT" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge 16 ] || say "only $free GiB are free here: all steps together fill about 15"
    ensure_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_TEST[@]}"
    # Even for x86_64 alone: the checkers' own tests assemble PowerPC code.
    ensure_packages "${PACKAGES_PPC64[@]}"
    ensure_rust "${@:2}"
    if [ "$1" = 1 ]; then
        ci/cross/run --setup
    fi
    # For whoever reads a log from another machine.
    say "with $(rustc --version | cut -d' ' -f1-2), $(powerpc64-linux-gnu-gcc --version | head -n 1)," \
        "$(qemu-ppc64 --version | sed -n 's/ version / /p;q' | cut -d' ' -f1-2), $(cmake --version | sed -n 's/ version / /p;q')"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    step=$1
    shift
    if [ "$step" != setup ]; then
        ensure_rust
        watch_tests
    fi
    "step_$step" "$@"
    exit # before another line of the file is read: who edits it meanwhile does no harm
fi
