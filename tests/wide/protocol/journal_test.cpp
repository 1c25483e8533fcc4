#include "collectives/wide/protocol/journal.hpp"

#include <random>

#include <doctest/doctest.h>

#include "collectives/crc32c.hpp"

using namespace train::wide;
using train::crc32c;

namespace {

/// A short life of a job, one record after the other.
std::vector<Record> life() {
  const EpochMember a{{"a", 1}, 1, 1}, b{{"b", 1}, 1, 1}, late{{"b", 2}, 2, 3};
  return {
      Adopted{9, 40, {{}, 5, {}}},
      EpochOpened{1, {a, b}},
      Leased{"a", RangeSet({0, 10})},
      Leased{"b", RangeSet({10, 30})},
      AttemptStarted{{1, 1, 1}, {{a.self, 8, RangeSet({0, 8})}, {b.self, 9, RangeSet({10, 19})}}},
      EpochOpened{2, {a, late}},
      AttemptStarted{{2, 1, 2}, {{a.self, 8, RangeSet({0, 8})}, {late.self, 0, {}}}},
      Committed{{2, 1, 2}, 77}};
}

Bytes written(const std::vector<Record>& records) {
  Bytes journal;
  for (const Record& record : records) {
    const Bytes frame = journal_frame(record);
    journal.insert(journal.end(), frame.begin(), frame.end());
  }
  return journal;
}

Bytes bytes_of(const State& state) {
  Writer writer;
  writer(state);
  return writer.bytes;
}

}  // namespace

TEST_CASE("the checksum is CRC-32C") {
  const char digits[] = "123456789";
  CHECK(crc32c(std::as_bytes(std::span(digits, 9))) == 0xe3069283u);
}

TEST_CASE("replay gives the state that was left") {
  State state;
  for (const Record& record : life()) {
    REQUIRE(refusal(state, record) == "");
    fold(state, record);
  }
  const Replay result = replay(written(life()));
  CHECK(result.error == "");
  CHECK_FALSE(result.torn);
  CHECK(result.records == life().size());
  CHECK(bytes_of(result.state) == bytes_of(state));
  CHECK(state.committed_info().hash == 77);
  CHECK(state.committed_info().position.next == 30);
  // a's rest, still leased, and what the lost b gave back.
  CHECK(state.committed_info().position.holes == RangeSet({8, 30}));
  CHECK(bytes_of(replay(journal_frame(state)).state) == bytes_of(state));  // compacted
}

TEST_CASE("a write torn anywhere costs that record and nothing else") {
  const std::vector<Record> records = life();
  std::vector<Record> before(records.begin(), records.end() - 1);
  const Bytes whole = written(records), kept = written(before);
  const Bytes expected = bytes_of(replay(kept).state);
  for (std::size_t length = kept.size(); length < whole.size(); ++length) {
    Bytes torn(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    for (const bool scrambled : {false, true}) {
      if (scrambled && length > kept.size()) torn.back() ^= std::byte{0xff};
      const Replay result = replay(torn);
      CHECK(result.error == "");
      CHECK(result.torn == (length > kept.size()));
      CHECK(result.valid_bytes == kept.size());
      CHECK(bytes_of(result.state) == expected);
    }
  }
}

TEST_CASE("the first write can be torn, too, and blocks of it read as zeros") {
  const Bytes whole = journal_frame(life().front());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    Bytes torn(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    CHECK(replay(torn).error == "");
    CHECK(replay(torn).torn == (length > 0));
    torn.resize(whole.size());
    if (torn == whole) continue;  // it ends with zeros
    CHECK(replay(torn).error == "");
    CHECK(replay(torn).torn);
  }
}

TEST_CASE("a torn record that holds what looks like a frame is a torn record") {
  const Bytes inner = journal_frame(Leased{"a", {}});
  const std::string name(reinterpret_cast<const char*>(inner.data()), inner.size());
  const Bytes kept = written(life());
  const Bytes outer = journal_frame(EpochOpened{3, {{{name, 1}, 3, 3}}});
  for (std::size_t length = 1; length < outer.size(); ++length) {
    CAPTURE(length);
    Bytes torn = kept;
    torn.insert(torn.end(), outer.begin(), outer.begin() + static_cast<std::ptrdiff_t>(length));
    const Replay result = replay(torn);
    CHECK(result.error == "");
    CHECK(result.torn);
    CHECK(result.valid_bytes == kept.size());
  }
}

TEST_CASE("damage before good records is not taken for a torn write") {
  const Bytes journal = written(life());
  const std::size_t last = journal_frame(life().back()).size();
  for (std::size_t at = 0; at < journal.size() - last; ++at) {
    Bytes damaged = journal;
    damaged[at] ^= std::byte{1};
    CHECK(replay(damaged).error != "");
  }
}

TEST_CASE("records that cannot follow are refused") {
  const std::vector<Record> records = life();
  for (std::size_t skipped = 0; skipped + 1 < records.size(); ++skipped) {
    if (skipped == 4) continue;  // an attempt that a new epoch ended: its number is missed later
    std::vector<Record> rest = records;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(skipped));
    CAPTURE(skipped);
    CHECK(replay(written(rest)).error != "");
  }
  State state = replay(written(records)).state;
  state.members.push_back(state.members.front());
  CHECK(refusal({}, state) != "");
}

TEST_CASE("any bytes give a state or an error") {
  std::mt19937_64 random(4);
  const Bytes journal = written(life());
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged = journal;
    if (random() % 4 == 0) {
      // A record with a good checksum and random contents.
      std::vector<Record> records = life();
      const std::size_t at = random() % records.size();
      Writer payload;
      payload(records[at]);
      payload.bytes[random() % payload.bytes.size()] = static_cast<std::byte>(random());
      Reader reader(payload.bytes);
      Record changed;
      reader(changed);
      if (!reader.complete()) continue;
      records[at] = changed;
      damaged = written(records);
    } else {
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      damaged.resize(random() % (damaged.size() + 1));
    }
    const Replay result = replay(damaged);
    CHECK(result.valid_bytes <= damaged.size());
  }
}
