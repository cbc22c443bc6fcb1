"""Role: `coderunner --check`, the same report in health, and --sandbox=strict: what the machine allows, with cause and
cure; a layer that does not hold is found out.
Callers: meson test, once a mode of starting the service.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

from contract import main
from service import AS_ROOT, FLAGS, REDUCED, REFUSED, RUNNER, Service

PROBE = pathlib.Path(__file__).parents[2] / "supervisor/sandbox_probe.py"
FULL, REDUCED_STATUS, UNUSABLE = 0, 3, 1
# What is tried at every start. `--check` tries these and, with small limits, what has to be used up.
TRIED = ["capabilities", "environment", "files", "ipc", "network", "no_new_privs", "other_processes", "process_limit",
         "read_only_tree", "rlimits", "syscalls"]


class Installed(unittest.TestCase):
    """The binaries in a place of their own, as the user that MODE asks for."""

    worker = None  # another one than the production's

    @classmethod
    def setUpClass(cls):
        cls.service = Service()
        cls.service.install()
        cls.addClassCleanup(shutil.rmtree, cls.service.home)
        if cls.worker:
            shutil.copy(os.path.join(os.environ["TEST_PROGRAMS"], cls.worker),
                        os.path.join(cls.service.home, "coderunner-worker"))

    @classmethod
    def command(cls, *words):
        return subprocess.run(cls.service.command(*words), env=cls.service.environment(), cwd="/",
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120)

    @classmethod
    def check(cls):
        done = cls.command("--check", "--json", *FLAGS)
        if not done.stdout:
            raise AssertionError(done.stderr)
        return done.returncode, json.loads(done.stdout)

    def tearDown(self):
        self.assertEqual(os.listdir(self.service.temp), [], "a directory was left behind")


class Check(Installed):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.status, cls.report = cls.check()

    def test_every_layer_is_tried_and_holds(self):
        report = self.report
        self.assertEqual(self.status, REDUCED_STATUS if REDUCED else FULL, report)
        self.assertEqual(report["level"], "reduced" if REDUCED else "full")
        weak = {name for name, layer in report["layers"].items() if layer["status"] != "holds"}
        self.assertEqual(weak, {"namespaces"} if REDUCED else set(), report)
        self.assertLessEqual({*TRIED, "memory", "scratch", "namespaces"}, set(report["layers"]))
        for name in set(report["layers"]) - weak:
            self.assertTrue(report["layers"][name]["tried"], name)

    def test_a_limit_on_all_processes_of_the_user_is_not_used_up(self):
        layer = self.report["layers"]["process_limit"]
        alone = layer["detail"] == "pids cgroup"
        self.assertEqual(layer["tried"], "start more threads than --processes" if alone else "fork past RLIMIT_NPROC")

    def test_both_kinds_of_runner_are_tried(self):
        self.assertEqual(self.report["runner"], "fresh and warm" if RUNNER == "warm" else "fresh")

    def test_a_reduced_level_has_its_cause_and_its_cure(self):
        layer = self.report["layers"]["namespaces"]
        if REFUSED:
            self.assertEqual(layer["found"], "user namespaces: denied by user.max_user_namespaces=0")
            self.assertEqual(layer["cure"], "sysctl -w user.max_user_namespaces=15000")
        elif REDUCED:
            self.assertIn("--sandbox=reduced", layer["detail"])
            self.assertIn("--sandbox=reduced", layer["cure"])
        else:
            self.assertNotIn("cure", layer)

    def test_who_counts_the_memory_is_said_and_what_would_be_better(self):
        source = self.report["memory_accounting"]
        self.assertIn(source, ("watcher", "cgroup v1", "cgroup v2"))
        self.assertEqual("cure" in self.report["layers"]["memory"], source == "watcher")
        if os.geteuid() == 0 and not AS_ROOT:  # a user made up for this test: no cgroup is its own
            self.assertEqual(source, "watcher")

    def test_the_machine_is_named(self):
        self.assertEqual(self.report["kernel"], os.uname().release)
        self.assertRegex(self.report["python"], r"^3\.\d+\.\d+")
        self.assertIsInstance(self.report["landlock_abi"], int)

    def test_the_table_says_the_same(self):
        done = self.command("--check", *FLAGS)
        self.assertEqual(done.returncode, REDUCED_STATUS if REDUCED else FULL, done.stderr)
        lines = done.stdout.decode().splitlines()
        self.assertEqual(lines[0], "sandbox   " + ("reduced" if REDUCED else "full"))
        for name in TRIED:
            self.assertEqual([line.split()[1] for line in lines if line.startswith(name + " ")], ["holds"], name)
        self.assertIn(os.uname().release, done.stdout.decode())

    def test_strict_refuses_what_is_not_to_be_had(self):
        if not REFUSED:  # elsewhere it is to be had, and the flag is the only obstacle
            done = self.command("--check", "--sandbox=strict")
            self.assertEqual(done.returncode, FULL, done.stderr)
            return
        for words in (["--check"], ["serve", "--listen=127.0.0.1:0", "--workers=1"]):
            done = self.command(*words, "--sandbox=strict")
            self.assertEqual((done.returncode, done.stdout), (UNUSABLE, b""))
            for word in (b"unshare(user): ENOSPC", b"user.max_user_namespaces=0",
                         b"sysctl -w user.max_user_namespaces="):
                self.assertIn(word, done.stderr)

    def test_health_carries_the_report_of_the_start(self):
        with Service(workers=1) as service:
            sandbox = service.health()["sandbox"]
            for name in TRIED:
                self.assertEqual(sandbox["layers"][name]["status"], "holds", sandbox)
            self.assertEqual(sandbox["kernel"], os.uname().release)
            self.assertEqual(sandbox, service.health()["sandbox"])
            started = service.lines[0]
        self.assertEqual(started.get("detail", "").startswith("namespaces: "), REDUCED, started)

    def test_a_network_that_is_allowed_is_missing_and_nothing_fails(self):
        done = self.command("--check", "--json", "--network=host", *FLAGS)
        layers = json.loads(done.stdout)["layers"]
        self.assertEqual((done.returncode, layers["network"]["status"]), (REDUCED_STATUS, "missing"), layers)
        self.assertEqual([name for name, layer in layers.items() if layer["status"] == "fails"], [])


class Twin(unittest.TestCase):
    """What is refused inside works outside, so that no attempt is refused for a reason of its own."""

    # Without root, the kernel's rules for users keep an ordinary user from these as well.
    NEEDS_ROOT = {"make a file at the root", "become root", "find one", "raise its priority",
                  "write into the folders that Python imports from"}

    def test_every_attempt_succeeds_outside_the_sandbox(self):
        for pids_cgroup in (True, False):
            with self.subTest(pids_cgroup=pids_cgroup):
                self.attempt_everything(pids_cgroup)

    def attempt_everything(self, pids_cgroup):
        place = tempfile.mkdtemp(prefix="check-test-", dir="/tmp")
        self.addCleanup(shutil.rmtree, place)
        bait = pathlib.Path(place, "bait")
        bait.touch()
        with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind("")
            abstract.listen()
            fields = {"level": "full", "network": "none", "pid": os.getpid(), "file": str(bait), "variable": "THE_BAIT",
                      "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("user", "pid", "net")},
                      "started": int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]),
                      "port": port.getsockname()[1], "abstract": abstract.getsockname()[1:].decode(),
                      "shared_memory": -1, "descriptors": 64, "scratch": 1 << 20, "processes": 8,
                      "pids_cgroup": pids_cgroup}
            done = subprocess.run([sys.executable, "-B", PROBE, json.dumps(fields)], cwd=place, capture_output=True,
                                  env={"THE_BAIT": "1"}, timeout=60, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        expected = {tried for _, tried, *_ in rows} - {"attach System V shared memory of the service"}
        if os.geteuid() != 0:
            expected -= self.NEEDS_ROOT
        self.assertGreater(len(expected), 15)
        self.assertEqual({tried for _, tried, verdict, _ in rows if verdict == "allowed"} & expected,
                         expected, done.stdout)
        self.assertEqual(os.listdir(place), ["bait"], "the probe leaves nothing behind")


class WithoutFilter(Installed):
    """A worker that forgets the filter for system calls, and says that it is there."""

    worker = "worker_without_filter"

    def test_check_finds_out(self):
        status, report = self.check()
        self.assertEqual(status, UNUSABLE)
        layer = report["layers"]["syscalls"]
        self.assertEqual((layer["status"], layer["active"]), ("fails", False))
        self.assertIn("io_uring_setup(): it reached the kernel", layer["found"])

    # Fresh runners, as it is they who are without: a warm one puts its filter on by itself.
    def test_strict_refuses_to_start(self):
        if REDUCED:
            return  # strict would refuse that already
        done = self.command("serve", "--listen=127.0.0.1:0", "--workers=1", "--sandbox=strict", "--runner=fresh")
        self.assertEqual((done.returncode, done.stdout), (UNUSABLE, b""))
        self.assertIn(b"syscalls fails", done.stderr)

    def test_auto_starts_and_says_it_aloud(self):
        service = Service("--runner=fresh", workers=1)
        service.install = lambda: shutil.copytree(self.service.home, service.home)
        service.home = tempfile.mktemp(prefix="service-test-", dir="/tmp")
        service.temp, service.binary = service.home + "/tmp", service.home + "/coderunner"
        with service:
            self.assertIn("syscalls fails", service.lines[0]["detail"])
            self.assertEqual(service.health()["sandbox"]["layers"]["syscalls"]["status"], "fails")
        self.assertIn(b"the sandbox does not hold what it promises: ", service.errors)


if __name__ == "__main__":
    main()
