"""Role: what the attack suites share: run a hostile script, then see that the service is as it was.
Callers: tests/sandbox/*_test.py.
Law: a hostile script ends by itself, or by its timeout_s. The check afterwards asks for what a client gets: a right
answer, all workers ready, the same ones as before, no leak counted.
"""
from contract import ServiceTest


class AttackTest(ServiceTest):
    """Attacks in a row on one service, which survives all of them unchanged."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.unharmed = (cls.service.process.pid, *cls.service.worker_pids())

    def attack(self, text, **fields):
        """The result of a hostile script, after the service has been found unharmed."""
        result = self.run_script(text, **{"timeout_s": 60, **fields})
        self.assertNotEqual(result["exit_code"], -1, result["stderr"][-300:])
        self.assert_unharmed()
        return result

    def assert_unharmed(self):
        self.assert_still_serves()
        self.assertEqual((self.service.process.pid, *self.service.worker_pids()), self.unharmed,
                         f"the same processes: {self.service.errors[-1000:].decode(errors='replace')}")
        self.assertEqual(self.service.health()["leaks"], 0, "nothing was left behind by a job")
        self.service.check_nothing_leaked()
