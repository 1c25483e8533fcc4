// The files that the fuzzers begin with: one for each kind of message and of record.
//   fuzz_corpus DIRECTORY           writes them
//   fuzz_corpus --check DIRECTORY   fails if they are not what would be written
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "collectives/wide/protocol/journal.hpp"
#include "collectives/wide/protocol/wire.hpp"
#include "tests/support/scratch_directory.hpp"

namespace {

using namespace train::wide;
namespace fs = std::filesystem;
using Files = std::map<fs::path, Bytes>;

std::vector<Message> messages() {
  const ExchangeId id{3, 7, 1};
  const Identity aws{"aws", 12}, lambda{"lambda", 5};
  const StateInfo state{{3, 6, 2}, 0x1122334455667788, {80, RangeSet({8, 16})}};
  const Offer offer{{"aws.example:7601", "aws.example:7602"}, 2};
  return {Hello{9, 40, aws, offer, state, id, 3},
          Heartbeat{77},
          Links{{{"gcp", 20'000}, {"lambda", 45'000}}},
          LeaseRequest{3, 64},
          Ready{id, 4096, 8, state.hash, RangeSet({16, 24}), 1'000'000},
          Done{id, 99},
          Failed{id, "lambda"},
          Holds{state},
          FetchFailed{id, "lambda"},
          Leave{30'000},
          Directory{id, {{aws, offer, 1, 1}, {lambda, {}, 0, 0}}},
          Lease{3, RangeSet({16, 32}), true},
          Finish{3, 7},
          Start{id, {{aws, 4096, 0}, {lambda, 2048, 43'690}}},
          Abort{id},
          Commit{state, true},
          Fetch{state, lambda},
          Beat{77},
          Released{false, true},
          Refused{"its model, data, seed or schedule differ from the job's"},
          Notice{"a missing link to gcp"}};
}

/// A short life of a job: each record can follow those before it.
std::vector<Record> records() {
  const EpochMember aws{{"aws", 1}, 1, 1}, lambda{{"lambda", 1}, 1, 1}, late{{"lambda", 2}, 2, 3};
  std::vector<Record> life{
      Adopted{9, 40, {{}, 5, {}}},
      EpochOpened{1, {aws, lambda}},
      Leased{"aws", RangeSet({0, 10})},
      AttemptStarted{{1, 1, 1}, {{aws.self, 8, RangeSet({0, 8})}, {lambda.self, 0, {}}}},
      EpochOpened{2, {aws, late}},
      AttemptStarted{{2, 1, 2}, {{aws.self, 8, RangeSet({0, 8})}, {late.self, 0, {}}}},
      Committed{{2, 1, 2}, 77}};
  State state;
  for (const Record& record : life) fold(state, record);
  life.emplace_back(state);
  return life;
}

std::string text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Files corpus() {
  Files files;
  for (const Message& message : messages()) {
    files[fs::path("wire") / name_of(message)] = encode(message);
  }
  Bytes journal;
  constexpr const char* names[] = {"compacted", "adopted", "epoch",
                                   "leased",    "attempt", "committed"};
  for (const Record& record : records()) {
    const Bytes frame = journal_frame(record);
    journal.insert(journal.end(), frame.begin(), frame.end());
    // All that leads to a record of this kind, and that record last.
    files[fs::path("journal") / names[record.index()]] = journal;
  }
  Bytes torn = journal;
  torn.resize(torn.size() - 3);
  files[fs::path("journal") / "torn"] = torn;
  // A name may be any bytes, those of a frame among them: what is torn there is torn all the same.
  const Bytes inner = journal_frame(Leased{"aws", {}});
  State named;
  named.job = 9;
  named.members = {{{text(inner), 1}, 1, 1}};
  files[fs::path("journal") / "frame_in_a_name"] = journal_frame(named);
  return files;
}

int check(const Files& files, const fs::path& directory) {
  int wrong = 0;
  for (const auto& [name, content] : files) {
    if (train::test::read_file(directory / name) == text(content)) continue;
    std::fprintf(stderr, "%s is not what it should be: run fuzz_corpus %s\n",
                 (directory / name).c_str(), directory.c_str());
    ++wrong;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool only_check = argc == 3 && std::strcmp(argv[1], "--check") == 0;
  if (argc != 2 && !only_check) {
    std::fprintf(stderr, "usage: fuzz_corpus [--check] DIRECTORY\n");
    return 2;
  }
  const fs::path directory = argv[argc - 1];
  try {
    const Files files = corpus();
    if (only_check) return check(files, directory);
    for (const auto& [name, content] : files) {
      fs::create_directories((directory / name).parent_path());
      train::test::write_file(directory / name, text(content));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz_corpus: %s\n", error.what());
    return 1;
  }
  return 0;
}
