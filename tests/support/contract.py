"""Role: what the suites over HTTP share: one service a class, a script in and its result out.
Callers: tests/contract/*_test.py, tests/sandbox/*_test.py.
Law: a class begins and ends on an idle service with the same descriptors and processes (Service.remember).
"""
import os
import shutil
import sys
import tempfile
import textwrap
import unittest

from service import Service

MEMBERS = {"exit_code", "stdout", "stderr", "artifacts"}
MEGABYTE = 1024 * 1024
CAP = 10 * MEGABYTE  # of stdout, of stderr, and of all artifacts together


def script(text):
    """A script as the test shows it, without the test's own indentation."""
    return textwrap.dedent(text).lstrip("\n")


def folder_for_all(test):
    """A folder that every user can read, and not below /tmp, of which a job has one of its own; gone with the class."""
    folder = tempfile.mkdtemp(prefix="test-", dir="/var/tmp")
    test.addClassCleanup(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    return folder


class ServiceTest(unittest.TestCase):
    """One service for all tests of a class. `arguments` and `environment` are what it is started with."""

    arguments, environment, workers = [], {}, 2
    service_class = Service  # how it is started
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(cls.service_class(*cls.arguments, env=cls.environment, workers=cls.workers))
        cls.service.remember()

    def run_script(self, text, **fields):
        """The result of a script that the service accepts: 200 and exactly the members promised."""
        answer = self.service.post({"script": script(text), **fields})
        self.assertEqual(answer.status, 200, answer)
        members = MEMBERS | ({"run"} if fields.get("detail") else set())
        self.assertEqual(set(answer.json), members)
        return answer.json

    def memory_is_charged(self):
        """Whether a cgroup counts the job's memory, however it is held."""
        return self.service.health()["sandbox"]["memory_accounting"] != "watcher"

    def run_files(self, files, entry_point, **fields):
        answer = self.service.post({"files": files, "entry_point": entry_point, **fields})
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def output_of(self, text, **fields):
        """Standard output of a script that must succeed without a word on standard error."""
        result = self.run_script(text, **fields)
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""), result)
        return result["stdout"]

    def assert_refused(self, answer, status, *words):
        """An error answer: its status, its only member, and that it names what is wrong."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"].split(";")[0], "application/json")
        self.assertEqual(list(answer.json), ["error"])
        for word in words:
            self.assertIn(word, answer.json["error"])

    def assert_still_serves(self):
        self.assertEqual(self.output_of("print('still here')"), "still here\n")


def main():
    """Runs the suite of the calling file; a file without tests is a failure."""
    program = unittest.main(module="__main__", exit=False, verbosity=2, argv=sys.argv)
    result = program.result
    if result.testsRun == 0 or result.skipped:
        raise SystemExit("no test ran, or one was skipped")
    raise SystemExit(0 if result.wasSuccessful() else 1)
