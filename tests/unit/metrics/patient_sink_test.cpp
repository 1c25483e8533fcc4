#include "libtrain/metrics/patient_sink.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/metrics/jsonl_sink.hpp"
#include "tests/support/scratch_directory.hpp"

namespace {

class FailingSink final : public train::MetricsSink {
 public:
  FailingSink(const bool& fails, std::vector<std::int64_t>& kept) : fails_(fails), kept_(kept) {}
  void write(const train::StepRecord& record) override {
    if (fails_) throw train::Error("disk full");
    kept_.push_back(record.step);
  }

 private:
  const bool& fails_;
  std::vector<std::int64_t>& kept_;
};

}  // namespace

TEST_CASE("Lost lines are said once, and once more when lines are kept again") {
  bool fails = false;
  std::vector<std::int64_t> kept;
  std::vector<std::string> said;
  train::PatientSink sink(std::make_unique<FailingSink>(fails, kept),
                          [&](const std::string& what) { said.push_back(what); });
  for (std::int64_t step = 1; step <= 6; ++step) {
    fails = step >= 3 && step <= 5;
    sink.write({.step = step});
  }
  CHECK(kept == std::vector<std::int64_t>{1, 2, 6});
  REQUIRE(said.size() == 2);
  CHECK(said[0].find("disk full") != std::string::npos);
  CHECK(said[1].find("3 lines were lost") != std::string::npos);
  fails = true;
  sink.write({.step = 7});
  sink.finish();
  REQUIRE(said.size() == 4);
  CHECK(said[3].find("the last 1 lines") != std::string::npos);
}

TEST_CASE("A device without room does not end a run") {
  std::vector<std::string> said;
  train::PatientSink sink(std::make_unique<train::JsonlSink>("/dev/full", true),
                          [&](const std::string& what) { said.push_back(what); });
  for (std::int64_t step = 1; step <= 3; ++step) sink.write({.step = step});
  REQUIRE(said.size() == 1);
  CHECK(said.front().find("No space left on device") != std::string::npos);
}
