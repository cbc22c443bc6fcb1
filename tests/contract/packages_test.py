"""Role: packages that the operator adds: --packages and the default places, what scripts may do with them, what is
refused.
Callers: meson test, in the modes that tests/meson.build names.
"""
import os
import pathlib
import shutil
import subprocess

from contract import ServiceTest, folder_for_all, main
from service import FLAGS, Service

DEFAULT = ".python_packages/lib/site-packages"


def make_packages(folder):
    """A module, a package, and a .pth file that adds a folder of its own (the site module's documentation)."""
    for path, text in (("of_the_operator.py", "answer = 42\n"), ("package/__init__.py", "from .part import name\n"),
                       ("package/part.py", "name = __name__\n"), ("more.pth", "more\n"),
                       ("more/deeper.py", "depth = 2\n")):
        place = pathlib.Path(folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


USE = """
import of_the_operator, package, deeper, sys
print(of_the_operator.answer, package.name, deeper.depth, sys.path[-2:] == [{0!r}, {0!r} + '/more'])
"""


class Named(ServiceTest):
    """--packages DIR."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for_all(cls)
        make_packages(cls.folder)
        cls.arguments = [f"--packages={cls.folder}"]
        super().setUpClass()

    def test_modules_packages_and_pth_files(self):
        self.assertEqual(self.output_of(USE.format(self.folder)), "42 package.part 2 True\n")

    def test_the_same_for_another_entry_point_and_for_children(self):
        answer = self.run_files({"main.py": USE.format(self.folder)}, "main.py")
        self.assertEqual((answer["stdout"], answer["stderr"]), ("42 package.part 2 True\n", ""))

    def test_a_job_can_neither_change_nor_add_to_them(self):
        self.assertEqual(self.output_of(f"""
            import os
            for what in (lambda: open({self.folder!r} + '/of_the_operator.py', 'w'),
                         lambda: open({self.folder!r} + '/new.py', 'w'),
                         lambda: os.mkdir({self.folder!r} + '/new'),
                         lambda: os.rename({self.folder!r} + '/more', {self.folder!r} + '/less'),
                         lambda: os.unlink({self.folder!r} + '/more.pth')):
                try: what()
                except OSError as error: print(error.strerror in ('Read-only file system', 'Permission denied'))
            """), "True\n" * 5)
        self.assertEqual(self.output_of("import of_the_operator as o; print(o.answer)"), "42\n")


class Elsewhere(Service):
    """Started in a folder that the test chooses."""

    def _launch(self, command, directory):
        super()._launch(command, self.working_directory)


class InTheWorkingDirectory(ServiceTest):
    """Without the flag, where the service was started there is the folder that Functions' tools install to."""

    workers = 1
    service_class = Elsewhere

    @classmethod
    def setUpClass(cls):
        place = folder_for_all(cls)
        cls.folder = os.path.join(place, DEFAULT)
        make_packages(cls.folder)
        Elsewhere.working_directory = place
        super().setUpClass()

    def test_they_are_found(self):
        self.assertEqual(self.output_of(USE.format(self.folder)), "42 package.part 2 True\n")


class Refused(ServiceTest):
    """What can not be used: the service does not start, and says why."""

    @classmethod
    def setUpClass(cls):
        cls.place = folder_for_all(cls)

    def test_what_is_no_folder_that_can_be_read(self):
        file, locked = os.path.join(self.place, "file"), os.path.join(self.place, "locked", "inside")
        pathlib.Path(file).touch()
        os.makedirs(locked)
        os.chmod(os.path.dirname(locked), 0o000)
        self.addCleanup(os.chmod, os.path.dirname(locked), 0o700)
        service = Service()
        service.install()
        self.addCleanup(shutil.rmtree, service.home)
        for folder in (os.path.join(self.place, "nowhere"), file, locked):
            with self.subTest(folder):
                done = subprocess.run(service.command("serve", "--listen=127.0.0.1:0", *FLAGS, f"--packages={folder}"),
                                      env=service.environment(), stdin=subprocess.DEVNULL,
                                      capture_output=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (1, b""))
                self.assertIn(f"--packages: {folder} is not a directory that can be read".encode(), done.stderr)


if __name__ == "__main__":
    main()
