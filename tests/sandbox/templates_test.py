"""Role: the interpreters that warm runners are forked from: what they see of jobs, what jobs see of them, how they end.
Callers: meson test, in the modes that have warm runners.
Law: the template's side of each test is a module of the test's own, preloaded, so that it speaks from inside.
"""
import concurrent.futures
import os
import pathlib
import signal
import time

from contract import ServiceTest, folder_for_all, main
from service import REDUCED, RUNNER, Service, eventually, stat_fields

START_TIME = 19  # proc(5), counted from the third field of stat

# Imported by the template with packages: it leaves files wherever it may, and goes on when the test says so.
PRELOADED = """
import os, time
places = {os.getcwd(), os.environ['HOME'], os.environ['TMPDIR']}
for place in places:
    with open(place + '/from-the-template', 'w') as file:
        file.write('x')
here = os.path.dirname(__file__)
for _ in range(6000):
    if os.path.exists(here + '/go-on'):
        break
    time.sleep(0.01)
seen = {name for place in places for name in os.listdir(place)}
pid = os.getpid()
"""

# What a job tries while a template imports: to leave something for it, in each folder that it can name.
INTRUDE = """
import os
here = os.getcwd()
above = os.path.dirname(os.path.dirname(here))
found = []
for name in {'fresh', 'warm-1', 'warm-2', 'packages-1', 'packages-2'} - {os.path.basename(os.path.dirname(here))}:
    for inside in ('', '/work', '/tmp'):
        for attempt in (lambda path: os.listdir(path), lambda path: open(path + '/from-a-job', 'w'),
                        lambda path: os.rename(path, path + '-away'), lambda path: os.rmdir(path),
                        lambda path: os.symlink(here, path + '/link')):
            try:
                attempt(above + '/' + name + inside)
                found.append(name + inside)
            except OSError:
                pass
for folder in ('.', os.environ['HOME'], os.environ['TMPDIR']):
    open(folder + '/from-a-job', 'w').close()
print(found)
"""


class WhileItImports(ServiceTest):
    """A template that takes its time."""

    workers = 1

    def setUp(self):
        self.folder = folder_for_all(type(self))
        pathlib.Path(self.folder, "preloaded_by_the_test.py").write_text(PRELOADED)
        self.service = self.enterContext(
            Service(f"--packages={self.folder}", "--preload=preloaded_by_the_test", workers=1))

    @classmethod
    def setUpClass(cls):
        pass  # no runner is warm here before the test says so

    def go_on(self):
        pathlib.Path(self.folder, "go-on").touch()
        eventually(lambda: self.output_of("import os, preloaded_by_the_test as m; print(m.pid == os.getpid())") ==
                           "False\n",
                   "a runner of the template that took its time", 60)
        self.service.remember()

    def importing(self):
        both = eventually(lambda: len(self.service.templates()) == 2 and self.service.templates(), "two templates")
        return max(both, key=lambda pid: int(stat_fields(pid)[START_TIME]))

    def test_it_and_jobs_see_nothing_of_each_other(self):
        self.importing()
        for _ in range(3):
            result = self.run_script(INTRUDE)
            self.assertEqual((result["stdout"], result["stderr"]), ("[]\n", ""))
        self.go_on()
        for _ in range(2):
            result = self.run_script("""
                import os, preloaded_by_the_test
                print(sorted(preloaded_by_the_test.seen))
                for place in '.', os.environ['HOME'], os.environ['TMPDIR']:
                    print(sorted(os.listdir(place)))
                open('from-a-job', 'w').close(); open(os.environ['TMPDIR'] + '/from-a-job', 'w').close()
                """, detail=True)
            self.assertEqual((result["stderr"], result["run"]["runner"]), ("", "warm"))
            own = "['input', 'output', 'script.py']\n"
            self.assertEqual(result["stdout"], "['from-the-template']\n" + 2 * own + "[]\n")

    def test_one_that_ends_while_it_imports_costs_no_job(self):
        template = self.importing()
        self.assertEqual(self.output_of("print(1)"), "1\n")
        os.kill(template, signal.SIGKILL)
        eventually(lambda: self.service.templates() - {template}, "another template")
        self.assertEqual(self.output_of("print(2)"), "2\n")
        self.go_on()
        self.assertEqual(self.output_of("print(3)"), "3\n")


# Those that end a program unless it does something about them, and what Python makes exceptions of.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)


class Disturbed(ServiceTest):
    """A template that is sent signals, as before Linux 6.12 a job of its user can do at the reduced level."""

    workers = 1
    arguments = ["--preload=json"]

    def test_it_ends_and_neither_a_job_nor_the_next_one_notices(self):
        for number in ENDING:
            with self.subTest(number.name):
                template, = self.service.templates()
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    job = pool.submit(self.service.post, {"script": "import time; time.sleep(1); print('unharmed')"})
                    self.service.wait_busy()
                    os.kill(template, number)
                    eventually(lambda: template not in self.service.templates(), "the template's end")
                    answer = job.result()
                self.assertEqual((answer.json["exit_code"], answer.json["stdout"]), (0, "unharmed\n"), answer)
                self.service.remember()

    def test_one_that_is_stopped_is_replaced_and_costs_no_job_and_no_worker(self):
        # It forks no runner, and does not reap the one that is parked: at the full level nothing of that job's PID
        # namespace can end then.
        workers = self.service.worker_pids()
        for _ in range(2):
            template, = self.service.templates()
            os.kill(template, signal.SIGSTOP)
            for number in range(3):
                self.assertEqual(self.output_of(f"print({number})"), f"{number}\n")
            eventually(lambda: len(self.service.templates() - {template}) == 1, "another template")
            eventually(lambda: self.run_script("pass", detail=True)["run"]["runner"] == "warm", "a runner of it")
        self.assertEqual(self.service.worker_pids(), workers)
        self.service.remember()

    def test_one_that_is_stopped_while_a_sandbox_is_parked_costs_no_worker(self):
        workers = self.service.worker_pids()
        for turn in range(10):
            template, = self.service.templates()
            self.assertEqual(self.output_of(f"print({turn})"), f"{turn}\n")  # the next sandbox is begun with its end
            time.sleep(turn / 2000)
            os.kill(template, signal.SIGSTOP)
            self.assertEqual(self.output_of("print('after')"), "after\n")
            eventually(lambda: len(self.service.templates() - {template}) == 1, "another template", 30)
            eventually(lambda: self.run_script("pass", detail=True)["run"]["runner"] == "warm", "a runner of it")
        self.assertEqual(self.service.worker_pids(), workers)
        self.service.remember()

    def test_how_a_job_ended_is_known_though_its_template_is_stopped_meanwhile(self):
        # The runner has no last word of its own, and the template does not tell.
        for text, code in (("os.kill(os.getpid(), 9)", 137), ("os._exit(3)", 3), ("print('end')", 0)):
            with self.subTest(text), concurrent.futures.ThreadPoolExecutor() as pool:
                template, = self.service.templates()
                job = pool.submit(self.service.post, {"script": f"import os, time; time.sleep(1); {text}",
                                                      "timeout_s": 60})
                self.service.wait_busy()
                os.kill(template, signal.SIGSTOP)
                self.assertEqual(job.result().json["exit_code"], code)
                eventually(lambda: self.service.templates() - {template}, "another template")
                self.service.remember()

    def test_a_job_can_not_send_it_any(self):
        found = self.output_of("""
            import os
            def refused(attempt):
                try: attempt()
                except OSError as error: return type(error).__name__
                return 'allowed'
            parent = os.getppid()
            print(parent, refused(lambda: os.kill(parent, 0)) if parent else '',
                  refused(lambda: os.listdir(f'/proc/{parent}/fd')), refused(lambda: open(f'/proc/{parent}/mem', 'rb')))
            """).split()
        if REDUCED:
            template, = self.service.templates()
            self.assertEqual(found, [str(template), "PermissionError", "PermissionError", "PermissionError"])
        else:
            self.assertEqual(found, ["0", "FileNotFoundError", "FileNotFoundError"])


# A package that tells who has imported it.
PACKAGE = "import os\npid = os.getpid()\n"
WHO_HAS = "import os, {0}\nprint('the job' if {0}.pid == os.getpid() else 'the template')"
IS_THERE = "import sys\nprint('{0}' in sys.modules, 'colorsys' in sys.modules)"


class WithPackages(ServiceTest):
    """Two templates: one has packages besides, for the scripts that import any."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for_all(cls)
        for name in ("a_package", "another"):
            pathlib.Path(cls.folder, f"{name}.py").write_text(PACKAGE)
        cls.arguments = [f"--packages={cls.folder}", "--preload=colorsys,a_package,not_installed?,missing"]
        super().setUpClass()
        eventually(lambda: cls.service.post({"script": WHO_HAS.format("a_package")}).json["stdout"] == "the template\n",
                   "a template with packages")
        cls.service.remember()

    def test_a_script_that_imports_packages_has_them_whatever_ran_before(self):
        for script in ("pass", WHO_HAS.format("a_package"), WHO_HAS.format("a_package"), "pass"):
            with self.subTest(script):
                self.run_script(script)
                result = self.run_script(WHO_HAS.format("a_package"), detail=True)
                self.assertEqual((result["stdout"], result["run"]["runner"]), ("the template\n", "warm"))

    def test_one_that_imports_none_has_none_after_another_such(self):
        self.run_script("import json")
        self.assertEqual(self.output_of(IS_THERE.format("a_package")), "False True\n")

    def test_packages_that_are_not_preloaded_come_beside_those_that_are(self):
        self.assertEqual(self.output_of(WHO_HAS.format("another")), "the job\n")
        self.assertEqual(self.output_of("import another\n" + IS_THERE.format("a_package")), "True True\n")

    def test_a_file_of_the_request_counts(self):
        self.run_script("pass")
        result = self.run_files({"main.py": "import helper", "helper.py": WHO_HAS.format("a_package")}, "main.py")
        self.assertEqual(result["stdout"], "the job\n")  # another entry point is another interpreter
        self.run_script("pass")
        result = self.run_files({"script.py": "import helper", "helper.py": WHO_HAS.format("a_package")}, "script.py")
        self.assertEqual(result["stdout"], "the template\n")

    def test_either_may_die(self):
        for script in ("pass", WHO_HAS.format("a_package")):
            for pid in self.service.templates():
                with self.subTest(script, pid=pid):
                    self.run_script(script)
                    os.kill(pid, signal.SIGKILL)
                    self.assertEqual(self.run_script(script)["stderr"], "")
                    eventually(lambda: len(self.service.templates() - {pid}) == 2, "another one")
            eventually(lambda: self.output_of(WHO_HAS.format("a_package")) == "the template\n", "packages again")
        self.service.remember()

    def test_the_log_names_what_can_not_be_imported(self):
        self.assertIn(b"not preloaded, the import fails: missing\n", self.service.errors)


class Rehearsed(ServiceTest):
    """A runner has the pages that a small script writes to before the job comes."""

    workers = 1
    arguments = ["--preload=json,re,random"]

    @staticmethod
    def private_kib(rollup):
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))

    def test_a_small_script_needs_few_more(self):
        runner, = self.service.runners()
        parked = self.private_kib(pathlib.Path(f"/proc/{runner}/smaps_rollup").read_text())
        at_work = self.private_kib(self.output_of("print('hello'); print(open('/proc/self/smaps_rollup').read())"))
        self.assertGreater(parked, 1000)
        self.assertLess(at_work - parked, parked / 8)


class WithoutPackages(ServiceTest):
    """Where none of them is installed there is no second template."""

    workers = 1
    arguments = ["--preload=colorsys,not_installed?,neither.of_them?"]

    def test_there_is_one_template_and_it_serves_all(self):
        eventually(lambda: len(self.service.templates()) == 1, "one template")
        for script in ("pass", "try: import not_installed\nexcept ImportError: pass"):
            result = self.run_script(script, detail=True)
            self.assertEqual((result["exit_code"], result["run"]["runner"]), (0, "warm"))
        self.assertEqual(len(self.service.templates()), 1)


if __name__ == "__main__":
    if RUNNER != "warm":
        raise SystemExit("there are no templates in this mode")
    main()
