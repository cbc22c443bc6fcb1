// Role: what a script imports, as its text shows; which runner that asks for; how the list of --preload is divided.
#include "supervisor/imports.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

using Views = std::vector<std::string_view>;
using Strings = std::vector<std::string>;

const ModuleNames kStandard = {"asyncio", "json", "os", "sys"};

RunRequest request(std::vector<InputFile> files) {
  RunRequest made;
  made.files = std::move(files);
  return made;
}

bool asks(std::string script) { return imports_packages(request({{"script.py", std::move(script)}}), kStandard); }

TEST_CASE("imports are found wherever a statement may begin") {
  CHECK(imported_modules("import json") == Views{"json"});
  CHECK(imported_modules("import os.path as p, sys , numpy as np\n") == Views{"os", "sys", "numpy"});
  CHECK(imported_modules("from numpy.random import rand, pandas") == Views{"numpy"});
  CHECK(imported_modules("import\tjson\r\n\n \timport sys # , numpy") == Views{"json", "sys", "numpy"});
  CHECK(imported_modules("if x: import json; import sys\ntry:\n    from os import (\n  a, b)") ==
        Views{"json", "sys", "os"});
  CHECK(imported_modules("from numpy import*") == Views{"numpy"});
  CHECK(imported_modules("import numpy\\\n, json") == Views{"numpy"});
}

TEST_CASE("what is no import of a module by its name is none") {
  for (const char* source : {"", "\n", "import", "from", "import ", "important = 1", "from . import a",
                             "from .a import b", "from .. import numpy", "x = 'import numpy'",
                             "# import numpy", "imports numpy", ";:\n;:"}) {
    CAPTURE(source);
    CHECK(imported_modules(source).empty());
  }
}

TEST_CASE("a request asks for packages when it imports what is neither standard nor its own") {
  CHECK_FALSE(asks("print('hello')"));
  CHECK_FALSE(asks("import json, os.path\nfrom asyncio import run"));
  CHECK(asks("import json, numpy"));
  CHECK(asks("def f():\n    from seaborn import heatmap"));
  CHECK_FALSE(imports_packages(request({{"script.py", "import helper, pkg.a, input.b, c"},
                                        {"helper.py", "import json"},
                                        {"pkg/a.py", ""},
                                        {"input/c.py", ""}}), kStandard));
  CHECK(imports_packages(request({{"script.py", "import helper"}, {"input/helper.py", "import numpy"}}), kStandard));
  CHECK_FALSE(imports_packages(request({{"script.py", ""}, {"input/notes.txt", "import numpy"}}), kStandard));
  CHECK_FALSE(imports_packages(request({}), kStandard));
}

TEST_CASE("preloaded modules are divided by what is standard") {
  const PreloadLists lists = divide_preload({"json", "numpy?", "os.path", "sys?", "matplotlib.pyplot?", "torch"},
                                            kStandard);
  CHECK(lists.standard == Strings{"json", "os.path", "sys?"});
  CHECK(lists.packages == Strings{"numpy?", "matplotlib.pyplot?", "torch"});
}

}  // namespace
}  // namespace coderunner
