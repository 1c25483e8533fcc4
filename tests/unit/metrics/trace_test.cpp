#include "libtrain/metrics/trace.hpp"

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"
#include "collectives/local/world.hpp"
#include "tests/support/scratch_directory.hpp"

using nlohmann::json;
using train::Clock;
using train::Communicator;
using train::Trace;
using train::TraceScope;
using train::test::read_file;
using train::test::ScratchDirectory;
using namespace std::chrono_literals;

namespace {

json written(const Trace& trace, const std::filesystem::path& path) {
  trace.write();
  return json::parse(read_file(path));
}

void instant(Trace& trace, const std::string& name) {
  const auto now = Clock::now();
  trace.span("compute", name, now, now);
}

std::vector<json> elements(const json& file, const char* phase, const char* name = nullptr) {
  std::vector<json> found;
  for (const json& element : file.at("traceEvents")) {
    if (element.at("ph") == phase && (name == nullptr || element.at("name") == name)) {
      found.push_back(element);
    }
  }
  return found;
}

}  // namespace

TEST_CASE("Spans keep times, arguments and nesting, and any text stays JSON") {
  const ScratchDirectory scratch;
  train::local::run(1, [&](Communicator& world) {
    Trace trace(world, scratch / "new/trace.json");
    CHECK(!std::filesystem::exists(scratch / "new/trace.json"));
    const auto start = Clock::now();
    const std::string odd = "a \"b\"\\\n\x01 é \xff";
    trace.span("compute", "inner", start, start + 1500ns);
    trace.span("compute", "step", start, start + 10us,
               {{"step", std::uint64_t{7}},
                {"loss", 2.5},
                {"norm", std::numeric_limits<double>::infinity()},
                {"device", "cpu"}});
    trace.span(odd, odd, start, start, {{odd, std::string_view(odd)}});
    const json file = written(trace, scratch / "new/trace.json");

    CHECK(file.at("displayTimeUnit") == "ms");
    const auto spans = elements(file, "X");
    REQUIRE(spans.size() == 3);
    CHECK(spans[0].at("name") == "step");  // the outer one first
    CHECK(spans[0].at("args") ==
          json{{"step", 7}, {"loss", 2.5}, {"norm", nullptr}, {"device", "cpu"}});
    CHECK(spans[0].at("dur") == 10.0);
    CHECK(spans[1].at("name") == "inner");
    CHECK(spans[1].at("dur") == 1.5);
    CHECK(spans[1].at("ts") == spans[0].at("ts"));
    CHECK(spans[1].at("ts") >= 0.0);
    CHECK(spans[0].at("tid") == spans[1].at("tid"));
    CHECK(spans[2].at("tid") != spans[1].at("tid"));
    const std::string kept = "a \"b\"\\\n\x01 é \xef\xbf\xbd";
    CHECK(spans[2].at("name") == kept);
    CHECK(spans[2].at("args").at(kept) == kept);
    CHECK(file.at("otherData").at("dropped_events") == json{0});
    CHECK(elements(file, "M", "process_labels").empty());
  });
}

TEST_CASE(
    "A scope spans its life, also when an exception ends it, and is nothing without a trace") {
  const ScratchDirectory scratch;
  train::local::run(1, [&](Communicator& world) {
    Trace trace(world, scratch / "trace.json");
    const auto before = Clock::now();
    try {
      const TraceScope outer(&trace, "compute", "backward", {{"pass", 1}});
      const TraceScope inner(&trace, "compute", "matmul");
      const TraceScope none(nullptr, "compute", "nothing");
      throw std::runtime_error("broken");
    } catch (const std::runtime_error&) {
    }
    const auto spans = trace.intervals("compute");
    REQUIRE(spans.size() == 2);
    CHECK(before <= spans[1].begin);
    CHECK(spans[1].begin <= spans[0].begin);
    CHECK(spans[0].end <= spans[1].end);
    CHECK(spans[1].end <= Clock::now());
    CHECK(trace.intervals("compute", "matmul").size() == 1);
    CHECK(trace.intervals("compute", "nothing").empty());
    CHECK(trace.intervals("data").empty());
  });
}

TEST_CASE("A full trace drops later spans and says so") {
  const ScratchDirectory scratch;
  train::local::run(2, [&](Communicator& world) {
    Trace trace(world, scratch / "trace.json", 10);
    const int spans = world.rank() == 0 ? 10 : 14;
    for (int i = 0; i < spans; ++i) {
      instant(trace, std::to_string(i));
    }
    trace.write();
    const json file = json::parse(read_file(scratch / "trace.json"));
    CHECK(elements(file, "X").size() == 20);
    CHECK(elements(file, "X", "9").size() == 2);
    CHECK(file.at("otherData").at("events") == json{10, 10});
    CHECK(file.at("otherData").at("dropped_events") == json{0, 4});
    const auto labels = elements(file, "M", "process_labels");
    REQUIRE(labels.size() == 1);
    CHECK(labels[0].at("pid") == 1);
  });
}

TEST_CASE("Threads add while the file is written, in many pieces; a later write holds all") {
  const ScratchDirectory scratch;
  train::local::run(2, [&](Communicator& world) {
    constexpr int each = 4000, threads = 3;
    Trace trace(world, scratch / "trace.json");
    std::vector<std::thread> workers;
    for (int thread = 0; thread < threads; ++thread) {
      workers.emplace_back([&trace, thread] {
        const std::string track = "thread " + std::to_string(thread);
        for (int i = 0; i < each; ++i) {
          const auto now = Clock::now();
          trace.span(track, "work", now, now, {{"i", i}, {"text", std::string(50, 'x')}});
        }
      });
    }
    CHECK_NOTHROW(trace.write());
    for (std::thread& worker : workers) worker.join();
    trace.write();
    if (world.rank() != 0) return;
    const std::string text = read_file(scratch / "trace.json");
    CHECK(text.size() > std::size_t{2} << 20);  // eight pieces
    const json file = json::parse(text);
    std::map<std::pair<int, int>, int> per_thread;
    for (const json& span : elements(file, "X")) ++per_thread[{span["pid"], span["tid"]}];
    CHECK(per_thread.size() == 2 * threads);
    for (const auto& [thread, count] : per_thread) CHECK(count == each);
  });
}

TEST_CASE("Trace and communicator end in either order; equal names get tracks of their own") {
  const ScratchDirectory scratch;
  train::local::run(2, [&](Communicator& world) {
    std::optional<Trace> trace;
    trace.emplace(world, scratch / "trace.json");
    for (int i = 0; i < 2; ++i) {
      const auto data = world.split(0, 0, "data");
      trace->follow(*data);
      data->barrier().wait();
    }
    instant(*trace, "step");
    trace->follow(world);
    trace->write();
    const json file = json::parse(read_file(scratch / "trace.json"));
    std::map<int, std::string> by_place;
    const auto names = elements(file, "M", "thread_name");
    const auto places = elements(file, "M", "thread_sort_index");
    REQUIRE(names.size() == places.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      by_place[places[i]["args"]["sort_index"]] = names[i]["args"]["name"];
    }
    std::vector<std::string> order;
    for (const auto& [place, name] : by_place) order.push_back(name);
    CHECK(order == std::vector<std::string>{"compute", "data", "data 2", "world"});
    trace.reset();
    world.barrier().wait();
  });
}

TEST_CASE("A path that cannot be written is an Error on every rank, at once") {
  const ScratchDirectory scratch;
  train::test::write_file(scratch / "file", "");
  for (const std::filesystem::path& path :
       {scratch.path(), scratch / "file/trace.json", std::filesystem::path()}) {
    CAPTURE(path.string());
    train::local::run(3, [&](Communicator& world) {
      const std::string message =
          train::test::message_of<train::Error>([&] { Trace(world, path); });
      CHECK(message.find("cannot write the trace '" + path.string() + "'") == 0);
    });
  }
}

TEST_CASE("A file that fails later is an Error on every rank, and the trace can be written again") {
  const ScratchDirectory scratch;
  train::local::run(3, [&](Communicator& world) {
    const auto path = scratch / "runs/trace.json";
    const Trace trace(world, path);
    if (world.rank() == 0) {
      std::filesystem::remove_all(scratch / "runs");
      train::test::write_file(scratch / "runs", "in the way");
    }
    CHECK_THROWS_AS(trace.write(), train::Error);
    if (world.rank() == 0) std::filesystem::remove(scratch / "runs");
    trace.write();
    CHECK(elements(json::parse(read_file(path)), "M", "process_name").size() == 3);
  });
}
