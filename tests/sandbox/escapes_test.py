"""Role: what of the machine a job can see, change or become, searched for rather than asked for by name.
Callers: meson test, once a mode of starting the service.
Law: a search that finds nothing proves nothing, so each one first finds what is there to be found: the job's own.
Single calls and single files are refused_test.py's.
"""
import json
import os
import stat
import subprocess

from attack import AttackTest
from contract import main
from service import PYTHON, REDUCED

# Prints what can be written to: files that open for writing, folders in which a name can be made.
SEARCH = """
import json, os, stat, sys
def writable(path, kind):
    try:
        if stat.S_ISDIR(kind):
            name = os.path.join(path, 'escape-test')
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.remove(name)
        elif stat.S_ISREG(kind):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        else: return False
    except OSError: return False
    return True
found, seen = [], 0
def search(top, depth):
    global seen
    try: kind = os.lstat(top).st_mode
    except OSError: return
    seen += 1
    if writable(top, kind): found.append(top)
    if depth == 0 or not stat.S_ISDIR(kind): return
    try: names = os.listdir(top)
    except OSError: return
    for name in names: search(os.path.join(top, name), depth - 1)
for top, depth in json.loads(sys.argv[1]): search(top, depth)
print(json.dumps([seen, found, os.environ['HOME'], os.environ['TMPDIR']]))
"""

# Writes back what is in each file below /proc/sys that opens for writing; prints those that took it.
SETTINGS = """
import os
taken, seen = [], 0
for folder, _, names in os.walk('/proc/sys'):
    for name in names:
        path, seen = os.path.join(folder, name), seen + 1
        try:
            value = open(path, 'rb').read()
            fd = os.open(path, os.O_WRONLY)
        except OSError: continue
        try: os.write(fd, value or b'0')
        except OSError: pass
        else: taken.append(path)
        os.close(fd)
print(seen, taken)
"""


class Machine(AttackTest):
    """Searches through everything that has a name."""

    workers = 1

    def search(self, *tops):
        answer = json.loads(self.attack(SEARCH, args=[json.dumps(tops)])["stdout"])
        return answer[0], set(answer[1]), answer[2], answer[3]

    def test_nothing_can_be_written_but_the_job_s_own(self):
        _, own, home, temporary = self.search([".", 1])
        self.assertIn(".", own, "the search finds a folder of the job's own")
        tops = ["/", "/dev", "/dev/shm", "/dev/mqueue", "/run", "/run/lock", "/var", "/var/tmp", "/var/lock", "/home",
                "/mnt", "/srv", "/opt", "/media", "/root", "/boot", "/etc", "/usr", "/usr/local", "/sys", "/sys/fs",
                "/sys/fs/cgroup", "/sys/kernel", "/.coderunner", "/lost+found"]
        _, found, _, _ = self.search(*[[top, 1] for top in tops], ["/usr/lib/python3", 3], ["/etc", 3])
        own = {home, temporary} | (set() if REDUCED else {"/dev/shm"})
        self.assertEqual(found - own, set())

    def test_no_setting_of_the_kernel_can_be_changed(self):
        seen, taken = self.attack(SETTINGS)["stdout"].strip().split(" ", 1)
        self.assertEqual(taken, "[]")
        self.assertTrue(int(seen) == 0 if REDUCED else int(seen) > 100, seen)

    def test_the_kernel_s_own_tree_is_not_there(self):
        for place in ("/sys", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
                      "/proc/sys/fs/binfmt_misc", "/dev/mqueue", "/dev/pts", "/run", "/var/lib", "/boot"):
            with self.subTest(place):
                self.assertIn(self.output_of(f"""
                    import os
                    try: print(os.listdir({place!r}))
                    except OSError as error: print(type(error).__name__)
                    """), {"FileNotFoundError\n", "PermissionError\n", "[]\n"})

    def test_programs_that_belong_to_root_start_without_its_rights(self):
        programs = [f"/usr/bin/{name}" for name in sorted(os.listdir("/usr/bin"))
                    if os.stat(f"/usr/bin/{name}").st_mode & (stat.S_ISUID | stat.S_ISGID)]
        self.assertIn("/usr/bin/su", programs, "set-user-id programs of the machine")
        for program in programs:
            with self.subTest(program):
                # The dynamic linker tells what the kernel told it, unless the program was given rights (ld.so(8)).
                told = dict(line.split(":", 1) for line in self.output_of(f"""
                    import os, subprocess
                    done = subprocess.run([{program!r}, '--version'], env={{'LD_SHOW_AUXV': '1'}}, text=True,
                                          stdin=subprocess.DEVNULL, capture_output=True)
                    print(done.stdout)
                    print('OWN:', os.getuid(), os.getgid())
                    """).splitlines() if ":" in line)
                own = told["OWN"].split()
                names = ("AT_UID", "AT_EUID", "AT_GID", "AT_EGID", "AT_SECURE")
                self.assertEqual([told[name].strip() for name in names], [own[0], own[0], own[1], own[1], "0"])

    def test_the_same_programs_get_them_outside(self):
        user = {"user": 50999, "group": 50999, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(["/usr/bin/su", "--version"], env={"LD_SHOW_AUXV": "1"}, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, **user)
        self.assertNotIn("AT_SECURE", done.stdout, "with rights of its own the linker tells nothing")

    def test_a_program_made_set_user_id_gives_nothing_to_the_next(self):
        self.assertEqual(self.attack("""
            import os, shutil, subprocess
            shutil.copy('/usr/bin/id', 'id'); os.chmod('id', 0o6755)
            print(subprocess.run(['./id', '-u'], capture_output=True, text=True).stdout.strip() == str(os.geteuid()))
            """)["stdout"], "True\n")

    def test_devices(self):
        if REDUCED:
            return self.assert_devices_open({"null", "zero", "full", "random", "urandom"})
        self.assertEqual(set(self.output_of("import os; print(*os.listdir('/dev'))").split()),
                         {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"})

    def assert_devices_open(self, allowed):
        # /dev can not be listed: ask for what the host has.
        names = [name for name in os.listdir("/dev") if not stat.S_ISDIR(os.stat(f"/dev/{name}").st_mode)]
        opened = set(self.output_of(f"""
            import os
            for name in {names!r}:
                try: os.close(os.open('/dev/' + name, os.O_RDONLY | os.O_NONBLOCK))
                except OSError: continue
                print(name)
            """).split())
        self.assertLessEqual(opened - {"stdin", "stdout", "stderr"}, allowed)
        self.assertIn("null", opened)


class Privileges(AttackTest):
    """What prctl(2) and its like would give back."""

    workers = 1
    # name, prctl(2)'s arguments, the answers that keep it
    ROWS = [
        ("no_new_privs taken back", (38, 0, 0, 0, 0), {"EINVAL"}),
        ("a capability kept over exec", (47, 2, 21, 0, 0), {"EPERM"}),
        ("securebits", (28, 0, 0, 0, 0), {"EPERM"}),
        ("the end of its memory", (35, 7, 0, 0, 0), {"EPERM", "EINVAL"}),
        ("strict mode off", (22, 0, 0, 0, 0), {"EINVAL"}),
        ("protection from the out-of-memory killer", (57, 1, 0, 0, 0), {"EPERM"}),
    ]

    def test_nothing_comes_back(self):
        for name, words, answers in self.ROWS:
            with self.subTest(name):
                self.assertIn(self.attack(f"""
                    import ctypes, errno
                    libc = ctypes.CDLL(None, use_errno=True)
                    result = libc.prctl(*map(ctypes.c_long, {words}))
                    print(errno.errorcode[ctypes.get_errno()] if result == -1 else result)
                    """)["stdout"].strip(), answers)

    def test_a_filter_of_its_own_lets_nothing_more_through(self):
        # seccomp(2) itself is refused, and prctl(2) can only add one; the stricter answer counts.
        self.assertEqual(self.attack("""
            import ctypes, errno, struct
            libc = ctypes.CDLL(None, use_errno=True)
            allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
            program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(allow)))
            libc.prctl(22, 2, program, 0, 0)
            for call in ((101, 0, 0, 0, 0), (272, 0x10000000), (321, 0, 0, 0), (435, 0, 0)):
                ctypes.set_errno(0)
                libc.syscall(*call)
                print(errno.errorcode[ctypes.get_errno()])
            """)["stdout"], "EPERM\nEPERM\nEPERM\nENOSYS\n")


if __name__ == "__main__":
    main()
