"""Role: ./output/ as a trap: sizes, numbers and names that nobody should believe.
Callers: meson test, once a mode of starting the service.
Law: what a well-meant output becomes is contract/artifacts_test.py's; here every file is meant to hurt.
"""
from attack import AttackTest
from contract import main, script
from service import REDUCED


class Traps(AttackTest):
    """Each trap is collected, left out, or refused with 500; the output is never lost."""

    workers = 1

    def refused(self, text):
        """The answer to a script whose artifacts are too many or too large."""
        answer = self.service.post({"script": script(text), "timeout_s": 60})
        self.assertEqual(answer.status, 500, answer)
        self.assertEqual((answer.json["exit_code"], answer.json["stdout"]), (0, "kept\n"), answer)
        self.assert_unharmed()
        return answer.json["error"]

    def test_a_file_of_a_terabyte_can_not_even_be_made(self):
        result = self.attack("""
            try: open('output/huge', 'w').truncate(1 << 40)
            except OSError as error: print(error.strerror)
            """)
        self.assertEqual((result["stdout"], result["artifacts"]), ("File too large\n", {"huge": ""}))

    def test_a_thousand_files_of_256_mib_that_hold_nothing(self):
        error = self.refused("""
            for i in range(1000): open(f'output/{i}', 'w').truncate(256 << 20)
            print('kept')
            """)
        self.assertEqual(error, "Total artifacts too large: exceeds 10485760 bytes.")

    def test_as_many_files_as_there_are_inodes(self):
        # On a disk, where making and removing them takes its time, a tenth of it says the same.
        error = self.refused(f"""
            for i in range({1500 if REDUCED else 15000}): open(f'output/{{i}}', 'w').close()
            print('kept')
            """)
        self.assertIn("too large", error)

    def test_nested_names_of_every_kind(self):
        parts = ["new\nline", "quote\"'`", "back\\slash", "tab\tand\x01", " ", "é世🎉", "-rf", "$(id)", "x" * 255]
        result = self.run_files({"m.py": (
            f"import os\nfor p in {parts!r}:\n    os.makedirs('output/' + p + '/' + p)\n"
            "    open('output/' + p + '/' + p + '/' + p, 'w').write(p)\n")}, "m.py")
        self.assertEqual(result["artifacts"], {f"{part}/{part}/{part}": part for part in parts})
        self.assert_unharmed()

    def test_files_held_by_leases_locks_maps_and_writers(self):
        result = self.attack("""
            import fcntl, mmap, os, signal
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            names = ('leased', 'locked', 'mapped', 'written')
            for name in names: open('output/' + name, 'w').write(name)
            files = [os.open('output/' + name, os.O_RDWR) for name in names]
            try: fcntl.fcntl(files[0], fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError: pass
            fcntl.flock(files[1], fcntl.LOCK_EX); fcntl.lockf(files[1], fcntl.LOCK_EX)
            mmap.mmap(files[2], 6)[:6] = b'MAPPED'
            if os.fork() == 0:
                os.setsid()
                signal.pause()
            """)
        self.assertEqual(result["artifacts"], {"leased": "leased", "locked": "locked", "mapped": "MAPPED",
                                               "written": "written"})

    def test_links_in_circles_and_to_each_other(self):
        result = self.run_files({"m.py": """
import os
os.makedirs('output/a/b'); os.symlink('../..', 'output/a/b/up'); os.symlink('.', 'output/self')
os.symlink('two', 'output/one'); os.symlink('one', 'output/two'); os.symlink('/proc/self/cwd', 'output/cwd')
os.symlink('/proc/self/fd/0', 'output/in'); os.symlink('x' * 4000, 'output/long')
open('output/a/b/f', 'w').write('own')
"""}, "m.py")
        self.assertEqual((result["exit_code"], result["artifacts"]), (0, {"a/b/f": "own"}), result)
        self.assert_unharmed()


if __name__ == "__main__":
    main()
