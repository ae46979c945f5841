"""Ends of processes, in processes of their own."""

import subprocess
import sys
import textwrap
import unittest


class Exit(unittest.TestCase):
    def output(self, program, code=0):
        command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.split()

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
