#include "libtrain/rounds/lane_links.hpp"

#include <thread>

#include <doctest/doctest.h>

#include "tests/wide/stream/proxy.hpp"

using namespace train;

namespace {

constexpr wide::ExchangeId id{.epoch = 1, .round = 7, .attempt = 1};

std::vector<wide::Directory::Peer> others(const char* name, const std::string& address) {
  wide::Directory::Peer peer;
  peer.self = {name, 1};
  peer.offer.addresses = {address};
  return {peer};
}

LaneLinksOptions options(const char* cluster, const char* listen = "") {
  LaneLinksOptions options;
  options.cluster = cluster;
  options.listen = listen;
  options.towards = {"127.0.0.1:1"};
  options.streams = 1;
  return options;
}

/// A cluster that serves a state, and has not heard of anybody else.
struct Source {
  explicit Source(const std::vector<std::size_t>& sizes)
      : links(options("source", "127.0.0.1:0"), {}) {
    auto state = std::make_shared<OuterState>();
    state->id = id;
    float next = 0.0f;
    for (const std::size_t size : sizes) {
      LaneValues values(size);
      for (float& value : values) value = next++;
      state->fragments.push_back(std::make_shared<OuterFragment>(std::move(values)));
    }
    links.serve(state);
    served = state;
  }
  std::uint16_t port() const {
    return static_cast<std::uint16_t>(
        std::stoi(links.address().substr(links.address().rfind(':') + 1)));
  }

  LaneLinks links;
  OuterStateVersion served;
};

LaneLinks::FetchStage end_of_fetch(LaneLinks& links) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (Clock::now() < deadline) {
    const auto stage = links.fetch_stage();
    if (stage != LaneLinks::FetchStage::running) return stage;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return LaneLinks::FetchStage::running;
}

void wait_up(LaneLinks& links) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (links.up().empty() && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  REQUIRE_FALSE(links.up().empty());
}

}  // namespace

TEST_CASE("a cluster whose address is none is not dialled, and ends nobody") {
  std::string said;
  LaneLinksOptions own = options("own", "127.0.0.1:0");
  own.on_log = [&](const std::string& line) { said += line; };
  LaneLinks links(std::move(own), {});
  links.use(others("a", "foo"));
  CHECK(said.find("cluster a cannot be dialled: \"foo\" is no address") != std::string::npos);
}

TEST_CASE("a newcomer gets the state of a cluster that has not heard of it") {
  const std::vector<std::size_t> sizes{1000, 3, 0, 40};
  Source source(sizes);
  LaneLinks newcomer(options("newcomer"), {});
  newcomer.use(others("source", source.links.address()));
  wait_up(newcomer);
  newcomer.fetch("source", id, sizes);
  REQUIRE(end_of_fetch(newcomer) == LaneLinks::FetchStage::done);
  const OuterStateVersion fetched = newcomer.take_fetched();
  CHECK(fetched->id == id);
  CHECK(fetched->sizes() == sizes);
  CHECK(fetched->hash() == source.served->hash());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    CHECK(fetched->fragments[i]->values() == source.served->fragments[i]->values());
  }
  newcomer.fetch("source", {.epoch = 1, .round = 8, .attempt = 1}, sizes);  // another state
  CHECK(end_of_fetch(newcomer) == LaneLinks::FetchStage::failed);
}

TEST_CASE("a state goes to named clusters alone, and the others hear why not, once") {
  const std::vector<std::size_t> sizes{1000, 3};
  Source source(sizes);
  std::vector<std::string> said;
  LaneLinksOptions own = options("newcomer");
  own.on_log = [&](const std::string& line) { said.push_back(line); };
  LaneLinks newcomer(std::move(own), {});
  newcomer.use(others("source", source.links.address()));
  wait_up(newcomer);
  said.clear();
  source.links.serve_to(std::vector<std::string>{"somebody"});
  for (int i = 0; i < 2; ++i) {
    newcomer.fetch("source", id, sizes);
    CHECK(end_of_fetch(newcomer) == LaneLinks::FetchStage::failed);
  }
  REQUIRE(said.size() == 1);
  CHECK(said[0].find("cluster source does not send its state: its egress budget") == 0);
  source.links.serve_to(std::vector<std::string>{"somebody", "newcomer"});
  newcomer.fetch("source", id, sizes);
  CHECK(end_of_fetch(newcomer) == LaneLinks::FetchStage::done);
}

TEST_CASE("what a fetch has still to get is promised, until it ends") {
  constexpr std::size_t count = 1'000'000;  // more than a proxy has under way
  Source source({count, count});
  wide::test::Proxy proxy(source.port());
  LaneLinks newcomer(options("newcomer"), {});
  newcomer.use(others("source", "127.0.0.1:" + std::to_string(proxy.port())));
  wait_up(newcomer);
  const auto promised = [&] { return source.links.traffic().with["newcomer"].promised; };
  CHECK(promised() == 0);
  proxy.freeze(true);
  newcomer.fetch("source", id, {count, count});
  proxy.freeze(false);
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  std::uint64_t most = 0;
  while (newcomer.fetch_stage() == LaneLinks::FetchStage::running && Clock::now() < deadline) {
    most = std::max(most, promised());
  }
  CHECK(newcomer.fetch_stage() == LaneLinks::FetchStage::done);
  CHECK(most > 0);
  CHECK(most <= 2 * count * sizeof(float));
  while (promised() > 0 && Clock::now() < deadline) source.links.tick();
  CHECK(promised() == 0);
}

TEST_CASE("a fetch whose source is gone, or stuck, fails long before its transfer's deadline") {
  constexpr std::size_t count = 1'000'000;  // more than a proxy has under way
  Source source({count, count});
  wide::test::Proxy proxy(source.port());
  LaneLinksOptions impatient = options("newcomer");
  impatient.link_down_max = impatient.fetch_stall_max = std::chrono::milliseconds(300);
  LaneLinks newcomer(impatient, {});
  newcomer.use(others("source", "127.0.0.1:" + std::to_string(proxy.port())));
  wait_up(newcomer);
  SUBCASE("gone") {
    proxy.refuse(true);
    proxy.cut_all();
  }
  SUBCASE("stuck") {
    proxy.freeze(true);
  }
  newcomer.fetch("source", id, {count, count});
  CHECK(end_of_fetch(newcomer) == LaneLinks::FetchStage::failed);
  proxy.freeze(false);
  newcomer.stop_fetch();
}
