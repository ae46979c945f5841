"""Ends of processes, in processes of their own."""

import importlib.util
import os
import unittest

from programs import Programs


class Exit(Programs):
    def test_tasklets_are_killed_at_the_exit_and_their_finally_runs(self):
        program = """
            import stackless
            def wait(f):
                try: f()
                finally: print("finally")
            kept = [stackless.tasklet(wait)(f) for f in
                    (stackless.channel().receive, stackless.schedule_remove)]
            stackless.tasklet(wait)(stackless.schedule)
            stackless.tasklet(print)("ran")
            kept[0].run()
        """
        self.assertEqual(sorted(self.output(program)), ["finally"] * 3 + ["ran"])

    def test_sys_exit_in_a_tasklet_ends_the_process_with_its_code(self):
        program = """
            import stackless, sys
            stackless.tasklet(sys.exit)(3)
            stackless.run()
            print("not reached")
        """
        self.assertEqual(self.output(program, 3), [])

    def test_a_function_that_runs_on_a_worker_is_waited_for(self):
        program = """
            import stackless, threading, time
            begun = threading.Event()
            def slow():
                begun.set()
                time.sleep(0.2)
                print("done")
            stackless.tasklet(stackless.offload)(slow)
            stackless.run()
            begun.wait()
        """
        self.assertEqual(self.output(program), ["done"])

    def test_daemon_threads_with_tasklets_do_no_harm(self):
        program = """
            import stackless, threading
            ready = threading.Event()
            def other():
                stackless.tasklet(stackless.schedule_remove)().run()
                ready.set()
                stackless.sleep(3600)
            threading.Thread(target=other, daemon=True).start()
            ready.wait()
            print("end")
        """
        self.assertEqual(self.output(program), ["end"])

    def test_a_daemon_thread_that_wakes_while_the_process_ends_does_no_harm(self):
        program = """
            import stackless, threading
            ready = threading.Event()
            def other():
                def turn():
                    while True: stackless.sleep(0.001)
                for _ in range(3): stackless.tasklet(turn)()
                ready.set()
                turn()
            threading.Thread(target=other, daemon=True).start()
            ready.wait()
            stackless.sleep(0.02)
            print("end")
        """
        for _ in range(10):
            self.assertEqual(self.output(program), ["end"])

    @unittest.skipIf(os.uname().machine == "ppc64", "a forked child makes no threads under qemu")
    def test_the_threads_that_a_fork_leaves_behind_are_no_more(self):
        program = """
            import os, stackless, threading
            ready, over = threading.Event(), threading.Event()
            left = []
            def other():
                left.append(stackless.tasklet(print))
                ready.set()
                over.wait()
            stackless.getcurrent()
            thread = threading.Thread(target=other)
            thread.start()
            ready.wait()
            child = os.fork()
            if child == 0:
                print(len(stackless.threads))
                c = stackless.channel()
                t = stackless.tasklet(c.receive)()
                stackless.run()
                print(c.queue is t)
                c.send(None)
                try: left[0]("lost")
                except RuntimeError as e: print("no_thread" if "no thread" in str(e) else e)
                thread = threading.Thread(target=lambda: print(len(stackless.getthreads())))
                stackless.getcurrent()
                thread.start()
                thread.join()
                os._exit(7 if os.sys.stdout.flush() is None else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            over.set()
            thread.join()
            print(code)
        """
        self.assertEqual(self.output(program), ["1", "True", "no_thread", "2", "7"])

    def test_destructors_at_the_end_of_a_thread_may_use_the_module(self):
        program = """
            import stackless, threading
            class Late:
                def __del__(self):
                    try: stackless.getcurrent(); stackless.channel()
                    except RuntimeError: pass
                    print("late")
            def other():
                c = stackless.channel()
                stackless.tasklet(c.send)(Late())
                stackless.tasklet(lambda late: stackless.schedule_remove())(Late())
                stackless.getcurrent().tempval = Late()
                stackless.schedule_remove
                kept.append(stackless.tasklet(print, (Late(),)))
                stackless.schedule()
                del c
            kept = []
            for _ in range(3):
                thread = threading.Thread(target=other)
                thread.start()
                thread.join()
            kept.clear()
            print(len(stackless.threads))
        """
        self.assertEqual(self.output(program)[-1], "1")

    def test_a_child_of_a_fork_goes_on(self):
        program = """
            import os, stackless
            c = stackless.channel()
            stackless.tasklet(c.send)("value")
            stackless.run()
            child = os.fork()
            assert c.receive() == "value"
            if child == 0:
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
        self.assertEqual(self.output(program), ["7"])

    @unittest.skipUnless(importlib.util.find_spec("_xxsubinterpreters"), "none can be made here")
    def test_a_sub_interpreter_is_refused(self):
        program = """
            import _xxsubinterpreters as interpreters
            try:
                interpreters.run_string(interpreters.create(), "import stackless")
            except interpreters.RunFailedError as e:
                print("main interpreter only" in str(e))
        """
        self.assertEqual(self.output(program), ["True"])


if __name__ == "__main__":
    unittest.main()
