"""Role: what a job's jail is made of, as the job itself sees it: flags of its mounts, its limits, its namespaces.
Callers: meson test, once a mode of starting the service.
Law: the expected values are the tests' own. The service is started with limits far above those of a job, as far as
whoever runs the test may raise them: a limit that the job has is then the sandbox's.
"""
import ctypes
import json
import os
import resource

from contract import ServiceTest, main
from service import REDUCED, descendants

MIB = 1 << 20
INFINITY = resource.RLIM_INFINITY
CLONE_NEWNS, MS_REC, MS_SHARED = 0x20000, 0x4000, 1 << 20  # unshare(2), mount(2)
RLIMITS = {"core": 4, "fsize": 1, "memlock": 8, "msgqueue": 12, "nice": 13, "nofile": 7, "rtprio": 14, "sigpending": 11,
           "stack": 3, "nproc": 6, "as": 9}

LOOK = """
import json, os, resource
mounts = {}
try:
    for line in open('/proc/self/mountinfo'):
        words = line.split()
        tied = words[6:words.index('-')]  # to mounts of others: what is mounted there comes here (mount_namespaces(7))
        mounts[words[4]] = words[5].split(',') + words[-1].split(',') + tied  # the last one is on top
except PermissionError: pass
limits = {str(i): resource.prlimit(0, i) for i in range(16)}
spaces = {name: os.readlink(f'/proc/self/ns/{name}') for name in ('user', 'mnt', 'pid', 'net', 'ipc', 'uts')}
print(json.dumps([mounts, limits, spaces, os.uname().nodename]))
"""


def raise_own_limits():
    for number in RLIMITS.values():
        highest = (1 << 20, 1 << 20) if number == RLIMITS["nofile"] else (INFINITY, INFINITY)
        if os.geteuid() == 0:
            try:
                resource.setrlimit(number, highest)
            except (OSError, ValueError):
                pass  # not in every container


def share_own_mounts():
    """As systemd has them: what happens to them happens wherever they have been cloned to, unless that is undone."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for failed in (libc.unshare(CLONE_NEWNS), libc.mount(None, b"/", None, MS_REC | MS_SHARED, None)):
            if failed:
                raise OSError(ctypes.get_errno(), "own mounts")


class Jail(ServiceTest):
    """One look from inside."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        raise_own_limits()
        share_own_mounts()
        super().setUpClass()

    def look(self):
        return json.loads(self.output_of(LOOK))

    def test_the_level_is_the_one_that_was_asked_for(self):
        self.assertEqual(self.service.health()["sandbox"]["level"], "reduced" if REDUCED else "full")

    def test_limits(self):
        limits = {name: tuple(self.look()[1][str(number)]) for name, number in RLIMITS.items()}
        queues = 0 if REDUCED else 819200
        for name, value in {"core": 0, "fsize": 256 * MIB, "memlock": 64 * 1024, "msgqueue": queues, "nice": 0,
                            "nofile": 1024, "rtprio": 0, "sigpending": 1024}.items():
            self.assertEqual(limits[name], (value, value), name)
        self.assertEqual(limits["stack"][0], 8 * MIB)
        # Where a cgroup counts, it does so exactly, and these are not set.
        layers = self.service.health()["sandbox"]["layers"]
        if "cgroup" not in layers["process_limit"]["detail"]:
            self.assertIn(limits["nproc"][1], range(128, 128 + 4096))  # on top of what is counted besides
        if "cgroup" not in layers["memory"]["detail"]:
            self.assertEqual(limits["as"], (10 << 30, 10 << 30))

    def test_mounts(self):
        mounts = self.look()[0]
        if REDUCED:
            return self.assertNotIn("/work", mounts, "no tree of its own")
        scratch = {"rw", "nosuid", "nodev", f"size={256 * 1024}k", "nr_inodes=16384"}
        want = {"/": {"ro", "nosuid", "nodev", "size=4096k", "nr_inodes=4096", "mode=755"},
                "/proc": {"rw", "nosuid", "nodev", "noexec"}, "/usr": {"ro", "nosuid", "nodev"},
                "/work": scratch, "/tmp": scratch, "/dev/shm": scratch,
                **{f"/dev/{name}": {"nosuid", "noexec"} for name in ("null", "zero", "full", "random", "urandom")}}
        for place, flags in want.items():
            self.assertLessEqual(flags, set(mounts[place]), place)
        for place, flags in mounts.items():
            # Nothing that could give a privilege, and nothing to write to but what is the job's own.
            self.assertIn("nosuid", flags, place)
            self.assertEqual([flag for flag in flags if ":" in flag and "=" not in flag], [], place)
            if "rw" in flags[:1] and place not in want:
                self.fail(f"{place} is writable")

    def test_namespaces(self):
        _, _, inside, host = self.look()
        own = {name: os.readlink(f"/proc/self/ns/{name}") for name in inside}
        apart = {name for name in inside if inside[name] != own[name]}
        if REDUCED:
            # Started where namespaces are refused, the service is in one user namespace of the test's making.
            return self.assertLessEqual(apart, {"user"})
        self.assertEqual(apart, set(inside))
        self.assertEqual(host, "sandbox")
        if os.geteuid() == 0:  # a worker hides its own from other users
            worker = {name: os.readlink(f"/proc/{self.service.worker_pids()[0]}/ns/{name}") for name in inside}
            self.assertEqual({name for name in worker if worker[name] != own[name]}, set(inside) - {"pid"})
            # One for each job, so that nothing in it outlives the job.
            self.assertEqual({name for name in inside if inside[name] != worker[name]}, {"pid", "ipc", "mnt"})

    def test_what_a_process_could_regain_is_gone(self):
        status = dict(line.split(":\t", 1) for line in self.output_of(
            "print(open('/proc/self/status').read(), end='')").splitlines() if ":\t" in line)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        if not REDUCED:
            self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"], status["Groups"].strip()), ("1", "2", ""))
        self.assertGreaterEqual(int(status["Seccomp_filters"]), 2, "the worker's own filter stays under it")


if __name__ == "__main__":
    main()
