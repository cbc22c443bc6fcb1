"""Role: a script whose time is over: it says where it was, whatever it was doing, and keeps what it had written.
Callers: meson test, once a mode of starting the service.
"""
import concurrent.futures
import re

from contract import ServiceTest, main, script
from service import MODE, Service

CAP = 65536
# How faulthandler begins: of all threads, or of one that is the only one.
HEAD = r"\A(Current thread|Thread) 0x[0-9a-f]+ (\[.*\] )?\(most recent call first\):\n"
NOTE = "\n[Error: Script timed out]"

# What the script is busy with, the script, and the places that its stack must name: (line, function).
BUSY = [
    ("Python code", "def spin():\n    while True: pass\nspin()\n", [(2, "spin"), (3, "<module>")]),
    ("a sleep", "import time\ntime.sleep(600)\n", [(2, "<module>")]),
    ("a regular expression", "import re\ndef match():\n    re.match(r'(a+)+$', 'a' * 60 + 'b')\nmatch()\n",
     [(3, "match"), (4, "<module>")]),
    ("numpy", "import numpy\na = numpy.ones(4_000_000)\nwhile True: a.cumsum()\n", [(3, "<module>")]),
    ("waiting for a child", "import subprocess\nsubprocess.run(['sleep', '600'])\n", [(2, "<module>")]),
    ("waiting for a fork", "import os, time\nif os.fork() == 0: time.sleep(600)\nos.wait()\n", [(3, "<module>")]),
    ("several threads", script("""
        import threading, time
        def other():
            time.sleep(600)
        threading.Thread(target=other).start()
        while True: pass
        """), [(3, "other"), (5, "<module>")]),
    ("with every signal blocked", script("""
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(600)
        """), [(3, "<module>")]),
    ("with every signal ignored", script("""
        import signal, time
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """), [(4, "<module>")]),
    ("stopped by itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n", [(2, "<module>")]),
    ("in a destructor of its own making", "import time\nclass Slow:\n    def __del__(self):\n        time.sleep(600)\n"
     "slow = Slow()\ndel slow\n", [(4, "__del__"), (6, "<module>")]),
]


class TimedOut(ServiceTest):
    arguments = ["--preload=none", f"--stderr-bytes={CAP}"]
    workers = 6  # most of these jobs only wait

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(*cls.arguments, workers=cls.workers))

    def time_out(self, text, **fields):
        result = self.run_script(text, timeout_s=3, **fields)
        self.assertEqual(result["exit_code"], 124, result)
        return result

    def test_the_stack_says_where_it_was(self):
        with concurrent.futures.ThreadPoolExecutor(len(BUSY)) as many:
            results = list(many.map(lambda row: self.service.post(
                # An import of numpy takes a while where much else goes on.
                {"script": row[1], "timeout_s": 10 if row[0] == "numpy" else 3}).json, BUSY))
        for (name, _, places), result in zip(BUSY, results):
            with self.subTest(name):
                self.assertEqual(result["exit_code"], 124, result)
                stack, note = result["stderr"][:-len(NOTE)], result["stderr"][-len(NOTE):]
                self.assertEqual(note, NOTE, result)
                self.assertRegex(stack, HEAD)
                for line, function in places:
                    self.assertRegex(stack, rf'  File "[^"]*script\.py", line {line} in {re.escape(function)}\n')

    def test_what_it_had_written_comes_first_and_its_artifacts_are_kept(self):
        result = self.time_out("""
            import sys
            print('out'); print('err', file=sys.stderr)
            open('output/a', 'w').write('kept')
            while True: pass
            """)
        self.assertEqual((result["stdout"], result["artifacts"]), ("out\n", {"a": "kept"}))
        self.assertRegex(result["stderr"], r"(?s)\Aerr\n(Current thread|Thread) 0x.*line 4 in <module>\n"
                         + re.escape(NOTE) + r"\Z")

    def test_a_script_that_ends_when_it_is_asked_for_its_stack_adds_no_word_of_ours(self):
        # The request interrupts sleep(3).
        for end in ("", "1 / 0\n"):
            with self.subTest(end):
                result = self.time_out("import ctypes\nctypes.PyDLL(None).sleep(600)\n" + end)
                self.assertIn("line 2 in <module>\n", result["stderr"])
                self.assertNotRegex(result["stderr"], r"(?m)^(exception|ended)$")

    def test_no_thread_is_missing(self):
        # faulthandler's own answer leaves out all but the newest hundred threads.
        for name, threads, depth in (("more than answer at once", 110, 2), ("deep ones", 60, 98)):
            with self.subTest(name):
                # Small stacks: where no cgroup counts memory, address space is limited.
                result = self.time_out(f"""
                    import threading, time; threading.stack_size(1 << 18)
                    def deepest(left):
                        if left: deepest(left - 1)
                        time.sleep(600)
                    started = 0
                    try:
                        for started in range(1, {threads} + 1): threading.Thread(target=deepest, args=({depth},)).start()
                    except RuntimeError: started -= 1  # the processes of all jobs of this user count together
                    print(started)
                    time.sleep(600)
                    """)
                self.assertTrue(result["stderr"].endswith("\n" + NOTE), result["stderr"][-200:])
                started = int(result["stdout"])
                self.assertGreaterEqual(started, 1 if MODE.startswith("user-reduced") else threads)
                # Where so much else goes on that the time is not enough, how many of the oldest are missing is said.
                silent = re.search(r"\n\[Answers that did not come in time: ([0-9]+)\]\n", result["stderr"])
                missing = int(silent[1]) if silent else 0
                self.assertLessEqual(missing, max(0, started + 1 - 100))
                first = result["stderr"].count("line 10 in <module>\n")
                self.assertEqual(first + result["stderr"].count("line 4 in deepest\n"), 1 + started - missing)
                self.assertIn(first, (0, 1) if missing else (1,))

    def test_threads_that_are_busy_in_c_are_not_missing_either(self):
        # More of them than processors: not each has its turn before the time for answers is over.
        result = self.time_out("""
            import hashlib, threading
            data = bytes(50_000_000)
            def busy():
                while True: hashlib.sha256(data)
            for _ in range(12): threading.Thread(target=busy).start()
            busy()
            """)
        self.assertEqual(result["stderr"].count("line 4 in busy\n"), 13, result)

    def test_who_floods_the_pipe_that_stacks_come_by_gains_no_time(self):
        # The parent's own answer is taken away, or it would end the asking.
        result = self.run_script("""
            import os, time
            pipe = max(int(name) for name in os.listdir('/proc/self/fd') if int(name) > 900)
            if os.fork() == 0:
                while True: os.write(pipe, b'x\\0' * 2048)
            os.close(pipe)
            time.sleep(600)
            """, timeout_s=2)
        self.assertEqual((result["exit_code"], result["stderr"]), (124, NOTE))

    def test_threads_that_run_no_python_are_passed_over(self):
        result = self.time_out("""
            import ctypes, time
            libc = ctypes.CDLL(None)
            for _ in range(3):
                libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
            time.sleep(600)
            """)
        self.assertEqual(result["stderr"].count("(most recent call first)"), 1)
        self.assertIn("line 5 in <module>\n", result["stderr"])

    def test_more_errors_than_are_kept_do_not_hide_the_stack(self):
        result = self.time_out("import sys\nsys.stderr.write('x' * 100000)\nwhile True: pass\n", detail=True)
        self.assertEqual(result["stderr"][:CAP], "x" * CAP)
        self.assertRegex(result["stderr"][CAP:], r"(?s)\A(Current thread|Thread) 0x.*line 3 in <module>\n" + re.escape(
            NOTE + "\n[Truncated: stderr exceeded 65536 bytes]") + r"\Z")
        self.assertEqual((result["run"]["stderr_bytes"], result["run"]["truncated"]),
                         (100000, {"stdout": False, "stderr": True}))

    def test_the_interpreter_shares_no_memory_with_others(self):
        # Of files (the loader's caches, say) nobody may write; anything else that is shared would reach other jobs.
        self.assertEqual(self.output_of("""
            for line in open('/proc/self/maps'):
                range, rights, _, _, _, *path = line.split()
                if rights[3] == 's' and not (path and path[0].startswith('/usr/')):
                    print(line)
            """), "")

    def test_signals_are_as_they_are_elsewhere(self):
        # The stack is asked for by a signal that no program can have, so the script's own are untouched.
        self.assertEqual(self.output_of("""
            import signal
            print({signal.getsignal(number) for number in signal.valid_signals()} <=
                  {signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler})
            """), "True\n")
        result = self.run_script("import os; os.kill(os.getpid(), 64); print('lived on')")
        self.assertEqual((result["exit_code"], result["stdout"]), (128 + 64, ""))


if __name__ == "__main__":
    main()
