// Role: how many bytes the requests hold together that are being read or wait for a worker, and the answers that have
// not been sent; and the bound on them.
// Callers: http_connection.cc takes while a body comes, and for its answer; run_route.cc gives back what the job does
// not need.
// Law: what is counted is what has come, not what was promised: a client can not reserve memory by announcing it. A
// request that is alone always has room, so that the bound never makes a request impossible.
#pragma once

#include <mutex>

#include "common/units.h"

namespace coderunner {

class HeldBytes {
 public:
  explicit HeldBytes(Bytes most) : most_(most) {}

  // Whether one more request of that size could be held now.
  [[nodiscard]] bool has_room(Bytes bytes) const;
  [[nodiscard]] Bytes held() const;

  // What one request holds; gives it back at the end. From one thread at a time.
  class Share {
   public:
    explicit Share(HeldBytes* all) : all_(all) {}  // nullptr: nothing is counted
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { shrink_to(0); }
    // False, and nothing has changed, when there is no room.
    [[nodiscard]] bool grow_to(Bytes bytes);
    // What is there already, whether there is room or not.
    void take(Bytes bytes);
    void shrink_to(Bytes bytes);

   private:
    HeldBytes* all_;
    Bytes bytes_ = 0;
  };

 private:
  [[nodiscard]] bool fits(Bytes others, Bytes bytes) const {
    return others == 0 || (bytes <= most_ && others <= most_ - bytes);
  }
  const Bytes most_;
  mutable std::mutex mutex_;
  Bytes held_ = 0;
};

}  // namespace coderunner
