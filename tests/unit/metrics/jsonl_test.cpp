#include <limits>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "libtrain/metrics/jsonl_sink.hpp"
#include "tests/support/scratch_directory.hpp"

using train::JsonlSink;
using train::StepRecord;
using train::to_json;

TEST_CASE("A record's line holds exactly the documented keys") {
  StepRecord record{.step = 3,
                    .tokens = 1536,
                    .loss = 2.5,
                    .lr = 6e-4f,
                    .grad_norm = 1,
                    .step_s = 0.25,
                    .tokens_per_s = 2048,
                    .mfu = 0.41f,
                    .comm_s = 1e-9,
                    .wide_bytes_sent = 9'007'199'254'740'993,
                    .wide_bytes_received = 7};
  const std::string line =
      R"({"step":3,"tokens":1536,"loss":2.5,"lr":0.0006,"grad_norm":1,"step_s":0.25,)"
      R"("tokens_per_s":2048,"mfu":0.41,"comm_s":1e-09,)"
      R"("wide_bytes_sent":9007199254740993,"wide_bytes_received":7)";
  CHECK(to_json(record) == line + "}");
  record.val_loss = 2.75;
  CHECK(to_json(record) == line + R"(,"val_loss":2.75})");
  record.egress_usd = 0.125;
  CHECK(to_json(record) == line + R"(,"egress_usd":0.125,"val_loss":2.75})");
  record.val_losses = {{"web", 2.5}, {"2", 3}};
  record.choice_accuracy = 0.5;
  CHECK(to_json(record) ==
        line + R"(,"egress_usd":0.125,"val_loss":2.75,"val_loss_web":2.5,"val_loss_2":3,)"
               R"("choice_accuracy":0.5})");
}

TEST_CASE("What is not finite becomes null, and the line stays JSON") {
  StepRecord record;
  record.loss = std::numeric_limits<double>::quiet_NaN();
  record.grad_norm = std::numeric_limits<double>::infinity();
  record.val_loss = -std::numeric_limits<double>::infinity();
  record.tokens_per_s = 1e300;  // finite, but not as a float
  const auto json = nlohmann::json::parse(to_json(record));
  CHECK(json.at("loss").is_null());
  CHECK(json.at("grad_norm").is_null());
  CHECK(json.at("val_loss").is_null());
  CHECK(json.at("tokens_per_s") == 1e300);
}

TEST_CASE("Each line is in the file as soon as it is written; a new run's first one empties it") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "new/run/metrics.jsonl";
  std::string before;
  for (int run = 0; run < 2; ++run) {
    JsonlSink sink(path);
    CHECK(train::test::read_file(path) == before);  // it may still be refused
    before = to_json({.step = 1}) + "\n" + to_json({.step = 2}) + "\n";
    sink.write({.step = 1});
    sink.write({.step = 2});
    CHECK(train::test::read_file(path) == before);
  }
}

TEST_CASE("A resumed run appends, and drops the line that a kill tore") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "metrics.jsonl";
  const std::string whole = "{\"step\":1}\n{\"step\":2}\n";
  for (const std::string& tail : {std::string(), std::string("{\"st"), std::string(10'000, 'x')}) {
    for (const std::string& head : {whole, std::string()}) {
      CAPTURE(head);
      CAPTURE(tail.size());
      train::test::write_file(path, head + tail);
      JsonlSink(path, true).write({.step = 3});
      CHECK(train::test::read_file(path) == head + to_json({.step = 3}) + "\n");
    }
  }
}

TEST_CASE("A resumed run drops the lines of steps that it will train again") {
  const train::test::ScratchDirectory scratch;
  const auto path = scratch / "metrics.jsonl";
  std::string before;
  for (std::int64_t step = 1; step <= 300; ++step) before += to_json({.step = step}) + "\n";
  const std::string kept = before.substr(0, before.find("{\"step\":101,"));
  train::test::write_file(path, before + "{\"step\":30");
  JsonlSink(path, true).write({.step = 101});
  CHECK(train::test::read_file(path) == kept + to_json({.step = 101}) + "\n");
  // What is not a line of ours is not touched, nor what lies before it.
  const std::string foreign = before + "# a note\n";
  train::test::write_file(path, foreign);
  JsonlSink(path, true).write({.step = 101});
  CHECK(train::test::read_file(path) == foreign + to_json({.step = 101}) + "\n");
}

TEST_CASE("A path that cannot be written is refused at once, with its name and the reason") {
  const train::test::ScratchDirectory scratch;
  train::test::write_file(scratch / "file", "");
  for (const auto& path : {scratch.path(), scratch / "file/metrics.jsonl"}) {
    const std::string message =
        train::test::message_of<train::Error>([&] { JsonlSink(path, true); });
    CAPTURE(message);
    CHECK(message.find(scratch.path().string()) != std::string::npos);
    CHECK(message.find("errno") != std::string::npos);
  }
}
