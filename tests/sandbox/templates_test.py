"""Role: the interpreters that warm runners are forked from: what they see of jobs, what jobs see of them, how they end.
Callers: meson test, in the modes that have warm runners.
Law: the template's side of each test is a module of the test's own, preloaded, so that it speaks from inside.
"""
import concurrent.futures
import os
import pathlib
import signal

from contract import ServiceTest, folder_for_all, main
from service import REDUCED, RUNNER, Service, eventually

# Imported by a template: it leaves files wherever it may, and goes on when the test says so.
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
"""

# What a job tries while a template imports: to leave something for it, in each folder that it can name.
INTRUDE = """
import os
here = os.getcwd()
above = os.path.dirname(os.path.dirname(here))
found = []
for name in ('warm-1', 'warm-2', 'warm-3'):
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
        self.service.remember()

    def test_it_and_jobs_see_nothing_of_each_other(self):
        for _ in range(3):
            result = self.run_script(INTRUDE, detail=True)
            self.assertEqual((result["stdout"], result["stderr"], result["run"]["runner"]), ("[]\n", "", "fresh"))
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
        template, = self.service.templates()
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


if __name__ == "__main__":
    if RUNNER != "warm":
        raise SystemExit("there are no templates in this mode")
    main()
