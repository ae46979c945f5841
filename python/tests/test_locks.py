"""stacklesslib.locks, and the limits of time of stacklesslib.util."""

import time
import unittest

import stackless
from stacklesslib.locks import BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore
from stacklesslib.main import mainloop
from stacklesslib.util import Expired, timeout, timeout_call


def spawn(function, *args):
    return stackless.tasklet(function)(*args)


class Locks(unittest.TestCase):
    def test_one_tasklet_has_a_lock_at_a_time_and_the_oldest_comes_first(self):
        for kind in (Lock, RLock, Semaphore, BoundedSemaphore):
            with self.subTest(kind):
                lock, seen, inside = kind(), [], [0]

                def work(name):
                    with lock:
                        inside[0] += 1
                        self.assertEqual(inside[0], 1)
                        stackless.sleep(0.001)
                        seen.append(name)
                        inside[0] -= 1

                for name in range(20):
                    spawn(work, name)
                mainloop.run()
                self.assertEqual(seen, list(range(20)))
                self.assertTrue(lock.acquire(False))

    def test_who_releases_gives_the_lock_away_and_cannot_have_it_back_first(self):
        lock, seen = Lock(), []
        lock.acquire()
        t = spawn(lambda: (lock.acquire(), seen.append("other")))
        stackless.run()
        lock.release()
        self.assertTrue(lock.locked())
        self.assertFalse(lock.acquire(blocking=False))
        stackless.run()
        self.assertEqual((seen, t.alive), (["other"], False))

    def test_time_limits(self):
        for kind in (Lock, RLock, Semaphore):
            with self.subTest(kind):
                lock, got = kind(), []
                lock.acquire()
                start = time.monotonic()
                spawn(lambda: got.append(lock.acquire(timeout=0.02)))
                spawn(lambda: got.append(lock.acquire(timeout=0)))
                spawn(lambda: got.append(lock.acquire(False)))
                mainloop.run()
                self.assertEqual(got, [False] * 3)
                self.assertGreaterEqual(time.monotonic() - start, 0.02)
                # Those who have gone wait no more.
                lock.release()
                self.assertTrue(lock.acquire(False))
                for bad in (-2, -0.5):
                    with self.assertRaises(ValueError):
                        lock.acquire(timeout=bad)
                with self.assertRaises(ValueError):
                    lock.acquire(False, 1)

    def test_a_killed_waiter_takes_nothing_along(self):
        for kind in (Lock, RLock, Semaphore):
            for woken in (False, True):
                with self.subTest(kind, woken=woken):
                    lock, got = kind(), []
                    lock.acquire()
                    first = spawn(lambda: (lock.acquire(), got.append("first")))
                    spawn(lambda: (lock.acquire(), got.append("second"), lock.release()))
                    stackless.run()
                    if woken:
                        lock.release()
                    first.kill(pending=True)
                    if not woken:
                        lock.release()
                    stackless.run()
                    self.assertEqual(got, ["second"])
                    self.assertTrue(lock.acquire(False))

    def test_an_error_that_is_thrown_is_no_time_limit(self):
        lock, got = Lock(), []
        lock.acquire()

        def wait():
            try:
                lock.acquire(timeout=60)
            except TimeoutError as error:
                got.append(str(error))

        t = spawn(wait)
        stackless.run()
        t.throw(TimeoutError("another's"))
        stackless.run()
        self.assertEqual(got, ["another's"])

    def test_misuse_is_told(self):
        with self.assertRaisesRegex(RuntimeError, "release unlocked lock"):
            Lock().release()
        mine = RLock()
        mine.acquire()
        errors = []

        def not_mine():
            try:
                mine.release()
            except RuntimeError as error:
                errors.append(str(error))

        spawn(not_mine)
        stackless.run()
        self.assertEqual(errors, ["cannot release un-acquired lock"])
        with self.assertRaises(ValueError):
            BoundedSemaphore().release()
        with self.assertRaises(ValueError):
            Semaphore(-1)
        with self.assertRaises(ValueError):
            Semaphore().release(0)
        for use in (Condition().wait, Condition().notify, Condition(Lock()).notify_all):
            with self.assertRaises(RuntimeError):
                use()

    def test_a_reentrant_lock_is_free_after_as_many_releases(self):
        lock, got = RLock(), []
        for _ in range(3):
            self.assertTrue(lock.acquire())
        spawn(lambda: got.append(lock.acquire(False)))
        stackless.run()
        lock.release()
        lock.release()
        spawn(lambda: got.append(lock.acquire(False)))
        stackless.run()
        lock.release()
        spawn(lambda: (got.append(lock.acquire(False)), lock.release()))
        stackless.run()
        self.assertEqual(got, [False, False, True])

    def test_a_semaphore_counts(self):
        places, most, inside = Semaphore(3), [0], [0]

        def work():
            with places:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                stackless.sleep(0.002)
                inside[0] -= 1

        for _ in range(12):
            spawn(work)
        mainloop.run()
        self.assertEqual((most, inside), ([3], [0]))
        places.release(2)
        self.assertEqual([places.acquire(False) for _ in range(6)], [True] * 5 + [False])


class Conditions(unittest.TestCase):
    def test_producers_and_consumers(self):
        for lock in (None, Lock()):
            room, items, got = Condition(lock), [], []

            def consume():
                with room:
                    room.wait_for(lambda: items)
                    got.append(items.pop(0))

            for _ in range(5):
                spawn(consume)

            def produce():
                for i in range(5):
                    with room:
                        items.append(i)
                        room.notify()
                    stackless.schedule()

            spawn(produce)
            mainloop.run()
            self.assertEqual(got, [0, 1, 2, 3, 4])

    def test_a_wait_has_a_limit_and_the_lock_afterwards(self):
        condition = Condition()
        with condition:
            condition.acquire()  # Twice: both come back.
            self.assertFalse(condition.wait(0.01))
            self.assertFalse(condition.wait_for(lambda: False, 0.01))
            condition.release()
            condition.notify()
        with self.assertRaises(RuntimeError):
            condition.notify()

    def test_a_notification_is_not_lost_with_a_tasklet_that_is_killed(self):
        condition, got = Condition(), []

        def wait(name):
            with condition:
                condition.wait()
                got.append(name)

        first = spawn(wait, "first")
        spawn(wait, "second")
        stackless.run()
        with condition:
            condition.notify()
            first.kill(pending=True)
        stackless.run()
        self.assertEqual((got, first.alive), (["second"], False))
        with condition:
            pass

    def test_who_is_killed_in_a_wait_has_the_lock_in_its_last_words(self):
        condition, seen = Condition(), []

        def wait():
            with condition:
                try:
                    condition.wait()
                finally:
                    condition.notify_all()  # Refused without the lock.
                    seen.append("had it")

        t = spawn(wait)
        stackless.run()
        with condition:
            t.kill(pending=True)
            stackless.schedule()
            self.assertEqual(seen, [])
        stackless.run()
        self.assertEqual((seen, t.alive), (["had it"], False))

    def test_an_event_wakes_all_and_stays(self):
        event, got = Event(), []
        self.assertFalse(event.wait(0))
        for _ in range(3):
            spawn(lambda: got.append(event.wait()))
        spawn(lambda: got.append(event.wait(0.001)))
        stackless.run()
        stackless.sleep(0.01)
        stackless.run()
        self.assertEqual(got, [False])
        event.set()
        event.set()
        self.assertTrue(event.is_set() and event.wait(0))
        stackless.run()
        self.assertEqual(got, [False, True, True, True])
        event.clear()
        self.assertFalse(event.wait(0.001))


class Limits(unittest.TestCase):
    def test_a_block_that_takes_too_long_ends_with_its_error(self):
        never = stackless.channel()
        for wait in (never.receive, lambda: stackless.sleep(60), Event().wait):
            with self.assertRaises(TimeoutError) as caught, timeout(0.01) as block:
                wait()
            self.assertIsInstance(caught.exception, Expired)
            self.assertIs(caught.exception.block, block)
            self.assertTrue(block.expired)
        self.assertEqual(never.balance, 0)

    def test_a_block_in_time_leaves_nothing_behind(self):
        before = stackless.getruncount()
        for seconds in (60, None, 2):
            with timeout(seconds) as block:
                stackless.sleep(0.001)
            self.assertFalse(block.expired)
        stackless.sleep(2.1)
        mainloop.run()
        self.assertEqual(stackless.getruncount(), before)
        self.assertTrue(stackless.is_idle())

    def test_nested_blocks_know_whose_time_was_up(self):
        with timeout(60) as outer:
            with self.assertRaises(Expired) as caught, timeout(0.01) as inner:
                stackless.sleep(60)
        self.assertIs(caught.exception.block, inner)
        self.assertEqual((outer.expired, inner.expired), (False, True))
        with self.assertRaises(Expired) as caught, timeout(0.01) as outer, timeout(60) as inner:
            stackless.sleep(60)
        self.assertIs(caught.exception.block, outer)
        self.assertEqual((outer.expired, inner.expired), (True, False))

    def test_a_value_that_came_first_is_not_lost(self):
        lost, c = [], stackless.channel()

        def receive():
            try:
                with timeout(0.005):
                    while True:
                        lost.remove(c.receive())
            except Expired:
                pass

        t = spawn(receive)
        stackless.run()
        end = time.monotonic() + 10
        sent = 0
        while t.alive and time.monotonic() < end:
            if c.balance < 0:
                sent += 1
                lost.append(sent)
                c.send(sent)
            stackless.pump(0)
            stackless.run()
        self.assertEqual((lost, t.alive), ([], False))

    def test_a_call_with_a_limit(self):
        self.assertEqual(timeout_call(60, divmod, 7, 2), (3, 1))
        with self.assertRaises(TimeoutError):
            timeout_call(0.01, stackless.sleep, 60)


if __name__ == "__main__":
    unittest.main()
