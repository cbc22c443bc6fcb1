// Role: one sandbox with a parked interpreter in it, from nothing to nothing.
// Callers: main.cc parks one while idle; run_job.cc lets it go, pumps it and ends it.
// Law: used for one job. When end() has returned no process of it exists, and nobody can write its files any more.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "common/child.h"
#include "common/proc_dir.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/boot_report.h"
#include "worker/denials.h"
#include "worker/init.h"
#include "worker/jail.h"
#include "worker/status_pipe.h"
#include "worker/template.h"
#include "worker/workdir.h"

namespace coderunner {

class Sandbox {
 public:
  // Builds everything up to the interpreter that waits for a job; some 20 ms, most of them Python's own start.
  // An interpreter that does not come up within kParkLimit is an error that carries what it wrote.
  // With a template that is ready it forks the interpreter (2 to 5 ms) instead of starting one.
  // `spared`: the templates that live beside it.
  static Result<Sandbox> park(const Jail& jail, Template* warm, std::vector<pid_t> spared);
  static constexpr Millis kParkLimit{20'000};

  Sandbox(Sandbox&&) = default;
  Sandbox& operator=(Sandbox&&) = default;
  ~Sandbox();  // ends it

  Workdir& workdir() { return *workdir_; }
  // Reduced level: the folder on disk that all of the job's files are in; -1 at the full level.
  [[nodiscard]] int disk_folder() const { return folders_ ? folders_->root.get() : -1; }
  // Full level: the file system in memory that all of the job's files are in; -1 at the reduced level.
  [[nodiscard]] int tmpfs() const { return scratch_.get(); }
  [[nodiscard]] const std::string& python_version() const { return python_version_; }

  // Lets the interpreter run the script. The descriptors below are the job's from now on.
  Result<void> release(const JobSpec& job);

  UniqueFd stdin_write, stdout_read, stderr_read;  // stdin_write is non-blocking
  StatusPipe status;                               // what init, or a template, has to say
  UniqueFd report_read;                            // what bootstrap.py has to say; non-blocking
  Denials denials;                                 // of the script, once released
  [[nodiscard]] const Child& init() const { return init_; }
  [[nodiscard]] bool warm() const { return kind_.has_value(); }
  // Reduced level: the folder that must not be there when clean() has returned; else empty.
  [[nodiscard]] std::string folder() const { return folders_ ? folder_.path() : std::string(); }
  // A warm runner that has outlived its template: as good as any, but none like it will come.
  [[nodiscard]] bool orphaned() const { return warm() && status.closed(); }
  // What its runner's template has imported; nullopt: there was none.
  [[nodiscard]] std::optional<TemplateKind> kind() const { return kind_; }
  // The processes below this worker that are not the script's: init, and the templates.
  [[nodiscard]] std::vector<pid_t> keepers() const;
  // These templates live beside it now.
  void spare(std::vector<pid_t> templates) { templates_ = std::move(templates); }

  // Whether the parked interpreter can still take a job: neither it nor init has ended or been sent SIGKILL.
  [[nodiscard]] bool well() const;
  // Readable when a warm runner has ended; -1 where there is none.
  [[nodiscard]] int runner_fd() const { return runner_pidfd_.get(); }

  // How a warm runner has ended, by the kernel's own account, before it has been torn down. nullopt when that does not
  // show within kEarlyLimit: then the status pipe will tell. `word` is what the runner has said of itself: it is asked
  // only for its peak of memory, which the kernel forgets first, and only while that can be true.
  struct EarlyEnd {
    InitStatus status{};
    bool over = false;  // over(), too
  };
  [[nodiscard]] std::optional<EarlyEnd> await_early_end(const BootReport::Ended& word, Bytes memory_limit) const;
  static constexpr Millis kEarlyLimit{5};

  // The threads of the interpreter, its first one first. None when it has ended, or has never been seen.
  [[nodiscard]] std::vector<pid_t> threads() const;
  // Has one of them write stacks to report_read (stack_collector.h).
  void ask_for_stacks(pid_t thread, StackValue which) const;
  // Reduced level, warm: reaps what the script has left behind so far, which becomes this process's.
  void reap_orphans() const;

  // To be called now and then: a warm runner that has ended and that its template has not reaped for a second has a
  // template that hangs, or has been stopped. That is killed. So is one that has not told its runner, while end() waits.
  void end_idle_template();

  // The end of a warm runner whose template has died: it has become a child of this process. Call it when runner_fd()
  // is readable.
  Result<InitStatus> reap_runner();

  // Whether no process of the job will run another instruction, though the last may not have been torn down yet, which
  // takes a large one milliseconds: the runner is past the point of no return (PF_EXITING in proc(5)'s flags, set first
  // of all by do_exit(); or it is gone), has one thread, and nobody has a child that is the job's. False also where
  // that can not be seen.
  [[nodiscard]] bool over() const;

  // Ends every process of the sandbox and reaps it; the rusage is of all of them together. The second call answers
  // what the first one did.
  Result<ExitStatus> end();
  // Removes what only the reduced level leaves behind: the job's folders.
  Result<void> clean();

 private:
  struct Undo;
  Sandbox() = default;
  Result<void> make_folders(const Jail& jail, const JailPlan& plan);
  Result<void> order_runner(const Jail& jail, Template& warm, RunnerEnds ends);
  Result<void> await_fork();
  Result<void> await_parked(int handover);
  void know_runner();
  [[nodiscard]] std::optional<ProcessInfo> look_at_runner(const ProcDir& proc) const;  // nullopt: gone
  [[nodiscard]] bool is_template(pid_t pid) const;
  [[nodiscard]] bool over(const ProcDir& proc) const;
  [[nodiscard]] bool without_orphans(const ProcDir& proc) const;
  // Precondition: the runner has let go of its memory.
  [[nodiscard]] std::optional<InitStatus> early_end(const ProcDir& proc, const BootReport::Ended& word,
                                                    Bytes memory_limit) const;

  Child init_;
  std::optional<Workdir> workdir_;
  UniqueFd scratch_;     // full level: the job's tmpfs
  UniqueFd go_write_;
  UniqueFd life_write_;  // its closing ends an init that outlived a kill
  std::string python_version_;
  std::optional<ExitStatus> ended_;
  std::optional<TemplateKind> kind_;
  std::vector<pid_t> templates_;
  pid_t template_ = 0;  // its own, until it has told the runner
  pid_t runner_pid_ = 0;  // 0: not known. Nobody reaps it before its end has been told
  UniqueFd runner_pidfd_;  // a warm one's
  std::optional<Deadline> reap_limit_;  // for its template, once it has ended
  std::uint64_t runner_start_ = 0;  // tells its pid from that of a later process
  Bytes parked_memory_ = 0;         // the most that it has held so far
  JobFolder folder_;                    // reduced level
  std::optional<ReducedDirs> folders_;  // reduced level
};

}  // namespace coderunner
