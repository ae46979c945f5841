"""Runs all tests of this folder: python3 python/tests. The last line says how many passed."""

import os
import pkgutil
import sys
import unittest

# Also in a zip, where no folder can be listed.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
names = [m.name for m in pkgutil.iter_modules([HERE]) if m.name.startswith("test_")]
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:] or names)
result = unittest.TextTestRunner(verbosity=2).run(suite)
failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
passed = result.testsRun - failed - len(result.skipped)
skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
print(f"{passed} passed, {failed} failed{skipped}", flush=True)
sys.exit(1 if failed or not passed else 0)
