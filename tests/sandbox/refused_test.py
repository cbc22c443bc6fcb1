"""Role: what a script asks the kernel for and does not get, a row each.
Callers: meson test, once a mode of starting the service.
Law: each probe runs twice: in a job, where it must be refused, and by plain Python outside, where the same lines get
another answer: they work, or fail for a reason that the kernel only comes to when it would have allowed them. So no row
passes because its probe is broken. Outside, a probe has namespaces of its own and harms nothing.
"""
import os
import socket
import subprocess
import tempfile
import threading

from contract import ServiceTest, main, script
from service import PYTHON, SERVICE_UID, Service, eventually

# Before each probe: system calls by number (x86-64), and the answer in one word: "done" or the name of the error.
PRELUDE = """
import ctypes, errno, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result == -1:
        raise OSError(ctypes.get_errno(), 'refused')
    return result
def in_child(work):
    # What changes the process is tried by a child; its answer is its exit status.
    pid = os.fork()
    if pid == 0:
        try: work()
        except OSError as error: os._exit(error.errno)
        except BaseException: os._exit(255)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status: raise OSError(status, 'refused')
def with_child(work):
    # A child that waits, to be worked upon.
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try: work(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
def attempt():
    {probe}
try:
    attempt()
    print('done')
except OSError as error:
    print(errno.errorcode.get(error.errno, error.errno))
"""

REFUSED = {"EPERM", "EACCES", "ENOSYS"}
NO_SUCH_USER = {"EPERM", "EINVAL"}  # EINVAL: root has no number in the job's user namespace
ROOT, ANYONE = "root", "anyone"  # who has to run the probe for it to get its answer outside

NAMESPACES = [("user", 0x10000000, ANYONE), ("mount", 0x20000, ROOT), ("pid", 0x20000000, ROOT),
              ("network", 0x40000000, ROOT), ("ipc", 0x8000000, ROOT), ("uts", 0x4000000, ROOT),
              ("cgroup", 0x2000000, ROOT), ("time", 0x80, ROOT)]

# name, probe, who can do it outside, the answer outside, and the one inside when it is a certain one: a kernel built
# without the call says ENOSYS outside, and then only the filter's own EPERM inside shows that the filter refuses it.
CALLS = [
    # other processes
    ("ptrace: be traced", "in_child(lambda: call(101, 0, 0, 0, 0))", ANYONE, "done"),
    ("ptrace: attach to a child", "with_child(lambda pid: call(101, 16, pid, 0, 0))", ANYONE, "done"),
    ("ptrace: seize a child", "with_child(lambda pid: call(101, 0x4206, pid, 0, 0))", ANYONE, "done"),
    ("process_vm_readv", "with_child(lambda pid: call(310, pid, None, 0, None, 0, 0))", ANYONE, "done"),
    ("process_vm_writev", "with_child(lambda pid: call(311, pid, None, 0, None, 0, 0))", ANYONE, "done"),
    ("pidfd_getfd", "with_child(lambda pid: call(438, os.pidfd_open(pid), 1, 0))", ANYONE, "done"),
    ("kcmp", "call(312, os.getpid(), os.getpid(), 0, 1, 1)", ANYONE, "done"),
    ("process_madvise", "call(440, os.pidfd_open(os.getpid()), None, 0, 4, 0)", ROOT, "done"),
    ("move_pages", "call(279, 0, 0, None, None, None, 0)", ANYONE, "done"),
    ("migrate_pages", "call(256, 0, 0, None, None)", ANYONE, {"done", "EINVAL"}),
    # namespaces and mounts
    *[(f"unshare: {name}", f"in_child(lambda: call(272, {flag}))", who, "done") for name, flag, who in NAMESPACES],
    *[(f"clone: {name}", f"pid = call(56, {flag} | 17, 0, 0, 0, 0); pid or os._exit(0); os.waitpid(pid, 0)",
       who, "done") for name, flag, who in NAMESPACES if name != "time"],
    ("clone3: user", "args = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\\n"
     "    pid = call(435, args, 88); pid or os._exit(0); os.waitpid(pid, 0)", ANYONE, "done"),
    ("setns", "fd = os.open('/proc/self/ns/uts', os.O_RDONLY); in_child(lambda: call(308, fd, 0))", ROOT, "done"),
    ("setns: of a process", "in_child(lambda: call(308, os.pidfd_open(os.getppid()), 0x4000000))", ROOT, "done"),
    ("mount: tmpfs", "os.mkdir('m'); call(165, b'none', b'm', b'tmpfs', 0, None)", ROOT, "done"),
    ("mount: bind", "os.mkdir('m'); call(165, b'/usr', b'm', None, 0x1000, None)", ROOT, "done"),
    ("mount: remount writable", "call(165, None, b'/', None, 0x20 | 0x1000, None)", ROOT, "done"),
    ("mount: proc", "os.mkdir('m'); call(165, b'proc', b'm', b'proc', 0, None)", ROOT, "done"),
    ("umount2", "call(166, b'/no/such/path', 0)", ROOT, "ENOENT"),
    ("pivot_root", "call(155, b'/no/such/path', b'/no/such/path')", ROOT, "ENOENT"),
    ("chroot", "in_child(lambda: call(161, b'.'))", ROOT, "done"),
    ("fsopen", "call(430, b'tmpfs', 0)", ROOT, "done"),
    ("open_tree: clone", "call(428, -100, b'/', 1)", ROOT, "done"),
    ("move_mount", "call(429, -100, b'/no/such/path', -100, b'/no/such/path', 0)", ROOT, "ENOENT"),
    ("mount_setattr", "call(442, -100, b'/no/such/path', 0, struct.pack('4Q', 1, 0, 0, 0), 32)", ROOT, "ENOENT"),
    ("mknod: a block device", "os.mknod('disk', 0o60600, os.makedev(254, 0))", ROOT, "done"),
    ("mknod: a character device", "os.mknod('mem', 0o20600, os.makedev(1, 1))", ROOT, "done"),
    ("mknod: a whiteout's device", "os.mknod('w', 0o20600, os.makedev(0, 0))", ANYONE, "done"),
    ("open_by_handle_at", "call(304, -100, struct.pack('Ii8s', 8, 1, bytes(8)), 0)", ROOT, "ESTALE"),
    ("name_to_handle_at", "call(303, -100, b'/usr', struct.pack('Ii128s', 128, 0, bytes(128)), bytes(8), 0)",
     ANYONE, "done"),
    ("fanotify_init", "call(300, 0, 0)", ROOT, "done"),
    ("quotactl", "call(179, 0x80000100, b'/no/such/path', 0, 0)", ANYONE, "ENOENT"),
    ("swapon", "call(167, b'/no/such/path', 0)", ROOT, "ENOENT"),
    ("swapoff", "call(168, b'/no/such/path')", ROOT, "ENOENT"),
    ("acct", "call(163, b'/no/such/path')", ROOT, "ENOENT"),
    # doors into the kernel
    ("bpf", "call(321, 0, struct.pack('IIIII', 2, 4, 4, 1, 0), 20)", ROOT, "done"),
    ("perf_event_open", "call(298, struct.pack('IIQ', 1, 112, 0).ljust(112, b'\\\\0'), 0, -1, -1, 0)", ROOT, "done"),
    ("io_uring_setup", "call(425, 1, ctypes.create_string_buffer(256))", ANYONE, "done"),
    ("io_uring_enter", "call(426, -1, 0, 0, 0, None, 0)", ANYONE, "EBADF"),
    ("io_uring_register", "call(427, 12345, 0, None, 0)", ANYONE, "EBADF"),
    ("userfaultfd", "call(323, 1)", ANYONE, "done"),
    ("memfd_secret", "call(447, 0x40)", ANYONE, {"EINVAL", "ENOSYS"}),
    ("add_key", "call(248, b'user', b'name', b'x', 1, -2)", ANYONE, "done"),
    ("request_key", "call(249, b'user', b'no-such-key', None, 0)", ANYONE, {"ENOKEY", "ENOENT"}),
    ("keyctl", "call(250, 0, -4, 1)", ANYONE, "done"),
    ("kexec_load", "call(246, 0, 0, 0, 0xffff)", ROOT, {"EINVAL", "ENOSYS"}, {"EPERM"}),
    ("kexec_file_load", "call(320, -1, -1, 0, None, 0xffff)", ROOT, {"EINVAL", "ENOSYS", "EBADF"}, {"EPERM"}),
    ("init_module", "call(175, None, 0, None)", ROOT, {"ENOEXEC", "EFAULT", "ENOSYS"}, {"EPERM"}),
    ("finit_module", "call(313, -1, b'', 0)", ROOT, {"EBADF", "ENOSYS"}, {"EPERM"}),
    ("delete_module", "call(176, b'no_such_module', 0x800)", ROOT, {"ENOENT", "ENOSYS"}, {"EPERM"}),
    ("reboot", "call(169, 0, 0, 0, None)", ROOT, "EINVAL"),
    ("iopl", "call(172, 3)", ROOT, {"done", "ENOSYS"}, {"EPERM"}),
    ("ioperm", "call(173, 0x80, 1, 1)", ROOT, {"done", "ENOSYS"}, {"EPERM"}),
    ("modify_ldt", "call(154, 0, ctypes.create_string_buffer(64), 64)", ANYONE, "done"),
    ("syslog", "call(103, 10, None, 0)", ROOT, "done"),
    ("personality: executable data", "in_child(lambda: call(135, 0x400000))", ANYONE, "done"),
    ("set_mempolicy", "call(238, 0, None, 0)", ANYONE, "done"),
    ("sync", "call(162)", ANYONE, "done"),
    ("syncfs", "call(306, os.open('.', os.O_RDONLY))", ANYONE, "done"),
    ("vhangup", "in_child(lambda: call(153))", ROOT, "done"),
    # clocks, names, priorities
    ("settimeofday", "call(164, struct.pack('qq', -1, 2000000), None)", ROOT, "EINVAL"),
    ("clock_settime", "call(227, 0, struct.pack('qq', -1, 0))", ROOT, "EINVAL"),
    ("clock_adjtime", "call(305, 0, struct.pack('I', 0x4000).ljust(208, b'\\\\0'))", ROOT, "EINVAL"),
    ("sethostname", "name = os.uname().nodename.encode(); call(170, name, len(name))", ROOT, "done"),
    ("setdomainname", "call(171, b'x', 1)", ROOT, "done"),
    ("setpriority: above others", "os.setpriority(os.PRIO_PROCESS, 0, -5)", ROOT, "done"),
    ("real-time scheduling", "in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))",
     ROOT, "done"),
    ("ioprio_set: real-time", "in_child(lambda: call(251, 1, 0, 1 << 13))", ROOT, "done"),
    ("setuid to root", "in_child(lambda: os.setresuid(0, 0, 0))", ROOT, "done", NO_SUCH_USER),
    ("setgid to root", "in_child(lambda: os.setresgid(0, 0, 0))", ROOT, "done", NO_SUCH_USER),
    ("setgroups", "in_child(lambda: os.setgroups([0]))", ROOT, "done"),
    ("chown to root", "open('f', 'w'); os.chown('f', 0, 0)", ROOT, "done", NO_SUCH_USER),
]

# family, type, protocol, who can make one outside
SOCKETS = [
    ("packet", 17, 3, 0, ROOT), ("netlink", 16, 3, 0, ANYONE), ("raw IPv4", 2, 3, 1, ROOT),
    ("raw IPv6", 10, 3, 58, ROOT),
    ("ping", 2, 2, 1, ROOT), ("SCTP", 2, 1, 132, ANYONE), ("MPTCP", 2, 1, 262, ANYONE), ("vsock", 40, 1, 0, ANYONE),
    ("crypto", 38, 5, 0, ANYONE), ("bluetooth", 31, 3, 1, ANYONE), ("key", 15, 3, 2, ROOT), ("CAN", 29, 3, 1, ROOT),
    ("TIPC", 30, 1, 0, ANYONE), ("RDS", 21, 5, 0, ANYONE), ("AX.25", 3, 5, 0, ANYONE), ("XDP", 44, 3, 0, ROOT),
    ("QIPCRTR", 42, 2, 0, ANYONE), ("NFC", 39, 3, 1, ANYONE), ("raw unix", 1, 3, 0, ANYONE),
]

# Paths that Python outside can open in this way, as root.
FILES = [
    ("/etc/shadow", "O_RDONLY"), ("/proc/1/environ", "O_RDONLY"), ("/proc/1/root/etc/passwd", "O_RDONLY"),
    ("/proc/1/maps", "O_RDONLY"), ("/proc/sysrq-trigger", "O_WRONLY"),
    ("/proc/sys/kernel/core_pattern", "O_WRONLY"), ("/proc/sys/kernel/hostname", "O_WRONLY"),
    ("/proc/sys/vm/drop_caches", "O_WRONLY"), ("/proc/sys/vm/overcommit_memory", "O_WRONLY"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "O_WRONLY"), ("/sys/fs/cgroup", "O_RDONLY"),
    ("/usr/bin/env", "O_WRONLY"), ("/usr/lib/os-release", "O_WRONLY"), ("/etc/passwd", "O_WRONLY"),
    ("/etc/ld.so.cache", "O_WRONLY"), ("/dev/mem", "O_RDONLY"), ("/dev/kmsg", "O_WRONLY"), ("/dev/ptmx", "O_RDWR"),
    ("/dev/fuse", "O_RDWR"), ("/dev/kvm", "O_RDWR"), ("/dev/loop-control", "O_RDWR"), ("/dev/vda", "O_RDONLY"),
    ("/var/lib/dpkg/status", "O_RDONLY"), ("/root", "O_RDONLY"), ("/etc/machine-id", "O_RDONLY"),
]


def answer_outside(probe):
    """The probe's answer by plain Python, in namespaces of its own as far as the user may have some."""
    apart = ["/usr/bin/unshare", "--mount", "--uts", "--ipc"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="outside-", dir="/tmp") as directory:
        done = subprocess.run([*apart, PYTHON, "-c", PRELUDE.replace("{probe}", probe)], cwd=directory, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"the probe itself is broken: {done.stderr}")
    return done.stdout.strip()


class Refused(ServiceTest):
    """Each row refused in a job, and another answer outside."""

    def answer_inside(self, probe):
        result = self.run_script(PRELUDE.replace("{probe}", probe))
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""), result)
        return result["stdout"].strip()

    def assert_row(self, name, probe, who, outside, inside=frozenset(REFUSED)):
        with self.subTest(name):
            probe = probe.replace("\\n", "\n").replace("\\\\", "\\")
            self.assertIn(self.answer_inside(probe), inside)
            if who == ANYONE or os.geteuid() == 0:
                self.assertIn(answer_outside(probe), outside if isinstance(outside, set) else {outside})

    def test_system_calls(self):
        for row in CALLS:
            self.assert_row(*row)

    def test_kinds_of_sockets(self):
        for name, family, kind, protocol, who in SOCKETS:
            probe = f"os.close(call(41, {family}, {kind}, {protocol}))"
            # What this kernel has no module for is unknown to it, and ping sockets are a group's: other errnos than the
            # filter's all the same.
            outside = {"done", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EACCES"}
            self.assert_row(name, probe, who, outside, {"EPERM"})

    def test_files(self):
        seen = 0
        for path, mode in FILES:
            probe = f"os.close(os.open({path!r}, os.{mode}))"
            with self.subTest(f"{path} {mode}"):
                self.assertIn(self.answer_inside(probe), REFUSED | {"ENOENT", "EROFS", "ENXIO"})
                # What this machine lacks, or keeps even from its root, proves nothing: only the others are counted.
                if os.geteuid() == 0:
                    answer = answer_outside(probe)
                    self.assertIn(answer, {"done", "ENOENT", "ENXIO", "ENODEV", "EACCES", "EPERM"})
                    seen += answer == "done"
        if os.geteuid() == 0:
            self.assertGreaterEqual(seen, 15, "most of the table must exist here")

    def test_no_program_gives_privilege(self):
        probe = "libc.prctl(39, 0, 0, 0, 0) != 1 or (_ for _ in ()).throw(PermissionError(1, 'no_new_privs'))"
        self.assert_row("no_new_privs", probe, ANYONE, "done", {"EPERM"})

    def test_typing_into_a_terminal(self):
        # A pseudo terminal needs /dev/ptmx, which is out of sight; on any descriptor the request itself is refused.
        for name, request in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541c), ("TIOCSETD", 0x5423), ("TIOCCONS", 0x541d)):
            self.assert_row(name, f"call(16, 1, {request}, bytes(8))", ANYONE, "ENOTTY")
            # The upper half of the argument is ignored by the kernel and must be by the filter.
            self.assert_row(name + " with upper bits", f"call(16, 1, {request | 1 << 32}, bytes(8))", ANYONE, "ENOTTY")


class Network(ServiceTest):
    """Nothing outside the sandbox can be reached, by any name."""

    def serve(self, family, address):
        """A listener outside, and what tells how many have come to it."""
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen(16)
        self.addCleanup(listener.close)
        came = []

        def accept():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    came.append(peer.recv(10))
        threading.Thread(target=accept, daemon=True).start()
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)

        def count():  # connections are accepted in their order: who came before the last one has been counted with it
            with socket.socket(family) as last:
                last.connect(listener.getsockname())
                last.sendall(b"the last")
            eventually(lambda: b"the last" in came, "the last connection")
            return len(came) - 1
        return listener, count

    def assert_unreachable(self, family, address):
        probe = f"s = socket.socket({int(family)}); s.settimeout(5); s.connect({address!r})"
        text = PRELUDE.replace("{probe}", probe)
        result = self.run_script(text)
        self.assertNotEqual(result["stdout"].strip(), "done", address)
        done = subprocess.run([PYTHON, "-c", text], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.stdout.strip(), "done", f"the probe works outside: {done.stderr}")

    def test_tcp_on_the_loopback_interface(self):
        listener, count = self.serve(socket.AF_INET, ("127.0.0.1", 0))
        self.assert_unreachable(socket.AF_INET, listener.getsockname())
        self.assertEqual(count(), 1, "only the twin outside")

    def test_tcp_over_ipv6(self):
        listener, _ = self.serve(socket.AF_INET6, ("::1", 0))
        self.assert_unreachable(socket.AF_INET6, listener.getsockname()[:2])

    def test_the_service_itself(self):
        self.assert_unreachable(socket.AF_INET, ("127.0.0.1", self.service.port))

    def test_an_abstract_unix_socket(self):
        name = b"\0coderunner-test-%d" % os.getpid()
        _, count = self.serve(socket.AF_UNIX, name)
        self.assert_unreachable(socket.AF_UNIX, name)
        self.assertEqual(count(), 1, "only the twin outside")

    def test_a_unix_socket_with_a_path(self):
        with tempfile.TemporaryDirectory(prefix="unix-", dir="/tmp") as directory:
            os.chmod(directory, 0o755)
            path = os.path.join(directory, "socket")
            self.serve(socket.AF_UNIX, path)
            os.chmod(path, 0o777)
            self.assert_unreachable(socket.AF_UNIX, path)

    def test_udp_is_not_delivered(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(10)
            text = script(f"""
                import socket
                try:
                    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    s.sendto(b'WHO', ('127.0.0.1', {receiver.getsockname()[1]}))
                except OSError: pass
                """)
            self.run_script(text)
            subprocess.run([PYTHON, "-c", text.replace("WHO", "outside")], check=True, timeout=30)
            self.assertEqual(receiver.recv(100), b"outside", "the first to arrive is the twin's")

    def test_names_are_not_resolved(self):
        result = self.run_script("""
            import socket
            try: socket.getaddrinfo('example.com', 80)
            except OSError as error: print('refused')
            """, timeout_s=30)
        self.assertEqual(result["stdout"], "refused\n")


class OtherProcesses(ServiceTest):
    """Processes of the host can neither be signalled nor changed, whatever number they have."""

    def test_by_number(self):
        bystander = subprocess.Popen(["/bin/sleep", "300"], user=SERVICE_UID if os.geteuid() == 0 else None)
        Service.bystanders.add(bystander.pid)
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        pids = [bystander.pid, self.service.process.pid, *self.service.worker_pids(), os.getpid()]
        for pid in pids:
            for name, probe in [("signal", f"os.kill({pid}, 0)"), ("signal a group", f"os.killpg({pid}, 0)"),
                                ("pidfd", f"signal.pidfd_send_signal(os.pidfd_open({pid}), 0)"),
                                ("limits", f"call(302, {pid}, 7, struct.pack('QQ', 9, 9), None)"),
                                ("priority", f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)"),
                                ("affinity", f"os.sched_setaffinity({pid}, {{0}})"),
                                ("scheduling", f"os.sched_setscheduler({pid}, os.SCHED_BATCH, os.sched_param(0))"),
                                ("input and output", f"call(251, 1, {pid}, 3 << 13)"),
                                ("memory", f"os.open('/proc/{pid}/mem', os.O_RDONLY)"),
                                ("variables", f"os.read(os.open('/proc/{pid}/environ', os.O_RDONLY), 1)"),
                                ("directory", f"os.listdir('/proc/{pid}/cwd/')"),
                                ("descriptors", f"os.listdir('/proc/{pid}/fd')")]:
                with self.subTest(f"{name} of {pid}"):
                    result = self.run_script(PRELUDE.replace("{probe}", probe))
                    self.assertIn(result["stdout"].strip(), REFUSED | {"ESRCH", "ENOENT"}, result)
        self.assertIsNone(bystander.poll())
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, bystander.pid), os.getpriority(os.PRIO_PROCESS, 0))

    def test_a_whole_user_at_once(self):
        def priorities():
            pids = (self.service.process.pid, *self.service.worker_pids())
            return {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in pids}
        before = priorities()
        self.run_script("""
            import ctypes, os
            for which in (os.PRIO_USER, os.PRIO_PGRP):
                try: os.setpriority(which, 0, 19)
                except OSError: pass
            ctypes.CDLL(None).syscall(251, 3, os.getuid(), 3 << 13)
            """)
        self.assertEqual(priorities(), before)

    def test_the_probe_reaches_a_bystander_from_outside(self):
        bystander = subprocess.Popen(["/bin/sleep", "300"])
        Service.bystanders.add(bystander.pid)
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        for probe in (f"os.kill({bystander.pid}, 0)", f"os.setpriority(os.PRIO_PROCESS, {bystander.pid}, 19)",
                      f"os.sched_setaffinity({bystander.pid}, {{0}})", f"call(251, 1, {bystander.pid}, 3 << 13)",
                      f"os.sched_setscheduler({bystander.pid}, os.SCHED_BATCH, os.sched_param(0))",
                      f"os.listdir('/proc/{bystander.pid}/fd')"):
            done = subprocess.run([PYTHON, "-c", PRELUDE.replace("{probe}", probe)], capture_output=True, text=True)
            self.assertEqual(done.stdout.strip(), "done", done.stderr)


if __name__ == "__main__":
    main()
