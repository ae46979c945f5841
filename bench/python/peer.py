"""The Python peer of bench: greenlet, Stackless' switch as an extension module of CPython.

It copies stack slices as hardswitch does; its times contain the interpreter. It is asked on
standard input and answers on standard output; bench/src/peers/outside.rs and
bench/src/weigh.rs are the other side.

    timed: "CASE OPERATIONS" -> "took NANOSECONDS PREEMPTIONS"; any other line ends it
    herd:  "ready" <- "park" -> "parked" <- "wake" -> "woken" <- "end"
"""

import os
import resource
import sys
import time

from greenlet import getcurrent, greenlet


def switch(operations):
    """A switch there and the switch back are two."""
    main = getcurrent()

    def answer():
        back = main.switch
        while True:
            back()

    there = greenlet(answer).switch
    there()
    for _ in range(operations // 2):
        there()


def preemptions():
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def timed():
    for line in sys.stdin:
        words = line.split()
        if len(words) != 2 or words[0] != "switch":
            return
        before = preemptions()
        start = time.perf_counter_ns()
        switch(int(words[1]))
        took = time.perf_counter_ns() - start
        print("took", took, preemptions() - before, flush=True)


def expect(word):
    if sys.stdin.readline().strip() != word:
        sys.exit(1)


def herd():
    tasks = int(os.environ["BENCH_TASKS"])
    print("ready", flush=True)
    expect("park")
    main = getcurrent()
    wait = main.switch
    woken = 0

    def task():
        nonlocal woken
        message = wait()
        assert message == woken
        woken += 1

    parked = [greenlet(task) for _ in range(tasks)]
    for each in parked:
        each.switch()
    print("parked", flush=True)
    expect("wake")
    for message, each in enumerate(parked):
        each.switch(message)
    assert woken == tasks
    print("woken", flush=True)
    expect("end")
    # The rest is the operating system's to clean up.
    os._exit(0)


if sys.argv[1:] == ["herd"]:
    herd()
else:
    timed()
