"""The programs that were recorded in Stackless Python, all of them."""

import os
import subprocess
import sys
import unittest

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.py")


class Golden(unittest.TestCase):
    def test_every_recorded_program_has_its_recorded_trace(self):
        # In a process of its own: here another thread uses the module already, and where several
        # do nobody can tell a deadlock.
        done = subprocess.run([sys.executable, GOLDEN], capture_output=True, text=True)
        last = done.stdout.splitlines()[-1:]
        self.assertEqual(last, ["3000 programs, 0 mismatches"], done.stdout[:4000] + done.stderr)


if __name__ == "__main__":
    unittest.main()
