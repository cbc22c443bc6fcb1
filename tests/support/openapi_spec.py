"""Role: the fixed fields of each object of OpenAPI 3.1, read out of the specification's own text, as Debian's package
openapi-specification publishes it.
Callers: tests/contract/openapi_test.py, which compares openapi_schema.py with it.
"""
import pathlib
import re

TEXT = pathlib.Path("/usr/share/openapi-specification/versions/3.1.0.md")
HEADING = re.compile(r'#### <a name="(\w+)Object"></a>')
# | `<a name="infoTitle"></a>title | `string` | **REQUIRED**. The title of the API.` A table of security schemes has a
# column more: which of them a field applies to.
FIELD = re.compile(r'<a name="\w+"></a>\s*(\$?\w+)\s*\|(.*)\|\s*([^|]*)$')
KIND = re.compile(r"`(\w+)`")


def fields_of_objects():
    """{"info": {"title": (True, "`string`"), …}, …}: by object and field whether it is required, and the columns before
    its description."""
    objects, name = {}, None
    for line in TEXT.read_text().splitlines():
        if line.startswith("#### "):
            heading = HEADING.match(line)
            name = heading and heading[1]
        field = FIELD.match(line)
        if name and field:
            objects.setdefault(name, {})[field[1]] = (field[3].startswith("**REQUIRED**"), field[2])
    return objects


def applies_to(columns):
    """The kinds of security scheme that a field is for; empty: all."""
    return set(KIND.findall(columns.rsplit("|", 1)[-1]))
