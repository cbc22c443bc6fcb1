// Role: the bash script and the lists that go into it.
// Callers: see completion.h.
// Law: see completion.h. What the script defines begins with _coderunner.
#include "supervisor/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "supervisor/settings.h"

namespace coderunner {

namespace {

constexpr std::string_view kCommandFlags =
    "--config --input --output --timeout --check --json --completion --version --help";
constexpr std::string_view kFileFlags = "--config|--input|--output";
constexpr std::string_view kValueFlags = "--timeout";  // with a value that nobody can guess

// Bash takes '=' for a word of its own (bash(1), COMP_WORDBREAKS), so --flag=value arrives as three words.
constexpr std::string_view kScript = R"(# Completes coderunner: source <(coderunner --completion bash)
_coderunner() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} flag=
  if ((COMP_CWORD > 0)); then flag=${{COMP_WORDS[COMP_CWORD - 1]}}; fi
  if [[ $word == = ]]; then word=; elif [[ $flag == = ]]; then flag=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
  case $flag in
{choices}    {files}) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    {values}) COMPREPLY=(); return ;;
  esac
  case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "{flags}" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "serve run" -- "$word"; compgen -f -X '!*.py' -- "$word") ;;
  esac
}}
complete -o filenames -F _coderunner coderunner
)";

}  // namespace

std::string make_bash_completion() {
  std::string flags(kCommandFlags), files(kFileFlags), values(kValueFlags), choices;
  for (const SettingRow& row : setting_rows()) {
    flags += fmt::format(" --{}", row.name);
    const bool choice = row.takes.find('|') != row.takes.npos;
    if (choice) {
      std::string words(row.takes);
      std::ranges::replace(words, '|', ' ');
      choices += fmt::format("    --{}) mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$word\"); return ;;\n",
                             row.name, words);
    } else {
      const bool file = row.takes == "PATH" || row.takes == "DIR";
      (file ? files : values) += fmt::format("|--{}", row.name);
    }
  }
  return fmt::format(kScript, fmt::arg("choices", choices), fmt::arg("files", files), fmt::arg("values", values),
                     fmt::arg("flags", flags));
}

}  // namespace coderunner
