"""Role: what a script finds around it: directory, variables, streams, user, processes, file system.
Callers: meson test, once a mode of starting the service.
"""
import os

from contract import ServiceTest, main
from service import REDUCED, RUNNER, SECRET, SECRET_NAME, THREAD_COUNTS, thread_counts


class ShareOfCores(ServiceTest):
    """Libraries that compute with threads take as many as a job has cores to itself."""

    # Threads of the process before and after OpenBLAS has something to do for them.
    LOOK = """
        import os, numpy
        numpy.ones((500, 500)) @ numpy.ones((500, 500))
        print(*(os.environ[name] for name in %r), len(os.listdir('/proc/self/task')))
        """ % (THREAD_COUNTS,)

    workers = 1

    def test_all_cores_for_an_only_worker(self):
        cores = str(len(os.sched_getaffinity(0)))
        self.assertEqual(self.output_of(self.LOOK).split(), [cores] * 5)

    def test_a_script_s_own_wish_counts(self):
        *counts, threads = self.output_of(self.LOOK, env={"OPENBLAS_NUM_THREADS": "1"}).split()
        self.assertEqual((counts[-1], threads), ("1", "1"))


class Variables(ServiceTest):
    """Those promised and what the request adds; nothing of the server's."""

    environment = {"CODERUNNER_GRACE": "20", "PYTHONPATH": "/nonexistent", "LD_LIBRARY_PATH": "/nonexistent",
                   "HTTP_PROXY": "http://secret.example"}

    def test_there_are_exactly_those_promised(self):
        got = eval(self.output_of("import os; print(dict(os.environ))"))
        cwd = self.output_of("import os; print(os.environ['HOME'] == os.getcwd())")
        self.assertEqual(cwd, "True\n")
        self.assertEqual(set(got), {"PATH", "HOME", "LANG", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "TMPDIR",
                                    *THREAD_COUNTS, *(["LD_PRELOAD"] if REDUCED else [])})
        self.assertEqual({name: got[name] for name in ("LANG", "PYTHONIOENCODING", "PYTHONUNBUFFERED")},
                         {"LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"})
        self.assertIn("/usr/bin", got["PATH"].split(":"))
        self.assertEqual({name: got[name] for name in THREAD_COUNTS}, thread_counts(self.workers))

    def test_children_inherit_the_same(self):
        self.assertEqual(self.output_of("""
            import os, subprocess
            out = subprocess.run(['/usr/bin/env', '-0'], stdout=subprocess.PIPE).stdout.decode()
            theirs = dict(entry.split('=', 1) for entry in out.split('\\0') if entry)
            print(theirs == dict(os.environ))
            """), "True\n")

    def test_memory_and_proc_show_nothing_of_the_server_s(self):
        # The block that the kernel keeps of a process's first environment is read as well.
        text = self.output_of("""
            import glob, os
            for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline') + ['/proc/self/environ']:
                try: print(open(path, 'rb').read().replace(b'\\0', b' ').decode('utf-8', 'replace'))
                except OSError: pass
            """)
        for word in (SECRET_NAME, SECRET, "CODERUNNER_GRACE", "secret.example"):
            self.assertNotIn(word, text)

    def test_a_request_may_replace_a_variable_and_python_s_own_take_effect(self):
        rows = [({"HOME": "/nowhere"}, "import os; print(os.path.expanduser('~'))", "/nowhere\n"),
                ({"PYTHONPATH": "lib"}, "import sys; print(any(p.endswith('/lib') for p in sys.path))", "True\n"),
                ({"PYTHONHASHSEED": "0"}, "print(hash('a'))", None),
                ({"PYTHONOPTIMIZE": "1"}, "print(__debug__)", "False\n"),
                ({"PYTHONDONTWRITEBYTECODE": "1"}, "import sys; print(sys.dont_write_bytecode)", "True\n"),
                ({"TZ": "Asia/Tokyo"}, "import time; print(time.strftime('%Z', time.localtime(0)))", "JST\n"),
                ({"PYTHONWARNINGS": "error"}, "import sys; print(sys.warnoptions)", "['error']\n"),
                ({"LANG": "C"}, "import os; print(os.environ['LANG'])", "C\n")]
        for env, text, want in rows:
            with self.subTest(env):
                got = self.output_of(text, env=env)
                # A seeded hash is whatever it is, but the same each time.
                self.assertEqual(got, want or self.output_of(text, env=env))


class Places(ServiceTest):
    """A working directory and temporary space of its own; the rest of the file system is the interpreter's."""

    def test_the_working_directory_holds_the_script_and_two_folders(self):
        self.assertEqual(self.output_of("import os; print(sorted(os.listdir()), os.listdir('output'))"),
                         "['input', 'output', 'script.py'] []\n")

    def test_the_working_directory_is_writable(self):
        self.assertEqual(self.output_of("""
            import os
            open('a', 'w').write('x'); os.mkdir('d'); os.rename('a', 'd/b'); os.symlink('d/b', 'l')
            print(open('l').read())
            os.remove('d/b'); os.rmdir('d'); open('input/more', 'w'); open('script.py', 'a')
            """), "x\n")

    def test_temporary_files_work_and_start_empty(self):
        self.assertEqual(self.output_of("""
            import os, tempfile
            print(os.listdir(tempfile.gettempdir()), tempfile.gettempdir() == os.environ['TMPDIR'])
            with tempfile.NamedTemporaryFile() as f: f.write(b'x')
            with tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('y')
            """), "[] True\n")

    def test_programs_can_be_run_from_the_working_directory(self):
        self.assertEqual(self.output_of("""
            import os, subprocess
            open('run.sh', 'w').write('#!/bin/sh\\necho ran\\n'); os.chmod('run.sh', 0o755)
            subprocess.run(['./run.sh'])
            """), "ran\n")

    def test_the_system_is_read_only(self):
        for path in ("/usr/x", "/usr/bin/python3.11", "/etc/x", "/etc/passwd", "/x", "/lib/x", "/var/x", "/opt/x",
                     "/usr/lib/python3/dist-packages/x.pth", "/dev/x", "/proc/sys/kernel/hostname", "/sys/x"):
            with self.subTest(path):
                self.assertEqual(self.output_of(f"""
                    try: open({path!r}, 'a'); print('opened')
                    except OSError as error: print('refused')
                    """), "refused\n")

    def test_files_of_the_host_are_out_of_sight(self):
        for path in ("/root", "/home", "/etc/shadow", "/etc/hostname", "/var/log", "/var/lib/dpkg/status", "/boot",
                     "/etc/ssh", "/run", "/mnt", "/srv", "/sys/kernel", "/proc/1/root", "/proc/1/environ",
                     "/proc/kcore", "/proc/kmsg", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/tty", "/dev/ptmx"):
            with self.subTest(path):
                self.assertEqual(self.output_of(f"""
                    import os
                    try: os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}, 'rb').read(1)
                    except OSError: print('refused')
                    else: print('read')
                    """), "refused\n")

    def test_devices_that_programs_expect_work(self):
        self.assertEqual(self.output_of("""
            open('/dev/null', 'w').write('x')
            print(open('/dev/zero', 'rb').read(3), len(open('/dev/urandom', 'rb').read(8)), open('/dev/null').read())
            """), "b'\\x00\\x00\\x00' 8 \n")

    def test_new_files_get_the_usual_permissions(self):
        self.assertEqual(self.output_of("""
            import os
            open('f', 'w'); os.mkdir('d')
            print(oct(os.stat('f').st_mode), oct(os.stat('d').st_mode), os.stat('f').st_uid == os.getuid())
            """), "0o100644 0o40755 True\n")

    def test_the_script_and_the_inputs_belong_to_the_user(self):
        self.assertEqual(self.output_of("""
            import os
            print({os.stat(p).st_uid == os.getuid() for p in ('.', 'script.py', 'input', 'input/a', 'output')})
            """, context={"a": "1"}), "{True}\n")


class Self(ServiceTest):
    """Who the script is."""

    def test_it_is_nobody_in_particular(self):
        self.assertEqual(self.output_of("""
            import os
            print(0 in (*os.getresuid(), *os.getresgid(), *os.getgroups()))
            status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines())
            print({status[name].strip('0') for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')})
            print(status['NoNewPrivs'], status['Seccomp'])
            """), "False\n{''}\n1 2\n")

    def test_it_holds_no_descriptor_but_its_streams(self):
        # The listing's own descriptor is the fourth; the completion pipe is the highest allowed.
        self.assertEqual(self.output_of("""
            import os
            fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))
            print(fds[:4], len(fds) <= 5)
            """), "[0, 1, 2, 3] True\n")

    def test_a_program_it_starts_inherits_nothing_else(self):
        self.assertEqual(self.output_of("""
            import os, subprocess, sys
            look = ("import os\\n"
                    "for fd in range(1024):\\n"
                    "    try: os.fstat(fd)\\n"
                    "    except OSError: continue\\n"
                    "    print(fd, end=' ')\\n")
            subprocess.run([sys.executable, '-c', look], close_fds=False)
            """), "0 1 2 ")

    def test_standard_input_is_no_terminal(self):
        self.assertEqual(self.output_of("import os, sys; print(os.isatty(0), sys.stdin.isatty())"), "False False\n")

    def test_it_has_a_session_without_a_terminal(self):
        self.assertEqual(self.output_of("""
            import os
            try: os.open('/dev/tty', os.O_RDWR)
            except OSError: print('none')
            """), "none\n")

    def test_names_of_the_user_can_be_looked_up(self):
        self.assertEqual(self.output_of("import getpass, os; print(bool(getpass.getuser()), os.path.expanduser('~'))",
                                        env={"LOGNAME": "agent"}).split()[0], "True")

    def test_utf_8_mode_is_on(self):
        self.assertEqual(self.output_of("""
            import locale, sys
            print(sys.flags.utf8_mode, locale.getpreferredencoding(), open('x', 'w').encoding)
            """), "1 utf-8 UTF-8\n".replace("utf-8 UTF-8", "utf-8 utf-8"))

    def test_output_is_unbuffered(self):
        self.assertEqual(self.output_of("import os, sys; sys.stdout.write('first '); os.write(1, b'second')"),
                         "first second")

    def test_what_is_random_differs_from_run_to_run(self):
        text = "import os, random, uuid; print(random.random(), uuid.uuid4(), os.urandom(8).hex()"
        # One template's runners share the seed of its hashes, as forked processes do.
        text += ", hash('x'))" if RUNNER == "fresh" else ")"
        runs = [self.output_of(text).split() for _ in range(4)]
        for values in zip(*runs):
            self.assertEqual(len(set(values)), 4, values)

    def test_clocks_are_the_host_s(self):
        import time
        before = time.time()
        now = float(self.output_of("import time; print(time.time())"))
        self.assertTrue(before - 1 <= now <= time.time() + 1)


class Processes(ServiceTest):
    """No process but its own: not to be listed at the full level, not to be looked into at any."""

    def test_other_processes_are_out_of_reach(self):
        self.assertEqual(self.output_of("""
            import os
            try: seen = {int(name) for name in os.listdir('/proc') if name.isdigit()}
            except PermissionError: seen = set()
            others = (seen | {1, os.getppid()}) - {os.getpid()}
            readable = []
            for pid in others:
                for name in ('environ', 'mem', 'maps', 'cwd/x', 'root/etc/passwd', 'fd/0'):
                    try: open(f'/proc/{pid}/{name}', 'rb').read(1)
                    except OSError: continue
                    readable.append((pid, name))
            print(len(seen) <= 3, readable)
            """), "True []\n")


if __name__ == "__main__":
    main()
