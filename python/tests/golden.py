"""Runs the recorded programs of tests/golden through the module: golden.py [FILE] [--every N].

Each program runs in a thread of its own, whose scheduler is fresh. Its events must be those that
were recorded in Stackless Python; tests/golden/README.md describes both. Prints the first
difference of each program that differs, and ends with "N programs, M mismatches".
"""

import argparse
import gzip
import json
import os
import sys
import threading

import stackless

FILE = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden", "golden.jsonl.gz")


class MyExc(Exception):
    pass


class World:
    def __init__(self, program):
        self.program = program
        self.trace = []
        self.main = stackless.getmain()
        self.channels = []
        for preference, schedule_all in program["chans"]:
            channel = stackless.channel()
            channel.preference = preference
            channel.schedule_all = schedule_all
            self.channels.append(channel)
        self.tasks = [stackless.tasklet() for _ in program["tasks"]]
        self.names = {id(t): i for i, t in enumerate(self.tasks)}
        self.names[id(self.main)] = "main"

    def name(self, tasklet):
        return None if tasklet is None else self.names.get(id(tasklet), "?")

    def event(self, *event):
        self.trace.append(list(event))

    def switched(self, before, after):
        self.event("sw", self.name(before), self.name(after))

    def at_channel(self, channel, tasklet, sending, blocks):
        number = next(i for i, c in enumerate(self.channels) if c is channel)
        self.event("ch", number, self.name(tasklet), int(sending), int(blocks))

    def tasklet(self, t):
        return self.main if t == "main" else self.tasks[t]

    def result(self, value):
        if isinstance(value, stackless.tasklet):
            return ["T", self.name(value)]
        return value

    def states(self, t):
        return [int(t.alive), int(t.paused), int(t.blocked), int(t.scheduled)]

    def channel_states(self, c):
        return [c.balance, int(c.closing), int(c.closed), self.name(c.queue)]

    def ring(self):
        first = stackless.getcurrent()
        ring, at = [self.name(first)], first.next
        while at is not None and at is not first:
            ring.append(self.name(at))
            at = at.next
        return ring

    def body(self, i):
        try:
            for index, op in enumerate(self.program["tasks"][i]):
                self.perform(i, index, op)
            self.event(i, "end")
        finally:
            level = stackless.switch_trap(0)
            if level:
                self.event(i, "trap_reset", level)
                stackless.switch_trap(-level)

    def perform(self, me, index, op):
        word, given = op[0], op[1:]
        if word == "raise":
            self.event(me, index, word, "raise", given[0])
            raise MyExc(given[0])
        try:
            outcome = ["ok", self.call(me, word, *given)]
        except MyExc as e:
            outcome = ["exc", e.args[0]]
        except stackless.TaskletExit:
            self.event(me, index, word, "exit")
            raise
        except (RuntimeError, ValueError, TypeError, StopIteration) as e:
            outcome = ["err", type(e).__name__, str(e)]
        self.event(me, index, word, *outcome)

    def call(self, me, word, *given):
        return getattr(self, "op_" + word)(me, *given)

    def op_spawn(self, me, i):
        return self.result(self.tasks[i].setup(i))

    def op_bind(self, me, i):
        return self.result(self.tasks[i].bind(self.body, (i,)))

    def op_unbind(self, me, t):
        return self.result(self.tasklet(t).bind(None))

    def op_send(self, me, c, value):
        return self.channels[c].send(value)

    def op_recv(self, me, c):
        return self.channels[c].receive()

    def op_send_exc(self, me, c, code):
        return self.channels[c].send_exception(MyExc, code)

    def op_send_seq(self, me, c, count):
        return self.channels[c].send_sequence(range(count))

    def op_next(self, me, c):
        return next(iter(self.channels[c]))

    def op_schedule(self, me, *value):
        return self.result(stackless.schedule(*value))

    def op_schedule_remove(self, me, *value):
        return self.result(stackless.schedule_remove(*value))

    def op_run(self, me):
        return stackless.run()

    def op_t_insert(self, me, t):
        return self.result(self.tasklet(t).insert())

    def op_t_remove(self, me, t):
        return self.result(self.tasklet(t).remove())

    def op_t_run(self, me, t):
        return self.result(self.tasklet(t).run())

    def op_t_switch(self, me, t):
        return "skip" if t == me else self.result(self.tasklet(t).switch())

    def op_t_kill(self, me, t, pending):
        return self.tasklet(t).kill(pending=pending)

    def op_t_throw(self, me, t, code, pending):
        return self.tasklet(t).throw(MyExc, code, None, pending)

    def op_t_raise(self, me, t, code):
        return self.tasklet(t).raise_exception(MyExc, code)

    def op_pref(self, me, c, preference):
        self.channels[c].preference = preference

    def op_sched_all(self, me, c, on):
        self.channels[c].schedule_all = on

    def op_close(self, me, c):
        return self.channels[c].close()

    def op_open(self, me, c):
        return self.channels[c].open()

    def op_block_trap(self, me, t, on):
        self.tasklet(t).block_trap = on

    def op_trap(self, me, delta):
        stackless.switch_trap(delta)
        return "<type 'long'>"  # The recording has the type of the old level.

    def op_q_chan(self, me, c):
        return self.channel_states(self.channels[c])

    def op_q_task(self, me, t):
        return self.states(self.tasklet(t))

    def op_q_count(self, me):
        return stackless.getruncount()

    def op_q_ring(self, me):
        return self.ring()

    def try_main(self, index, op):
        """Main outlives everything: an exit or a raise is only recorded."""
        try:
            self.perform("main", index, op)
        except (MyExc, stackless.TaskletExit):
            pass

    def run(self):
        for task in self.tasks:
            task.bind(self.body)
        stackless.set_schedule_callback(self.switched)
        stackless.set_channel_callback(self.at_channel)
        for index, op in enumerate(self.program["main"]):
            self.try_main(index, op)
        self.event("main", "end")
        stackless.switch_trap(-stackless.switch_trap(0))
        self.main.block_trap = False
        for _ in range(3):
            self.try_main(0, ["run"])
        tasks = [self.states(t) for t in self.tasks]
        channels = [self.channel_states(c) for c in self.channels]
        self.event("final", tasks, channels, stackless.getruncount())
        for i, task in enumerate(self.tasks):
            if task.alive:
                self.try_main(0, ["t_kill", i, False])
        for _ in range(2):
            self.try_main(0, ["run"])
        self.event(
            "dead",
            [int(t.alive) for t in self.tasks],
            [c.balance for c in self.channels],
            stackless.getruncount(),
        )
        stackless.set_schedule_callback(None)
        stackless.set_channel_callback(None)


def trace(program):
    """The events of the program, or the exception that ended it."""
    found = []

    def in_thread():
        world = World(program)
        try:
            world.run()
            found.append(world.trace)
        except BaseException as e:
            found.append(world.trace + [["ended by", repr(e)]])

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    return found[0]


def plain(events):
    """Booleans are numbers in both."""
    return json.loads(json.dumps(events), parse_constant=str)


def check(path, every=1, out=sys.stdout):
    """How many programs there were, and how many of them differ."""
    count = mismatches = 0
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            if number % every:
                continue
            program = json.loads(line)
            found, expected = plain(trace(program)), program["trace"]
            count += 1
            if found == expected:
                continue
            mismatches += 1
            pairs = list(zip(expected + [None], found + [None]))
            at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs) - 1)
            print(f"seed {program['seed']} differs at event {at}:", file=out)
            for i in range(max(0, at - 3), at):
                print(f"      {expected[i]}", file=out)
            print(f"    - {pairs[at][0]}\n    + {pairs[at][1]}", file=out)
    return count, mismatches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default=FILE)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    count, mismatches = check(options.file, options.every)
    print(f"{count} programs, {mismatches} mismatches")
    return 1 if mismatches or not count else 0


if __name__ == "__main__":
    sys.exit(main())
