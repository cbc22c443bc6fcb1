"""Role: what is run while it is measured: each scenario a script, its input, and how many clients ask for it at once.
Callers: bench.py, rounds.py.
Law: the same script and the same bytes go to the service and to bare Python.
"""
import dataclasses

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    script: str
    stdin: str = ""
    output_bytes: int = 0
    clients: tuple = (1, 8, 64)
    quick_clients: tuple = (1, 8)


TEXT = ("x" * 63 + "\n") * (MEBIBYTE // 64)

SCENARIOS = {scenario.name: scenario for scenario in (
    Scenario("hello", "print('hello')", "print('hello')\n", output_bytes=6, quick_clients=(1, 8, 64)),
    Scenario("pandas", "import numpy and pandas, a small groupby", (
        "import numpy as np\nimport pandas as pd\n"
        "frame = pd.DataFrame({'key': np.arange(1000) % 7, 'value': np.arange(1000.0)})\n"
        "assert len(frame.groupby('key').value.sum()) == 7\n")),
    Scenario("cpu", "50 ms of processor time", (
        "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass\n")),
    Scenario("pass-through", "1 MiB in, 1 MiB out", "import sys\nsys.stdout.write(sys.stdin.read())\n", TEXT, MEBIBYTE),
    Scenario("output", "10 MiB of output", "import sys\nsys.stdout.write(('x' * 63 + '\\n') * (10 << 14))\n",
             "", 10 * MEBIBYTE),
)}

# A bare interpreter with pandas takes some 70 MiB, an answer of 10 MiB several times that on its way: as many as this
# fit into the memory of a small machine at once.
BYTES_A_CLIENT = {"pandas": 100 * MEBIBYTE, "output": 100 * MEBIBYTE}
