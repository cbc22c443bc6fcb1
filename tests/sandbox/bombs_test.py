"""Role: scripts that want too much of one thing: each is stopped at that thing's limit, and nobody else feels it.
Callers: meson test, once a mode of starting the service.
Law: every bomb is bounded by a count of its own, well above the limit that it has to meet first. Memory has a suite of
its own; so have the limits' exact values (contract/limits_test.py).
"""
import json

from attack import AttackTest
from contract import CAP, main
from service import REDUCED

# For each row a child takes one thing after the other and keeps it, until an error ends it or MOST are reached. Prints
# name -> (how many, the error). A row works in a folder of its own, which is removed afterwards.
TAKE = """
import ctypes, errno, json, mmap, os, resource, select, shutil, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result == -1: raise OSError(ctypes.get_errno(), 'refused')
    return result
def take_many(how, most, told):
    names = {**globals(), 'held': []}
    exec('def take(i):\\n    ' + how, names)
    count, word = 0, 'no limit'
    try:
        for count in range(most): names['held'].append(names['take'](count))
    except OSError as error: word = errno.errorcode[error.errno]
    os.write(told, f'{count} {word}'.encode())
    os._exit(0)
answers = {}
for name, how, most in json.load(sys.stdin):
    seen, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.mkdir('row'); os.chdir('row')
        take_many(how, most, told)
    os.close(told)
    os.waitpid(pid, 0)
    answers[name] = os.read(seen, 100).decode()  # what the row's own children hold open does not matter
    os.close(seen)
    shutil.rmtree('row')
print(json.dumps(answers))
"""

# what, how to take one, more than there are, the errors that may end it

DESCRIPTORS = [(name, how, 1100, {"EMFILE"}) for name, how in (
    ("pipes", "return os.pipe()"),
    ("socket pairs", "return socket.socketpair()"),
    ("event counters", "return os.eventfd(0)"),
    ("poll sets", "return select.epoll()"),
    ("timers by descriptor", "return call(283, 0, 0)"),
    ("signals by descriptor", "return call(289, -1, bytes(8), 8, 0)"),
    ("memory files", "return os.memfd_create('x')"),
    ("processes by descriptor", "return os.pidfd_open(os.getpid())"),
    ("folders", "return os.open('.', os.O_RDONLY)"),
    ("watches of folders", "return call(253)"),  # or fs.inotify.max_user_instances, with the same error
)]

KERNEL_OBJECTS = [
    # RLIMIT_SIGPENDING counts both.
    ("timers", "id = ctypes.create_string_buffer(8); call(222, 1, None, id); return id", 1100, {"EAGAIN"}),
    ("queued signals", "signal.pthread_sigmask(signal.SIG_BLOCK, {40})\n"
     "    call(129, os.getpid(), 40, struct.pack('iii', 40, 0, -1).ljust(128, bytes(1)))", 1100, {"EAGAIN"}),
    # As many as a process may have open (unix(7), ETOOMANYREFS); a queue of its own for each 100, so that none is full.
    ("descriptors in flight", "if i % 100 == 0: held.append(socket.socketpair())\n"
     "    pair = [x for x in held if x][-1]\n    pair[0].setblocking(False)\n"
     "    socket.send_fds(pair[0], [b'x'], [0])", 1100, {"ETOOMANYREFS"}),
    ("programs", "return os.posix_spawn('/bin/sleep', ['sleep', '60'], {})", 40, {"EAGAIN"}),
]

# A pids cgroup or RLIMIT_NPROC counts them all; jobs of their own, as they use up what the next row would need.
PROCESSES = [
    ("children that have ended", "pid = os.fork(); pid or os._exit(0)", 40, {"EAGAIN"}),
    ("children of children", "pid = os.fork()\n    if pid: os.waitpid(pid, 0); os._exit(0)", 40, {"EAGAIN"}),
    ("children that ignore every signal", "pid = os.fork()\n    if pid == 0:\n"
     "        for s in signal.valid_signals() - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
     "        while True: signal.pause()", 40, {"EAGAIN"}),
]

FILES = [
    ("folders", "os.mkdir(f'd{i}')", 20000, {"ENOSPC"}),
    ("symbolic links", "os.symlink('nowhere', f'l{i}')", 20000, {"ENOSPC"}),
    ("further names of a file", "os.link('f', f'h{i}') if i else open('f', 'w').close()", 20000, {"ENOSPC"}),
    ("pipes with a name", "os.mkfifo(f'p{i}')", 20000, {"ENOSPC"}),
    ("files without a name", "f = os.open('.', os.O_TMPFILE | os.O_RDWR); os.posix_fallocate(f, 0, 1 << 20); return f",
     64, {"ENOSPC"}),
    ("space that is reserved", "f = os.open(f'r{i}', os.O_CREAT | os.O_RDWR); os.posix_fallocate(f, 0, 1 << 20)\n"
     "    os.close(f)", 64, {"ENOSPC"}),
    ("shared memory", "f = os.open(f'/dev/shm/s{i}', os.O_CREAT | os.O_RDWR); os.unlink(f'/dev/shm/s{i}')\n"
     "    os.pwrite(f, bytes([1]) * (1 << 20), 0); return f", 64, {"ENOSPC"}),
]


class Bombs(AttackTest):
    """A job of 32 processes and 32 MiB of scratch space."""

    arguments = ["--processes=32", "--scratch=32M"]

    def assert_limited(self, rows):
        asked = json.dumps([row[:3] for row in rows])
        result = self.attack(TAKE, stdin=asked)
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""), result)
        answers = json.loads(result["stdout"])
        for name, _, most, words in rows:
            with self.subTest(name):
                count, word = answers[name].split(" ", 1)
                self.assertIn(word, words)
                self.assertTrue(0 < int(count) < most, count)

    def test_descriptors_of_every_kind(self):
        # Files in memory are not to be had where nobody would count them.
        self.assert_limited([row for row in DESCRIPTORS if row[0] != "memory files" or self.memory_is_charged()])

    def test_objects_of_the_kernel(self):
        self.assert_limited(KERNEL_OBJECTS)

    def test_processes(self):
        for row in PROCESSES:
            self.assert_limited([row])

    def test_files_and_space(self):
        if not REDUCED:
            return self.assert_limited(FILES)
        # Where a watch from outside is the limit it ends the run, as soon as it has seen what is too much.
        result = self.attack("""
            import os, time
            for i in range(64):
                f = os.open(f'r{i}', os.O_CREAT | os.O_RDWR)
                os.posix_fallocate(f, 0, 1 << 20)
            time.sleep(50)
            """, detail=True)
        self.assertEqual((result["exit_code"], result["run"]["limit"]), (137, "scratch"), result)

    def test_a_script_that_becomes_itself_again_and_again(self):
        result = self.attack("import os, sys; os.execv(sys.executable, [sys.executable, 'script.py'])", timeout_s=1)
        self.assertEqual(result["exit_code"], 124, result)


class Output(AttackTest):
    """Floods of output: kept up to the limit, counted in full, and never in the way of the other stream."""

    def test_a_gigabyte_on_each_stream_at_once_without_a_newline(self):
        result = self.attack("""
            import os
            child = os.fork()
            for _ in range(1024): os.write(1 if child else 2, b'x' * (1 << 20))
            if child: os.waitpid(child, 0)
            os._exit(5)
            """, detail=True)
        self.assertEqual((result["exit_code"], len(result["stdout"])), (5, CAP))
        self.assertTrue(result["stderr"].startswith("x" * CAP + "\n[Truncated: stdout"), result["stderr"][CAP:])
        self.assertEqual((result["run"]["stdout_bytes"], result["run"]["stderr_bytes"]), (1 << 30, 1 << 30))

    def test_bytes_that_grow_when_they_are_told(self):
        # U+FFFD takes three bytes for one, a control character six in JSON.
        for name, byte, shown in (("invalid UTF-8", 0xFF, "\ufffd"), ("NUL", 0, "\0"), ("escape", 0x1B, "\x1b")):
            with self.subTest(name):
                result = self.attack(f"import os\nfor _ in range(11): os.write(1, bytes([{byte}]) * (1 << 20))")
                self.assertEqual(result["exit_code"], 0)
                self.assertTrue(result["stdout"] == shown * CAP)

    def test_writes_of_one_byte(self):
        result = self.attack("import os\nfor _ in range(300000): os.write(1, b'x')")
        self.assertTrue(result["exit_code"] == 0 and result["stdout"] == "x" * 300000)


if __name__ == "__main__":
    main()
