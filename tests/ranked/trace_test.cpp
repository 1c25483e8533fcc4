// One file shows when every rank of a split grid communicated.
#include "libtrain/metrics/trace.hpp"

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "tests/support/ranked.hpp"
#include "tests/support/scratch_directory.hpp"

namespace train {
namespace {

using nlohmann::json;

void sum(Communicator& ranks, std::size_t count) {
  std::vector<float> values(count, 1.0f);
  ranks.all_reduce(std::span(values), std::span(values), ReduceOp::sum).wait();
}

/// The spans of each track of each rank, in the file's order.
using Tracks = std::map<std::pair<int, std::string>, std::vector<json>>;

Tracks tracks_of(const json& file) {
  std::map<std::pair<int, int>, std::string> names;
  Tracks tracks;
  for (const json& element : file.at("traceEvents")) {
    const std::pair<int, int> thread{element["pid"], element["tid"]};
    if (element["name"] == "thread_name") names[thread] = element["args"]["name"];
    if (element["ph"] == "X") tracks[{thread.first, names.at(thread)}].push_back(element);
  }
  return tracks;
}

void check_one_after_the_other(const std::vector<json>& spans) {
  for (std::size_t i = 0; i < spans.size(); ++i) {
    CAPTURE(spans[i].dump());
    CHECK(spans[i]["ts"] >= 0.0);
    CHECK(spans[i]["args"]["sequence"] == i);
    CHECK(spans[i]["args"]["queued_us"] >= 0.0);
    if (i == 0) continue;
    // Numbers of the file are rounded to a nanosecond.
    const double end = spans[i - 1]["ts"].get<double>() + spans[i - 1]["dur"].get<double>();
    CHECK(end <= spans[i]["ts"].get<double>() + 0.001);
  }
}

std::uint64_t bytes_of(const std::vector<json>& spans) {
  std::uint64_t bytes = 0;
  for (const json& span : spans) bytes += span["args"]["bytes"].get<std::uint64_t>();
  return bytes;
}

}  // namespace

TEST_CASE("a process per rank, a thread per channel, a span per call, inside what waited for it") {
  ranked([](Communicator& world) {
    const test::ScratchDirectory scratch;
    const auto path = scratch / "trace.json";  // rank 0's counts
    Trace trace(world, path);
    // Ranks 0 and 1 are tensor neighbours; the odd rank of three is one's own.
    const auto data = world.split(world.rank() % 2, world.rank(), "data");
    const auto tensor = world.split(world.rank() / 2, world.rank(), "tensor");
    trace.follow(*data);
    trace.follow(*tensor);
    const int calls = 5 + world.rank() / 2;
    {
      const TraceScope step(&trace, "compute", "step", {{"step", 1}});
      for (int i = 0; i < calls; ++i) {
        const TraceScope forward(&trace, "compute", "forward");
        sum(*tensor, 1000);
      }
      for (int i = 0; i < 3; ++i) sum(*data, 50'000);
      data->barrier().wait();
    }
    std::vector<std::uint64_t> mine{data->traffic().total().bytes_sent,
                                    tensor->traffic().total().bytes_sent};
    std::vector<std::int64_t> sent(mine.begin(), mine.end());
    const auto size = static_cast<std::size_t>(world.size());
    std::vector<std::int64_t> all_sent(2 * size);
    world.all_gather(std::span(sent), std::span(all_sent), std::vector<std::size_t>(size, 2))
        .wait();
    trace.write();
    if (world.rank() != 0) return;

    const json file = json::parse(test::read_file(path));
    const Tracks tracks = tracks_of(file);
    CHECK(tracks.size() == 3 * size);
    CHECK(file["otherData"]["ranks"] == world.size());
    for (int rank = 0; rank < world.size(); ++rank) {
      CAPTURE(rank);
      const auto& compute = tracks.at({rank, "compute"});
      const auto& on_data = tracks.at({rank, "data"});
      const auto& on_tensor = tracks.at({rank, "tensor"});
      const auto place = static_cast<std::size_t>(rank);
      const auto forwards = static_cast<std::size_t>(5 + rank / 2);
      REQUIRE(compute.size() == 1 + forwards);
      REQUIRE(on_tensor.size() == forwards);
      REQUIRE(on_data.size() == 4);
      check_one_after_the_other(on_data);
      check_one_after_the_other(on_tensor);
      CHECK(bytes_of(on_data) == static_cast<std::uint64_t>(all_sent[2 * place]));
      CHECK(bytes_of(on_tensor) == static_cast<std::uint64_t>(all_sent[2 * place + 1]));
      CHECK(on_data[0]["name"] == "all_reduce");
      CHECK(on_data[0]["args"]["count"] == 50'000);
      CHECK(on_data[0]["args"]["type"] == "f32");
      CHECK(on_data[3]["name"] == "barrier");
      const double begin = compute[0]["ts"], end = begin + compute[0]["dur"].get<double>();
      for (const auto* spans : {&compute, &on_data, &on_tensor}) {
        for (const json& span : *spans) {
          CHECK(span["ts"].get<double>() >= begin);
          CHECK(span["ts"].get<double>() + span["dur"].get<double>() <= end + 0.001);
        }
      }
    }
    // Ranks of one machine share a clock: nobody leaves a barrier before all have come.
    double last_began = 0;
    for (int rank = 0; rank < world.size(); rank += 2) {
      last_began = std::max(last_began, tracks.at({rank, "data"})[3]["ts"].get<double>());
    }
    for (int rank = 0; rank < world.size(); rank += 2) {
      const json& barrier = tracks.at({rank, "data"})[3];
      CHECK(barrier["ts"].get<double>() + barrier["dur"].get<double>() >= last_began - 0.001);
    }
  });
}

TEST_CASE("a path that rank 0 cannot write is an Error everywhere, and the ranks go on") {
  ranked([](Communicator& world) {
    const test::ScratchDirectory scratch;
    test::write_file(scratch / "file", "");
    const std::string message =
        test::message_of<Error>([&] { Trace(world, scratch / "file/trace.json"); });
    CAPTURE(message);
    CHECK(message.find("file/trace.json") != std::string::npos);
    world.barrier().wait();
  });
}

}  // namespace train
