# Role: runs inside the job's interpreter, as its `sitecustomize`, and holds it there until a job comes.
# Callers: Python's own start (site.py imports sitecustomize last), with the environment that plan.cc lays out.
# Law: leaves no trace that a script could stumble over. It returns into the interpreter's own start, so that
# `python3 script.py` is then run by CPython's main function itself: no frame of ours lies below the script.
#
# Three stages, the third field of CODERUNNER_PARK:
#   "fresh"      one interpreter, one job
#   "template"   runs no job itself: forks a warm runner for each, which goes on from there as "fresh" does
#   "again"      a new interpreter in a runner's process, for what can not be given to a running one
#
# What comes in on the go pipe (NUL-separated, each field ended by a NUL; runner.cc writes it):
#   entry point, number of arguments, the arguments, number of variables, NAME=value for each
# What goes out on the report pipe (NUL-separated; boot_report.cc and stack_collector.cc read it):
#   "parked", version                                    once, when everything is imported
#   "exception", type, message, file, line, source       at the end, when an uncaught exception ended the script
#   "ended", peak memory in bytes                        warm runners, when all that can be observed has happened
#   stacks, as faulthandler writes them, and \1          on STACK_SIGNAL; \1 alone where a thread runs no Python

# One of the two that the C library keeps to itself: it lets nobody block, ignore or handle it (nptl(7)), and uses it
# only in pthread_cancel(3), which Python never calls. runner.h has the same numbers, and the values that come with it.
STACK_SIGNAL = 32
ALL_STACKS, OWN_STACK = 64, 63


def park():
    import os
    import sys

    go, report, stage, boot, packages = os.environ.pop("CODERUNNER_PARK").split(":", 4)
    go, report = int(go), int(report)
    if stage != "template":
        os.set_inheritable(report, False)

    # Our folder was first in PYTHONPATH; what follows it there came with the job.
    rest = os.environ.pop("PYTHONPATH")[len(boot) + 1:]
    if rest:
        os.environ["PYTHONPATH"] = rest
    sys.path.remove(boot)
    sys.path_importer_cache.pop(boot, None)

    if packages:
        import site
        site.addsitedir(packages)

    # The distribution's own sitecustomize, which ours has hidden.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize
    except ImportError:
        sys.modules["sitecustomize"] = ours

    held = show_stacks_on_signal(report)
    if stage == "template":
        # An exception must not let the interpreter go on to its main file: a job's script will have that place, and a
        # template may be in no sandbox.
        try:
            # A file of its own: an interpreter for one job need not compile it.
            with open(boot + "/template.py", "rb") as text:
                exec(compile(text.read(), text.name, "exec"), globals())
            serve_forks(go, report)
        except BaseException as error:
            os.write(2, ("%s: %s\n" % (type(error).__name__, error)).encode())
            os._exit(1)
    if stage != "again":
        os.write(report, b"parked\0%s\0" % ".".join(map(str, sys.version_info[:3])).encode())
    message = b""
    while True:
        piece = os.read(go, 65536)
        if not piece:
            break
        message += piece
    if not message:
        os._exit(0)  # the worker has gone: there will be no job
    os.close(go)

    fields = iter(message.split(b"\0"))
    entry = os.fsdecode(next(fields))
    args = [os.fsdecode(next(fields)) for _ in range(int(next(fields)))]
    variables = [os.fsdecode(next(fields)).partition("=") for _ in range(int(next(fields)))]

    # What an interpreter, the loader or a library that may be loaded already reads at its start can not be given to one
    # that has started, nor can the path of its main file: such a job gets a new interpreter in the same process, at the
    # price of starting it.
    def is_early(name):
        return name.startswith(("PYTHON", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_")) or name.endswith("_NUM_THREADS")

    if stage != "again" and (entry != "script.py" or any(is_early(name) for name, _, _ in variables)):
        environment = dict(os.environ)
        environment.update((name, value) for name, _, value in variables)
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = boot + os.pathsep + inherited if inherited else boot
        again, writer = os.pipe()
        os.write(writer, message)  # at most some 50 KB by the contract's limits: fits an empty pipe
        os.close(writer)
        os.set_inheritable(again, True)
        os.set_inheritable(report, True)
        environment["CODERUNNER_PARK"] = ":".join((str(again), str(report), "again", boot, packages))
        os.execve(sys.executable, [sys.executable, "-X", "utf8", entry, *args], environment)

    for name, _, value in variables:
        if stage != "again":
            os.environ[name] = value
            if name == "TZ":
                sys.modules["time"].tzset()
    sys.argv[:] = [entry, *args]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.executable, "-X", "utf8", entry, *args]

    tell_exception_at_exit(report, os.getcwd() + "/", held)


def show_stacks_on_signal(report):
    """At the deadline the worker asks for the stacks of all threads or of one: by the value that comes with the signal,
    ALL_STACKS or OWN_STACK. faulthandler's handler needs no lock and no Python code, so it answers from within any C
    code; but the C library installs none for STACK_SIGNAL. So it is registered for the last two signals, and the kernel
    is given a handler for STACK_SIGNAL that calls it with the one of them that the value names, and then ends the
    record. Returns what has to be held on to."""
    import _ctypes
    import faulthandler
    import mmap
    import os
    import sys

    # Places in the page, behind the code: what it needs, and a struct sigaction: handler, flags (rt_sigaction(2)).
    needs, at, SA_SIGINFO = 192, 256, 4
    machines = {  # the system call, and the code: handler(info->si_value.sival_int); write(report, "\1\0", 2)
        "x86_64": (13, "4883ec08 8b7e18 ff15b3000000 8b3db5000000 488d35b2000000 ba02000000 b801000000 0f05 4883c408"
                       "c3"),
        "aarch64": (134, "fd7bbfa9 201840b9 d0050058 00023fd6 c0050018 c1050010 42008052 08088052 010000d4 fd7bc1a8"
                         "c0035fd6"),
    }
    modules = ("_ctypes", "faulthandler", "mmap")

    class Byte(_ctypes._SimpleCData):
        _type_ = "c"

    class Page(_ctypes.Array):
        _type_, _length_ = Byte, mmap.PAGESIZE

    try:
        number, code = machines[os.uname().machine]
        # Private: what a template's jobs share, one could change for the others. Not to be run before it is written:
        # some processors keep instructions apart from data (aarch64), and the kernel sees to that when it is made so.
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except (KeyError, OSError):  # another machine, or no memory: a script that times out has no stack then
        return [sys.modules.pop(name) for name in modules]
    view = Page.from_buffer(page)
    _ctypes.Py_INCREF(view)  # never to be freed
    libc = _ctypes.dlopen(None, 0)
    syscall = _ctypes.dlsym(libc, "syscall")
    action = _ctypes.byref(view, at)

    for registered in (ALL_STACKS, OWN_STACK):
        faulthandler.register(registered, file=report, all_threads=registered == ALL_STACKS, chain=False)
        _ctypes.call_function(syscall, (number, registered, None, action, 8))
        theirs = page[at:at + 32]
        page[at:at + 32] = bytes(32)
        _ctypes.call_function(syscall, (number, registered, action, None, 8))
    code = bytes.fromhex(code)
    page[:len(code)] = code
    page[needs:needs + 12] = theirs[:8] + report.to_bytes(4, sys.byteorder)
    page[needs + 12] = 1  # and zeros behind it
    page[at:at + 32] = _ctypes.addressof(view).to_bytes(8, sys.byteorder) + theirs[8:]
    page[at + 8] |= SA_SIGINFO
    _ctypes.call_function(syscall, (number, STACK_SIGNAL, action, None, 8))
    page[at:at + 32] = bytes(32)
    refused = _ctypes.call_function(_ctypes.dlsym(libc, "mprotect"),
                                    (_ctypes.byref(view), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC))
    if refused:
        _ctypes.call_function(syscall, (number, STACK_SIGNAL, action, None, 8))
    return [sys.modules.pop(name) for name in modules]


def still_ours(os, descriptor, pipe):
    """Whether a descriptor is the pipe that it was: a script may close it, and the next file takes its number."""
    try:
        return os.path.samestat(os.fstat(descriptor), pipe)
    except OSError:
        return False


def tell_exception_at_exit(report, home, held):
    import os
    import sys

    runner = os.getpid()
    pipe = os.fstat(report)
    ours = still_ours

    def tell_exception(held=held):  # the collector would find a module that nobody holds
        value = getattr(sys, "last_value", None)
        if value is None or os.getpid() != runner or not ours(os, report, pipe):
            return
        try:
            os.write(report, describe(value))
        except BaseException:
            pass  # a message that can not be made (its __str__ fails, say) is not worth a trace in the output

    def describe(value):
        kind = type(value)
        name = kind.__qualname__
        if kind.__module__ not in ("__main__", "builtins"):
            name = kind.__module__ + "." + name
        file, line, source = "", 0, ""
        trace = value.__traceback__
        while trace is not None:
            file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        if isinstance(value, SyntaxError) and value.filename:
            file, line, source = value.filename, value.lineno or 0, value.text or ""
        elif file.startswith(home):
            with open(file, encoding="utf-8", errors="replace") as lines:
                for number, text in enumerate(lines, 1):
                    if number == line:
                        source = text
                        break
        if file.startswith(home):
            file = file[len(home):]
        parts = [name, str(value), file, str(line), source.strip()]
        sizes = [200, 2000, 1000, 20, 500]  # together below PIPE_BUF: one write, never in pieces
        clean = [part.encode("utf-8", "backslashreplace").replace(b"\0", b" ")[:size]
                 for part, size in zip(parts, sizes)]
        return b"exception\0" + b"".join(part + b"\0" for part in clean)

    loaded = "atexit" in sys.modules
    import atexit
    tell_exception.__defaults__[0].append(atexit)
    atexit.register(tell_exception)  # the first to be registered is the last to be called
    if not loaded:
        del sys.modules["atexit"]


import os
if "CODERUNNER_PARK" in os.environ:  # not in a subinterpreter, which imports this again
    park()
for name in [name for name in globals() if not name.startswith("__")]:
    del globals()[name]
del name
import sys
if sys.modules.get("sitecustomize").__dict__ is globals():
    # There is no other: end as the import of a module that does not exist.
    raise ImportError("No module named 'sitecustomize'", name="sitecustomize")
