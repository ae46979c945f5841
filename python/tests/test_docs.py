"""docs/python.md and README.md: the tests that are named exist, and the programs run."""

import contextlib
import io
import os
import re
import unittest

from programs import on_console

HERE = os.path.dirname(os.path.abspath(__file__))


@unittest.skipIf(on_console, "reads the pages, and compiles what it finds there")
class Docs(unittest.TestCase):
    def setUp(self):
        self.page, self.readme = self.read("docs", "python.md"), self.read("README.md")

    def read(self, *path):
        with open(os.path.join(HERE, "..", "..", *path)) as page:
            return page.read()

    def test_the_tests_that_the_page_names_exist(self):
        have = set()
        for name in os.listdir(HERE):
            if name.endswith(".py"):
                with open(os.path.join(HERE, name)) as source:
                    have |= set(re.findall(r"def (test_\w+)", source.read()))
        named = set(re.findall(r"`(test_\w+)`", self.page))
        self.assertGreater(len(named), 15)
        self.assertEqual(named - have, set())

    def test_the_programs_of_the_pages_run(self):
        printed_by = (
            (self.page, "0 1 4 b'by tasklet' nobody has released it"),
            (self.readme, "ready steady go"),
        )
        for page, expected in printed_by:
            printed = io.StringIO()
            for program in re.findall(r"```python\n(.*?)```", page, re.S):
                with contextlib.redirect_stdout(printed):
                    exec(compile(program, "a page", "exec"), {})
            self.assertEqual(printed.getvalue().split(), expected.split())


if __name__ == "__main__":
    unittest.main()
