"""Role: what a job may use, and that the last unit below each limit is really there.
Callers: meson test, once a mode of starting the service.
"""
from contract import ServiceTest, main
from service import AS_ROOT, MODE, REDUCED


class Processes(ServiceTest):
    """128 processes and threads together, by default; the next one is refused and the script lives on."""

    def test_forks_are_refused_above_the_limit(self):
        count, error = self.output_of("""
            import os, signal
            children, error = [], None
            while len(children) < 400:
                try: pid = os.fork()
                except OSError as refused:
                    error = type(refused).__name__
                    break
                if pid == 0:
                    signal.pause()
                children.append(pid)
            print(len(children), error)
            for pid in children: os.kill(pid, signal.SIGKILL)
            for pid in children: os.waitpid(pid, 0)
            os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)
            """).split()
        self.assertEqual(error, "BlockingIOError")
        self.assertTrue(100 <= int(count) <= 128, count)

    def test_threads_count_as_well(self):
        count, error = self.output_of("""
            import threading
            stop, started, error = threading.Event(), [], None
            while len(started) < 400:
                thread = threading.Thread(target=stop.wait)
                try: thread.start()
                except RuntimeError as refused:
                    error = 'refused'
                    break
                started.append(thread)
            print(len(started), error)
            stop.set()
            for thread in started: thread.join()
            """).split()
        self.assertEqual(error, "refused")
        self.assertTrue(100 <= int(count) <= 128, count)

    def test_a_job_at_its_limit_takes_nothing_from_another(self):
        import concurrent.futures
        hungry = """
            import os, signal, time
            n = 0
            while True:
                try: pid = os.fork()
                except OSError: break
                if pid == 0: signal.pause()
                n += 1
            print(n)
            time.sleep(1)
            """
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            results = list(two.map(lambda _: self.output_of(hungry), range(2)))
        for count in results:
            # Where there is neither a pids cgroup nor a user namespace, RLIMIT_NPROC counts the whole user.
            self.assertGreaterEqual(int(count), 1 if MODE.startswith("user-reduced") else 100)

    def test_a_smaller_limit_is_obeyed_too(self):
        from service import Service
        with Service("--processes=24", workers=1) as service:
            answer = service.post({"script": "import os, signal\nn = 0\ntry:\n    while n < 200:\n"
                                             "        if os.fork() == 0: signal.pause()\n        n += 1\n"
                                             "except OSError: pass\nprint(n)\n"})
            self.assertTrue(15 <= int(answer.json["stdout"]) <= 24, answer)

    def test_a_script_that_ends_by_it_is_told_so(self):
        from service import Service
        forks = "import os, signal\nwhile True:\n    if os.fork() == 0: signal.pause()\n"
        starts = "import subprocess\nall = [subprocess.Popen(['sleep', '600']) for _ in range(300)]\n"
        threads = "import threading, time\nfor _ in range(300): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        rows = [("forks", forks, "BlockingIOError", "processes"),
                ("processes", starts, "BlockingIOError", "processes"),
                # Threads end for want of address space, too, by the same word: here nobody counts which it was.
                ("threads", threads, "RuntimeError", "processes" if AS_ROOT else None),
                ("another error",
                 "import os, socket\nos.fork()\na, b = socket.socketpair()\na.setblocking(False)\na.recv(1)\n",
                 "BlockingIOError", None),
                ("an error after a refusal",
                 "import os, signal\ntry:\n    while True:\n        if os.fork() == 0: signal.pause()\n"
                 "except OSError: 1 / 0\n", "ZeroDivisionError", None)]
        with Service("--processes=24", workers=1) as service:
            for name, text, exception, limit in rows:
                with self.subTest(name):
                    answer = service.post({"script": text, "detail": True}).json
                    run = answer["run"]
                    self.assertEqual((answer["exit_code"], run["verdict"], run["exception"]["type"], run["limit"]),
                                     (1, "error", exception, limit), run)


class Descriptors(ServiceTest):
    """RLIMIT_NOFILE."""

    def test_there_are_1024_and_no_more(self):
        self.assertEqual(self.output_of("""
            import os, resource
            held = []
            try:
                while len(held) < 5000: held.append(os.open('/dev/null', os.O_RDONLY))
            except OSError as error: print(error.strerror)
            print(1000 <= len(held) <= 1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1024)
            for fd in held: os.close(fd)
            """), "Too many open files\nTrue True\n")

    def test_limits_can_not_be_raised(self):
        self.assertEqual(self.output_of("""
            import resource
            raised = []
            for name in dir(resource):
                if name.startswith('RLIMIT_'):
                    kind = getattr(resource, name)
                    soft, hard = resource.getrlimit(kind)
                    if hard == resource.RLIM_INFINITY: continue
                    try: resource.setrlimit(kind, (hard + 1, hard + 1))
                    except (ValueError, OSError): continue
                    raised.append(name)
            print(raised)
            """), "[]\n")

    def test_there_are_no_core_dumps(self):
        result = self.run_script("import os; os.chdir('output'); os.abort()")
        self.assertEqual((result["exit_code"], result["artifacts"]), (134, {}))
        self.assertEqual(self.output_of("import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"), "(0, 0)\n")


class Scratch(ServiceTest):
    """Space and inodes of the working directory, /tmp and /dev/shm together. At the full level the file system
    refuses what is too much; where there is only a watch from outside, the run ends with 137, or a single file is
    refused by RLIMIT_FSIZE."""

    arguments = ["--scratch=32M"]

    def assert_stopped(self, text):
        result = self.run_script(text, detail=True, timeout_s=60)
        if REDUCED:
            if result["stdout"] != "File too large\n":
                self.assertEqual((result["exit_code"], result["run"]["verdict"]), (137, "killed"), result)
                self.assertIsNotNone(result["run"]["limit"])
        else:
            self.assertEqual((result["exit_code"], result["stdout"]), (0, "No space left on device\n"), result)

    def test_a_file_that_grows_is_stopped(self):
        self.assert_stopped("""
            import time
            try:
                with open('big', 'wb', buffering=0) as f:
                    for _ in range(64): f.write(bytes([1]) * (1 << 20))
                time.sleep(10)
            except OSError as error: print(error.strerror)
            """)

    def test_places_count_together(self):
        self.assert_stopped("""
            import os, time
            try:
                for i in range(64):
                    place = '.' if i % 2 else os.environ['TMPDIR']
                    open(f'{place}/{i}', 'wb').write(bytes([1]) * (1 << 20))
                time.sleep(10)
            except OSError as error: print(error.strerror)
            """)

    def test_a_deleted_file_that_is_open_counts_until_it_is_closed(self):
        if REDUCED:
            return self.assert_memory_of_the_host_is_safe()
        self.assert_stopped("""
            import os
            f = open('big', 'wb', buffering=0)
            os.remove('big')
            try:
                for _ in range(64): f.write(bytes([1]) * (1 << 20))
            except OSError as error: print(error.strerror)
            """)

    def assert_memory_of_the_host_is_safe(self):
        # A file without a name is out of a walker's sight; what bounds it there is the limit on a single file.
        result = self.run_script("""
            import os
            f = open('big', 'wb', buffering=0)
            os.remove('big')
            try:
                for _ in range(1024): f.write(bytes([1]) * (1 << 20))
            except OSError as error: print(error.strerror)
            """, timeout_s=60)
        self.assertIn((result["exit_code"], result["stdout"]), ((0, "File too large\n"), (137, ""), (153, "")), result)

    def test_inodes_are_limited(self):
        result = self.run_script("""
            import os, time
            try:
                os.mkdir('d')
                for i in range(100000): open(f'd/{i}', 'w').close()
                time.sleep(10)
            except OSError as error: print(i > 10000, error.strerror)
            """, timeout_s=60)
        want = (137, "") if REDUCED else (0, "True No space left on device\n")
        self.assertEqual((result["exit_code"], result["stdout"]), want, result)

    def test_space_is_given_back(self):
        text = "open('f', 'wb').write(bytes([1]) * (24 << 20)); print('ok')"
        for _ in range(6):
            self.assertEqual(self.output_of(text), "ok\n")

    def test_the_default_is_256_mib(self):
        from service import Service
        with Service(workers=1) as service:
            answer = service.post({"script": (
                "f = open('f', 'wb')\nfor _ in range(200): f.write(bytes([1]) * (1 << 20))\nprint('200 MiB')\n")})
            self.assertEqual((answer.json["exit_code"], answer.json["stdout"]), (0, "200 MiB\n"), answer)


OUT_OF_MEMORY = [
    ("one large object", "x = b'x' * (600 << 20)"),
    ("many small objects", "x = []\nwhile True: x.append(str(len(x)) * 100)"),
    ("an anonymous mapping, touched", """
        import mmap
        m = mmap.mmap(-1, 600 << 20)
        for i in range(0, len(m), 4096): m[i] = 1
        """),
    ("a numpy array", "import numpy; x = numpy.ones(80 << 20)"),
    ("children together", """
        import os, signal
        for _ in range(6):
            if os.fork() == 0:
                x = b'x' * (70 << 20)
                signal.pause()
        signal.pause()
        """),
    ("a child alone, waited for", """
        import os
        if os.fork() == 0:
            x = b'x' * (600 << 20)
            os._exit(0)
        os.wait()
        import signal
        signal.pause()
        """),
    ("threads together", """
        import threading
        held = []
        def work(): held.append(b'x' * (100 << 20))
        threads = [threading.Thread(target=work) for _ in range(6)]
        for t in threads: t.start()
        for t in threads: t.join()
        """),
    ("an anonymous mapping of many processes", """
        import mmap, os, signal
        m = mmap.mmap(-1, 600 << 20)
        for part in range(6):
            if os.fork() == 0:
                for i in range(part * (100 << 20), (part + 1) * (100 << 20), 4096): m[i] = 1
                signal.pause()
        signal.pause()
        """),
]

# By the system call that it takes.
HELD_BY_THE_KERNEL = [
    ("memfd_create", """
        import os, signal
        for i in range(6):
            f = os.memfd_create(str(i))
            for _ in range(100): os.write(f, bytes([1]) * (1 << 20))
        signal.pause()
        """),
    ("shmget", """
        import ctypes, signal
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        for i in range(6):
            one = libc.shmget(0, 100 << 20, 0o600)
            if one == -1: raise OSError(ctypes.get_errno(), 'shmget')
            place = libc.shmat(one, None, 0)
            ctypes.memset(place, 1, 100 << 20)
            libc.shmdt(ctypes.c_void_p(place))
        signal.pause()
        """),
]

# Where the job's files are in memory: each alone fits the scratch space, and is too much together with what is held.
OUT_OF_MEMORY_BY_FILES = [
    ("files, written and closed", """
        import signal
        held = b'x' * (100 << 20)
        for i in range(20):
            with open(f'f{i}', 'wb') as f: f.write(bytes([1]) * (10 << 20))
        signal.pause()
        """),
    ("a file without a name", """
        import signal, tempfile
        held = b'x' * (100 << 20)
        f = tempfile.TemporaryFile(buffering=0)
        for _ in range(200): f.write(bytes([1]) * (1 << 20))
        signal.pause()
        """),
    ("shared memory, held by a child", """
        import os, signal
        from multiprocessing import shared_memory
        m = shared_memory.SharedMemory(create=True, size=200 << 20)
        if os.fork() == 0:
            m.buf[:] = bytes([1]) * len(m.buf)
            signal.pause()
        held = b'x' * (100 << 20)
        signal.pause()
        """),
]


class Memory(ServiceTest):
    """Whatever takes it: 137 and nobody else is hurt."""

    arguments = ["--memory=256M"]

    def test_each_way_to_take_too_much_ends_with_137(self):
        for name, text in OUT_OF_MEMORY + ([] if REDUCED else OUT_OF_MEMORY_BY_FILES):
            with self.subTest(name):
                result = self.run_script(text, timeout_s=30, detail=True)
                self.assertEqual(result["exit_code"], 137, result["stderr"][-600:])
                self.assertTrue(result["stderr"].endswith("\n[Error: Out of memory]"), result["stderr"][-600:])
                self.assertEqual((result["run"]["verdict"], result["run"]["limit"]), ("out_of_memory", "memory"))
        self.assert_still_serves()

    def test_what_is_shared_counts_once(self):
        # 150 MiB of three processes. At the reduced level there are no files in memory, and no /dev/shm.
        self.assertEqual(self.output_of(f"""
            import mmap, os
            f = open('shared', 'wb+') if {not REDUCED} else None
            if f: f.truncate(150 << 20)
            m = mmap.mmap(f.fileno() if f else -1, 150 << 20)
            for i in range(0, len(m), 4096): m[i] = 1
            for _ in range(2):
                if os.fork() == 0:
                    for _ in range(20): sum(m[i] for i in range(0, len(m), 4096))
                    os._exit(0)
            for _ in range(2): os.wait()
            print(m[0])
            """), "1\n")

    def test_shared_memory_is_the_job_s_own(self):
        # Files of /dev/shm are memory: they end the run even where their file system is full before that; or they are
        # not to be had.
        result = self.run_script("""
            import os, signal
            try:
                with open('/dev/shm/x', 'wb', buffering=0) as f:
                    for _ in range(600): f.write(bytes([1]) * (1 << 20))
            except OSError as error: print(error.strerror, flush=True)
            if os.path.exists('/dev/shm/x'): signal.pause()
            """, timeout_s=30)
        self.assertEqual(result["exit_code"], 0 if REDUCED else 137, result)
        self.assertIn(result["stdout"], ("Permission denied\n",) if REDUCED else ("", "No space left on device\n"))

    def test_memory_that_nobody_has_mapped(self):
        # Only a cgroup sees it: without one it is not to be had.
        for name, text in HELD_BY_THE_KERNEL:
            with self.subTest(name):
                result = self.run_script(text, timeout_s=30, detail=True)
                if self.memory_is_charged() and (name == "memfd_create" or not REDUCED):
                    self.assertEqual((result["exit_code"], result["run"]["limit"]), (137, "memory"), result)
                else:
                    self.assertEqual((result["exit_code"], result["run"]["denied"]), (1, [name]), result)
        self.assert_still_serves()

    def test_a_job_out_of_memory_does_not_hurt_the_other(self):
        import concurrent.futures
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            good = two.submit(self.output_of, "import time; x = b'x' * (100 << 20); time.sleep(1.5); print(len(x))")
            bad = [two.submit(self.run_script, "x = b'x' * (600 << 20)") for _ in range(3)]
            self.assertEqual(good.result(), f"{100 << 20}\n")
            self.assertEqual([result.result()["exit_code"] for result in bad], [137] * 3)


class DefaultMemory(ServiceTest):
    """1.5 GiB of pages that are used; address space is not memory."""

    def test_untouched_address_space_is_free(self):
        # bytes(n) and an anonymous mapping touch no page; bytearray(n) writes its zeros.
        self.assertEqual(self.output_of("x = bytes(4 << 30); print(len(x) >> 30)"), "4\n")
        self.assertEqual(self.output_of("import mmap; x = mmap.mmap(-1, 8 << 30); print(len(x) >> 30)"), "8\n")
        self.assertEqual(self.output_of("import numpy; x = numpy.zeros(1 << 29); print(x.nbytes >> 30)"), "4\n")

    def test_one_gibibyte_is_there(self):
        self.assertEqual(self.output_of("x = b'x' * (1 << 30); print(len(x) >> 30)"), "1\n")

    def test_two_gibibytes_are_not(self):
        result = self.run_script("x = b'x' * (2 << 30); print('never')")
        self.assertEqual((result["exit_code"], result["stdout"]), (137, ""))


if __name__ == "__main__":
    main()
