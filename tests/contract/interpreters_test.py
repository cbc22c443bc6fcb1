"""Role: the interpreters that `--python` takes: the system's, a virtual environment, trees that were moved, each
version from 3.8 on that the machine has. In each, a job ends as the same interpreter ends a script outside.
Callers: meson test, in the modes of warm and of fresh runners.
Law: none is used where it lies: trees are copied to where the service's user can read.
"""
import atexit
import glob
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from bare_python import run_bare, without_places
from contract import main, script
from service import FLAGS, PYTHON, RUNNER, Service, eventually

# Not /tmp: at the full level each job has a /tmp of its own.
HOME = tempfile.mkdtemp(prefix="interpreters-", dir="/var/tmp")
os.chmod(HOME, 0o755)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# What no script of this suite imports, and most of a tree's size.
LEFT_OUT = shutil.ignore_patterns("test", "tests", "__pycache__", "config-*", "site-packages",
                                  "dist-packages", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "*.a")

# name, script: how it ends is compared with plain Python.
ENDINGS = [
    ("hello", "print('hello', 6 * 7)"),
    ("a traceback", "def f():\n    return 1 / 0\nf()"),
    ("an exit code", "import sys; sys.exit(3)"),
    ("an exit with words", "import sys; sys.exit('words')"),
    ("a syntax error", "if True\n    pass"),
    ("functions at exit, last first, after the output of the script", """
        import atexit, sys
        atexit.register(print, 'first'); atexit.register(print, 'second')
        print('script', end=' ')"""),
    ("a function at exit that fails", "import atexit; atexit.register(lambda: 1 / 0); print('before')"),
    ("threads are waited for before the functions at exit", """
        import atexit, threading, time
        atexit.register(print, 'exit')
        threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()"""),
    ("destructors", """
        class Thing:
            def __del__(self): print('gone')
        thing = Thing()"""),
    ("a file that was left open is flushed", """
        import atexit
        file = open('output/left', 'w'); file.write('text'); print('end')"""),
    ("a killed process", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
]


def copy_tree(python, name):
    """The interpreter's tree in a folder of its own; the path of its program."""
    facts = subprocess.run([python, "-I", "-c",
                            "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix, "
                            "'%d.%d' % sys.version_info[:2], os.path.dirname(os.__file__), sep='\\n')"],
                           capture_output=True, text=True, check=True, timeout=60)
    program, prefix, version, library = facts.stdout.split("\n")[:4]
    tree = pathlib.Path(HOME, name)
    (tree / "bin").mkdir(parents=True)
    moved = tree / "bin" / f"python{version}"
    # The one thing about a built tree that does not move with it: where the loader looks for libpython.
    place, relative = os.fsencode(f"{prefix}/lib"), b"$ORIGIN/../lib"
    code = pathlib.Path(program).read_bytes()
    if len(relative) <= len(place):
        code = code.replace(place + b"\0", relative.ljust(len(place), b"\0") + b"\0")
    moved.write_bytes(code)
    moved.chmod(0o755)
    os.symlink(moved.name, tree / "bin" / "python3")
    shutil.copytree(library, tree / "lib" / f"python{version}", ignore=LEFT_OUT, symlinks=False,
                    ignore_dangling_symlinks=True)
    for shared in glob.glob(f"{prefix}/lib/libpython{version}*.so*"):
        shutil.copy(shared, tree / "lib")
    return str(tree / "bin" / "python3")


def other_versions():
    """One interpreter of each version that the service promises to take and this machine has, but the system's."""
    places = glob.glob("/root/.pyenv/versions/3.*/bin/python3") if os.access("/root", os.X_OK) else []
    places += [f"/usr/local/bin/python3.{minor}" for minor in range(8, 14)]
    places += [f"/usr/bin/python3.{minor}" for minor in range(8, 14)]
    found = {sys.version_info[:2]: None}
    for place in places:
        if not os.path.exists(place):
            continue
        told = subprocess.run([place, "-I", "-c", "import sys; print(*sys.version_info[:2])"],
                              capture_output=True, text=True)
        version = tuple(map(int, told.stdout.split())) if told.returncode == 0 else (0, 0)
        if (3, 8) <= version <= (3, 13) and version not in found:
            found[version] = place
    return {version: place for version, place in sorted(found.items()) if place}


class Interpreters(unittest.TestCase):
    maxDiff = 4000

    def assert_serves(self, python):
        """Jobs run in this interpreter and end as scripts do in it outside."""
        version = subprocess.run([python, "-c", "import platform; print(platform.python_version())"],
                                 capture_output=True, text=True, check=True).stdout.strip()
        with Service(f"--python={python}", workers=1) as service:
            self.assertEqual(service.health()["python"], version)

            def run(text, **fields):
                answer = service.post({"script": script(text), "detail": True, **fields})
                self.assertEqual(answer.status, 200, answer)
                return answer.json
            eventually(lambda: run("pass")["run"]["runner"] == RUNNER, f"a {RUNNER} runner", 60)
            for name, text in ENDINGS:
                with self.subTest(f"{version}: {name}"):
                    result = run(text)
                    self.assertEqual(result.pop("run")["runner"], RUNNER)
                    self.assertEqual(without_places(result), run_bare({"script": script(text)}, python))
            with self.subTest(f"{version}: its own prefix and version"):
                self.assertEqual(
                    run("import platform, sys; print(platform.python_version(), sys.executable)")["stdout"],
                    f"{version} {python}\n")
            with self.subTest(f"{version}: out of time"):
                result = run("def forever():\n    while True: pass\nforever()", timeout_s=2)
                self.assertEqual(result["exit_code"], 124)
                self.assertIn("script.py\", line 2 in forever", result["stderr"])
                self.assertIn("script.py\", line 3 in <module>", result["stderr"])

    def test_the_system_s(self):
        self.assert_serves(PYTHON)

    def test_a_virtual_environment(self):
        place = os.path.join(HOME, "venv")
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", place], check=True, timeout=120)
        packages = glob.glob(f"{place}/lib/python3*/site-packages")[0]
        pathlib.Path(packages, "only_here.py").write_text("where = 'in the environment'")
        self.assert_serves(f"{place}/bin/python3")
        with Service(f"--python={place}/bin/python3", workers=1) as service:
            answer = service.post(
                {"script": "import only_here, sys; print(only_here.where, sys.prefix != sys.base_prefix)"})
            self.assertEqual(answer.json["stdout"], "in the environment True\n", answer)

    def test_a_tree_that_was_moved(self):
        self.assert_serves(copy_tree(PYTHON, "moved"))

    def test_every_version_that_is_here(self):
        for (major, minor), place in other_versions().items():
            self.assert_serves(copy_tree(place, f"version-{major}.{minor}"))

    def test_one_that_can_not_be_used_is_refused_with_the_reason(self):
        old = os.path.join(HOME, "old")
        pathlib.Path(old).write_text("#!/bin/sh\nprintf 'version\\0003.7.1\\0executable\\000/bin/sh\\0'")
        os.chmod(old, 0o755)
        plain = os.path.join(HOME, "plain")
        pathlib.Path(plain).write_text("text")
        hidden = os.path.join(HOME, "hidden")
        os.mkdir(hidden, 0o700)
        shutil.copy(plain, hidden)
        for python, reason in [("/no/such/python3", "ENOENT"), (plain, "EACCES"), (f"{hidden}/plain", "EACCES"),
                               ("/bin/false", "exit status 1"), ("/bin/echo", "no Python"),
                               (old, "Python 3.7.1: 3.8 or newer is needed")]:
            with self.subTest(python):
                service = Service(f"--python={python}")
                service.install()
                self.addCleanup(shutil.rmtree, service.home, ignore_errors=True)
                done = subprocess.run(service.command("serve", *FLAGS, *service.args), env=service.environment(),
                                      capture_output=True, text=True, timeout=60, cwd="/")
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
                self.assertIn(python, done.stderr)
                self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    main()
