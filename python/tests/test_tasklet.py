"""Tasklets: states, order, exceptions, kills, ends. Names follow what is promised."""

import contextvars
import gc
import sys
import traceback
import unittest
import weakref

import stackless
from stackless import TaskletExit, channel, run, schedule, schedule_remove, tasklet


class Case(unittest.TestCase):
    def tearDown(self):
        run()
        self.assertEqual(stackless.switch_trap(), 0)
        self.assertEqual(stackless.getruncount(), 1)

    def states(self, t):
        return (t.alive, t.paused, t.blocked, t.scheduled)


class States(Case):
    def test_a_tasklet_goes_from_new_to_bound_to_scheduled_to_ended(self):
        seen = []
        t = tasklet()
        self.assertEqual(self.states(t), (False, False, False, False))
        t.bind(lambda: seen.append(self.states(t)))
        self.assertEqual(self.states(t), (False, False, False, False))
        self.assertIs(t(), t)
        self.assertEqual(self.states(t), (True, False, False, True))
        run()
        self.assertEqual(seen, [(True, False, False, True)])
        self.assertEqual(self.states(t), (False, False, False, False))

    def test_arguments_at_bind_leave_it_paused(self):
        got = []
        t = tasklet(lambda *a, **k: got.append((a, k)), (1, 2), {"three": 3})
        self.assertEqual(self.states(t), (True, True, False, False))
        t.insert()
        run()
        self.assertEqual(got, [((1, 2), {"three": 3})])

    def test_a_blocked_tasklet_is_scheduled_and_leads_the_queue_of_its_channel(self):
        c = channel()
        t = tasklet(c.receive)()
        t.run()
        self.assertEqual(self.states(t), (True, False, True, True))
        self.assertIs(c.queue, t)
        self.assertEqual(c.balance, -1)
        t.kill()
        self.assertEqual((c.balance, c.queue), (0, None))

    def test_wrong_states_are_refused_with_stackless_words(self):
        def words(f, *args):
            with self.assertRaises(RuntimeError) as caught:
                f(*args)
            return str(caught.exception)

        t = tasklet(schedule_remove)
        self.assertEqual(words(tasklet().setup), "the tasklet was not bound to a function")
        self.assertEqual(words(t.run), "You cannot run an unbound(dead) tasklet")
        t()
        self.assertEqual(words(t.setup), "tasklet is alive")
        self.assertEqual(words(t.bind, None), "tasklet is scheduled")
        run()
        self.assertEqual(words(t.bind, None), "tasklet has C state on its stack")
        t.kill()
        self.assertEqual(words(t.throw, ValueError), "You cannot throw to a dead tasklet")
        t.kill()  # silent
        with self.assertRaises(TypeError):
            tasklet(7)

    def test_tempval_is_what_the_next_schedule_returns(self):
        got = []
        t = tasklet(lambda: got.append(schedule_remove("mine")))()
        run()
        self.assertEqual(t.tempval, "mine")
        t.tempval = "yours"
        t.insert()
        run()
        self.assertEqual(got, ["yours"])

    def test_subclasses_take_arguments_of_their_own_and_have_attributes(self):
        class Named(tasklet):
            def __new__(cls, name):
                return super().__new__(cls)

            def __init__(self, name):
                super().__init__(self.work)
                self.name = name

            def work(self):
                self.done = stackless.getcurrent() is self

        t = Named("n")()
        run()
        self.assertEqual((t.name, t.done), ("n", True))

    def test_pickling_and_soft_switching_are_refused(self):
        import copy

        for o in (tasklet(), channel()):
            with self.assertRaises(NotImplementedError):
                copy.copy(o)
        self.assertFalse(stackless.enable_softswitch(False))
        with self.assertRaises(NotImplementedError):
            stackless.enable_softswitch(True)


class Order(Case):
    def test_tasklets_run_in_the_order_in_which_they_were_queued(self):
        seen = []
        for i in range(5):
            tasklet(lambda i=i: (seen.append(i), schedule(), seen.append(i + 10)))()
        run()
        self.assertEqual(seen, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14])

    def test_run_of_a_tasklet_runs_those_between_it_and_the_caller(self):
        seen = []
        t1, t2, t3 = [tasklet(seen.append)(i) for i in (1, 2, 3)]
        t2.run()
        self.assertEqual(seen, [2, 3])
        run()
        self.assertEqual(seen, [2, 3, 1])

    def test_switch_pauses_the_caller(self):
        seen = []

        def first():
            second.switch()
            seen.append("first")

        a = tasklet(first)()
        second = tasklet(seen.append)("second")
        run()
        self.assertEqual(seen, ["second"])
        self.assertTrue(a.paused)
        a.insert()
        run()
        self.assertEqual(seen, ["second", "first"])

    def test_a_switch_trap_refuses_and_changes_nothing(self):
        t = tasklet(lambda: None)()
        stackless.switch_trap(1)
        try:
            for f in (schedule, schedule_remove, run, t.run, t.switch, channel().receive):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    f()
        finally:
            stackless.switch_trap(-1)
        self.assertTrue(t.scheduled)

    def test_a_watchdog_interrupts_a_tasklet_that_never_gives_way(self):
        def busy():
            while True:
                pass

        t = tasklet(busy)()
        self.assertIs(run(100000), t)
        self.assertTrue(t.paused)
        t.kill()

    def test_a_watchdog_gives_the_programs_signal_handler_back(self):
        import signal

        def handler(*_):
            self.fail("this signal was for the watchdog")

        def spin():
            while go:
                pass

        for before in handler, signal.SIG_IGN:
            old, go = signal.signal(signal.SIGVTALRM, before), [1]
            try:
                t = tasklet(spin)()
                inner = tasklet(lambda: stackless.run(1_000))()
                self.assertIs(run(100_000), t)
                self.assertIs(signal.getsignal(signal.SIGVTALRM), before)
                go.clear()
                t.kill()
                run()
                self.assertFalse(inner.alive)
                self.assertIs(signal.getsignal(signal.SIGVTALRM), before)
            finally:
                signal.signal(signal.SIGVTALRM, old)

    def test_schedule_callback_is_told_of_each_switch(self):
        seen = []
        t = tasklet(schedule)()
        self.assertIsNone(stackless.set_schedule_callback(lambda *a: seen.append(a)))
        run()
        callback = stackless.set_schedule_callback(None)
        self.assertTrue(callable(callback))
        main = stackless.getmain()
        self.assertEqual(seen[0], (main, t))
        self.assertEqual(seen[-1], (t, main))


class Exceptions(Case):
    def test_an_uncaught_exception_goes_to_run_with_its_traceback(self):
        def bad():
            raise LookupError("bad")

        tasklet(bad)()
        try:
            run()
            self.fail("nothing was raised")
        except LookupError as e:
            frames = traceback.extract_tb(e.__traceback__)
        self.assertEqual(frames[-1].name, "bad")

    def test_an_error_handler_swallows_also_what_hits_before_the_start(self):
        seen = []

        def handler(kind, value, trace):
            seen.append((kind, value.args, stackless.getcurrent()))

        self.assertIsNone(stackless.set_error_handler(handler))
        try:
            t = tasklet(lambda: 1 / 0)()
            run()
            u = tasklet(run)()
            u.throw(KeyError, "early")
        finally:
            self.assertIs(stackless.set_error_handler(None), handler)
        self.assertEqual(seen[0][::2], (ZeroDivisionError, t))
        self.assertEqual(seen[1], (KeyError, ("early",), u))

    def test_throw_takes_what_raise_takes(self):
        for given, expected in [
            ((IndexError,), ()),
            ((IndexError, 1), (1,)),
            ((IndexError, (1, 2)), (1, 2)),
            ((IndexError(3),), (3,)),
        ]:
            seen = []

            def wait():
                try:
                    channel().receive()
                except IndexError as e:
                    seen.append(e.args)

            for pending in (False, True):
                t = tasklet(wait)()
                run()
                t.throw(*given, pending=pending)
                self.assertEqual(t.alive, pending)
                run()
            self.assertEqual(seen, [expected, expected])
        for wrong in ((7,), (IndexError(1), 2), (IndexError, 1, "no traceback")):
            with self.assertRaises(TypeError):
                tasklet().throw(*wrong)

    def test_an_exception_that_asking_raises_is_the_one_that_is_raised(self):
        class Asked(Exception):
            pass

        class Kind(type):
            def __instancecheck__(self, o):
                raise Asked

        class Thrown(Exception, metaclass=Kind):
            pass

        with self.assertRaises(Asked):
            tasklet(schedule)().throw(Thrown, "value")
        run()

        class Number:
            def __bool__(self):
                raise AssertionError("asked with an exception set")

        with self.assertRaises(TypeError):
            stackless.wait_fd("no descriptor", Number())

    def test_a_kill_runs_finally_and_passes_except_exception(self):
        seen = []

        def wait():
            try:
                channel().receive()
            except Exception:
                seen.append("caught")
            finally:
                schedule()
                seen.append("finally")

        t = tasklet(wait)()
        run()
        t.kill()
        run()
        self.assertEqual(seen, ["finally"])

    def test_the_exception_that_is_handled_is_the_tasklets_own(self):
        seen = []

        def work(i):
            try:
                raise ValueError(i)
            except ValueError:
                schedule()
                seen.append(sys.exc_info()[1].args[0])

        for i in range(5):
            tasklet(work)(i)
        run()
        self.assertEqual(seen, [0, 1, 2, 3, 4])
        self.assertEqual(sys.exc_info(), (None, None, None))

    def test_deadlock_is_told_to_the_one_that_would_block_last(self):
        with self.assertRaisesRegex(RuntimeError, "Deadlock"):
            channel().receive()


class State(Case):
    def test_context_variables_are_the_tasklets_own(self):
        v = contextvars.ContextVar("v", default=0)
        seen = []

        def work(i):
            v.set(i)
            schedule()
            seen.append(v.get())

        for i in range(5):
            tasklet(work)(i)
        run()
        self.assertEqual((seen, v.get()), ([0, 1, 2, 3, 4], 0))

    def test_recursion_is_counted_for_each_tasklet_and_ends_in_an_error(self):
        def deep(n):
            return schedule() and 0 if n == 0 else 1 + deep(n - 1)

        def forever():
            return forever()

        seen = []

        def limited():
            with self.assertRaises(RecursionError):
                forever()
            seen.append("limit")

        for _ in range(10):
            tasklet(lambda: seen.append(deep(700)))()
            tasklet(limited)()
        run()
        self.assertEqual(sorted(seen, key=str), [700] * 10 + ["limit"] * 10)

    def test_recursion_through_c_reaches_pythons_limit(self):
        class Deep:
            def __getattr__(self, name):
                return getattr(self, name + "x")

        seen = []

        def work():
            with self.assertRaises(RecursionError):
                Deep().a
            seen.append(1)

        tasklet(work)()
        run()
        self.assertEqual(seen, [1])

    def test_generators_are_resumed_by_whichever_tasklet(self):
        def numbers():
            i = 0
            while True:
                schedule()
                yield i
                i += 1

        g, got = numbers(), []

        def use():
            got.append(next(g))

        for _ in range(10):
            tasklet(use)().run()
            run()
        self.assertEqual(got, list(range(10)))

    def test_frames_of_a_parked_tasklet_can_be_seen(self):
        def inner():
            schedule_remove()

        def outer():
            inner()

        t = tasklet(outer)()
        run()
        names = [f.f_code.co_name for f, _ in traceback.walk_stack(t.frame)]
        self.assertEqual(names, ["inner", "outer"])
        self.assertGreater(t.recursion_depth, 0)
        t.kill()
        self.assertIsNone(t.frame)

    def test_trace_functions_stay_on(self):
        events = []

        def tracer(frame, event, arg):
            events.append(frame.f_code.co_name)
            return tracer

        def traced():
            schedule()

        sys.settrace(tracer)
        try:
            for _ in range(3):
                tasklet(traced)()
            run()
        finally:
            sys.settrace(None)
        self.assertEqual(len([e for e in events if e == "traced"]), 9)

    def test_loops_of_asyncio_interleave_in_one_thread(self):
        import asyncio

        seen = []

        async def step(name):
            for _ in range(3):
                seen.append(name)
                await asyncio.sleep(0)
                schedule()
                self.assertIs(asyncio.get_running_loop(), loops.setdefault(name, asyncio.get_running_loop()))

        loops = {}
        for name in "ab":
            tasklet(lambda name=name: asyncio.run(step(name)))()
        run()
        self.assertIsNot(loops["a"], loops["b"])
        self.assertEqual(sorted(seen), ["a"] * 3 + ["b"] * 3)
        self.assertNotEqual(seen, sorted(seen))
        with self.assertRaises(RuntimeError):
            asyncio.get_running_loop()


    def test_asynchronous_generators_are_their_loops(self):
        import asyncio

        before = sys.get_asyncgen_hooks()
        closed = {}

        async def numbers(name):
            try:
                for i in range(10):
                    yield i
            finally:
                closed[name] = asyncio.get_running_loop()

        async def work(name, turns):
            loop = asyncio.get_running_loop()
            schedule()
            generator = numbers(name)
            await generator.asend(None)
            for _ in range(turns):
                schedule()
                await asyncio.sleep(0)
            loops[name] = loop
            return generator

        loops, kept = {}, []
        # The first to begin is the first to end, while the other goes on.
        for name, turns in ("a", 3), ("b", 9):
            tasklet(lambda *given: kept.append(asyncio.run(work(*given))))(name, turns)
        run()
        self.assertEqual(closed, loops)
        self.assertIsNot(loops["a"], loops["b"])
        self.assertEqual(sys.get_asyncgen_hooks(), before)


class Ends(Case):
    def test_the_last_reference_of_a_paused_tasklet_kills_it(self):
        seen = []

        def wait():
            try:
                schedule_remove()
            finally:
                seen.append("gone")

        t = tasklet(wait)()
        run()
        r = weakref.ref(t)
        del t
        self.assertEqual((seen, r()), (["gone"], None))

    def test_del_of_a_subclass_may_switch_and_runs_once(self):
        seen = []

        class Deleted(tasklet):
            def __del__(self):
                seen.append("del")
                schedule()

        for f in (schedule_remove, schedule):
            t = Deleted(f)()
            run()
            del t
        self.assertEqual(seen, ["del", "del"])

    def test_destructors_of_values_that_are_lost_may_switch(self):
        seen = []

        class Value:
            def __del__(self):
                schedule()
                seen.append("value")

        def send(c):
            c.send(Value())

        t = tasklet(send)(channel())
        run()
        t.kill()
        self.assertEqual(seen, ["value"])

    def test_arguments_are_let_go_at_the_end_and_by_a_kill(self):
        class Argument:
            pass

        for kill in (False, True):
            a = Argument()
            r = weakref.ref(a)
            t = tasklet(lambda a: None)(a)
            del a
            if kill:
                t.kill()
            run()
            self.assertIsNone(r())

    def test_cycles_through_a_parked_tasklet_are_collected_and_their_finally_runs(self):
        seen, alive = [], weakref.WeakSet()

        class Thing:
            pass

        def paused(box):
            thing = Thing()
            box.append(thing)
            thing.box = box
            alive.add(thing)
            try:
                schedule_remove()
            finally:
                seen.append("finally")

        def blocked(c):
            thing = Thing()
            thing.channel = c
            alive.add(thing)
            try:
                c.receive()
            finally:
                seen.append("finally")

        for _ in range(20):
            box = []
            box.append(tasklet(paused)(box))
            tasklet(blocked)(channel())
            del box
        run()
        self.assertEqual(len(alive), 40)
        gc.collect()
        gc.collect()
        self.assertEqual((len(alive), len(seen)), (0, 40))

    def test_what_others_refer_to_is_not_collected(self):
        alive = weakref.WeakSet()

        class Thing:
            pass

        def wait(c):
            thing = Thing()
            thing.me = thing
            alive.add(thing)
            c.receive()
            self.assertIs(thing.me, thing)

        c = channel()
        for _ in range(20):
            tasklet(wait)(c)
        run()
        gc.collect()
        self.assertEqual(len(alive), 20)
        c.preference = 1
        for _ in range(20):
            c.send(None)
        run()
        gc.collect()
        self.assertEqual(len(alive), 0)

    def test_the_collector_at_any_moment_finds_nothing_wrong(self):
        old = gc.get_threshold()
        gc.set_threshold(7)
        try:
            c = channel()

            def churn():
                for i in range(30):
                    a = [[] for _ in range(10)]
                    a.append(a)
                    c.send(a)

            def take():
                for i in range(30):
                    self.assertEqual(len(c.receive()), 11)

            for _ in range(20):
                tasklet(churn)()
                tasklet(take)()
            run()
        finally:
            gc.set_threshold(*old)

    def test_a_collection_on_a_sliced_stack_refuses_to_switch(self):
        seen = []

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                try:
                    schedule()
                except RuntimeError as e:
                    seen.append(str(e))

        def work():
            Cycle()
            gc.collect()

        for stack, expected in (("sliced", ["switch_trap"]), ("own", [])):
            seen.clear()
            tasklet(work, stack=stack)()
            tasklet(schedule)()
            run()
            self.assertEqual(seen, expected)
        Cycle()
        tasklet(schedule)()
        gc.collect()
        self.assertEqual(seen, [])


if __name__ == "__main__":
    unittest.main()
