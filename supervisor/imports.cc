// Role: see imports.h.
#include "supervisor/imports.h"

#include <algorithm>

namespace coderunner {
namespace {

constexpr std::string_view kBlank = " \t\f";
constexpr std::string_view kPython = ".py";

// What of Python's grammar is needed here: names, words, separators.
class Statement {
 public:
  explicit Statement(std::string_view text) : rest_(text) {}

  // The next word is `word`, and something follows it.
  bool take(std::string_view word) {
    skip_blank();
    if (!rest_.starts_with(word) || rest_.size() == word.size() || kBlank.find(rest_[word.size()]) == kBlank.npos)
      return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // A dotted name's first part; empty where none stands.
  std::string_view take_module() {
    skip_blank();
    const std::string_view name = rest_.substr(0, rest_.find_first_of(" \t\f.,;:#\r\\()"));
    rest_.remove_prefix(name.size());
    return name;
  }
  bool skip_past_comma() {
    const std::size_t comma = rest_.find(',');
    rest_.remove_prefix(comma == rest_.npos ? rest_.size() : comma + 1);
    return comma != rest_.npos;
  }

 private:
  void skip_blank() { rest_.remove_prefix(std::min(rest_.find_first_not_of(kBlank), rest_.size())); }
  std::string_view rest_;
};

std::string_view top_level(std::string_view module) { return module.substr(0, module.find_first_of(".?")); }

bool has(const ModuleNames& sorted, std::string_view name) { return std::ranges::binary_search(sorted, name); }

// "helper.py", "pkg/__init__.py" and "input/helper.py" are modules of the request's own: "helper", "pkg", "input".
bool is_own(const RunRequest& request, std::string_view module) {
  return std::ranges::any_of(request.files, [&](const InputFile& file) {
    const std::string_view path = file.path;
    const std::string_view first = path.substr(0, path.find('/'));
    const std::string_view name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
    return first == module || (name.ends_with(kPython) && name.substr(0, name.size() - kPython.size()) == module);
  });
}

}  // namespace

std::vector<std::string_view> imported_modules(std::string_view source) {
  std::vector<std::string_view> found;
  while (!source.empty()) {
    const std::size_t length = std::min(source.find_first_of("\n;:"), source.size());
    Statement statement(source.substr(0, length));
    source.remove_prefix(std::min(length + 1, source.size()));
    const bool from = statement.take("from");
    if (!from && !statement.take("import")) continue;
    do {
      if (const std::string_view name = statement.take_module(); !name.empty()) found.push_back(name);
    } while (!from && statement.skip_past_comma());
  }
  return found;
}

bool imports_packages(const RunRequest& request, const ModuleNames& standard) {
  return std::ranges::any_of(request.files, [&](const InputFile& file) {
    return file.path.ends_with(kPython) &&
           std::ranges::any_of(imported_modules(file.content), [&](std::string_view module) {
      return !has(standard, module) && !is_own(request, module);
    });
  });
}

PreloadLists divide_preload(const std::vector<std::string>& modules, const ModuleNames& standard) {
  PreloadLists lists;
  for (const std::string& module : modules)
    (has(standard, top_level(module)) ? lists.standard : lists.packages).push_back(module);
  return lists;
}

}  // namespace coderunner
