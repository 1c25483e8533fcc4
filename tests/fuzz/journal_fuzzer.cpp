// Any bytes replay to a state or an error; what replays, replays to the same again: its valid part
// alone, with a torn record after it, and compacted into one record.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "collectives/wide/protocol/journal.hpp"

namespace {

using namespace train::wide;
using View = std::span<const std::byte>;

// Clang 14 has no std::source_location, but the builtin that it is made of.
void require(bool holds, int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "journal_fuzzer.cpp:%d: what must hold does not\n", line);
  std::abort();
}

Bytes bytes_of(const State& state) {
  Writer writer;
  writer(state);
  return std::move(writer.bytes);
}

void check(View journal) {
  const Replay whole = replay(journal);
  require(whole.valid_bytes <= journal.size());
  require(whole.error.empty() || whole.valid_bytes < journal.size());
  require(whole.torn == (whole.valid_bytes < journal.size()) || !whole.error.empty());

  const View valid = journal.first(whole.valid_bytes);
  const Replay again = replay(valid);
  require(again.error.empty() && !again.torn && again.valid_bytes == valid.size());
  require(again.records == whole.records && bytes_of(again.state) == bytes_of(whole.state));
  require(whole.state.ledger.consistent());

  const Bytes compacted = journal_frame(whole.state);
  const Replay from_one = replay(compacted);
  require(from_one.error.empty() && from_one.records == 1);
  require(bytes_of(from_one.state) == bytes_of(whole.state));

  Bytes torn(valid.begin(), valid.end());
  torn.insert(torn.end(), compacted.begin(), compacted.end() - 1);
  const Replay cut = replay(torn);
  require(cut.error.empty() && cut.torn && cut.valid_bytes == valid.size());
  require(bytes_of(cut.state) == bytes_of(whole.state));
}

/// Takes each frame's checksum for good, and its length for what it is: chance finds neither.
Bytes with_good_checksums(View journal) {
  Bytes result;
  while (journal.size() > journal_header_bytes) {
    Reader head(journal.subspan(4, sizeof(std::uint32_t)));
    std::uint32_t length = 0;
    head(length);
    const View rest = journal.subspan(journal_header_bytes);
    const View payload = rest.first(std::min<std::size_t>(length, rest.size()));
    Reader reader(payload);
    Record record;
    reader(record);
    if (reader.complete()) {
      const Bytes frame = journal_frame(record);
      require(frame.size() == journal_header_bytes + payload.size());
      require(std::equal(payload.begin(), payload.end(), frame.begin() + journal_header_bytes));
      result.insert(result.end(), frame.begin(), frame.end());
    }
    journal = rest.subspan(payload.size());
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes);
  check(with_good_checksums(bytes));
  return 0;
}
