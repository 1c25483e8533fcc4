// Whatever happens to the bytes of a checkpoint, it is told with file and tensor, and the one
// before serves.

#include <fstream>
#include <map>
#include <random>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <xxhash.h>

#include "collectives/error.hpp"
#include "libtrain/checkpoint/manifest_check.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/checkpoint/small_checkpoints.hpp"

using namespace train;
using train::test::message_of;
using train::test::read_file;
using train::test::ScratchDirectory;
using train::test::write_file;

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t seed = 20261125;

// A checkpoint that a test may damage and mend.
class Patient {
 public:
  explicit Patient(CheckpointLayout layout) {
    small_checkpoints::save(scratch_.path(), {1, 2}, {.layout = layout});
    directory_ = scratch_ / "step-00000002";
    for (const auto& entry : fs::directory_iterator(directory_)) {
      files_[entry.path().filename().string()] = read_file(entry.path());
    }
    manifest_ = CheckpointReader(directory_).manifest();
  }

  const fs::path& store() const { return scratch_.path(); }
  const fs::path& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  const std::map<std::string, std::string>& files() const { return files_; }
  void write(const std::string& name, const std::string& content) const {
    write_file(directory_ / name, content);
  }
  void mend(const std::string& name) const { write(name, files_.at(name)); }

  // What a load says; "" when it went well. A load of other values fails the test.
  std::string complaint() const {
    return message_of<Error>([&] {
      CheckpointReader reader(directory_);
      const bool same = small_checkpoints::loads(reader);
      CHECK(same);
    });
  }
  // Changes one bit of the file, or makes that byte whole again.
  void flip(const std::string& name, std::size_t at, unsigned bit) const {
    put(name, at, static_cast<char>(files_.at(name)[at] ^ static_cast<char>(1u << bit)));
  }
  void unflip(const std::string& name, std::size_t at) const { put(name, at, files_.at(name)[at]); }

 private:
  void put(const std::string& name, std::size_t at, char byte) const {
    std::fstream file(directory_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at)).write(&byte, 1);
    REQUIRE(file.good());
  }

  ScratchDirectory scratch_;
  fs::path directory_;
  std::map<std::string, std::string> files_;
  Manifest manifest_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The load must fail with the file's name, `verify` must find it, and the one before must serve.
void check_refused(const Patient& patient, const std::string& file, const std::string& also = "") {
  const std::string message = patient.complaint();
  CAPTURE(message);
  CHECK(has(message, file));
  CHECK(has(message, also));
  std::string warning;
  bool whole = false;
  local::run(1, [&](Communicator& world) {
    CheckpointStore store(patient.store());
    const auto load = [&](CheckpointReader& reader) { whole = small_checkpoints::loads(reader); };
    CHECK_THROWS_AS(store.load(world, load, {}), Error);
    const auto directory = store.load(
        world, load, {.fall_back = true, .warn = [&](const auto& text) { warning = text; }});
    CHECK(directory.filename() == "step-00000001");
  });
  CHECK(whole);
  CHECK(has(warning, file));
  CHECK(has(warning, "falling back to step-00000001"));
}

void check_flips(const Patient& patient) {
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Manifest& manifest = patient.manifest();
  std::size_t regions = 0;
  for (std::size_t f = 0; f < manifest.files.size(); ++f) {
    const std::string& name = manifest.files[f].name;
    const auto flip_in = [&](std::uint64_t begin, std::uint64_t end, const std::string& also) {
      CAPTURE(begin);
      CAPTURE(end);
      ++regions;
      for (const std::uint64_t at : {begin, begin + random() % (end - begin), end - 1}) {
        patient.flip(name, at, random() % 8);
        check_refused(patient, name, also);
        patient.unflip(name, at);
      }
    };
    for (const auto& [begin, end] : bookkeeping_of(manifest, f)) {
      flip_in(begin, end, "bookkeeping");
    }
    for (const auto& tensor : manifest.tensors) {
      for (const auto& stored : tensor.blocks) {
        if (stored.file != f) continue;
        const auto bytes = static_cast<std::uint64_t>(stored.block.elements()) * 4;
        for (std::uint64_t piece = 0; piece < bytes; piece += manifest.piece_bytes) {
          flip_in(stored.at + piece, stored.at + std::min(piece + manifest.piece_bytes, bytes),
                  "tensor " + tensor.name);
        }
      }
    }
  }
  CHECK(regions >= 10);
  CHECK(patient.complaint().empty());
}

// HDF5's bookkeeping is 0 in most places: those that are not are all hit.
void check_bookkeeping(const Patient& patient) {
  std::mt19937 random(seed);
  const Manifest& manifest = patient.manifest();
  std::size_t hits = 0;
  for (std::size_t f = 0; f < manifest.files.size(); ++f) {
    const std::string& name = manifest.files[f].name;
    for (const auto& [begin, end] : bookkeeping_of(manifest, f)) {
      for (std::uint64_t at = begin; at < end; ++at) {
        if (patient.files().at(name)[at] == 0 || ++hits % 7 != 0) continue;
        patient.flip(name, at, random() % 8);
        CHECK(has(patient.complaint(), name));
        patient.unflip(name, at);
      }
    }
  }
  CHECK(hits > 1000);
}

}  // namespace

TEST_CASE("a flipped bit anywhere in a shard is told with file and tensor") {
  for (const auto layout : {CheckpointLayout::sharded, CheckpointLayout::single}) {
    const Patient patient(layout);
    check_flips(patient);
    check_bookkeeping(patient);
  }
}

TEST_CASE("a flipped bit anywhere in the manifest is told") {
  const Patient patient(CheckpointLayout::sharded);
  const std::string name = Manifest::file_name;
  std::mt19937 random(seed);
  for (std::size_t at = 0; at < patient.files().at(name).size(); ++at) {
    CAPTURE(at);
    patient.flip(name, at, random() % 8);
    CHECK(has(patient.complaint(), name));
    patient.unflip(name, at);
  }
  patient.flip(name, 100, 0);
  check_refused(patient, name);
}

TEST_CASE("cut, lengthened, deleted and swapped files are told") {
  for (const auto layout : {CheckpointLayout::sharded, CheckpointLayout::single}) {
    const Patient patient(layout);
    for (const auto& [name, content] : patient.files()) {
      CAPTURE(name);
      for (const std::size_t size :
           {std::size_t{0}, std::size_t{1}, content.size() / 3, content.size() - 1}) {
        patient.write(name, content.substr(0, size));
        check_refused(patient, name);
      }
      patient.write(name, content + '\0');
      check_refused(patient, name);
      fs::remove(patient.directory() / name);
      check_refused(patient, name);
      fs::create_directory(patient.directory() / name);
      check_refused(patient, name);
      fs::remove(patient.directory() / name);
      patient.mend(name);
    }
    CHECK(patient.complaint().empty());
  }
}

TEST_CASE("shards that changed places, and those of another step, are told") {
  const Patient patient(CheckpointLayout::sharded);
  const std::string first = "rank-00000.h5", second = "rank-00001.h5";
  patient.write(first, patient.files().at(second));
  patient.write(second, patient.files().at(first));
  check_refused(patient, first);
  patient.mend(first);
  check_refused(patient, second);
  // The same tensors, places and sizes, with other values.
  patient.write(second, read_file(patient.store() / "step-00000001" / second));
  check_refused(patient, second, "tensor rows");
  patient.mend(second);
  patient.write(Manifest::file_name, read_file(patient.store() / "step-00000001/manifest.json"));
  check_refused(patient, first);
}

TEST_CASE("a manifest of a newer version says so") {
  const Patient patient(CheckpointLayout::sharded);
  std::string text = patient.files().at(Manifest::file_name);
  const std::string now = fmt::format("\"version\": {}", Manifest::version);
  text.replace(text.find(now), now.size(), fmt::format("\"version\": {}", Manifest::version + 1));
  const std::size_t line = text.find('\n') + 1;
  const std::string hash =
      fmt::format("{:016x}", XXH3_64bits(text.data() + line, text.size() - line));
  text.replace(text.find(": \"") + 3, 16, hash);
  patient.write(Manifest::file_name, text);
  check_refused(patient, Manifest::file_name, "as new as");
}

TEST_CASE("when no checkpoint is whole, nobody starts anew") {
  const Patient patient(CheckpointLayout::sharded);
  for (const char* step : {"step-00000001", "step-00000002"}) {
    fs::remove(patient.store() / step / Manifest::file_name);
  }
  local::run(1, [&](Communicator& world) {
    CheckpointStore store(patient.store());
    const std::string message = message_of<Error>(
        [&] { store.load(world, [](CheckpointReader&) {}, {.fall_back = true, .warn = {}}); });
    CHECK(has(message, "step-00000001"));
    CHECK(has(message, "step-00000002"));
    CheckpointStore empty(patient.store() / "nothing");
    CHECK(empty.load(world, [](CheckpointReader&) {}, {}).empty());
  });
}
