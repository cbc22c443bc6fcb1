"""Role: scripts/trace-syscalls: it names what the policy lacks, in rows that the policy takes as they are.
Callers: meson test, in one mode: no service has a part in it.
"""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from contract import main
from service import PYTHON

TOP = pathlib.Path(__file__).resolve().parents[2]
TABLE = (TOP / "worker/seccomp_policy.h").read_text()

LACKING = """
import ctypes, socket, sys
call = ctypes.CDLL(None).syscall
for _ in range(2): call(250, 0, 0)  # keyctl
call(590)                           # no call at all
call(240, b"x", 0)                  # mq_open
try: socket.socket(16, 3, 0)        # AF_NETLINK, SOCK_RAW
except OSError: pass
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
sys.exit(3)
"""


class Trace(unittest.TestCase):
    def trace(self, text, *words):
        with tempfile.TemporaryDirectory(prefix="trace-syscalls-test-") as folder:
            script = pathlib.Path(folder, "a script.py")
            script.write_text(text)
            done = subprocess.run([TOP / "scripts/trace-syscalls", "--worker", os.environ["CODERUNNER_WORKER_BIN"],
                                   *words, script], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def test_a_script_that_lacks_nothing(self):
        for level in ("full", "reduced"):
            with self.subTest(level):
                status, out, _ = self.trace("import subprocess, threading\nsubprocess.run(['/bin/true'])\n"
                                            "threading.Thread(target=print, args=('hello',)).start()\n",
                                            "--level", level)
                self.assertEqual(status, 0, out)
                self.assertTrue(out.startswith("hello\n"))
                self.assertTrue(out.endswith("a_script.py uses nothing that the policy lacks.\n"))

    def test_everything_that_is_lacking_is_named_though_the_script_went_on(self):
        status, out, _ = self.trace(LACKING)
        self.assertEqual(status, 1)
        self.assertIn("keyctl: 2 times; refused at the full level", out)
        self.assertIn("syscall_0x24e: 1 time; number 590 ", out)
        self.assertIn('{"socket", kScripts, 3, {{{0, kInt, 0x10}, {1, kSocketType, 0x3}, {2, kInt, 0x0}}}, '
                      '"used by a_script.py: say why"},', out)
        self.assertNotIn("mq_open", out)
        self.assertNotIn("0x2}, {1", out, "a socket that is allowed")

    def test_the_reduced_level_lacks_more(self):
        status, out, _ = self.trace(LACKING, "--level", "reduced")
        self.assertEqual(status, 1)
        self.assertIn("mq_open: 1 time; refused at the reduced level", out)
        self.assertIn("{{{0, kInt, 0x2}, {1, kSocketType, 0x1}, {2, kInt, 0x0}}}", out)

    def test_a_row_fits_the_table(self):
        row = re.search(r'^    \{"keyctl".*$', self.trace(LACKING)[1], re.M)[0]
        there = re.search(r'^    \{"keyctl".*$', TABLE, re.M)[0]
        column = there.index("D, D, ")
        self.assertEqual(row[:column], there[:column])
        self.assertEqual(row[column:], 'A, A, "used by a_script.py: say why"},')

    def test_what_can_not_be_found_out(self):
        for words in (["no-such-script.py"], ["--python", "/nonexistent/python3", __file__], []):
            done = subprocess.run([TOP / "scripts/trace-syscalls", "--worker", os.environ["CODERUNNER_WORKER_BIN"],
                                   *words], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, done)
            self.assertNotIn("Traceback", done.stderr)
        done = subprocess.run([PYTHON, TOP / "scripts/trace-syscalls", __file__], capture_output=True, text=True,
                              timeout=60, env={"PATH": "/nonexistent"})
        self.assertEqual((done.returncode, "apt-get install" in done.stderr), (2, True), done)


if __name__ == "__main__":
    main()
