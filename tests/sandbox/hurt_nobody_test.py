"""Role: scripts that try to outlive, flood, confuse or end what runs them.
Callers: meson test, once a mode of starting the service.
Law: every bomb is bounded, and ends by itself even if nothing stopped it. After each attack the service is as it was.
"""
import os
import signal
import subprocess

from contract import ServiceTest, main
from service import SERVICE_UID, Service, alive, eventually, process_name


class Outliving(ServiceTest):
    """Whatever a script starts ends with it."""

    workers = 1
    # A program under a name of its own, so that it can be looked for from outside; it ends by itself after a minute.
    STAYS = "import shutil, sys; shutil.copy('/bin/sleep', 'stays-behind')\n"

    def assert_gone(self, text, **fields):
        result = self.run_script(self.STAYS + text, timeout_s=20, **fields)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "left\n"), result)
        eventually(lambda: not [pid for pid in os.listdir("/proc")
                                if pid.isdigit() and process_name(pid) == "stays-behind" and alive(pid)],
                   "no process left behind", 5)
        self.service.check_nothing_leaked()

    def test_a_child(self):
        self.assert_gone("import subprocess; subprocess.Popen(['./stays-behind', '60']); print('left')")

    def test_a_child_in_a_session_of_its_own(self):
        self.assert_gone("import subprocess\n"
                         "subprocess.Popen(['./stays-behind', '60'], start_new_session=True)\nprint('left')")

    def test_a_daemon_forked_twice_with_everything_closed(self):
        self.assert_gone("""
import os, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    os.chdir('/')
    os.write(w, b'x')
    here = os.environ['HOME'] + '/stays-behind'
    for fd in range(1024):
        try: os.close(fd)
        except OSError: pass
    os.execv(here, ['stays-behind', '60'])
os.wait()
os.read(r, 1)
time.sleep(0.2)
print('left')
""")

    def test_one_that_forks_faster_than_it_is_killed(self):
        self.assert_gone("""
import os, time
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if os.fork(): os._exit(0)
        except OSError: pass
time.sleep(0.3)
print('left', flush=True)
""")

    def test_one_that_ignores_every_signal_and_moves_between_groups(self):
        self.assert_gone("""
import os, signal, time
for _ in range(20):
    if os.fork() == 0:
        for s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try: os.setpgid(0, 0)
            except OSError: pass
            time.sleep(0.001)
        os._exit(0)
print('left', flush=True)
os._exit(0)
""")

    def test_no_sibling_can_be_made(self):
        """clone(2) with CLONE_PARENT would make a child of whoever started the runner, outside its namespace."""
        result = self.run_script("""
import ctypes, os, platform
clone = {'x86_64': 56, 'aarch64': 220}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
made = libc.syscall(clone, 0x8000 | 17, 0, 0, 0, 0)
if made == 0: os._exit(0)
print(made, ctypes.get_errno())
""")
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "-1 1\n"), result)
        self.service.check_nothing_leaked()

    def test_a_stopped_child(self):
        self.assert_gone("""
import os, signal, subprocess
p = subprocess.Popen(['./stays-behind', '60'])
p.send_signal(signal.SIGSTOP)
print('left')
""")

    def test_a_chain_of_orphans_holding_the_streams(self):
        self.assert_gone("""
import os, time
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(30)
        os._exit(0)
    os.wait()
print('left')
""")


class Descriptors(ServiceTest):
    """A script can reach nothing through numbers that it guesses."""

    def test_writing_to_every_descriptor_forges_nothing(self):
        # Frames as the worker writes them, and records as the interpreter's own start writes them.
        frames = [b"\x17\0\0\0\x04\0\0\0\0\0\0\0", b"\x13\0\0\0\x06\0\0\0forged", b"\x10\0\0\0\0\0\0\0",
                  b"\xff" * 64, b"\0" * 64, b"exception\0Forged\0m\0f\x001\0s\0", b"parked\x0099\0", b"0\n", b"\0"]
        for frame in frames:
            with self.subTest(frame):
                result = self.run_script(f"""
                    import os
                    for fd in range(3, 1024):
                        try: os.write(fd, {frame!r} * 3)
                        except OSError: pass
                    print('out')
                    raise SystemExit(7)
                    """)
                self.assertIn((result["exit_code"], result["stdout"]), ((7, "out\n"), (128 + 9, "")), result)
                self.assertNotIn("forged", result["stdout"])
        self.assert_still_serves()

    def test_reading_and_closing_and_duplicating_every_descriptor(self):
        rows = [("close", "os.close(fd)"), ("read", "os.set_blocking(fd, False); os.read(fd, 1 << 16)"),
                ("over it", "os.dup2(0, fd)"), ("shut", "__import__('socket').socket(fileno=fd).shutdown(2)"),
                ("truncate", "os.ftruncate(fd, 0)"), ("non-blocking", "os.set_blocking(fd, False)")]
        for name, action in rows:
            with self.subTest(name):
                result = self.run_script(f"""
                    import os
                    for fd in range(3, 1024):
                        try: {action}
                        except OSError: pass
                    os.write(1, b'out')
                    os._exit(7)
                    """)
                self.assertIn((result["exit_code"], result["stdout"]), ((7, "out"), (128 + 9, "")), result)
        self.assert_still_serves()

    def test_a_file_in_the_place_of_the_report_is_left_alone(self):
        result = self.run_script("""
import os
file = os.open('output/mine', os.O_CREAT | os.O_WRONLY)
for fd in range(3, 1024):
    if fd != file: os.dup2(file, fd)
os.write(file, b'mine')
raise SystemExit(3)
""")
        self.assertEqual((result["exit_code"], result["artifacts"]), (3, {"mine": "mine"}), result)

    def test_streams_made_non_blocking_or_shared_harm_only_the_script(self):
        result = self.run_script("""
            import os
            for fd in (0, 1, 2): os.set_blocking(fd, False)
            written = 0
            try:
                for _ in range(1000): written += os.write(1, b'x' * 65536)
            except BlockingIOError: pass
            os.set_blocking(2, True)
            os.write(2, str(written).encode())
            """)
        self.assertEqual((result["exit_code"], len(result["stdout"])), (0, min(int(result["stderr"][:9]), 10 << 20)))

    def test_closing_everything_is_an_ordinary_end(self):
        result = self.run_script("import os; os.closerange(0, 1024); os._exit(9)")
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (9, "", ""))


class Forging(ServiceTest):
    """What a runner says of its own end can be said by any process of the job, and is believed of none."""

    # The report is the highest descriptor that is allowed. The record is what the interpreter itself would write.
    FORGE = """
import ctypes, os, resource, threading, time
report = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
def forge(peak=1 << 45):
    os.write(report, b"ended\\0%d\\0" % peak)
def hide():
    assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
def child(does):
    if os.fork() == 0:
        does()
        os._exit(0)
    os.wait()
"""

    def test_a_forged_end_is_no_end(self):
        rows = [
            ("forge(); say(); raise SystemExit(3)", 3),
            ("forge(); say(); os._exit(3)", 3),
            ("forge(); say(); os._exit(0)", 0),
            ("hide(); forge(); say(); os._exit(3)", 3),
            ("hide(); forge(); say(); raise SystemExit(3)", 3),
            ("forge(); time.sleep(0.1); say(); raise SystemExit(3)", 3),
            ("forge(); say(); os.kill(os.getpid(), 9)", 128 + 9),
            ("forge(); say(); os.execv('/bin/sh', ['sh', '-c', 'exit 3'])", 3),
            ("child(lambda: forge()); say(); raise SystemExit(3)", 3),
            ("child(lambda: [forge() for _ in range(1000)]); say(); os._exit(3)", 3),
            ("[forge() for _ in range(20000)]; say(); raise SystemExit(3)", 3),
            ("os.write(report, b'ended'); say(); raise SystemExit(3)", 3),
            ("[os.write(report, bytes(65536)) for _ in range(20)]; say(); raise SystemExit(3)", 3),
            ("[os.write(report, b'parked\\x00x\\x00' * 500) for _ in range(100)]; say(); raise SystemExit(3)", 3),
            ("os.set_blocking(report, False); child(fill); fill(); say(); raise SystemExit(3)", 3),
            ("os.close(report); say(); raise SystemExit(3)", 3),
            # The first thread ends alone, and the process goes on.
            ("threading.Thread(target=lambda: (time.sleep(0.2), say(), os._exit(3))).start(); forge(); "
             "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)", 3),
        ]
        fill = ("def say(): print('went on', flush=True)\n"
                "def fill():\n    try:\n        while True: os.write(report, bytes(4096))\n    except BlockingIOError: pass\n")
        for body, code in rows:
            with self.subTest(body):
                result = self.run_script(self.FORGE + (fill if "fill" in body else fill[:fill.index("def fill")])
                                         + body)
                self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]),
                                 (code, "went on\n", ""), result)

    def test_a_forged_end_hides_no_use(self):
        work = "held = bytearray(64 << 20)\nwhile time.process_time() < 0.3: pass\n"
        for body in ("forge(); os._exit(3)", "forge(0); os._exit(3)", "forge(0); raise SystemExit(3)",
                     "child(lambda: forge(0)); raise SystemExit(3)", "raise SystemExit(3)"):
            with self.subTest(body):
                result = self.run_script(self.FORGE + work + body, detail=True)
                usage = result["run"]["usage"]
                self.assertEqual(result["exit_code"], 3, result)
                self.assertTrue(280 <= usage["cpu_ms"] < 60_000, usage)
                self.assertTrue(64 << 20 <= usage["peak_memory_bytes"] < 1 << 31, usage)

    def test_what_a_script_does_after_a_forged_end_counts(self):
        result = self.run_script(self.FORGE + """
forge()
open('output/late', 'w').write('late')
print('late')
int('x')
""", detail=True)
        self.assertEqual((result["exit_code"], result["stdout"], result["artifacts"]),
                         (1, "late\n", {"late": "late"}), result)
        self.assertEqual(result["run"]["exception"]["type"], "ValueError")

    def test_exit_codes_of_scripts_that_do_not_let_themselves_be_looked_at(self):
        for code in (0, 1, 3, 255):
            for end in ("raise SystemExit(%d)", "os._exit(%d)"):
                with self.subTest(end % code):
                    result = self.run_script(self.FORGE + "hide()\nprint('hidden', flush=True)\n" + end % code)
                    self.assertEqual((result["exit_code"], result["stdout"]), (code, "hidden\n"), result)


class Signals(ServiceTest):
    """A script's signals reach its own processes alone."""

    def setUp(self):
        self.bystander = subprocess.Popen(["/bin/sleep", "300"], user=SERVICE_UID if os.geteuid() == 0 else None)
        Service.bystanders.add(self.bystander.pid)
        self.addCleanup(self.bystander.wait)
        self.addCleanup(self.bystander.kill)
        self.before = (self.service.process.pid, *self.service.worker_pids())

    def assert_unharmed(self):
        self.assertIsNone(self.bystander.poll(), "a process of the same user")
        self.assertIsNone(self.service.process.poll(), "the service")
        self.assertEqual((self.service.process.pid, *self.service.worker_pids()), self.before, "the workers")
        self.assert_still_serves()

    def test_kill_of_everything_it_may(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            with self.subTest(number):
                result = self.run_script(f"""
                    import os
                    try: os.kill(-1, {int(number)})
                    except OSError: pass
                    print('done')
                    """, timeout_s=3)
                # SIGSTOP may stop what the script shares its sandbox with, itself included: then time ends the run.
                self.assertNotEqual(result["exit_code"], -1, result)
                self.assert_unharmed()

    def test_kill_of_its_parent_of_pid_1_and_of_its_group(self):
        for target in ("os.kill(os.getppid(), 9)", "os.kill(1, 9)", "os.kill(1, 15)", "os.kill(0, 15)",
                       "os.killpg(os.getpgrp(), 9)", "os.kill(os.getppid(), 19)", "os.kill(2, 9)",
                       "[os.kill(p, 9) for p in range(2, 300) if p != os.getpid()]"):
            with self.subTest(target):
                result = self.run_script(f"""
                    import os
                    try: {target}
                    except OSError: pass
                    print('done')
                    """, timeout_s=3)
                self.assertIsInstance(result["exit_code"], int)
                self.assert_unharmed()

    def test_a_script_that_stops_itself_ends_by_time(self):
        result = self.run_script("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", timeout_s=1)
        self.assertEqual(result["exit_code"], 124)
        self.assert_unharmed()


class Floods(ServiceTest):
    """Too many of anything ends at the limit, and the next job finds all as before."""

    def test_a_fork_bomb(self):
        result = self.run_script("""
            import os, time
            end = time.monotonic() + 3
            while time.monotonic() < end:
                try: os.fork()
                except OSError: pass
            """, timeout_s=10)
        self.assertIn(result["exit_code"], (0, 124), result["stderr"][-300:])
        self.assert_still_serves()

    def test_a_bomb_of_threads(self):
        result = self.run_script("""
            import threading, time
            try:
                for _ in range(5000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            except RuntimeError: print('limit')
            """, timeout_s=20)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "limit\n"))

    def test_100000_files(self):
        result = self.run_script("""
            import os
            try:
                for i in range(100000): os.close(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY))
            except OSError: print('limit')
            """, timeout_s=60)
        self.assertIn((result["exit_code"], result["stdout"]), ((0, "limit\n"), (137, "")), result)
        self.assert_still_serves()

    def test_100000_names_in_output(self):
        answer = self.service.post({"script": (
            "import os\ntry:\n    for i in range(100000): os.symlink('x' * 100, f'output/{i}')\n"
            "except OSError: print('limit')\n"), "timeout_s": 60})
        self.assertIn(answer.status, (200, 500), answer)
        self.assert_still_serves()

    def test_folders_within_folders(self):
        result = self.run_script("""
            import os
            os.chdir('output')
            try:
                for i in range(20000):
                    os.mkdir('d')
                    os.chdir('d')
            except OSError: pass
            """, timeout_s=5)
        # Landlock walks the whole path up for each call, so that time may end it first.
        self.assertIn(result["exit_code"], (0, 124, 137), result)
        self.assert_still_serves()
        self.service.check_nothing_leaked()

    def test_a_gigabyte_of_output(self):
        result = self.run_script("import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))", timeout_s=60)
        self.assertEqual((result["exit_code"], len(result["stdout"])), (0, 10 << 20))

    def test_a_million_signals(self):
        result = self.run_script("""
            import os, signal
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            for _ in range(1000000): os.kill(os.getpid(), signal.SIGUSR1)
            print('fine')
            """, timeout_s=60)
        self.assertEqual(result["stdout"], "fine\n")

    def test_huge_pipes_and_sockets_are_the_job_s_own(self):
        result = self.run_script("""
            import fcntl, os, socket
            held = []
            try:
                for _ in range(400):
                    r, w = os.pipe(); held += [r, w]
                    os.set_blocking(w, False)
                    try: fcntl.fcntl(w, 1031, 1 << 20)
                    except OSError: pass
                    try: os.write(w, b'x' * (1 << 20))
                    except BlockingIOError: pass
            except OSError: pass
            print('fine')
            """, timeout_s=60)
        self.assertIn(result["exit_code"], (0, 137))
        self.assert_still_serves()


class Output(ServiceTest):
    """./output/ and the working directory as traps for whoever collects."""

    def test_a_fifo_does_not_hold_the_collector(self):
        result = self.run_script("import os\nfor i in range(50): os.mkfifo(f'output/{i}')\nprint('made')")
        self.assertEqual((result["exit_code"], result["stdout"], result["artifacts"]), (0, "made\n", {}))

    def test_the_working_directory_replaced_by_links(self):
        result = self.run_script("""
            import os, shutil
            for name in ('input', 'output', 'script.py'):
                shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)
                os.symlink('/etc', name)
            print('replaced')
            """)
        self.assertEqual((result["exit_code"], result["stdout"], result["artifacts"]), (0, "replaced\n", {}))
        self.assert_still_serves()

    def test_folders_without_permissions_are_cleaned_up_all_the_same(self):
        self.run_script("""
            import os
            os.makedirs('a/b/c'); open('a/b/c/f', 'w')
            for path in ('a/b/c', 'a/b', 'a', 'output', 'input', '.'): os.chmod(path, 0)
            """)
        self.service.check_nothing_leaked()
        self.assert_still_serves()

    def test_a_file_swapped_while_it_is_collected(self):
        # Children that go on swapping are dead before the first file is opened, so either is whole.
        result = self.run_script("""
            import os, time
            if os.fork() == 0:
                end = time.monotonic() + 30
                while time.monotonic() < end:
                    try:
                        open('output/x', 'w').write('own')
                        os.remove('output/x')
                        os.symlink('/etc/passwd', 'output/x')
                        os.remove('output/x')
                    except OSError: pass
            time.sleep(0.3)
            """)
        self.assertIn(result["artifacts"], ({}, {"x": "own"}, {"x": ""}))

    def test_standard_streams_replaced_by_files(self):
        result = self.run_script("""
            import os
            for fd in (1, 2):
                os.dup2(os.open(f'output/{fd}', os.O_WRONLY | os.O_CREAT), fd)
            print('into the file')
            """)
        self.assertEqual((result["stdout"], result["artifacts"]["1"]), ("", "into the file\n"))


if __name__ == "__main__":
    main()
