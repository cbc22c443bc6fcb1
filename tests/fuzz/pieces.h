// Role: what the fuzz targets of stream decoders share: an input that says how its stream is cut, and the cutting.
// Callers: fuzz_frame.cc, fuzz_http.cc; the committed corpora are made by make_corpus.py.
// Law: input = one byte n, n % 16 bytes of piece sizes less one (used in turn; none: one piece), and the stream.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace coderunner {

inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

struct CutStream {
  std::string_view sizes, bytes;
};

inline CutStream read_cut_stream(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return {};
  const std::size_t count = static_cast<unsigned char>(input.front()) % 16U;
  input.remove_prefix(1);
  const std::string_view sizes = input.substr(0, count);
  return {sizes, input.substr(sizes.size())};
}

// Hands the stream over piece by piece, until `take` says that it wants no more.
template <class Take>
void feed_pieces(CutStream stream, Take take) {
  std::string_view rest = stream.bytes;
  for (std::size_t turn = 0; !rest.empty(); ++turn) {
    const std::size_t size = stream.sizes.empty()
                                 ? rest.size()
                                 : static_cast<unsigned char>(stream.sizes[turn % stream.sizes.size()]) + 1U;
    const std::string_view piece = rest.substr(0, size);
    rest.remove_prefix(piece.size());
    if (!take(piece)) return;
  }
}

}  // namespace coderunner
