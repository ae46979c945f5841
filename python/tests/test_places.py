"""Switches in places where few programs switch: sort keys, properties, codecs, tracers, signals."""

import codecs
import gc
import signal
import sys
import threading
import unittest

import stackless
from stackless import run, schedule, tasklet


class Thing:
    @property
    def one(self):
        schedule()
        return 1


def work(seen):
    for _ in range(10):
        down = sorted(range(10), key=lambda v: (schedule(), -v)[1])
        assert down == list(range(9, -1, -1))
        assert Thing().one == 1
        assert list(map(lambda v: (schedule(), v)[1], range(5))) == [0, 1, 2, 3, 4]
    seen.append("work")


class Places(unittest.TestCase):
    def test_sort_keys_properties_and_codecs_may_switch(self):
        def replace(error):
            schedule()
            return ("?", error.end)

        codecs.register_error("stackless-test", replace)

        def encode(seen):
            for _ in range(50):
                assert "a\u1234b\u1234".encode("ascii", "stackless-test") == b"a?b?"
            seen.append("encode")

        seen = []
        for _ in range(10):
            tasklet(work)(seen)
        tasklet(encode)(seen)
        run()
        self.assertEqual(sorted(seen), ["encode"] + ["work"] * 10)

    def test_a_tracer_may_switch(self):
        seen = []

        def tracer(*_):
            schedule()
            return tracer

        def traced():
            sys.settrace(tracer)
            try:
                for _ in range(10):
                    sum([1, 2])
            finally:
                sys.settrace(None)
            seen.append("traced")

        for _ in range(3):
            tasklet(traced)()
        run()
        self.assertEqual(seen, ["traced"] * 3)

    def test_a_signal_handler_may_switch(self):
        seen = []
        old = signal.signal(signal.SIGALRM, lambda *_: schedule())
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            for _ in range(10):
                tasklet(work)(seen)
            while len(seen) < 10:
                run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.assertEqual(seen, ["work"] * 10)

    def test_a_tasklet_whose_last_reference_another_thread_has_ends_on_its_own(self):
        ended, there = [], []
        box, made, dropped = [], threading.Event(), threading.Event()

        def wait():
            try:
                stackless.schedule_remove()
            finally:
                ended.append(threading.get_ident())

        def other():
            t = tasklet(wait)()
            t.run()
            box.append(t)
            del t
            made.set()
            dropped.wait()
            stackless.pump(0)
            run()
            there.append(threading.get_ident())

        stackless.getcurrent()
        thread = threading.Thread(target=other)
        thread.start()
        made.wait()
        box.clear()
        gc.collect()
        dropped.set()
        thread.join()
        self.assertEqual(ended, there)


if __name__ == "__main__":
    unittest.main()
