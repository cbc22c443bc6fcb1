# Role: ends an interpreter that has imported much without taking it apart, and tells the worker that it ends.
# Callers: template.py; the build puts this behind it, into one file (meson.build).
# Law: what a script can observe of its end happens, in CPython's order; nothing else does.


def quick_finish(libc, report):
    """Makes ready what ends an interpreter without taking it apart, which costs tens of milliseconds where much has
    been imported. Returns the function that switches it on in a runner, with another one to be called as the last of
    all, or None.

    Py_FinalizeEx's first instructions are replaced by a jump to `finalize`, so that however the script ends, CPython's
    own code comes here with its exit status in hand and goes on to exit(3) with it, where _exit(2) is called first of
    all (on_exit(3)). Between the two no Python runs and nobody lets go of the interpreter's lock: CPython has taken
    apart what other threads would need by then. Where the jump is not known how to be made, interpreters end in their
    own, slower way.
    """
    import _weakref
    import atexit
    import builtins
    import ctypes
    import gc
    import os
    import resource
    import sys

    newest = next(reversed(sys.modules))
    # Without what CPython's start adds to them.
    builtin_names = set(dir(builtins)) - {"open", "copyright", "credits", "exit", "help", "license", "quit"}
    pid, pipe, at_end, ours = 0, None, None, still_ours  # bootstrap.py leaves none of these names behind

    # sys.unraisablehook() takes only this type, which has no public name: it is seen when a destructor fails.
    class Failing:
        def __del__(self):
            raise ValueError

    usual_hook, seen = sys.unraisablehook, []
    sys.unraisablehook = seen.append
    Failing()
    sys.unraisablehook = usual_hook
    hook_arguments = type(seen.pop())

    def finalize():
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        try:
            atexit._run_exitfuncs()
        except BaseException:
            pass  # what has been written to standard error already, Python 3.8 and 3.9 raise as well
        sys.is_finalizing = True.__bool__
        flushed = flush(complain=True)
        sys.setswitchinterval(1e6)  # daemon threads have had their time
        gc.collect()
        take_apart()
        flush(complain=False)
        sys.stdout = sys.stderr = None  # nobody hears what sys itself still held
        let_go(lambda: [sys])
        libc.fflush(None)
        tell_end()
        if at_end is not None:
            at_end()
        return 0 if flushed else -1

    def flush(complain):
        good = True
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            try:
                if stream is not None and not getattr(stream, "closed", False):
                    stream.flush()
            except BaseException as error:
                good = False
                if complain and name == "stdout":  # as flush_std_files() does: this frame is not the script's
                    sys.unraisablehook(hook_arguments(
                        (type(error), error, error.__traceback__.tb_next, None, stream)))
        return good

    # In the order of CPython's finalize_modules(): what sys holds, then the script's modules, oldest first, each first
    # by letting go of it and then, if somebody holds it still, by emptying it.
    def take_apart():
        for name in ("path", "argv", "ps1", "ps2", "last_type", "last_value", "last_traceback", "last_exc",
                     "path_hooks", "path_importer_cache", "meta_path", "__interactivehook__"):
            setattr(sys, name, None)
        for name in ("stdin", "stdout", "stderr"):
            setattr(sys, name, getattr(sys, "__%s__" % name))
        own = []  # from the end: to walk all of them would touch the pages of all their names
        for name in reversed(sys.modules):
            if name == newest:
                break
            own.append(name)
        own.append("__main__")
        own.reverse()
        sys.modules["io"] = None  # modules can not be had any more; by way of this one, tracebacks show no source
        held = []
        for name in own:
            module = sys.modules.pop(name, None)
            try:
                held.append(_weakref.ref(module))
            except TypeError:
                pass
            del module
        for name in [name for name in builtins.__dict__ if name not in builtin_names]:
            del builtins.__dict__[name]
        gc.collect()
        gc_again = False
        for reference in held:
            module = reference()
            if module is not None:
                names = module.__dict__
                for private in (True, False):
                    for name in list(names):
                        if name != "__builtins__" and (name[:1] == "_" and name[1:2] != "_") is private:
                            names[name] = None
                gc_again = True
            del module
        if gc_again:
            gc.collect()
        let_go(lambda: [module for module in sys.modules.values() if module is not sys])

    # Of what the job has made, some modules of the template hold what they were given. Merely to touch them all costs
    # hundreds of pages, to look at their names milliseconds, so only where somebody would notice: files, and what has a
    # destructor.
    def let_go(of_whom):
        made = {id(thing): thing for thing in gc.get_objects()}  # what is frozen is not among them
        if any(hasattr(type(thing), "__del__") for thing in made.values()):
            made = set(made)
            for module in of_whom():
                names = getattr(module, "__dict__", {})
                for name in [name for name, value in names.items() if id(value) in made]:
                    names[name] = None
            gc.collect()

    def tell_end():
        if os.getpid() == pid and ours(os, report, pipe):
            peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            try:
                os.write(report, b"ended\0%d\0" % (peak * 1024))
            except OSError:
                pass  # the script has filled the pipe and will not wait

    thunk = ctypes.PYFUNCTYPE(ctypes.c_int)(finalize)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thunk))  # machine code points to it: it must never be freed
    # Newer ones have not been tried.
    patched = sys.version_info < (3, 12) and patch_function(libc, ctypes.pythonapi.Py_FinalizeEx, thunk)

    def switch_on(call_at_end):
        nonlocal pid, pipe, at_end
        pid, pipe = os.getpid(), os.fstat(report)
        at_end = call_at_end
        if patched:
            libc.on_exit(libc._exit, None)
        elif at_end is not None:
            atexit.register(at_end)

    return switch_on


def patch_function(libc, function, replacement):
    """Writes a jump to `replacement` over the beginning of `function`; False where this processor's is not known."""
    import ctypes
    import os

    target = ctypes.cast(replacement, ctypes.c_void_p).value.to_bytes(8, "little")
    code = {
        "x86_64": b"\x48\xb8" + target + b"\xff\xe0",            # mov rax, target; jmp rax
        "aarch64": b"\x50\x00\x00\x58\x00\x02\x1f\xd6" + target,  # ldr x16, 8; br x16; target
    }.get(os.uname().machine)
    if code is None:
        return False
    address = ctypes.cast(function, ctypes.c_void_p).value
    page = os.sysconf("SC_PAGE_SIZE")
    start = address // page * page
    length = (address + len(code) + page - 1) // page * page - start
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(length), 7) != 0:
        return False
    ctypes.memmove(address, code, len(code))
    libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(length), 5)
    return True
