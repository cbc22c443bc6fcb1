"""Role: what an operator sets: every setting has its effect, from each of its three sources; README, --help, shell
completion and the systemd unit name what there is.
Callers: meson test, in the modes that tests/meson.build names.
"""
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import unittest

from contract import main
from service import AS_ROOT, PYTHON, Service, eventually

TREE = pathlib.Path(__file__).resolve().parents[2]
KEY = {"x-functions-key": "key-1"}


class Sourced(Service):
    """A service whose settings come by turns as flags, as variables and from a file."""

    def __init__(self, settings, **options):
        self.by_file = [row for row in list(settings.items())[2::3]]
        flags = [f"--{name}={value}" for name, value in list(settings.items())[0::3]]
        variables = {"CODERUNNER_" + name.upper().replace("-", "_"): value
                     for name, value in list(settings.items())[1::3]}
        super().__init__(*flags, env=variables, **options)

    def install(self):
        super().install()
        path = os.path.join(self.home, "settings")
        with open(path, "w") as file:
            file.writelines(f"{name} = {value}\n" for name, value in self.by_file)
        os.chmod(path, 0o644)
        self.env["CODERUNNER_CONFIG"] = path

    def post(self, fields, path="/api/run", headers=None, timeout=120):
        return super().post(fields, path, {**KEY, **(headers or {})}, timeout)

    def run(self, text, timeout_s=30):
        eventually(self.idle, "an idle service", 60)
        return self.post({"script": text, "detail": True, "timeout_s": timeout_s}).json

    def status(self, **fields):
        return self.post({"script": "", **fields}).status


def spin(service, seconds):
    """A client whose script runs until it is cancelled or out of time."""
    client = service.connect()
    client.request("POST", "/api/run", f'{{"script": "while True: pass", "timeout_s": {seconds}}}'.encode(), KEY)
    service.wait_busy()
    return client


def help_rows(service):
    """What --help says: {name: (takes, text, default)}."""
    done = subprocess.run(service.command("--help"), env=service.environment(), capture_output=True, text=True,
                          check=True)
    return {name: (takes, text, default) for name, takes, text, default in
            re.findall(r"^  --([a-z-]+) (\S+) +(\S.*) \[([^\[\]]+)\]$", done.stdout, re.M)}


class Effects(unittest.TestCase):
    """Each setting does what it says."""

    # The value of each, and what shows it. In the order of --help, so that each source has some of each kind.
    WARM = {
        "queue": "1", "queue-bytes": "1M", "grace": "1", "api-key": "key-0,key-1",
        "allow-origin": "https://app.example.org", "trusted-proxy": "127.0.0.1", "preload": "colorsys",
        "network": "none", "max-timeout": "40", "default-timeout": "1", "memory": "128M", "processes": "16",
        "scratch": "2M", "scratch-inodes": "100", "descriptors": "64", "script-bytes": "2K", "files": "2",
        "file-bytes": "1100000", "files-bytes": "1500000", "body-bytes": "2M", "stdout-bytes": "10",
        "stderr-bytes": "11", "artifacts": "2", "artifacts-bytes": "100",
    }
    REDUCED = {"sandbox": "reduced", "python": os.path.realpath(PYTHON), "packages": "a folder of the test's"}
    FRESH = {"runner": "fresh", "user": "daemon"}
    ALWAYS = {"listen", "workers"}  # every service of the tests is told these two

    def test_every_setting_is_tried(self):
        service = Service()
        service.install()
        self.addCleanup(shutil.rmtree, service.home)
        self.assertEqual(set(self.WARM) | set(self.REDUCED) | set(self.FRESH) | self.ALWAYS, set(help_rows(service)))

    def assert_out_of(self, service, text, word):
        result = service.run(text)
        self.assertEqual(result["exit_code"], 1, result)
        self.assertIn(word, "{type} {message}".format(**result["run"]["exception"]))

    def test_limits_access_and_queue(self):
        with Sourced(self.WARM, workers=1) as service:
            self.check_access(service)
            self.check_requests(service)
            self.check_jobs(service)
            self.check_queue(service)
            client = spin(service, 40)  # grace: not the 40 s that it may run
            service.process.terminate()
            self.assertIn(b'"exit_code":124', client.getresponse().read())
            client.close()
            self.assertEqual(service.wait_end(35), 0)

    def check_access(self, service):
        self.assertEqual(service.post({"script": ""}, headers={"x-functions-key": "key-2"}).status, 401)
        self.assertEqual(service.post({"script": ""}, headers={"Origin": "https://app.example.org"}).status, 200)
        self.assertEqual(service.post({"script": ""}, headers={"Origin": "https://www.example.org"}).status, 403)
        service.post({}, headers={"X-Forwarded-For": "192.0.2.7"})
        eventually(lambda: service.lines[-1].get("client_ip") == "192.0.2.7", "the client's address in the log")
        self.assertEqual((service.lines[0]["host"], service.lines[0]["workers"]), ("127.0.0.1", 1))

    def check_requests(self, service):
        small, large = "#" * 2048, "#" * 2049
        self.assertEqual((service.status(script=small), service.status(script=large)), (200, 413))
        for fields, status in (({"context": {"a": "", "b": ""}}, 200), ({"context": {"a": "", "b": "", "c": ""}}, 400),
                               ({"stdin": "x" * 1_000_000}, 200), ({"stdin": "x" * 1_100_001}, 413),
                               ({"context": {"a": "x" * 750_000, "b": "x" * 750_000}}, 200),
                               ({"context": {"a": "x" * 750_000, "b": "x" * 750_001}}, 413),
                               ({"ignored": "x" * 2_000_000}, 200), ({"ignored": "x" * 2 * 2**20}, 413)):
            eventually(service.idle, "an idle service", 60)
            self.assertEqual(service.status(**fields), status, list(fields))

    def check_jobs(self, service):
        self.assertEqual(service.run("import sys; print('colorsys' in sys.modules, end='')")["stdout"], "True")
        self.assertEqual(service.run("", timeout_s=1000)["run"]["limits"], {"timeout_s": 40, "memory_bytes": 2**27})
        self.assertEqual(service.run("while True: pass", timeout_s=None)["exit_code"], 124)
        self.assertEqual(service.run("b'x' * 2**28")["run"]["verdict"], "out_of_memory")
        self.assert_out_of(service, f"import socket; socket.create_connection(('127.0.0.1', {service.port}))",
                           "ConnectionRefusedError")
        self.assert_out_of(service, "import os\nfor i in range(16):\n  if os.fork() == 0: os.read(0, 1); os._exit(0)",
                           "BlockingIOError")
        self.assert_out_of(service, "open('a', 'wb').write(bytes(3 * 2**20))", "No space left on device")
        self.assert_out_of(service, "for i in range(100): open(str(i), 'w')", "No space left on device")
        self.assert_out_of(service, "f = [open('/dev/null') for i in range(64)]", "Too many open files")
        result = service.run("import sys; print('x' * 20); print('y' * 20, file=sys.stderr)")
        self.assertEqual((result["stdout"], result["stderr"][:11], result["run"]["truncated"]),
                         ("x" * 10, "y" * 11, {"stdout": True, "stderr": True}))
        for count, size, status in ((2, 50, 200), (3, 1, 500), (2, 51, 500)):
            text = f"for i in range({count}): open(f'output/{{i}}', 'w').write('x' * {size})"
            eventually(service.idle, "an idle service", 60)
            self.assertEqual(service.status(script=text), status, (count, size))

    def check_queue(self, service):
        arriving = service.connect()
        arriving.putrequest("POST", "/api/run")
        arriving.putheader("x-functions-key", KEY["x-functions-key"])
        arriving.putheader("Content-Length", "100000")
        arriving.endheaders(b" " * 50_000)
        eventually(lambda: b"coderunner_held_bytes 50000" in service.request("GET", "/metrics", None, KEY).body,
                   "bytes that are held")
        self.assertEqual(service.status(stdin="x" * 1_000_000), 429)  # too many together
        arriving.close()
        running = spin(service, 30)
        waiting = service.connect()
        waiting.request("POST", "/api/run", b'{"script": "pass"}', KEY)
        eventually(lambda: service.health()["queue"] == 1, "one that waits")
        self.assertEqual(service.status(), 429)  # one too many
        running.close()
        self.assertEqual(waiting.getresponse().status, 200)
        waiting.close()
        eventually(service.idle, "an idle service", 60)

    def test_the_reduced_sandbox_the_interpreter_and_packages(self):
        folder = pathlib.Path("/var/tmp", f"operate-test-{os.getpid()}")
        folder.mkdir()
        self.addCleanup(shutil.rmtree, folder)
        (folder / "module_of_the_test.py").write_text("answer = 42\n")
        with Sourced({**self.REDUCED, "packages": str(folder)}, workers=1) as service:
            result = service.run("import module_of_the_test, sys; print(module_of_the_test.answer, sys.executable)")
            self.assertEqual(result["stdout"], f"42 {self.REDUCED['python']}\n")
            self.assertEqual(result["run"]["sandbox"], "reduced")

    def test_fresh_runners_and_the_user(self):
        with Sourced(self.FRESH, workers=1) as service:
            self.assertEqual(service.run("")["run"]["runner"], "fresh")
            owners = {os.stat(f"/proc/{pid}").st_uid for pid in service.worker_pids()}
            daemon = pwd.getpwnam("daemon").pw_uid
            self.assertEqual(daemon in owners, AS_ROOT)  # only root can become another one


class Words(unittest.TestCase):
    """What names settings names all of them, and none that is not there."""

    @classmethod
    def setUpClass(cls):
        cls.service = Service()  # never started: lends its binary and its user
        cls.service.install()
        cls.addClassCleanup(shutil.rmtree, cls.service.home)
        cls.rows = help_rows(cls.service)

    def output(self, *words):
        return subprocess.run(self.service.command(*words), env=self.service.environment(), capture_output=True,
                              text=True, check=True, timeout=60).stdout

    def flags(self):
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", self.output("--help")))

    def test_the_readme_s_table_is_that_of_help(self):
        self.assertGreater(len(self.rows), 30)
        readme = (TREE / "README.md").read_text().replace("\\|", "\0")
        rows = re.findall(r"^\| `--(\S+) ([^`|]+)` \| `(\S+)` \| `(\S+)` \| ([^|]+) \| ([^|]+) \|$", readme, re.M)
        self.assertEqual({name: (takes.replace("\0", "|"), text, default) for name, takes, _, _, default, text in rows},
                         self.rows)
        for name, _, variable, key, _, _ in rows:
            self.assertEqual((variable, key), ("CODERUNNER_" + name.upper().replace("-", "_"), name))

    def complete(self, *words):
        """What bash offers for the last of `words`."""
        line = " ".join(f"'{word}'" for word in ("coderunner", *words))
        done = subprocess.run(
            ["/bin/bash", "--norc", "-c", f'source /dev/stdin; cd /; COMP_WORDS=({line}); COMP_CWORD={len(words)}\n'
             '_coderunner && printf "%s\\n" "${COMPREPLY[@]}"'],
            input=self.output("--completion", "bash"), capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_bash_completes_flags_and_what_they_take(self):
        self.assertEqual(self.complete("--"), self.flags())
        for words, offered in ((("--run",), {"--runner"}), (("--runner", ""), {"warm", "fresh"}),
                               (("--runner", "w"), {"warm"}), (("--runner", "=", "f"), {"fresh"}),
                               (("--runner", "="), {"warm", "fresh"}), (("serve", "--sandbox", "s"), {"strict"}),
                               (("--network", ""), {"none", "host"}), (("--memory", ""), set()), (("ser",), {"serve"}),
                               (("--python", "/usr/bin/python3"), None), (("--config", "/etc/host"), None)):
            with self.subTest(words):
                got = self.complete(*words)
                if offered is None:
                    self.assertIn(words[-1], {path[:len(words[-1])] for path in got})
                else:
                    self.assertEqual(got, offered)

    def test_more_descriptors_than_the_process_may_have_are_refused_with_the_cure(self):
        script = pathlib.Path(self.service.home, "script.py")
        script.write_text("print('ran')\n")
        for flags, status in ((["--descriptors=100"], 0), ([], 70)):
            line = self.service.command("run", *flags, str(script))
            at = line.index(self.service.binary)
            done = subprocess.run([*line[:at], "/usr/bin/prlimit", "--nofile=100:100", "--", *line[at:]],
                                  env=self.service.environment(), capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (status, "" if status else "ran\n"), done)
            self.assertEqual("LimitNOFILE=" in done.stderr, status != 0, done)

    def test_completion_is_for_bash(self):
        done = subprocess.run(self.service.command("--completion", "fish"), env=self.service.environment(),
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--completion: takes bash", done.stderr)

    def test_the_systemd_unit_names_what_there_is_and_gives_time_to_end(self):
        text = (TREE / "scripts" / "coderunner.service").read_text()
        unit = dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.M))
        words = unit["ExecStart"].split()
        self.assertEqual((os.path.basename(words[0]), words[1]), ("coderunner", "serve"))
        flags = dict(zip(words[2::2], words[3::2]))
        self.assertLessEqual(set(flags), self.flags())
        variables = {"CODERUNNER_" + name.upper().replace("-", "_") for name in self.rows}
        self.assertLessEqual(set(re.findall(r"CODERUNNER_[A-Z_]+", text)), variables)
        # Beyond the grace: 25 s for jobs that are told to end, and the keeper's 6 s.
        self.assertGreater(int(unit["TimeoutStopSec"]), int(flags["--grace"]) + 31)
        self.assertEqual((unit["Delegate"], unit["OOMPolicy"], unit["KillMode"]), ("yes", "continue", "mixed"))
        self.output("--check", *words[2:])  # its flags are taken, and mean the sandbox that they ask for


if __name__ == "__main__":
    main()
