"""Channels: order, balance, closing, errors, callbacks, time limits, other threads."""

import gc
import threading
import time
import unittest
import weakref

import stackless
from stackless import channel, run, schedule, tasklet


class Channels(unittest.TestCase):
    def tearDown(self):
        run()
        self.assertEqual(stackless.getruncount(), 1)

    def test_values_arrive_in_order_and_the_balance_counts_who_waits(self):
        c, got = channel(), []
        for i in range(3):
            tasklet(c.send)(i)
        run()
        self.assertEqual(c.balance, 3)
        for _ in range(5):
            tasklet(lambda: got.append(c.receive()))()
        run()
        self.assertEqual((got, c.balance), ([0, 1, 2], -2))
        c.send(3)
        c.send(4)
        self.assertEqual(got, [0, 1, 2, 3, 4])

    def test_preference_says_who_runs_on(self):
        for preference, expected in ((-1, "r0 r1 s0 s1"), (1, "s0 s1 r0 r1"), (0, "r0 r1 s0 s1")):
            c, seen = channel(), []
            c.preference = preference

            def send(i):
                c.send(i)
                seen.append(f"s{i}")

            def receive(i):
                c.receive()
                seen.append(f"r{i}")

            for i in range(2):
                tasklet(send)(i)
            for i in range(2):
                tasklet(receive)(i)
            run()
            self.assertEqual(" ".join(seen), expected)
        c.preference = 99
        c.schedule_all = 7
        self.assertEqual((c.preference, c.schedule_all), (1, 1))
        with self.assertRaises(TypeError):
            c.preference = "no"

    def test_iteration_ends_when_the_channel_is_closed(self):
        c, got = channel(), []

        def take():
            got.extend(c)
            got.append("end")

        c.close()
        tasklet(take)()
        run()
        self.assertEqual(got, ["end"])
        self.assertTrue(c.closing and c.closed)
        with self.assertRaisesRegex(ValueError, "closed channel"):
            c.send(1)
        c.open()
        tasklet(take)()
        run()
        self.assertEqual(c.send_sequence("abc"), 3)
        c.send_exception(StopIteration)
        self.assertEqual(got, ["end", "a", "b", "c", "end"])

    def test_close_and_wake_wakes_who_waits(self):
        c, got = channel(), []

        def take():
            try:
                c.receive()
            except ValueError as e:
                got.append(str(e))

        for _ in range(2):
            tasklet(take)()
        run()
        self.assertEqual(c.close_and_wake(), 2)
        run()
        self.assertEqual(len(got), 2)

    def test_exceptions_are_sent_with_arguments_and_traceback(self):
        import sys
        import traceback

        c, got = channel(), []

        def take():
            for _ in range(2):
                try:
                    c.receive()
                except ValueError as e:
                    got.append((e.args, [f.name for f in traceback.extract_tb(e.__traceback__)]))

        def origin():
            raise ValueError("thrown")

        tasklet(take)().run()
        c.send_exception(ValueError, 1, 2)
        try:
            origin()
        except ValueError:
            c.send_throw(*sys.exc_info())
        self.assertEqual(got[0][0], (1, 2))
        self.assertEqual((got[1][0], got[1][1][-1]), (("thrown",), "origin"))

    def test_block_trap_refuses_to_wait_and_only_that(self):
        c = channel()
        t = tasklet(lambda: c.send(c.receive() + 1))()
        run()
        me = stackless.getcurrent()
        me.block_trap = True
        try:
            c.send(1)
            self.assertEqual(c.receive(), 2)
            with self.assertRaisesRegex(RuntimeError, "does not like to be blocked"):
                c.receive()
        finally:
            me.block_trap = False
        self.assertEqual(c.balance, 0)
        run()
        self.assertFalse(t.alive)

    def test_the_channel_callback_sees_the_value_before_it_goes(self):
        c, seen = channel(), []

        def callback(at, who, sending, blocks):
            seen.append((at is c, sending, bool(blocks), who.tempval))

        stackless.set_channel_callback(callback)
        try:
            tasklet(c.receive)()
            run()
            c.send(42)
        finally:
            self.assertIs(stackless.set_channel_callback(None), callback)
        self.assertEqual([s[:3] for s in seen], [(True, 0, True), (True, 1, False)])
        self.assertEqual(seen[1][3], 42)

    def test_time_limits_end_waits(self):
        c = channel()
        start = time.monotonic()
        with self.assertRaises(TimeoutError):
            c.receive(timeout=0.02)
        with self.assertRaises(TimeoutError):
            c.send(1, timeout=0.02)
        self.assertGreaterEqual(time.monotonic() - start, 0.04)
        self.assertEqual(c.balance, 0)
        tasklet(c.send)("in time")
        self.assertEqual(c.receive(timeout=60), "in time")
        with self.assertRaises(ValueError):
            c.receive(timeout=float("nan"))

    def test_subclasses_weak_references_and_attributes(self):
        class Named(channel):
            def __init__(self, name):
                self.name = name

        c = Named("n")
        r = weakref.ref(c)
        self.assertEqual(c.name, "n")
        c.me = c
        del c
        gc.collect()
        self.assertIsNone(r())

    def test_values_are_let_go(self):
        class Value:
            pass

        alive = weakref.WeakSet()
        c = channel()

        def send():
            for _ in range(100):
                v = Value()
                alive.add(v)
                c.send(v)

        t = tasklet(send)()
        for _ in range(50):
            c.receive()
        t.kill()
        self.assertEqual(len(alive), 0)


class Threads(unittest.TestCase):
    def test_each_thread_has_a_scheduler_whose_tasklets_end_with_it(self):
        ends, errors = [], []

        def body(n):
            try:
                c, got = channel(), []

                def send():
                    for i in range(200):
                        c.send((n, i))

                def receive():
                    for _ in range(200):
                        got.append(c.receive())

                def wait():
                    try:
                        channel().receive(timeout=3600)
                    finally:
                        ends.append(n)

                for _ in range(3):
                    tasklet(send)()
                    tasklet(receive)()
                tasklet(wait)()
                run()
                self.assertEqual(len(got), 600)
                self.assertTrue(all(a == n for a, _ in got))
            except BaseException as e:
                errors.append(e)

        threads = [threading.Thread(target=body, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual((errors, sorted(ends)), ([], list(range(6))))

    def test_a_channel_carries_values_between_threads(self):
        c, back = channel(), channel()  # both made before there is a second thread
        total = []

        def other():
            for _ in range(100):
                total.append(c.receive())
            back.send(sum(total))

        thread = threading.Thread(target=other)
        thread.start()
        # Before that, main would be the last that can run: nobody knows yet who else will come.
        while c.balance == 0:
            time.sleep(0.001)
        for i in range(100):
            c.send(i)
        self.assertEqual(back.receive(), 4950)
        thread.join()

    def test_who_waits_already_goes_on_waiting_when_a_channel_becomes_one_between_threads(self):
        c, got = channel(), []
        for _ in range(3):
            tasklet(lambda: got.append(c.receive()))()
        run()

        def other():
            for i in range(3):
                c.send(i)

        thread = threading.Thread(target=other)
        thread.start()
        while len(got) < 3:
            stackless.pump(0.01)
            run()
        thread.join()
        self.assertEqual(got, [0, 1, 2])

    def test_tasklets_of_another_thread_are_started_and_killed(self):
        seen = []

        def wait():
            try:
                channel().receive(timeout=3600)
            finally:
                seen.append("killed")

        started = tasklet(seen.append)
        waiting = tasklet(wait)()
        run()

        def other():
            started("started")
            with self.assertRaisesRegex(RuntimeError, "different thread"):
                waiting.switch()
            waiting.kill()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        stackless.pump(0)
        run()
        self.assertEqual(seen, ["started", "killed"])

    def test_a_tasklet_of_a_thread_that_has_ended_says_so(self):
        made = []
        thread = threading.Thread(target=lambda: made.extend([tasklet(made.append), tasklet(run)()]))
        thread.start()
        thread.join()
        fresh, queued = made
        self.assertEqual((fresh.thread_id, fresh.alive, queued.alive), (-1, False, False))
        for f in (fresh.run, fresh.switch, fresh.setup):
            with self.assertRaisesRegex(RuntimeError, "tasklet has no thread"):
                f()
        with self.assertRaisesRegex(RuntimeError, "Target thread isn't initialized"):
            fresh.insert()
        fresh.kill()
        fresh.bind_thread()
        fresh("bound again")
        run()
        self.assertEqual(made[2:], ["bound again"])

    def test_other_threads_run_while_the_library_sleeps(self):
        done = threading.Event()
        counted = []

        def count():
            while not done.is_set():
                counted.append(1)
                time.sleep(0.001)

        thread = threading.Thread(target=count)
        thread.start()
        stackless.sleep(1)
        during = len(counted)
        done.set()
        thread.join()
        self.assertGreater(during, 1)

    def test_a_signal_handlers_exception_during_a_sleep_is_raised_in_main(self):
        import signal

        class Rung(Exception):
            pass

        def ring(*_):
            raise Rung

        old = signal.signal(signal.SIGALRM, ring)
        t = tasklet(stackless.sleep)(3600)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with self.assertRaises(Rung):
                run(threadblock=True)
        finally:
            signal.signal(signal.SIGALRM, old)
            t.kill()

    def test_functions_run_on_workers(self):
        main = threading.get_ident()
        got = []

        def work(a, b=0):
            if a < 0:
                raise ValueError(a)
            time.sleep(0.01)
            return (a + b, threading.get_ident() != main)

        def call(a):
            try:
                got.append(stackless.offload(work, (a,), {"b": 1}))
            except ValueError as e:
                got.append(e.args)

        for a in (1, 2, -3):
            tasklet(call)(a)
        run(threadblock=True)
        self.assertEqual(sorted(got, key=str), [(-3,), (2, True), (3, True)])
        with self.assertRaises(TimeoutError):
            stackless.offload(time.sleep, (0.5,), timeout=0.01)

    def test_get_thread_info(self):
        t = tasklet(schedule)()
        main, current, count = stackless.get_thread_info()
        self.assertEqual((main, current, count), (stackless.getmain(),) * 2 + (2,))
        run()
        self.assertFalse(t.alive)
        with self.assertRaisesRegex(RuntimeError, "Thread id not found"):
            stackless.get_thread_info(12345)
        self.assertEqual(stackless.threads[0], threading.get_ident())


if __name__ == "__main__":
    unittest.main()
