#!/usr/bin/env bash
# C++: a function's `thread_local` object is constructed twice and destroyed twice, both times at one address.
#
# The guard of a function-local `static` has a state "being constructed"; that of a `thread_local` has not,
# since a thread cannot meet itself. With stacks that switch inside a thread it can: the constructor leaves
# for another context of the same thread, which enters the function, finds the guard unset, and constructs
# the object again, over the first one. Both constructions register a destructor.
#
# Guessed before it ran: the guard is the one that `static` has, so the second entry is found out.
#
# Why it matters: a constructor that waits (opens a file, logs, takes a lock that gives way to others) leaks or
# frees twice what the object owns, in silence; the `static` is at least found out. No library that
# switches stacks can cure it, so it belongs into its contract.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian g++-12 12.2.0-14
debian g++-12-powerpc64-linux-gnu 12.2.0-13cross1

cat > twice.cpp << 'END'
#include <ucontext.h>
#include <cstdio>

static ucontext_t home, first, second;
static char stacks[2][64 * 1024];
static int made, destroyed;

struct Counted {
    int number;
    Counted() : number(++made) {
        if (number == 1) swapcontext(&first, &home);
    }
    ~Counted() { ++destroyed; }
};

static Counted& mine() {
    thread_local Counted object;
    return object;
}

static const Counted* address[2];
static void in_first() { address[0] = &mine(); }
static void in_second() { address[1] = &mine(); }

struct Report {
    ~Report() { std::printf("made %d destroyed %d %s\n", made, destroyed, address[0] == address[1] ? "same" : "two"); }
};
static Report report;

static void prepare(ucontext_t& context, char* stack, void (*function)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = sizeof stacks[0];
    context.uc_link = &home;
    makecontext(&context, function, 0);
}

int main() {
    prepare(first, stacks[0], in_first);
    prepare(second, stacks[1], in_second);
    swapcontext(&home, &first);   // leaves in the middle of the constructor
    swapcontext(&home, &second);  // enters the same function
    swapcontext(&home, &first);   // ends the first construction
}
END
g++ -O1 -o native twice.cpp
powerpc64-linux-gnu-g++ -O1 -o foreign twice.cpp
expect 'x86_64' "$(./native)" 'made 2 destroyed 2 same'
expect 'PowerPC64' "$(run_ppc64 ./foreign)" 'made 2 destroyed 2 same'
