"""Role: scripts that turn against what runs them: their parents, the template, the collector of their own files.
Callers: meson test, once a mode of starting the service.
Law: what hurt_nobody_test.py asks of signals and descriptors is not asked again. A race runs until the job's end
decides it, and every outcome of it that is allowed is listed.
"""
import subprocess

from attack import AttackTest
from contract import main, script
from service import PYTHON, REDUCED, SECRET, Service, descendants, process_name

# What a process may be asked for by its number, with the answers that tell of a closed door.
REACH = """
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    if libc.syscall(*map(ctypes.c_long, words)) == -1: raise OSError(ctypes.get_errno(), 'refused')
def look(path):
    # Some of these are opened by anyone, and refuse to be read.
    fd = os.open(path, os.O_RDONLY)
    try: os.read(fd, 1)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EIO): raise
    finally: os.close(fd)
ways = {
    'seize': lambda pid: call(101, 0x4206, pid, 0, 0), 'signal': lambda pid: os.kill(pid, 0),
    'read': lambda pid: call(310, pid, 0, 0, 0, 0, 0), 'write': lambda pid: call(311, pid, 0, 0, 0, 0, 0),
    'descriptors': lambda pid: call(438, os.pidfd_open(pid), 0, 0),
    'enter': lambda pid: call(308, os.pidfd_open(pid), 0x20000000),
    **{name: (lambda pid, name=name: look(f'/proc/{pid}/{name}'))
       for name in ('mem', 'environ', 'maps', 'pagemap', 'syscall', 'stack', 'auxv', 'fd/0', 'root/etc', 'cwd/.',
                    'exe', 'task', 'io', 'attr/current')},
    'score': lambda pid: os.open(f'/proc/{pid}/oom_score_adj', os.O_WRONLY),
}
for pid in map(int, sys.argv[1:]):
    for name, reach in ways.items():
        try: reach(pid)
        except OSError as error: print(pid, name, errno.errorcode[error.errno])
        else: print(pid, name, 'done')
"""


CLOSED = {"ESRCH", "ENOENT", "EPERM", "EACCES", "ENOSYS"}
WAYS = 21
OPEN_TO_ITS_USER = {"signal", "task", "attr/current", "score"}  # of one's own init, in one's own namespace


class Parents(AttackTest):
    """Whatever a job descends from, and what runs beside it."""

    workers = 1

    def answers(self, pids):
        result = self.attack(REACH, args=[str(pid) for pid in pids])
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""), result)
        rows = [line.split() for line in result["stdout"].splitlines()]
        self.assertEqual(len(rows), WAYS * len(pids), "every way to every process was tried")
        return rows

    def test_the_template_and_all_else_of_the_service_are_out_of_reach(self):
        service = self.service
        pids = sorted({service.process.pid, *descendants(service.process.pid)} - service.runners())
        self.assertGreaterEqual(len(pids), 1 + 2 * self.workers, "supervisor, workers, a process for each job at least")
        for pid, way, answer in self.answers(pids):
            self.assertIn(answer, CLOSED, f"{way} of {pid}, {process_name(pid)}")

    def test_its_own_init_is_not_looked_into(self):
        for _, way, answer in self.answers([1]):
            if way not in OPEN_TO_ITS_USER:
                self.assertIn(answer, CLOSED, way)

    def test_the_ways_are_open_from_outside_to_a_process_of_one_s_own(self):
        sleeper = subprocess.Popen(["/bin/sleep", "300"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        Service.bystanders.add(sleeper.pid)
        done = subprocess.run([PYTHON, "-c", REACH, str(sleeper.pid)], capture_output=True, text=True, timeout=60)
        opened = {line.split()[1] for line in done.stdout.splitlines() if line.endswith(" done")}
        # The others need privilege, or are refused by yet another policy (ptrace(2), ptrace_scope).
        self.assertLessEqual({"signal", "task", "environ", "maps", "fd/0", "cwd/.", "exe", "auxv", "score"},
                             opened, done.stderr)

    def test_a_child_against_its_parent(self):
        result = self.attack("""
            import ctypes, errno, os, signal
            libc = ctypes.CDLL(None, use_errno=True)
            parent, seen = os.getpid(), []
            pid = os.fork()
            if pid == 0:
                for row in ((101, 16, parent, 0, 0), (101, 0x4206, parent, 0, 0), (310, parent, 0, 0, 0, 0, 0),
                            (311, parent, 0, 0, 0, 0, 0), (438, os.pidfd_open(parent), 1, 0), (440, -1, 0, 0, 4, 0)):
                    ctypes.set_errno(0)
                    libc.syscall(*row)
                    print(errno.errorcode.get(ctypes.get_errno()), end=' ', flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            """)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "EPERM " * 6))

    def test_every_signal_to_init(self):
        result = self.attack("""
            import os, signal, time
            for number in [0, *signal.valid_signals()] * 20:
                for pid in {1, os.getppid()} - {0}:  # the parent of a warm runner is out of its sight
                    try: os.kill(pid, number)
                    except OSError: pass
            time.sleep(1)  # an end of init's may take its time, and has to be seen
            os.write(1, b'alive')
            """, timeout_s=20)
        # One of them asks init for the stacks of the script's threads; at the full level only its own init hears it.
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "alive"), result)

    def test_stopping_its_own_group_and_everything_in_reach(self):
        for text in ("os.killpg(0, signal.SIGSTOP)", "os.kill(os.getpid(), signal.SIGTSTP); time.sleep(60)",
                     "os.fork(); os.kill(-1, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGSTOP)"):
            with self.subTest(text):
                result = self.attack("import os, signal, time\n" + text, timeout_s=1)
                self.assertEqual(result["exit_code"], 124, result)

    def test_limits_lowered_until_nothing_works(self):
        rows = [("descriptors", "RLIMIT_NOFILE", 0, 0), ("size of files", "RLIMIT_FSIZE", 0, 0),
                ("processes", "RLIMIT_NPROC", 0, 0), ("pages", "RLIMIT_AS", 1 << 20, None),
                ("data", "RLIMIT_DATA", 0, None), ("stack", "RLIMIT_STACK", 4096, None),
                ("processor time", "RLIMIT_CPU", 1, 128 + 24)]
        for name, limit, value, code in rows:
            with self.subTest(name):
                result = self.attack(f"""
                    import os, resource
                    resource.setrlimit(resource.{limit}, ({value}, {value}))
                    os.write(1, b'lowered')
                    while {limit == 'RLIMIT_CPU'}: pass
                    """)
                self.assertEqual(result["stdout"], "lowered")
                if code is not None:
                    self.assertIn(result["exit_code"], {code, 137} if code else {0}, result)

    def test_no_better_score_for_the_kernel_s_choice_of_victims_than_the_service_has(self):
        self.assertEqual(self.attack("""
            import os
            print(open('/proc/self/oom_score_adj').read().strip())
            try: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')
            except OSError as error: print(type(error).__name__)
            """)["stdout"], "1000\nPermissionError\n")

    def test_no_secret_of_the_server_s_is_in_its_memory(self):
        self.assertGreater(self.search("mine-" + "5c1e77aa"), 0, "the search finds a variable of the job's own")
        self.assertEqual(self.search(SECRET), 0)

    def search(self, needle):
        """How often `needle` is in the memory that a job can read. The job holds it disguised, so as not to find its
        own copy, and looks at memory in the same disguise."""
        disguised = bytes(byte ^ 0x55 for byte in needle.encode())
        return int(self.output_of(f"""
            table = bytes(i ^ 0x55 for i in range(256))
            found = 0
            with open('/proc/self/mem', 'rb', 0) as memory, open('/proc/self/maps') as maps:
                for line in maps.read().splitlines():
                    (start, end), access = (int(x, 16) for x in line.split()[0].split('-')), line.split()[1]
                    if access[0] != 'r' or line.endswith(('[vvar]', '[vsyscall]', '[vvar_vclock]')): continue
                    while start < end:
                        memory.seek(start)
                        try: chunk = memory.read(min(end - start, 1 << 20))
                        except OSError: break
                        if not chunk: break
                        found += chunk.translate(table).count({disguised!r})
                        start += len(chunk)
            print(found)
            """, env={"MINE": "mine-" + "5c1e77aa"}))


class Collection(AttackTest):
    """Races with whoever reads ./output/ at the end, lost by the script."""

    workers = 1
    DAEMON = """
import os, shutil, sys, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    os.close(r)
    for fd in (0, 1, 2): os.close(fd)
    end, started = time.monotonic() + 60, False
    while time.monotonic() < end:
        try:
            ACTION
        except OSError: pass
        if not started: os.write(w, b'x'); started = True
    os._exit(0)
os.wait()
os.read(r, 1)
"""

    def assert_artifacts(self, action, allowed, after=""):
        for _ in range(2):
            result = self.attack(self.DAEMON.replace("ACTION", action) + after)
            self.assertEqual(result["exit_code"], 0, result)
            for name, file in result["artifacts"].items():
                self.assertIn(name, allowed)
                self.assertIn(file, allowed[name])

    def test_a_daemon_that_swaps_output_for_a_link(self):
        self.assert_artifacts("os.rename('output', 'o'); os.symlink('/etc', 'output'); os.remove('output'); "
                              "os.rename('o', 'output')", {"own": {"own"}}, "open('own', 'w').write('own')")

    def test_a_daemon_that_swaps_a_file_for_a_link_by_one_rename(self):
        self.assert_artifacts("open('output/f', 'w').write('own'); os.symlink('/etc/passwd', 'link'); "
                              "os.rename('link', 'output/f')", {"f": {"own", ""}})

    def test_a_daemon_that_truncates_and_grows_its_files(self):
        self.assert_artifacts("f = open('output/f', 'w'); f.write('x' * 100000); f.close(); os.truncate('output/f', 5)",
                              {"f": {"x" * n for n in (0, 5, 100000)} | {"x" * n for n in range(0, 100001, 4096)}})

    def test_a_daemon_that_removes_everything(self):
        self.assert_artifacts("shutil.rmtree('output', ignore_errors=True); os.mkdir('output'); "
                              "open('output/f', 'w').close()", {"f": {""}})

    def test_the_working_directory_removed_renamed_or_refilled(self):
        for text in ("import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True); print('done')",
                     "import shutil; shutil.rmtree('/', ignore_errors=True); print('done')",
                     "import os; os.rmdir('output'); os.rename('input', 'output'); print('done')",
                     "import os; os.chdir('/'); os.chmod(os.environ['HOME'], 0); print('done')",
                     # What the service itself owns around the job, where it can be named at all.
                     "import os\nhere = os.environ['HOME']\nabove = os.path.dirname(os.path.dirname(here))\n"
                     "for path in (above + '/boot-0/sitecustomize.py', above + '/boot-0', here, os.environ['TMPDIR'],\n"
                     "             os.path.dirname(here), above):\n"
                     "    try: os.chmod(path, 0)\n    except OSError: pass\nprint('done')",
                     "import os; [os.makedirs('output/' + '/'.join('ab'[i >> j & 1] for j in range(8)), exist_ok=True)"
                     " for i in range(256)]; print('done')"):
            with self.subTest(text):
                result = self.attack(text)
                self.assertEqual((result["exit_code"], result["stdout"], result["artifacts"]), (0, "done\n", {}))


class Watch(AttackTest):
    """Where the scratch space is watched from outside, nothing escapes the watch."""

    workers, arguments = 1, ["--scratch=16M"]

    def test_files_in_folders_that_can_not_be_read(self):
        for mode in ("0o300", "0o100", "0"):
            with self.subTest(mode):
                result = self.attack(f"""
                    import os, time
                    os.mkdir('d')
                    for i in range(64):
                        os.chmod('d', 0o700)
                        file = os.open(f'd/{{i}}', os.O_CREAT | os.O_WRONLY)
                        os.chmod('d', {mode})
                        try: os.posix_fallocate(file, 0, 1 << 20)
                        except OSError as error: raise SystemExit(error.strerror)
                    time.sleep(50)
                    """, detail=True)
                want = ("killed", "scratch") if REDUCED else ("error", None)
                self.assertEqual((result["run"]["verdict"], result["run"]["limit"]), want, result)


if __name__ == "__main__":
    main()
