// Role: see descriptors.h.
#include "worker/descriptors.h"

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "common/sys.h"

namespace coderunner {

Result<void> send_descriptors(int socket, char word, std::span<const int> descriptors) {
  if (descriptors.size() > kMostDescriptors) return fail(Fault::kInternal, "more descriptors than one message takes");
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  iovec payload{&word, 1};
  msghdr message{};
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  TRY(sys::retry("sendmsg(SCM_RIGHTS)", [&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL); }));
  return {};
}

Result<UniqueFd> receive_descriptor(int socket) {
  char word = 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec payload{&word, 1};
  msghdr message{};
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  TRY(sys::retry("recvmsg(SCM_RIGHTS)", [&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); }));
  const cmsghdr* rights = CMSG_FIRSTHDR(&message);
  if (rights == nullptr || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof(int)))
    return fail(Fault::kInternal, "recvmsg: no descriptor came");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace coderunner
