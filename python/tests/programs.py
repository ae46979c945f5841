"""Programs that run in processes of their own, so that a crash or a hang of one is a test's failure."""

import os
import subprocess
import sys
import textwrap
import unittest


class Programs(unittest.TestCase):
    def output(self, program, code=0):
        """What the program prints, in words. Freed memory is overwritten, so that its use shows."""
        command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
        environment = {**os.environ, "PYTHONMALLOC": "debug"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.split()
