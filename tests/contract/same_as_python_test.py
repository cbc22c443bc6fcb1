"""Role: a runner is what `python3 script.py` would be: the same scripts through both, and the same bytes out.
Callers: meson test, once a mode of starting the service.
Law: output is compared to the letter; only the working directory's path and addresses of objects are made equal first.
What differs all the same is listed here with its reason, and in the README.
"""
import concurrent.futures

from bare_python import run_bare, without_places
from contract import ServiceTest, main, script
from same_scripts import endings, interpreter, processes, tracebacks
from service import RUNNER

AT_ONCE = 4  # scripts under way: the machine is busy while single ones wait


def request(row):
    """A row as the fields of a request."""
    name, text, fields = (*row, {})[:3]
    return name, {"script": script(text), **fields}


class SameAsPython(ServiceTest):
    """Each row of tests/support/same_scripts, in the service and beside it."""

    def served(self, fields):
        if "files" in fields:
            files = {"script.py": fields["script"], **fields["files"]}
            fields = {**fields, "files": files, "entry_point": "script.py"}
            del fields["script"]
        answer = self.service.post(fields)
        self.assertEqual(answer.status, 200, answer)
        return without_places(answer.json)

    def check(self, rows):
        requests = dict(map(request, rows))
        self.assertEqual(len(requests), len(rows), "two rows of one name")
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            pairs = list(pool.map(lambda fields: (self.served(fields), run_bare(fields)), requests.values()))
        for name, (ours, bare) in zip(requests, pairs):
            with self.subTest(name):
                for member in ("stdout", "stderr", "artifacts", "exit_code"):
                    self.assertEqual(ours[member], bare[member], member)

    def test_the_interpreter(self):
        self.check(interpreter.SCRIPTS)

    def test_what_only_fresh_runners_hide(self):
        self.check(interpreter.FRESH_ONLY + endings.FRESH_ONLY if RUNNER == "fresh" else [])

    def test_no_module_is_missing(self):
        fields = {"script": "import sys; print(sorted(sys.modules))"}
        ours, bare = (set(eval(result["stdout"])) for result in (self.served(fields), run_bare(fields)))
        self.assertEqual(bare - ours, set())
        if RUNNER == "fresh":
            self.assertEqual(ours, bare)

    def test_tracebacks(self):
        self.check(tracebacks.SCRIPTS)

    def test_ends(self):
        self.check(endings.SCRIPTS)

    def test_every_exit_code(self):
        # Fresh runners cost more, and have nothing of their own here.
        codes = range(256) if RUNNER == "warm" else range(0, 256, 15)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            results = pool.map(lambda code: self.served({"script": f"import sys; sys.exit({code})"}), codes)
            for code, result in zip(codes, results):
                self.assertEqual(result, {"exit_code": code, "stdout": "", "stderr": "", "artifacts": {}})

    def test_processes_and_streams(self):
        self.check(processes.SCRIPTS)


if __name__ == "__main__":
    main()
