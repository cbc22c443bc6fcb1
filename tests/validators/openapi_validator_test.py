"""Role: GET /openapi.json before a public validator of OpenAPI documents, with the schema that the OpenAPI Initiative
publishes for 3.1. What the description says of this service is compared with it in contract/openapi_test.py.
Callers: scripts/validate-openapi, which installs the validator (VALIDATOR, its program).
"""
import copy
import json
import os
import subprocess
import tempfile
import unittest

from contract import main
from service import Service


def verdict(document):
    """What the validator says: {"valid": …, "errors": […]}."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        done = subprocess.run([os.environ["VALIDATOR"], file.name], capture_output=True, timeout=60, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        raise AssertionError(done)
    said = json.loads(done.stdout)
    if said["valid"] != (done.returncode == 0):
        raise AssertionError(done)
    return said


class Published(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(workers=1))
        cls.document = cls.service.request("GET", "/openapi.json").json

    def test_the_description_is_valid(self):
        self.assertTrue(self.document["openapi"].startswith("3.1."))
        self.assertEqual(verdict(self.document), {"valid": True})

    def test_with_a_key_and_other_limits_it_is_too(self):
        with Service("--script-bytes=100", "--files=2", env={"CODERUNNER_API_KEY": "k"}, workers=1) as service:
            document = service.request("GET", "/openapi.json").json
        self.assertNotEqual(document, self.document)
        self.assertEqual(verdict(document), {"valid": True})

    def test_the_validator_would_notice(self):
        def without_version(document):
            del document["info"]["version"]

        def unknown_field(document):
            document["paths"]["/api/run"]["post"]["answers"] = {}

        def response_without_description(document):
            del document["paths"]["/api/run"]["post"]["responses"]["200"]["description"]

        def component_with_a_bad_name(document):
            document["components"]["schemas"]["not a name"] = {}

        for spoil in (without_version, unknown_field, response_without_description, component_with_a_bad_name):
            with self.subTest(spoil.__name__):
                document = copy.deepcopy(self.document)
                spoil(document)
                self.assertFalse(verdict(document)["valid"])


if __name__ == "__main__":
    main()
