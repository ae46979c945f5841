"""The programs that were recorded in Stackless Python, all of them.

STACKLESS_GOLDEN_EVERY in the environment is for machines that are slow: only each Nth. Where the
tests are in a zip, STACKLESS_GOLDEN says where the programs are.
"""

import os
import subprocess
import sys
import unittest

from programs import on_console

HERE = os.path.dirname(os.path.abspath(__file__))


class Golden(unittest.TestCase):
    def test_every_recorded_program_has_its_recorded_trace(self):
        # In a process of its own: here another thread uses the module already, and where several
        # do nobody can tell a deadlock.
        every = int(os.environ.get("STACKLESS_GOLDEN_EVERY", "1"))
        program = "tests.golden" if on_console else os.path.join(HERE, "golden.py")
        command = [sys.executable, program, "--every", str(every)]
        if "STACKLESS_GOLDEN" in os.environ:
            command.append(os.environ["STACKLESS_GOLDEN"])
        elif on_console:
            self.skipTest("STACKLESS_GOLDEN does not say where the programs are")
        done = subprocess.run(command, capture_output=True, text=True)
        last = done.stdout.splitlines()[-1:]
        count = len(range(0, 3000, every))
        self.assertEqual(
            last, [f"{count} programs, 0 mismatches"], done.stdout[:4000] + done.stderr
        )


if __name__ == "__main__":
    unittest.main()
