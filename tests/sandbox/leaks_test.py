"""Role: what one job could leave for the next one on the same worker, and does not.
Callers: meson test, once a mode of starting the service.
Law: one worker, so that two jobs in a row share it. Each row's first script checks that its own second half would find
what it left, within one job; only then does an empty second job mean anything.
"""
import os

from contract import ServiceTest, folder_for_all, main

PRELUDE = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
PUT = sys.argv[1] == 'put'
"""

# name, how to leave it, an expression that finds it; a place that is not to be had at all finds nothing either
ROWS = [
    ("a file in the working directory", "open('left', 'w').write('x')", "os.path.exists('left')"),
    ("a file in the temporary directory", "open(os.environ['TMPDIR'] + '/left', 'w')",
     "os.path.exists(os.environ['TMPDIR'] + '/left')"),
    ("a file in /tmp", "open('/tmp/left-by-a-job', 'w')", "os.path.exists('/tmp/left-by-a-job')"),
    ("a file in /dev/shm", "open('/dev/shm/left-by-a-job', 'w')", "os.path.exists('/dev/shm/left-by-a-job')"),
    ("a file in /var/tmp", "open('/var/tmp/left-by-a-job', 'w')", "os.path.exists('/var/tmp/left-by-a-job')"),
    ("an input", "open('input/left', 'w')", "bool(os.listdir('input'))"),
    ("an artifact", "open('output/left', 'w')", "bool(os.listdir('output'))"),
    ("System V shared memory", "libc.shmget(4711, 4096, 0o1600)", "libc.shmget(4711, 4096, 0) != -1"),
    ("a System V semaphore", "libc.semget(4712, 1, 0o1600)", "libc.semget(4712, 1, 0) != -1"),
    ("a System V message queue", "libc.msgget(4713, 0o1600)", "libc.msgget(4713, 0) != -1"),
    ("POSIX shared memory", "libc.shm_open(b'/left-by-a-job', os.O_CREAT | os.O_RDWR, 0o600)",
     "libc.shm_open(b'/left-by-a-job', os.O_RDWR, 0) != -1"),
    ("a POSIX message queue", "libc.mq_open(b'/left-by-a-job', os.O_CREAT | os.O_RDWR, 0o600, None)",
     "libc.mq_open(b'/left-by-a-job', os.O_RDWR) != -1"),
    ("a key", "libc.syscall(248, b'user', b'left-by-a-job', b'x', 1, -4)",
     "libc.syscall(249, b'user', b'left-by-a-job', None, 0) != -1"),
    ("an abstract socket with a listener", "listen()", "connects()"),
    ("a process", "stay()", "any(b'left-by-a-job' in cmdline(pid) for pid in os.listdir('/proc') if pid.isdigit())"),
    ("a POSIX semaphore", "libc.sem_open(b'/left-by-a-job', os.O_CREAT, 0o600, 1)",
     "os.path.exists('/dev/shm/sem.left-by-a-job')"),
    ("a key of the session", "libc.syscall(248, b'user', b'left-by-a-job', b'x', 1, -3)",
     "libc.syscall(250, 10, -3, b'user', b'left-by-a-job', 0) != -1"),
    ("a lock on a file that all can read", "lock(True)", "lock(False)"),
    ("a port with a listener", "serve(True)", "serve(False)"),
    ("times of a file that all can read", "os.utime(os.__file__, (4711, 4711))",
     "os.stat(os.__file__).st_mtime == 4711"),
    ("a score with the out-of-memory killer", "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'500')",
     "open('/proc/self/oom_score_adj').read() == '500\\n'"),
    ("the mask for new files", "os.umask(0o077)", "os.umask(0o022) != 0o022"),
    ("a lower limit", "__import__('resource').setrlimit(7, (64, 64))", "__import__('resource').getrlimit(7)[0] <= 64"),
    ("a lower priority", "os.nice(15)", "os.nice(0) >= 15"),  # the service itself may have been started with less
    ("a host name", "libc.sethostname(b'left-by-a-job', 13)", "os.uname().nodename == 'left-by-a-job'"),
    ("a variable", "os.environ['LEFT'] = 'x'", "'LEFT' in os.environ"),
    ("a module", "open('left_by_a_job.py', 'w').write('x = 1'); sys.path.insert(0, '.'); import left_by_a_job",
     "'left_by_a_job' in sys.modules or __import__('importlib.util').util.find_spec('left_by_a_job') is not None"),
    ("bytes that the next one would read", "os.write(1, b'')", "sys.stdin.read() != ''"),
]

FUNCTIONS = """
def listen():
    s = socket.socket(socket.AF_UNIX); s.bind(b'\\0left-by-a-job'); s.listen(); os.set_inheritable(s.fileno(), True)
    if os.fork() == 0:
        import time; os.setsid(); time.sleep(60); os._exit(0)
def connects():
    try: socket.socket(socket.AF_UNIX).connect(b'\\0left-by-a-job')
    except OSError: return False
    return True
def lock(put):
    import fcntl, of_this_service_alone
    file = open(of_this_service_alone.__file__)
    if put and os.fork() == 0:
        import time; os.setsid(); fcntl.flock(file, fcntl.LOCK_EX); time.sleep(60); os._exit(0)
    while True:
        try: fcntl.flock(open(of_this_service_alone.__file__), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError: return True
        if not put: return False
def serve(put):
    if put:
        s = socket.create_server(('127.0.0.1', 4711)); os.set_inheritable(s.fileno(), True)
        if os.fork() == 0:
            import time; os.setsid(); time.sleep(60); os._exit(0)
    try: socket.create_connection(('127.0.0.1', 4711)).close()
    except OSError: return False
    return True
def stay():
    if os.fork() == 0:
        os.setsid(); os.execv('/bin/sleep', ['left-by-a-job', '60'])
    __import__('time').sleep(0.3)
def cmdline(pid):
    try: return open(f'/proc/{pid}/cmdline', 'rb').read()
    except OSError: return b''
"""


class NothingIsLeft(ServiceTest):
    """Two jobs in a row on one worker."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        # A lock is the machine's: on a file of /usr it would be found, for a moment, by the same test of another
        # service.
        packages = folder_for_all(cls)
        with open(os.path.join(packages, "of_this_service_alone.py"), "w") as file:
            file.write("'A file that all jobs can read, and nobody else does.'\n")
        cls.arguments = [f"--packages={packages}"]
        super().setUpClass()

    def test_each_thing_is_gone_for_the_next_job(self):
        found_in_the_same_job = []
        for name, leave, find in ROWS:
            with self.subTest(name):
                text = (PRELUDE + FUNCTIONS + "found = False\ntry:\n    if PUT:\n        " + leave
                        + "\n    found = " + find + "\nexcept (OSError, PermissionError) as error: pass\n"
                        "print(found)\n")
                first = self.output_of(text, args=["put"]).strip()
                if first == "True":
                    found_in_the_same_job.append(name)
                self.assertEqual(self.output_of(text, args=["look"]).strip(), "False")
        for name in ("a file in the working directory", "a file in the temporary directory", "an artifact",
                     "a lock on a file that all can read", "a lower limit", "the mask for new files",
                     "a lower priority", "a variable", "a module"):
            self.assertIn(name, found_in_the_same_job, "the row's own check works")

    def test_nothing_of_the_interpreter_s_state_is_carried_over(self):
        text = """
            import builtins, sys, random, os, gc, threading, signal
            print(hasattr(builtins, 'left'), 'decimal' in sys.modules, sys.getrecursionlimit(), gc.isenabled(),
                  sys.gettrace(), threading.active_count(), signal.getsignal(signal.SIGUSR1), sys.stdout.isatty())
            """
        clean = self.output_of(text)
        self.output_of("""
            import builtins, sys, gc, signal, decimal, json
            builtins.left = 1; sys.setrecursionlimit(50000); gc.disable(); signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            json.loads = None; sys.settrace(lambda *a: None)
            """)
        self.assertEqual(self.output_of(text), clean)
        self.assertEqual(self.output_of("import json; print(json.loads('1'))"), "1\n")

    def test_a_job_that_was_killed_leaves_nothing_either(self):
        for text, code in (("open('left', 'w'); open('output/left', 'w')\nwhile True: pass", 124),
                           ("import os; open('left', 'w'); os.kill(os.getpid(), 9)", 137)):
            with self.subTest(code):
                self.assertEqual(self.run_script(text, timeout_s=1)["exit_code"], code)
                self.assertEqual(self.output_of("import os; print(sorted(os.listdir('.')), os.listdir('output'))"),
                                 "['input', 'output', 'script.py'] []\n")

    def test_100_jobs_leave_the_worker_as_it_was(self):
        workers = self.service.worker_pids()
        for i in range(100):
            self.assertEqual(self.output_of(f"print({i}); open('f', 'w').write('x' * 100000)"), f"{i}\n")
        self.assertEqual(self.service.worker_pids(), workers, "the same worker all along")
        self.service.check_nothing_leaked()


if __name__ == "__main__":
    main()
