# Role: the Python side of a warm template: imports what jobs will want, then forks a parked runner for each of them.
# Callers: bootstrap.py's park(), in a template and nowhere else, which gives it its own module's names. How its runners
# come by their memory is in rehearsal.py, how they end in quick_finish.py.
# Law: a runner has given up everything that a job must not have before it parks: capabilities, descriptors, the
# template's namespaces, or without namespaces its freedom. What template.cc does in C++ for the template itself is not
# done again here.
#
# From the worker, on the control socket: one byte a runner, with descriptors (template.cc lists them in this order):
#   walls, standard input, output, error, go, report, status, handover, and the cgroup's files to enter
# The walls are init's pidfd, whose namespaces a runner enters, or a Landlock ruleset: CODERUNNER_WALLS says which.
# The byte is "N" when the filter notifies: then its listener goes to the worker over the handover socket; else "F".
# CODERUNNER_RLIMITS are the limits that runners set for themselves, NUMBER=LIMIT each. CODERUNNER_PINS, where it is
# set, is the descriptor of an io_uring (pin_ring.h). CODERUNNER_PRELOAD and CODERUNNER_PACKAGES name what to import;
# one that has packages to import and finds none says so and ends.
# To the worker: "ready", version, and the modules that could not be imported, or "needless", on the control socket,
# once (each field ended by a NUL); on the status pipe of a runner, when it has ended: init.h's InitStatus.

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000  # sched.h
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}                                 # asm/unistd.h
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8              # linux/seccomp.h
CAPABILITY_VERSION_3 = 0x20080522                                             # linux/capability.h
WAITID = {"x86_64": 247, "aarch64": 95}                                       # asm/unistd.h
CLD_EXITED, CLD_DUMPED = 1, 3                                                 # siginfo.h
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42                               # linux/prctl.h
RUNNER_ENDED, RUNNER_FAILED, RUNNER_FORKED = 1, 2, 4                          # InitStatus::Kind
FILTER_FD = 4                                                                 # template.h
LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 445, 446                          # asm-generic/unistd.h
LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_READ_FILE, LANDLOCK_READ_DIR = 1, 4, 8   # linux/landlock.h


def serve_forks(control, report_number):
    """Returns in each runner, parked as far as its process goes, with the go pipe where `control` was."""
    import _contextvars
    import _signal
    import _socket
    import array
    import ctypes
    import gc
    import os
    import sys

    # A template ends by what ends any program, and never goes on behind an exception.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    namespaces = os.environ.pop("CODERUNNER_WALLS") == "namespaces"
    home = os.getcwd()
    channel = _socket.socket(fileno=control)

    def say(*fields):
        channel.send(b"".join(field.encode() + b"\0" for field in fields))

    def exists(module):
        top = module.partition(".")[0]
        return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)

    preload = [name for name in os.environ.pop("CODERUNNER_PRELOAD").split(",") if name]
    packages = [name for name in os.environ.pop("CODERUNNER_PACKAGES", "").split(",") if name]
    if packages and not any(not name.endswith("?") or exists(name.rstrip("?")) for name in packages):
        say("needless")
        os._exit(0)

    def call(function, *arguments):
        if function(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, "%s: %s" % (function.__name__, os.strerror(number)))

    with open(FILTER_FD, "rb") as file:
        program = file.read()
    instructions = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):  # struct sock_fprog
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    system_call_filter = FilterProgram(len(program) // 8, ctypes.addressof(instructions))
    capability_header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    no_capabilities = (ctypes.c_uint32 * 6)()

    pins = int(os.environ.pop("CODERUNNER_PINS", "-1"))
    small_pages = False
    if pins >= 0:
        os.set_inheritable(pins, False)  # what is imported may start processes
        # To pin one page of a large one would have fork(2) copy all of it. Runners undo this, unless it was so before.
        nothing = [ctypes.c_ulong(0)] * 3
        if libc.prctl(PR_GET_THP_DISABLE, ctypes.c_ulong(0), *nothing) == 0:
            small_pages = libc.prctl(PR_SET_THP_DISABLE, ctypes.c_ulong(1), *nothing) == 0

    def own_limit(row):
        resource, _, most = row.partition("=")
        limit = (ctypes.c_ulong * 2)()  # struct rlimit
        call(libc.getrlimit, int(resource), limit)
        limit[:] = [min(int(most), limit[1])] * 2
        return int(resource), limit

    rlimits = [own_limit(row) for row in os.environ.pop("CODERUNNER_RLIMITS").split(",")]
    waitid, signal_facts, usage = WAITID.get(os.uname().machine), (ctypes.c_int * 32)(), (ctypes.c_long * 18)()

    # The first of what Python calls in a child, before the modules' own: these write to hundreds of pages, too.
    take_pages = None

    def take_pages_once():
        nonlocal take_pages
        if take_pages is not None:
            take_pages()
            take_pages = None

    os.register_at_fork(after_in_child=take_pages_once)
    failed = []

    def import_all():
        for name in preload + packages:
            module = name.rstrip("?")
            try:
                __import__(module)
            except BaseException as error:
                absent = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
                if not (absent and name.endswith("?")):
                    failed.append(module)

    _contextvars.Context().run(import_all)  # some set variables of their context, such as decimal's
    finish = quick_finish(libc, report_number)

    # The rule for its own part of /proc is each process's to add: it is for the folder that /proc/self leads to.
    def restrict_files(ruleset):
        try:
            own = os.open("/proc/self", os.O_PATH)
        except FileNotFoundError:  # no /proc at all
            own = -1
        if own != -1:
            rights = LANDLOCK_READ_FILE | LANDLOCK_READ_DIR
            rule = rights.to_bytes(8, sys.byteorder) + own.to_bytes(
                4, sys.byteorder)  # struct landlock_path_beneath_attr
            call(libc.syscall, LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
            os.close(own)
        call(libc.syscall, LANDLOCK_RESTRICT_SELF, ruleset, 0)

    def install_filter(notifies, handover):
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER if notifies else 0
        listener = libc.syscall(SYS_SECCOMP[os.uname().machine], SECCOMP_SET_MODE_FILTER, flags,
                                ctypes.byref(system_call_filter))
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp")
        if notifies:
            worker = _socket.socket(fileno=handover)
            worker.sendmsg((b"L",), ((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", (listener,))),))
            worker.detach()

    def take_places(stdin, stdout, stderr, go, report):
        channel.detach()
        for source, place in ((stdin, 0), (stdout, 1), (stderr, 2), (go, control)):
            os.dup2(source, place)
        os.set_inheritable(control, False)
        os.dup2(report, report_number, inheritable=False)

    # What the template and all its children would share.
    def become_another(at_end=None):
        if "numpy.random" in sys.modules:  # `random` and everything newer draw anew by themselves
            numpy = sys.modules["numpy"]
            words = numpy.frombuffer(os.urandom(4 * 624), numpy.uint32)
            numpy.random.set_state(("MT19937", words, 623))  # as seed() does, which would write to 100 pages more
        processes = sys.modules.get("multiprocessing.process")
        if processes is not None:
            processes.current_process().authkey = os.urandom(32)
        threading = sys.modules.get("threading")
        if threading is not None:  # whose numbers are those of the template
            threading.main_thread()._set_native_id()
            threading._counter = threading._count(1).__next__
        finish(at_end)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        # The template's own was frozen with everything else: the collector would never find what only it refers to.
        main = type(sys)("__main__")
        main.__annotations__ = {}
        main.__builtins__ = sys.modules["builtins"]
        sys.modules["__main__"] = main

    # Runs our own script, here and with all that the template may.
    def become_rehearsal(at_end):
        pipes = [os.pipe() for _ in range(5)]  # whose other ends stay open, so that all can be written to
        os.write(pipes[3][1], b"script.py\0" b"0\0" b"0\0")
        os.close(pipes[3][1])
        os.close(pipes[0][1])
        take_places(pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][0], pipes[4][1])
        become_another(at_end)

    def become_runner(order, descriptors):
        walls, stdin, stdout, stderr, go, report, _, handover, *cgroup = descriptors
        for file in cgroup:
            os.write(file, b"0")
        os.setsid()
        if namespaces:
            call(libc.setns, walls, CLONE_NEWNS | CLONE_NEWIPC)
        os.chdir(home)
        take_places(stdin, stdout, stderr, go, report)
        adjustment = os.open("/proc/self/oom_score_adj", os.O_WRONLY)  # open() writes to more pages
        os.write(adjustment, b"1000")
        os.close(adjustment)
        for resource, limit in rlimits:
            call(libc.setrlimit, resource, limit)
        if small_pages:
            call(libc.prctl, PR_SET_THP_DISABLE, ctypes.c_ulong(0), *nothing)
        call(libc.capset, capability_header, no_capabilities)
        if not namespaces:
            restrict_files(walls)
        install_filter(order == b"N", handover)
        os.closerange(control + 1, report_number)
        become_another()

    # Waits, and leaves the runner unreaped until its end has been told: if this process is killed in between, the
    # worker finds it as it was. The system call fills in a struct rusage, for which the C library has no argument.
    def see_end(runner):
        if waitid is None:
            facts = os.waitid(os.P_PID, runner, os.WEXITED | os.WNOWAIT)
            signal_facts[2], signal_facts[6] = facts.si_code, facts.si_status
        elif libc.syscall(*map(ctypes.c_long, (waitid, os.P_PID, runner)), signal_facts,
                          ctypes.c_long(os.WEXITED | os.WNOWAIT), usage) != 0:
            raise OSError(ctypes.get_errno(), "waitid")

    def end_seen():
        code, status = signal_facts[2], signal_facts[6]  # si_code, si_status
        wait_status = status << 8 if code == CLD_EXITED else status | (0x80 if code == CLD_DUMPED else 0)
        return wait_status, (usage[0] + usage[2]) * 1000000 + usage[1] + usage[3], usage[4] * 1024

    # Nothing of this is taken apart in runners, which would write to the pages of all of it.
    held = [*locals().values(), *globals().values()]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    gc.collect()
    gc.freeze()
    pages = rehearse(libc, become_rehearsal, pins)
    if pages is True:
        return
    take_pages = pages
    gc.freeze()
    say("ready", ".".join(map(str, sys.version_info[:3])), ",".join(failed))
    while True:
        order, ancillary, _, _ = channel.recvmsg(1, _socket.CMSG_SPACE(16 * array.array("i").itemsize))
        if not order:
            os._exit(0)  # the worker has gone
        descriptors = array.array("i")
        for _, _, payload in ancillary:
            descriptors.frombytes(payload)
        status = descriptors[6]
        try:
            if namespaces:
                call(libc.setns, descriptors[0], CLONE_NEWPID)  # of the children to come
            runner = os.fork()
            if runner == 0:
                try:
                    become_runner(order, descriptors)
                    return
                except BaseException as error:
                    tell(status, RUNNER_FAILED, message="template: %s" % error)
                    os._exit(1)
        except OSError as error:
            tell(status, RUNNER_FAILED, message="template: %s" % error)
            runner = 0
        for descriptor in descriptors:
            if descriptor != status:
                os.close(descriptor)
        if runner:
            tell(status, RUNNER_FORKED, runner)
            see_end(runner)
            wait_status, cpu_us, peak_memory_bytes = end_seen()
            tell(status, RUNNER_ENDED, wait_status, cpu_us, peak_memory_bytes)
            os.waitpid(runner, 0)
        os.close(status)


def tell(status, kind, wait_status=0, cpu_us=0, peak_memory_bytes=0, message=""):
    import os
    record = b"".join(number.to_bytes(size, "little") for number, size in
                      ((kind, 4), (wait_status, 4), (cpu_us, 8), (peak_memory_bytes, 8)))
    try:
        os.write(status, record + message.encode())
    except OSError:
        pass  # the worker knew, and has closed its end
