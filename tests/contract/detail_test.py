"""Role: the `run` member: what an agent or a person needs to act on a result.
Callers: meson test, once a mode of starting the service.
"""
from contract import ServiceTest, main
from service import REDUCED, RUNNER

MEMBERS = {"verdict", "signal", "limit", "exception", "truncated", "stdout_bytes", "stderr_bytes", "artifacts_skipped",
           "denied", "usage", "limits", "runner", "sandbox"}

# name, script, verdict, exit code, signal, limit
VERDICTS = [
    ("success", "print('hi')", "ok", 0, None, None),
    ("an exit code", "import sys; sys.exit(3)", "error", 3, None, None),
    ("an exception", "1/0", "error", 1, None, None),
    ("a signal", "import os; os.kill(os.getpid(), 15)", "killed", 143, "SIGTERM", None),
    ("a crash", "import ctypes; ctypes.string_at(0)", "killed", 139, "SIGSEGV", None),
    ("SIGKILL of its own", "import os; os.kill(os.getpid(), 9)", "killed", 137, "SIGKILL", None),
    ("too long", "while True: pass", "timeout", 124, None, "timeout"),
    ("exit code 124 of its own", "import sys; sys.exit(124)", "error", 124, None, None),
    ("exit code 137 of its own", "import sys; sys.exit(137)", "error", 137, None, None),
    ("too much memory", "x = [bytes([1]) * (1 << 20) for _ in range(4096)]", "out_of_memory", 137, ..., "memory"),
    ("too many artifacts", "open('output/a', 'wb').write(b'x' * (11 << 20))", "ok", 0, None, "artifacts"),
]

KINDS = {"verdict": str, "signal": (int, type(None)), "limit": (str, type(None)), "exception": (dict, type(None)),
         "truncated": dict, "stdout_bytes": int, "stderr_bytes": int, "artifacts_skipped": list, "denied": list,
         "usage": dict, "limits": dict, "runner": str, "sandbox": str}
USAGE = {"queue_ms", "setup_ms", "run_ms", "collect_ms", "cpu_ms", "peak_memory_bytes"}

# script, type, message, line, source
EXCEPTIONS = [
    ("x = 1\nint('x')\n", "ValueError", "invalid literal for int() with base 10: 'x'", 2, "int('x')"),
    ("def f():\n    raise KeyError('k')\nf()\n", "KeyError", "'k'", 2, "raise KeyError('k')"),
    ("class Odd(Exception): pass\nraise Odd('größe')\n", "Odd", "größe", 2, "raise Odd('größe')"),
    ("if True\n    pass\n", "SyntaxError", None, 1, "if True"),
    ("import no_such_module\n", "ModuleNotFoundError", "No module named 'no_such_module'", 1, "import no_such_module"),
    ("raise RuntimeError\n", "RuntimeError", "", 1, "raise RuntimeError"),
]

# System calls by number (x86-64); the answer is the name of the error.
CALL = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    done = libc.syscall(number, *args) != -1
    return 'done' if done else errno.errorcode[ctypes.get_errno()]
"""
# name, script after CALL, what it prints, the calls that were refused
DENIED = [
    ("a script that is refused nothing", "print(call(110) == 'done')", "True", []),
    ("calls of all kinds, each once", "print(call(101, 0, 0, 0, 0), call(165, b'x', b'/', b'tmpfs', 0, None), "
     "call(250, 0, -4, 1), call(101, 0, 0, 0, 0))", "EPERM EPERM EPERM EPERM", ["keyctl", "mount", "ptrace"]),
    ("a call that is allowed with other arguments", "import socket\ntry: socket.socket(socket.AF_NETLINK)\n"
     "except PermissionError as error: print(error)", "[Errno 1] Operation not permitted", ["socket"]),
    ("a call newer than the table", "print(call(599))", "ENOSYS", []),
    ("a file that is out of reach", "try: open('/root/x')\nexcept OSError as error: print('refused')", "refused", []),
    ("a process started by it", "import subprocess\nprint(subprocess.run([sys.executable, '-c', 'import ctypes; "
     "print(ctypes.CDLL(None).unshare(0x20000))'], capture_output=True, text=True).stdout.strip())", "-1", ["unshare"]),
    ("a forked child, and a child's child", "if os.fork() == 0:\n    if os.fork() == 0: os._exit(call(155) == 'done')\n"
     "    os.wait(); call(161, b'.'); os._exit(0)\nos.wait(); print('end')", "end", ["chroot", "pivot_root"]),
    ("a thread",
     "import threading\nt = threading.Thread(target=call, args=(323, 0)); t.start(); t.join(); print('end')",
     "end", ["userfaultfd"]),
    ("a pool of processes", "import multiprocessing\nif __name__ == '__main__':\n    a, b = multiprocessing.Pipe()\n"
     "    p = multiprocessing.Process(target=lambda: b.send(call(321, 0, 0, 0))); p.start(); print(a.recv()); p.join()",
     "EPERM", ["bpf"]),
    ("the last act of a script", "import atexit\natexit.register(lambda: print(call(321, 0, 0, 0)))", "EPERM", ["bpf"]),
    ("network where there is none", "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\n"
     "except OSError as error: print(errno.errorcode[error.errno])", "EPERM" if REDUCED else "ECONNREFUSED",
     ["socket"] if REDUCED else []),
]


class Detail(ServiceTest):
    """`detail: true` adds `run` and changes nothing else."""

    arguments = ["--memory=256M"]

    def detail_of(self, text, **fields):
        return self.run_script(text, detail=True, **fields)

    def test_its_members_are_those_promised(self):
        run = self.detail_of("print('Grüße')")["run"]
        self.assertEqual(set(run), MEMBERS)
        self.assertEqual((run["truncated"], run["stdout_bytes"], run["stderr_bytes"]),
                         ({"stdout": False, "stderr": False}, 8, 0))
        self.assertEqual((run["artifacts_skipped"], run["denied"], run["exception"]), ([], [], None))
        self.assertEqual(run["sandbox"], "reduced" if REDUCED else "full")
        self.assertEqual(run["runner"], RUNNER)
        self.assertEqual(run["limits"], {"timeout_s": 60, "memory_bytes": 256 << 20})

    def test_without_it_or_with_false_there_are_four_members(self):
        self.assertNotIn("run", self.service.post({"script": "pass", "detail": False}).json)
        self.assertNotIn("run", self.service.post({"script": "pass"}).json)

    def test_verdicts(self):
        for name, text, verdict, code, signal, limit in VERDICTS:
            with self.subTest(name):
                result = self.service.post({"script": text, "detail": True,
                                            "timeout_s": 2 if limit == "timeout" else 60}).json
                run = result["run"]
                self.assertEqual((result["exit_code"], run["verdict"], run["limit"]), (code, verdict, limit), run)
                # Every member, whatever the end.
                self.assertEqual((set(run), set(run["usage"])), (MEMBERS, USAGE))
                for member, kind in KINDS.items():
                    self.assertIsInstance(run[member], kind, member)
                for amount in (*run["usage"].values(), run["stdout_bytes"], run["stderr_bytes"]):
                    self.assertGreaterEqual(amount, 0)
                if signal is None:
                    self.assertIsNone(run["signal"])
                elif signal is not ...:
                    self.assertIn(run["signal"], (signal, code - 128))

    def test_exceptions(self):
        for text, kind, message, line, source in EXCEPTIONS:
            with self.subTest(kind):
                exception = self.detail_of(text)["run"]["exception"]
                self.assertEqual((exception["type"], exception["file"], exception["line"], exception["source"]),
                                 (kind, "script.py", line, source))
                if message is not None:
                    self.assertEqual(exception["message"], message)

    def test_an_exception_that_was_caught_or_in_a_child_is_none_of_the_script_s(self):
        for text in ("try: 1/0\nexcept ZeroDivisionError: pass", "import sys\ntry: 1/0\nfinally: sys.exit(2)",
                     "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', '1/0']).returncode)",
                     "import os\nif os.fork() == 0: 1/0\nos.wait()"):
            with self.subTest(text):
                self.assertIsNone(self.detail_of(text)["run"]["exception"])

    def test_an_exception_in_a_module_of_a_project_names_that_file(self):
        answer = self.service.post({"files": {"m.py": "import pkg.bad", "pkg/bad.py": "x = 1\nx.y\n"},
                                    "entry_point": "m.py", "detail": True})
        exception = answer.json["run"]["exception"]
        self.assertEqual((exception["type"], exception["file"], exception["line"], exception["source"]),
                         ("AttributeError", "pkg/bad.py", 2, "x.y"))

    def test_refused_system_calls_have_names(self):
        for name, text, stdout, denied in DENIED:
            with self.subTest(name):
                result = self.detail_of(CALL + text)
                self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (0, stdout + "\n", ""))
                self.assertEqual(result["run"]["denied"], denied)

    def test_a_script_that_keeps_asking_for_the_same_gets_the_same_answer(self):
        result = self.detail_of(CALL + """
print('before')
answers = {call(101, 0, 0, 0, 0) for _ in range(100_000)}
print(answers, 'x' * 1_000_000)
""", timeout_s=300)
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""))
        self.assertEqual(result["stdout"], "before\n{'EPERM'} " + "x" * 1_000_000 + "\n")
        self.assertEqual(result["run"]["denied"], ["ptrace"])

    def test_a_storm_of_refused_calls_from_all_sides_ends_at_the_deadline(self):
        result = self.detail_of(CALL + """
import threading
call(101, 0, 0, 0, 0), call(250, 0, -4, 1), print('begun', flush=True)
for _ in range(3): os.fork()
for _ in range(3): threading.Thread(target=lambda: [call(250, 0, -4, 1) for _ in iter(int, 1)]).start()
while True: call(101, 0, 0, 0, 0)
""", timeout_s=4)
        self.assertEqual((result["exit_code"], result["stdout"]), (124, "begun\n"))
        self.assertEqual((result["run"]["verdict"], result["run"]["denied"]), ("timeout", ["keyctl", "ptrace"]))
        self.assert_still_serves()

    def test_names_are_kept_up_to_a_limit(self):
        denied = self.detail_of(CALL + "for number in range(600, 2000): call(number)")["run"]["denied"]
        self.assertEqual(denied, [f"syscall {number}" for number in range(600, 664)])

    def test_bytes_are_counted_beyond_the_limit(self):
        run = self.detail_of("import sys; sys.stdout.write('x' * 11000000); sys.stderr.write('e')")["run"]
        self.assertEqual((run["stdout_bytes"], run["stderr_bytes"], run["truncated"]),
                         (11000000, 1, {"stdout": True, "stderr": False}))

    def test_what_was_left_out_of_the_artifacts_is_told_with_the_reason(self):
        run = self.detail_of("""
            import os
            os.symlink('/etc/passwd', 'output/link'); os.mkfifo('output/pipe'); open('output/ok', 'w')
            """)["run"]
        self.assertEqual(sorted(entry["name"] for entry in run["artifacts_skipped"]), ["link", "pipe"])
        for entry in run["artifacts_skipped"]:
            self.assertEqual(set(entry), {"name", "bytes", "reason"})
            self.assertTrue(entry["reason"])

    def test_usage_is_measured(self):
        usage = self.detail_of("""
            import time
            x = b'x' * (50 << 20)
            end = time.process_time() + 0.3
            while time.process_time() < end: pass
            time.sleep(0.2)
            """)["run"]["usage"]
        self.assertEqual(set(usage), USAGE)
        self.assertGreaterEqual(usage["cpu_ms"], 290)
        self.assertGreaterEqual(usage["run_ms"], 490)
        self.assertGreaterEqual(usage["run_ms"] + 50, usage["cpu_ms"])
        self.assertGreaterEqual(usage["peak_memory_bytes"], 50 << 20)

    def test_usage_counts_the_children(self):
        usage = self.detail_of("""
            import os, time
            if os.fork() == 0:
                end = time.process_time() + 0.3
                while time.process_time() < end: pass
                os._exit(0)
            os.wait()
            """)["run"]["usage"]
        self.assertGreaterEqual(usage["cpu_ms"], 290)

    def test_a_context_only_request_with_detail_keeps_its_artifacts(self):
        result = self.detail_of("open('output/a', 'w').write('x')")
        self.assertEqual(result["artifacts"], {"a": "x"})


if __name__ == "__main__":
    main()
