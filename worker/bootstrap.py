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
# What goes out on the report pipe (NUL-separated; verdict.cc reads it):
#   "parked", version                                    once, when everything is imported
#   "exception", type, message, file, line, source       at the end, when an uncaught exception ended the script
#   "ended", exit status, processor time, peak memory    warm runners, when all that can be observed has happened
#   the stacks of all threads, as faulthandler writes them   on STACK_SIGNAL

# The last real-time signal: the one a script is least likely to use (SIGRTMAX; runner.h has the same number).
STACK_SIGNAL = 64


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

    if stage == "template":
        serve_forks(go, report, os.environ.pop("CODERUNNER_PRELOAD").split(","))
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

    # What an interpreter or the loader reads at its start can not be given to one that has started, nor can the path
    # of its main file: such a job gets a new interpreter in the same process, at the price of starting it.
    early = ("PYTHON", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_")
    if stage != "again" and (entry != "script.py" or any(name.startswith(early) for name, _, _ in variables)):
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

    # At the deadline the worker asks for the stacks of all threads; this handler needs no lock and no Python code.
    import faulthandler
    faulthandler.register(STACK_SIGNAL, file=report, all_threads=True, chain=False)
    del sys.modules["faulthandler"]

    tell_exception_at_exit(report, os.getcwd() + "/", faulthandler)


def tell_exception_at_exit(report, home, faulthandler):
    import os
    import sys

    runner = os.getpid()
    pipe = os.fstat(report)
    ours = still_ours

    def tell_exception(held=[faulthandler]):  # the collector would find a module that nobody holds
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
        clean = [part.encode("utf-8", "backslashreplace").replace(b"\0", b" ")[:size] for part, size in zip(parts, sizes)]
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
