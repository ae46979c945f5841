"""Programs that run in processes of their own, so that a crash or a hang of one is a test's failure."""

import hashlib
import os
import subprocess
import sys
import textwrap
import unittest

try:
    import _console
except ImportError:
    _console = None
on_console = _console is not None


def command(program):
    """What runs the source. On the console it has been compiled with the tests, as a module."""
    program = textwrap.dedent(program)
    if not on_console:
        return [sys.executable, "-X", "faulthandler", "-c", program]
    name = "program_" + hashlib.sha1(program.encode()).hexdigest()[:16]
    if not _console.is_there(name):
        raise unittest.SkipTest("no compiler here, and the source is known at run time only")
    return [sys.executable, name]


class Programs(unittest.TestCase):
    def output(self, program, code=0):
        """What the program prints, in words. Freed memory is overwritten, so that its use shows."""
        environment = {**os.environ, "PYTHONMALLOC": "debug"}
        done = subprocess.run(
            command(program), capture_output=True, text=True, timeout=300, env=environment
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.split()
