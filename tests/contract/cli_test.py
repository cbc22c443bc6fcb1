"""Role: the command line: `coderunner run`, --version, --help, and settings that are wrong.
Callers: meson test, once a mode of starting the service.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from contract import main, script
from service import FLAGS, SERVICE_UID, Service, eventually, descendants, stat_fields


class CommandLine(unittest.TestCase):
    """One binary, no HTTP."""

    @classmethod
    def setUpClass(cls):
        cls.service = Service()  # never started: lends its binary and its user
        cls.service.install()
        cls.addClassCleanup(shutil.rmtree, cls.service.home)

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="cli-test-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.place)
        if os.geteuid() == 0:
            os.chown(self.place, SERVICE_UID, SERVICE_UID)  # whoever the command becomes may write its output here
        os.chmod(self.place, 0o777)

    def command(self, *words, **options):
        return subprocess.run(self.service.command(*map(str, words)), env=self.service.environment(), cwd=self.place,
                              capture_output=True, timeout=120, **{"stdin": subprocess.DEVNULL, **options})

    def file(self, name, text):
        path = self.place / name
        path.write_text(script(text))
        path.chmod(0o644)
        return path

    def run_script(self, text, *words):
        return self.command("run", *FLAGS, self.file("job.py", text), *words)

    def tearDown(self):
        self.assertEqual(os.listdir(self.service.temp), [], "a working directory was left behind")

    def test_run_passes_output_and_exit_code_on(self):
        for code in (0, 1, 3, 255):
            with self.subTest(code):
                done = self.run_script(f"import sys; print('out'); print('err', file=sys.stderr); sys.exit({code})")
                self.assertEqual((done.returncode, done.stdout, done.stderr), (code, b"out\n", b"err\n"))

    def test_run_keeps_bytes_as_they_are(self):
        done = self.run_script("import os; os.write(1, bytes(range(256)))")
        self.assertEqual(done.stdout, bytes(range(256)))

    def test_run_gives_arguments_and_inputs(self):
        one, two = self.file("one.csv", "1"), self.file("two.csv", "2")
        done = self.run_script("""
            import os, sys
            print(sys.argv[1:], {n: open('input/' + n).read() for n in sorted(os.listdir('input'))})
            """, "--input", one, "--input", two, "--", "a", "-b", "--help")
        self.assertEqual(done.stdout, b"['a', '-b', '--help'] {'one.csv': '1', 'two.csv': '2'}\n", done.stderr)

    def test_run_writes_artifacts_where_it_is_told(self):
        done = self.run_script("""
            import os
            open('output/a.txt', 'w').write('text'); open('output/b.bin', 'wb').write(bytes(256))
            os.symlink('/etc/passwd', 'output/link')
            """, "--output", self.place / "out")
        self.assertEqual(done.returncode, 0, done.stderr)
        got = {path.name: path.read_bytes() for path in (self.place / "out").iterdir()}
        self.assertEqual(got, {"a.txt": b"text", "b.bin": bytes(256)})

    def test_run_ends_by_timeout_and_by_signal_as_the_service_does(self):
        done = self.command("run", *FLAGS, "--default-timeout=1", self.file("job.py", "while True: pass"))
        self.assertEqual(done.returncode, 124, done.stderr)
        self.assertTrue(done.stderr.rstrip(b"\n").endswith(b"[Error: Script timed out]"), done.stderr)
        self.assertEqual(self.run_script("import os; os.kill(os.getpid(), 11)").returncode, 139)

    def test_run_shows_tracebacks(self):
        done = self.run_script("1/0")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.endswith(b"ZeroDivisionError: division by zero\n"), done.stderr)

    def test_run_of_what_can_not_be_read_says_so(self):
        done = self.command("run", *FLAGS, self.place / "missing.py")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, b"")
        self.assertIn(b"missing.py", done.stderr)

    def test_run_shows_a_script_nothing_of_its_own_environment(self):
        from service import SECRET
        done = self.run_script("import os; print(dict(os.environ), open('/proc/self/environ').read())")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(SECRET.encode(), done.stdout)

    def test_run_that_is_interrupted_leaves_no_process(self):
        path = self.file("job.py", "import time\nprint('running', flush=True)\ntime.sleep(300)\n")
        process = subprocess.Popen(self.service.command("run", *FLAGS, str(path)), env=self.service.environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        Service.bystanders.add(process.pid)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"running\n")
        below = descendants(process.pid)
        self.assertTrue(below)
        process.send_signal(signal.SIGTERM)
        self.assertNotEqual(process.wait(20), 0)
        eventually(lambda: all((stat_fields(pid) or ["Z"])[0] == "Z" for pid in below), "no process left", 5)
        Service.bystanders.discard(process.pid)
        eventually(lambda: os.listdir(self.service.temp) == [], "no directory left", 5)

    def test_version_and_help(self):
        self.assertRegex(self.command("--version").stdout.decode(), r"^coderunner \d+\.\d+\.\d+\n$")
        text = self.command("--help")
        self.assertEqual(text.returncode, 0)
        for flag in (b"--listen", b"--workers", b"--queue", b"--memory", b"--api-key", b"--sandbox", b"--grace"):
            self.assertIn(flag, text.stdout)

    def test_wrong_settings_are_named_and_nothing_starts(self):
        rows = [(["serve", "--workers=-1"], b"workers"), (["serve", "--workers=x"], b"workers"),
                (["serve", "--listen=nowhere"], b"listen"), (["serve", "--memory=lots"], b"memory"),
                (["serve", "--sandbox=none"], b"sandbox"), (["serve", "--no-such-flag"], b"no-such-flag"),
                (["serve", "--config=/nonexistent.ini"], b"/nonexistent.ini"), (["dance"], b"dance"),
                (["run"], b""), (["serve", "--python=/nonexistent/python"], b"/nonexistent/python")]
        for words, named in rows:
            with self.subTest(words):
                done = self.command(*words)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stdout, b"")
                self.assertIn(named, done.stderr)


class Settings(unittest.TestCase):
    """Flag beats variable beats file."""

    def limit_of(self, service):
        return service.post({"script": "pass", "detail": True}).json["run"]["limits"]["timeout_s"]

    def test_precedence(self):
        with tempfile.NamedTemporaryFile("w", prefix="cli-test-", dir="/tmp") as config:
            config.write("default-timeout = 11\nqueue = 7\n")
            config.flush()
            os.chmod(config.name, 0o644)
            rows = [([f"--config={config.name}"], {}, 11),
                    ([f"--config={config.name}"], {"CODERUNNER_DEFAULT_TIMEOUT": "12"}, 12),
                    ([f"--config={config.name}", "--default-timeout=13"], {"CODERUNNER_DEFAULT_TIMEOUT": "12"}, 13)]
            for words, variables, want in rows:
                with self.subTest(want), Service(*words, env=variables, workers=1) as service:
                    self.assertEqual(self.limit_of(service), want)

    def test_the_functions_host_sets_the_port_when_no_flag_does(self):
        import socket
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with Service(env={"FUNCTIONS_CUSTOMHANDLER_PORT": str(port)}, workers=1) as service:
            self.assertNotEqual(service.port, port, "the flag --listen=127.0.0.1:0 comes first")
        with Service(env={"FUNCTIONS_CUSTOMHANDLER_PORT": str(port)}, workers=1, listen=None) as service:
            self.assertEqual(service.port, port)


if __name__ == "__main__":
    main()
