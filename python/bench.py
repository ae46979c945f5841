"""Times and memory, beside greenlet where that is installed: bench.py [ROUND TRIPS] [PARKED].

The times are medians of seven rounds that are interleaved, and in brackets the least. Set
STACKLESS_WINDOWS=1 to see what it costs if every switch copies.
"""

import gc
import statistics
import sys
import time

import stackless

try:
    import greenlet
except ImportError:
    greenlet = None

ROUNDS = 7


def channel_round_trip(n):
    a, b = stackless.channel(), stackless.channel()
    took = []

    def echo():
        receive, send = a.receive, b.send
        while True:
            send(receive())

    def main():
        send, receive = a.send, b.receive
        start = time.perf_counter()
        for i in range(n):
            send(i)
            receive()
        took.append(time.perf_counter() - start)

    e = stackless.tasklet(echo)()
    stackless.tasklet(main)()
    stackless.run()
    e.kill()
    return took[0] / n


def schedule(n):
    def work():
        give_way = stackless.schedule
        for _ in range(n):
            give_way()

    for _ in range(2):
        stackless.tasklet(work)()
    start = time.perf_counter()
    stackless.run()
    return (time.perf_counter() - start) / (2 * n)


def spawn(n):
    def work():
        pass

    start = time.perf_counter()
    for _ in range(n // 400):
        for _ in range(100):
            stackless.tasklet(work)()
        stackless.run()
    return (time.perf_counter() - start) / (n // 400 * 100)


def greenlet_round_trip(n):
    took = []

    def echo(x):
        switch = m.switch
        while True:
            x = switch(x)

    def main():
        switch = e.switch
        start = time.perf_counter()
        for i in range(n):
            switch(i)
        took.append(time.perf_counter() - start)

    m, e = greenlet.greenlet(main), greenlet.greenlet(echo)
    m.switch()
    return took[0] / n


def greenlet_spawn(n):
    def work():
        pass

    start = time.perf_counter()
    for _ in range(n // 4):
        greenlet.greenlet(work).switch()
    return (time.perf_counter() - start) / (n // 4)


def private_bytes():
    """Memory that the process has for itself."""
    with open("/proc/self/smaps_rollup") as lines:
        sizes = [line.split() for line in lines if line.startswith("Private_")]
    return sum(int(size[1]) for size in sizes) * 1024


def parked_tasklet(n):
    channel = stackless.channel()

    def work(channel):
        channel.receive()

    keep = [None] * n
    before = private_bytes()
    for i in range(n):
        keep[i] = stackless.tasklet(work)(channel)
    stackless.run()
    size = (private_bytes() - before) / n
    channel.preference = 1
    for _ in range(n):
        channel.send(None)
    stackless.run()
    return size


def parked_greenlet(n):
    main = greenlet.getcurrent()

    def work(other):
        other.switch()

    keep = [None] * n
    before = private_bytes()
    for i in range(n):
        keep[i] = greenlet.greenlet(work)
        keep[i].switch(main)
    size = (private_bytes() - before) / n
    for g in keep:
        g.switch()
    return size


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    parked = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    cases = [channel_round_trip, schedule, spawn]
    if greenlet:
        cases += [greenlet_round_trip, greenlet_spawn]
    times = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case in cases:
            times[case].append(case(n) * 1e9)
    for case in cases:
        print(f"{case.__name__}: {statistics.median(times[case]):.0f} ns ({min(times[case]):.0f})")
    gc.collect()
    gc.disable()
    for case in [parked_tasklet] + [parked_greenlet] * bool(greenlet):
        print(f"{case.__name__}: {case(parked):.0f} bytes")


if __name__ == "__main__":
    main()
