"""Role: the benchmark works: every variant and layer is measured, and table, JSON and picture come out.
Callers: meson test.
Law: it judges no speed.
"""
import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import bench
import cold
import strain
from variants import LAYERS, MAIN


class Bench(unittest.TestCase):
    def test_a_short_run_measures_everything(self):
        with tempfile.TemporaryDirectory(prefix="bench-test-") as folder:
            table, notes = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(table), contextlib.redirect_stderr(notes):
                bench.main(["--quick", "--layers", "--scenario=hello", "--clients=2", "--rounds=1", "--seconds=0.1",
                            "--workers=2", "--preload=json", f"--out={folder}"])
            result = json.loads(pathlib.Path(folder, "results.json").read_text())
            self.assertEqual(pathlib.Path(folder, "results.png").read_bytes()[:4], b"\x89PNG")
        variants = {variant.name for variant in MAIN + LAYERS}
        self.assertEqual({row["variant"] for row in result["rows"]}, variants | {"bare"})
        self.assertEqual(set(result["memory_kib"]), variants)
        for row in result["rows"]:
            with self.subTest((row["scenario"], row["variant"])):
                self.assertGreater(row["jobs"], 0)
                self.assertLessEqual(row["p50_ms"], row["p99_ms"])
                self.assertIn(row["variant"], table.getvalue())

    def test_times_under_strain_are_measured(self):
        rows = dict(strain.measure(bench.arguments([]).build, 2, count=5, rounds=1, idle=20, slow=5))
        self.assertEqual(len(rows), 2 + 4 + len(strain.BUSY_WITH) + 2)
        for what, times in rows.items():
            with self.subTest(what):
                self.assertGreaterEqual(len(times), 1)
                self.assertGreater(min(times), 0)

    def test_cold_starts_are_measured(self):
        rows = list(cold.measure(bench.arguments([]).build, 2, times=1))
        self.assertEqual([name for name, _, _ in rows], [variant.name for variant in cold.COLD])
        for name, starts, bare in rows:
            with self.subTest(name):
                self.assertGreater(min(starts + bare), 0)

    def test_a_job_that_fails_ends_it(self):
        from rounds import Loader
        from scenarios import Scenario
        with Loader(bench.arguments([]).build, Scenario("failing", "", "raise ValueError\n")) as load:
            with self.assertRaisesRegex(SystemExit, "exit status 1"):
                load.bare(1, 0.1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
