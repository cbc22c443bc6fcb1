"""Role: what scripts/package makes runs where nothing was prepared for it: unpacked from its zip, in another place, by
another user, with the system's Python and every library that the package brings hidden.
Law: started by the stand-in for the Functions host (tests/support/functions_host.py), as in its home; the contract's
own suites run through it, a representative part in each of the host's shapes."""
import importlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import zipfile

import contract
from functions_host import TREE, HostedService
from service import eventually

MEGABYTE = 1024 * 1024
# A part of the contract for each of the host's shapes: what does not speak of the server's own paths and ids.
SUITES = {"default": ["run_modes_test.ScriptMode", "run_modes_test.FilesMode"],
          "forward": ["artifacts_test.Kinds", "detail_test.Detail"],
          "proxy": ["run_modes_test.RawMode", "output_test.Decoding", "output_test.Streams"]}
# In a mount namespace of its own: an empty file over each file named, an empty directory over each directory.
HIDE = ('for place; do shift; if [ "$place" = -- ]; then break; fi; '
        'if [ -d "$place" ]; then mount -t tmpfs -o mode=755 none "$place"; else mount --bind /dev/null "$place"; fi; '
        'done; exec "$@"')


def build_package(folder):
    """(the app, its zip), made of the programs under test and a folder of packages."""
    packages = os.path.join(folder, "packages")
    os.mkdir(packages)
    pathlib.Path(packages, "packaged_module.py").write_text("WHERE = __file__\n")
    app = os.path.join(folder, "app")
    build = pathlib.Path(os.environ["CODERUNNER_BIN"]).parents[1]
    subprocess.run([TREE / "scripts/package", "--build", build, "--output", app, "--packages", packages], check=True,
                   stdin=subprocess.DEVNULL)
    return app, app + ".zip"


def hidden_places(app):
    """The system's own copies of what the package brings, as long as nothing else than Python needs them."""
    places = {os.path.realpath("/usr/bin/python3"), os.path.realpath("/usr/lib/python3"),
              *(os.path.realpath(place) for place in pathlib.Path("/usr/lib").glob("python3.*"))}
    for library in os.listdir(os.path.join(app, "lib")):
        place = pathlib.Path("/usr/lib/x86_64-linux-gnu", library)
        if place.exists():
            places.add(os.path.realpath(place))
    return sorted(places)


class PackagedService(HostedService):
    """The host starts the package in a mount namespace that lacks what `hidden` names."""

    hidden = []

    def command(self, *words):
        alone = ["/usr/bin/unshare", "--mount", "--propagation=private", "--"]
        if os.geteuid() != 0:
            alone[1:1] = ["--user", "--map-current-user", "--keep-caps"]
        return [*alone, "/bin/sh", "-c", HIDE, "sh", *self.hidden, "--", *super().command(*words)]


class Package:
    """Built once for all tests of this file."""

    folder = app = archive = None

    @classmethod
    def build(cls):
        if cls.folder is None:
            cls.folder = tempfile.mkdtemp(prefix="package-test-", dir="/tmp")
            unittest.addModuleCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
            cls.app, cls.archive = build_package(cls.folder)
            HostedService.archive = cls.archive
            PackagedService.hidden = hidden_places(cls.app)


def setUpModule():
    Package.build()


class ContentTest(unittest.TestCase):
    def test_the_zip_holds_the_app_with_its_execute_bits_and_is_small(self):
        with zipfile.ZipFile(Package.archive) as archive:
            modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        for name in ("coderunner", "coderunner-worker", "python/bin/python3"):
            self.assertEqual(modes[name] & 0o777, 0o755, name)
        for name in ("host.json", "run/function.json", "health/function.json", "LICENSE",
                     ".python_packages/lib/site-packages/packaged_module.py"):
            self.assertEqual(modes[name] & 0o777, 0o644, name)
        self.assertLess(os.path.getsize(Package.archive), 50 * MEGABYTE)

    def test_every_library_is_the_packages_own_or_the_c_librarys(self):
        programs = [os.path.join(Package.app, name)
                    for name in ("coderunner", "coderunner-worker", "python/bin/python3")]
        own, of_system = os.path.join(Package.app, ""), set()
        for program in programs:
            listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
            self.assertNotIn("not found", listing)
            for line in listing.splitlines():
                path = line.split("=>")[-1].split("(")[0].strip()
                if path.startswith("/") and not os.path.realpath(path).startswith(own):
                    of_system.add(os.path.basename(path))
        self.assertLessEqual(of_system, {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"})

    def test_no_path_of_the_build_machine_is_in_the_programs(self):
        for name in ("coderunner", "coderunner-worker"):
            content = pathlib.Path(Package.app, name).read_bytes()
            self.assertNotIn(os.fsencode(str(TREE)), content)

    def test_a_folder_that_is_no_app_is_not_overwritten(self):
        other = os.path.join(Package.folder, "other")
        os.mkdir(other)
        done = subprocess.run([TREE / "scripts/package", "--build", Package.folder, "--output", other],
                              capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is no function app", done.stderr)
        self.assertEqual(os.listdir(other), [])


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(PackagedService(workers=1))

    def test_python_its_libraries_and_packages_are_the_packages_own(self):
        answer = self.service.post({"script": contract.script("""
            import sys, os, packaged_module
            import asyncio, bz2, csv, ctypes, curses, decimal, email, hashlib, json, lzma, sqlite3, ssl, uuid, xml.etree
            import zlib, readline, xml.parsers.expat, unittest, multiprocessing, zoneinfo, concurrent.futures
            print(sqlite3.connect(":memory:").execute("select 41 + 1").fetchone()[0])
            print(packaged_module.WHERE, os.__file__, sys.executable, *sys.path, sep="\\n")
            print("--")
            for line in open("/proc/self/maps"):
                if ".so" in line:
                    print(line.split(None, 5)[5].strip())
            """)})
        self.assertEqual((answer.status, answer.json["exit_code"], answer.json["stderr"]), (200, 0, ""), answer)
        first, *lines = answer.json["stdout"].splitlines()
        self.assertEqual(first, "42")
        places, loaded = lines[:lines.index("--")], lines[lines.index("--") + 1:]
        app = os.path.join(self.service.app, "")
        inside = [place for place in places if place.startswith(app)]
        self.assertGreaterEqual(len(inside), 6, places)
        foreign = [path for path in loaded if not path.startswith(app) and not path.startswith(
            tuple("/usr/lib/x86_64-linux-gnu/" + name for name in ("libc.so", "libm.so", "ld-linux")))]
        self.assertEqual({os.path.basename(path) for path in foreign} - {"own_shm.so"}, set(), foreign)
        self.assertFalse([place for place in places if place.startswith("/usr")], places)

    def test_its_python_is_the_one_in_use(self):
        first = self.service.lines[0]
        self.assertEqual(first["python_path"], os.path.join(self.service.app, "python/bin/python3"))
        self.assertEqual(self.service.errors, b"")

    def test_the_systems_python_is_really_hidden(self):
        done = subprocess.run(self.service.command()[:-1] + ["/usr/bin/python3", "-c", "print(1)"], capture_output=True)
        self.assertNotEqual(done.returncode, 0)
        subprocess.run(["/usr/bin/python3", "-c", "print(1)"], check=True, capture_output=True)

    def test_killed_and_started_again_it_serves_again(self):
        with PackagedService(workers=1) as service:
            service.kill_handler()
            service.start_handler()
            eventually(service.idle, "an idle service", 30)
            self.assertEqual(service.post({"script": "print('again')"}).json["stdout"], "again\n")


def load_tests(loader, tests, _):
    """The tests of this file, then the suites of the contract against the package."""
    for shape, names in SUITES.items():
        through = type(f"Packaged{shape.title()}", (PackagedService,), {"shape": shape})
        for module, name in (each.split(".") for each in names):
            case = getattr(importlib.import_module(module), name)
            tests.addTests(loader.loadTestsFromTestCase(
                type(f"{name}Through{shape.title()}", (case,), {"service_class": through})))
    return tests


if __name__ == "__main__":
    contract.main()
