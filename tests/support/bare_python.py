"""Role: the yardstick: what `python3 script.py` itself does with a job, told as the service tells it.
Callers: tests/support/contract.py, tests/contract/same_as_python_test.py.
Law: the interpreter, the variables and the directory are those of the contract; what lives on after the script is
killed, as it is in a sandbox.
"""
import base64
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from service import PYTHON, REDUCED, thread_counts


def file_bytes(file):
    """A file of a request, as bytes."""
    if isinstance(file, str):
        return file.encode()
    return base64.b64decode(file["content"]) if file.get("encoding") == "base64" else file["content"].encode()


def artifact(data):
    """What the service makes of a file."""
    try:
        if b"\0" not in data:
            return data.decode()
    except UnicodeDecodeError:
        pass
    return {"content": base64.b64encode(data).decode(), "encoding": "base64"}


def become_job():
    # An ignored signal stays so across exec, and nohup(1) ignores one, a shell two for its jobs in the background.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


def lay_out(directory, fields):
    places = {"script.py": fields["script"], **fields.get("files", {})}
    places |= {f"input/{name}": file for name, file in fields.get("context", {}).items()}
    for name in ("input", "output"):
        os.mkdir(os.path.join(directory, name))
    for place, file in places.items():
        path = pathlib.Path(directory, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file_bytes(file))
        path.chmod(0o400 if place.startswith("input/") else 0o644)


def run_bare(fields, python=PYTHON):
    """The answer that a request with these fields should get: script, files beside it, context, stdin, args, env."""
    with tempfile.TemporaryDirectory(prefix="bare-python-", dir="/tmp") as directory:
        lay_out(directory, fields)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": directory, "LANG": "C.UTF-8", "TMPDIR": "/tmp",
                       "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1",
                       **thread_counts(2), **fields.get("env", {})}
        if REDUCED:
            environment = {"LD_PRELOAD": "", **environment}
        command = [python, "-X", "utf8", "script.py", *fields.get("args", [])]
        process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=become_job, start_new_session=True)
        try:
            stdout, stderr = process.communicate(file_bytes(fields.get("stdin", "")), timeout=60)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        artifacts = {path.name: artifact(path.read_bytes()) for path in pathlib.Path(directory, "output").iterdir()
                     if path.is_file() and not path.is_symlink()}
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return without_places({"exit_code": code, "stdout": stdout.decode("utf-8", "replace"),
                               "stderr": stderr.decode("utf-8", "replace"), "artifacts": artifacts}, directory)


# Where a job of the service works: at the full level, at the reduced one.
WORKING_DIRECTORY = r"/work(?![\w-])|/[^\s'\"]*/worker-\d+/[^/]+/work(?![\w-])"
OWN_SHM = r"/[^\s'\"]*/boot-\d+/own_shm\.so"  # the value of LD_PRELOAD there
TEMPORARY_DIRECTORY = r"/[^\s'\"]*/worker-\d+/[^/]+/tmp(?![\w-])"


def without_places(result, directory=None):
    """A result without what differs from run to run: the script's directory, and addresses of objects."""
    def clean(text):
        text = text.replace(directory, "<cwd>") if directory else re.sub(WORKING_DIRECTORY, "<cwd>", text)
        text = re.sub(OWN_SHM, "", text)
        return re.sub(r"0x[0-9a-f]{6,}", "<address>", re.sub(TEMPORARY_DIRECTORY, "/tmp", text))
    return {**result, "stdout": clean(result["stdout"]), "stderr": clean(result["stderr"])}
