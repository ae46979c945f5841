"""Who keeps a tasklet, when it is killed, and what callbacks may do: in the unusual cases."""

import unittest

from programs import Programs


class Owners(Programs):
    def test_a_refused_switch_leaves_a_tasklet_that_nobody_keeps_alive(self):
        program = """
            import stackless
            dead = stackless.tasklet()
            def refused(f, trap):
                stackless.switch_trap(trap)
                try: f()
                except RuntimeError: pass
                finally: stackless.switch_trap(-trap)
                kept = [bytearray(500) for _ in range(50)]
                stackless.schedule()
                print(stackless.getcurrent().alive)
            stackless.tasklet(refused)(dead.switch, 0)
            stackless.tasklet(refused)(stackless.schedule_remove, 1)
            stackless.run()
            print("end")
        """
        self.assertEqual(self.output(program), ["True", "True", "end"])

    def test_a_refused_bind_leaves_the_tasklet_as_it_is(self):
        program = """
            import stackless
            c = stackless.channel()
            def refused(f, *args):
                try: f(*args)
                except RuntimeError: print("refused")
            def wait():
                try: print(c.receive())
                except BaseException as e: print(type(e).__name__)
            def bind_myself():
                refused(stackless.getcurrent().bind, print, ())
                refused(stackless.getcurrent().__init__, print, ())
                kept = [bytearray(500) for _ in range(50)]
                stackless.schedule()
                print("alive")
            stackless.tasklet(wait)()
            stackless.run()
            refused(c.queue.bind, print, ())
            stackless.schedule()
            c.send("value")
            stackless.tasklet(bind_myself)()
            stackless.run()
            queued = stackless.tasklet(print)("queued")
            refused(queued.bind, print, ())
            del queued
            stackless.run()
        """
        self.assertEqual(
            self.output(program), ["refused", "value", "refused", "refused", "alive", "refused", "queued"]
        )

    def test_a_tasklet_that_has_moved_is_no_longer_its_old_threads(self):
        program = """
            import stackless, threading
            moved, pumped = threading.Event(), threading.Event()
            box, there = [], []
            def wait_there(n):
                c = there[0]
                try: print(n, c.receive())
                except BaseException as e: print(n, type(e).__name__)
            def run_there():
                there.append(stackless.channel())
                for n, t in enumerate(box):
                    t.bind_thread()
                    t(n)
                del t
                box.clear()
                stackless.run()
                moved.set()
                pumped.wait()
                stackless.pump(0)
                for n in range(2):
                    there[0].send("value", timeout=10)
                stackless.run()
            box.extend([stackless.tasklet(wait_there), stackless.tasklet(wait_there)])
            thread = threading.Thread(target=run_there)
            thread.start()
            moved.wait()
            stackless.pump(0)
            pumped.set()
            thread.join()
        """
        self.assertEqual(self.output(program), ["0", "value", "1", "value"])


class Collections(Programs):
    def test_a_collection_while_main_waits_with_a_time_limit_comes_to_an_end(self):
        program = """
            import gc, stackless
            c = stackless.channel()
            def wait():
                try: c.receive()
                except stackless.TaskletExit: print("killed")
            def limited():
                try: c.receive(timeout=0.3)
                except TimeoutError: print("timeout")
            stackless.tasklet(wait)()
            stackless.tasklet(gc.collect)()
            limited()
            stackless.tasklet(gc.collect)()
            limited()
            c.send(None)
        """
        self.assertEqual(self.output(program), ["timeout", "timeout"])

    def test_who_waits_with_a_time_limit_is_not_collected(self):
        program = """
            import gc, stackless
            def wait():
                try: stackless.channel().receive(timeout=0.3)
                except TimeoutError: print("timeout")
            stackless.tasklet(wait)()
            stackless.run()
            gc.collect()
            stackless.run(threadblock=True)
        """
        self.assertEqual(self.output(program), ["timeout"])

    def test_a_collection_in_a_thread_without_tasklets_clears_no_frames(self):
        program = """
            import gc, stackless, threading
            gc.disable()
            def wait():
                box, named = [stackless.getcurrent()], {}
                def inner(): return named
                named["box"], named["inner"] = box, inner
                box.append(named)
                try: stackless.schedule_remove()
                finally: print(len(box), len(inner()))
            def collect(how):
                t = stackless.tasklet(wait)()
                t.run()
                del t
                how()
                stackless.pump(0)
            def in_a_thread():
                thread = threading.Thread(target=gc.collect)
                thread.start()
                thread.join()
            collect(in_a_thread)
            collect(lambda: stackless.offload(gc.collect))
            collect(gc.collect)
            print("end")
        """
        self.assertEqual(self.output(program), ["2", "2"] * 3 + ["end"])


class Callbacks(Programs):
    def test_callbacks_may_try_what_is_refused(self):
        program = """
            import gc, stackless, contextvars
            seen = []
            var = contextvars.ContextVar("var")
            def callback(*_):
                for f in stackless.schedule, stackless.channel().receive, stackless.schedule_remove:
                    try: f()
                    except RuntimeError: seen.append("refused")
                gc.collect()
            def work(n):
                for i in range(5):
                    stackless.schedule()
                    c.send(i) if n % 2 else c.receive()
                seen.append("work")
            c = stackless.channel()
            for install in stackless.set_schedule_callback, stackless.set_channel_callback:
                install(callback)
                for n in range(4):
                    stackless.tasklet(work)(n)
                stackless.run()
                install(None)
            print(seen.count("work"), "refused" in seen)
        """
        self.assertEqual(self.output(program), ["8", "True"])

    def test_a_callback_may_drop_a_paused_tasklet(self):
        program = """
            import stackless
            kept, over = [], []
            def paused():
                try: stackless.schedule_remove()
                finally: print("finally")
            def callback(*_):
                if over: kept.clear()
            def pause():
                kept.append(stackless.tasklet(paused)())
                kept[0].run()
            for end in (lambda: over.append(1)), (lambda: (over.append(1), stackless.schedule())):
                pause()
                stackless.set_schedule_callback(callback)
                stackless.tasklet(end)()
                stackless.run()
                stackless.set_schedule_callback(None)
                over.clear()
                stackless.schedule()
                print("next")
        """
        self.assertEqual(self.output(program), ["finally", "next"] * 2)

    def test_a_refused_switch_in_a_callback_after_a_tasklets_end_leaves_nobodys_state(self):
        program = """
            import stackless
            def callback(*_):
                try: stackless.schedule()
                except RuntimeError: pass
            stackless.set_schedule_callback(callback)
            for n in range(100):
                stackless.tasklet(lambda: None)()
                stackless.tasklet(stackless.schedule)()
                stackless.run()
            print("end")
        """
        self.assertEqual(self.output(program), ["end"])

    def test_variables_of_context_that_a_callback_sets_stay(self):
        program = """
            import contextvars, stackless, threading
            var = contextvars.ContextVar("var")
            box, made, given = [], threading.Event(), threading.Event()
            def callback(previous, next):
                if previous is stackless.getmain() and var.get("") == "":
                    var.set("value")
            def other():
                # Its main has no context: it makes none for a tasklet either.
                box.append(stackless.tasklet(print))
                made.set()
                given.wait()
                stackless.pump(0)
                stackless.set_schedule_callback(callback)
                stackless.run()
                print(var.get("lost"))
            stackless.getcurrent()
            thread = threading.Thread(target=other)
            thread.start()
            made.wait()
            box[0]("ran")
            given.set()
            thread.join()
        """
        self.assertEqual(self.output(program), ["ran", "value"])

    def test_requests_of_other_threads_may_switch_in_the_pump_of_a_wait(self):
        program = """
            import stackless, threading
            kept = []
            def paused():
                try: stackless.schedule_remove()
                finally:
                    stackless.schedule()
                    print("finally")
            for n in range(3):
                t = stackless.tasklet(paused)()
                t.run()
                kept.append(t)
            del t
            def other():
                while kept: kept.pop()
            def work():
                for _ in range(20): stackless.sleep(0.005)
                print("work")
            stackless.tasklet(work)()
            threading.Timer(0.05, other).start()
            try: stackless.channel().receive(timeout=2)
            except TimeoutError: print("timeout")
        """
        self.assertEqual(sorted(self.output(program)), ["finally"] * 3 + ["timeout", "work"])

    def test_a_watchdog_and_a_python_callback_go_together(self):
        program = """
            import stackless
            def callback(*_):
                for _ in range(20000): pass
            def spin():
                for _ in range(300): stackless.schedule()
            stackless.set_schedule_callback(callback)
            for n in range(3): stackless.tasklet(spin)()
            while stackless.getruncount() > 1:
                interrupted = stackless.run(100_000)
                if interrupted: interrupted.insert()
            print("end")
        """
        self.assertEqual(self.output(program), ["end"])

    def test_the_channel_callback_is_told_of_the_right_channel(self):
        program = """
            import stackless, threading
            c, d = stackless.channel(), stackless.channel()
            seen = []
            stackless.tasklet(lambda: print(c.receive()))()
            stackless.run()
            thread = threading.Thread(target=lambda: c.send("value"))
            thread.start()
            stackless.set_channel_callback(lambda at, *_: seen.append("c" if at is c else "d"))
            stackless.tasklet(d.receive)()
            stackless.run()
            d.send(None)
            seen.clear()
            del d
            while thread.is_alive():
                stackless.pump(0.01)
                stackless.run()
            print(*set(seen))
        """
        self.assertEqual(self.output(program), ["value", "c"])


class Arguments(Programs):
    def test_keywords_that_are_no_names_are_refused(self):
        program = """
            import stackless
            for f in stackless.tasklet, stackless.tasklet().bind:
                for wrong in 1, b"func", (), 2.5:
                    try: f(**{wrong: 2})
                    except TypeError: print("refused")
        """
        self.assertEqual(self.output(program), ["refused"] * 8)

    def test_arguments_that_another_thread_gives_are_those_of_the_call_that_counts(self):
        program = """
            import stackless, threading
            t = stackless.tasklet(print)
            def other():
                for n in 1, 2:
                    t(n)
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            stackless.pump(0)
            stackless.run()
        """
        self.assertEqual(self.output(program), ["1"])


if __name__ == "__main__":
    unittest.main()
