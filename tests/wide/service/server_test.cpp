// A coordinator, its journal, and clusters with their clients, over loopback.
#include <random>

#include "collectives/wide/protocol/wire.hpp"
#include "collectives/wide/service/coordinator_thread.hpp"
#include "collectives/wide/service/numbered.hpp"
#include "tests/wide/service/service_job.hpp"

namespace train::wide::test {
namespace {

using End = TestCluster::End;

void two_clusters_to_the_end(const Certificates* certificates) {
  ServiceJob job(6, certificates);
  job.start_coordinator();
  TestCluster& aws = job.start_cluster("aws");
  TestCluster& lambda = job.start_cluster("lambda");
  CHECK(aws.wait_end(in_seconds(60)) == End::finished);
  CHECK(lambda.wait_end(in_seconds(60)) == End::finished);
  CHECK_FALSE(job.server->wait(Clock::now()));  // they are still there
  const std::uint64_t hash = aws.hash();
  CHECK(lambda.hash() == hash);
  job.clusters.clear();
  CHECK(job.server->wait(in_seconds(20)));
  job.server.reset();
  job.check_end();
  const std::string events = train::test::read_file(job.scratch / "events.jsonl");
  for (const char* part :
       {R"("event":"adopted","epoch":0,"round":0)", R"("event":"epoch","epoch":1)",
        R"("clusters":["aws","lambda"])", R"("event":"commit","epoch":1,"round":6,"attempt":1)",
        R"("event":"finished")", R"("event":"stopped")"}) {
    CAPTURE(events);
    CHECK_MESSAGE(events.find(part) != std::string::npos, part);
  }
}

TEST_CASE("two clusters train a job to its end, in plaintext") {
  two_clusters_to_the_end(nullptr);
}

TEST_CASE("two clusters train a job to its end, with certificates") {
  const Certificates certificates;
  two_clusters_to_the_end(&certificates);
}

TEST_CASE("a newcomer fetches the state, and one that vanished comes back") {
  ServiceJob job(60);
  job.start_coordinator();
  job.start_cluster("aws");
  job.start_cluster("gcp");
  REQUIRE(job.reaches(3));
  TestCluster& late = job.start_cluster("lambda");
  CHECK(eventually([&] { return late.in_epoch(); }));
  CHECK(late.fetches() > 0);
  REQUIRE(job.reaches(job.plane.rounds() + 3));
  job.clusters.erase(job.clusters.begin() + 1);  // gcp, without a word
  REQUIRE(job.reaches(job.plane.rounds() + 3));
  TestCluster& again = job.start_cluster("gcp");
  CHECK(eventually([&] { return again.in_epoch(); }));
  CHECK(again.fetches() > 0);
  for (const auto& cluster : job.clusters) {
    CHECK(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  job.check_end();
}

TEST_CASE("a cluster that hangs holds the others up for a time, and comes back when it goes on") {
  ServiceJob job(60);
  job.start_coordinator();
  job.start_cluster("aws");
  TestCluster& gcp = job.start_cluster("gcp", {.hang_min = std::chrono::milliseconds(1'000)});
  REQUIRE(job.reaches(3));
  gcp.hang(true);
  REQUIRE(job.reaches(job.plane.rounds() + 3));
  CHECK(gcp.client().disconnected_since());
  gcp.hang(false);
  CHECK(eventually([&] { return gcp.in_epoch() && gcp.client().connected(); }));
  for (const auto& cluster : job.clusters) {
    CHECK(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  job.check_end();
}

TEST_CASE("a cluster that leaves is released when its round is committed") {
  ServiceJob job(30);
  job.start_coordinator();
  TestCluster& aws = job.start_cluster("aws");
  TestCluster& gcp = job.start_cluster("gcp");
  REQUIRE(job.reaches(3));
  gcp.leave(10'000);
  CHECK(gcp.wait_end(in_seconds(60)) == End::released);
  CHECK(aws.wait_end(in_seconds(60)) == End::finished);
  job.check_end();
}

TEST_CASE("the coordinator may stop and start again at any moment") {
  ServiceJob job(60);
  job.config.heartbeat = {100, 20'000, 30'000, 6};  // nobody is lost here, however slow all is
  job.config.restart_grace_ms = 60'000;
  job.start_coordinator();
  for (const char* name : {"aws", "gcp", "lambda"}) job.start_cluster(name);
  std::mt19937 random(3);
  for (int restart = 0; restart < 8; ++restart) {
    REQUIRE(job.reaches(job.plane.rounds() + 1 + random() % 3));
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 40));
    job.server.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
    job.start_coordinator();
  }
  for (const auto& cluster : job.clusters) {
    CHECK(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  job.check_end();
  CHECK(job.lines.count("is out of the epoch") == 0);  // nobody lost its work for that
}

TEST_CASE("who comes after the end gets the last state, or a clear word") {
  ServiceJob job(3);
  job.start_coordinator();
  job.start_cluster("aws");
  job.start_cluster("gcp");
  for (const auto& cluster : job.clusters) {
    REQUIRE(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  SUBCASE("somebody has it") {
    TestCluster& late = job.start_cluster("lambda");
    CHECK(late.wait_end(in_seconds(60)) == End::finished);
    CHECK(late.fetches() == 1);
    CHECK(late.hash() == job.clusters.front()->hash());
  }
  SUBCASE("nobody is left, and the coordinator is another process") {
    job.server.reset();
    job.clusters.clear();
    job.start_coordinator();
    CHECK(job.start_cluster("lambda").wait_end(in_seconds(60)) == End::too_late);
    job.clusters.clear();
  }
  job.check_end();
}

TEST_CASE("a peer that sends faster than anyone can read takes no more memory than its share") {
  const train::test::ScratchDirectory scratch;
  Lines lines;
  CoordinatorServerOptions options;
  options.journal = scratch / "job";
  options.on_log = [&](const Log& log) { lines.add(log.text); };
  CoordinatorThread thread(options);
  const NodeEvents events = thread.node_events();
  Links links;
  links.up.assign(1'900, {std::string(500, 'x'), 1});
  const auto message = with_number(1, encode(links));
  for (int i = 0; i < 100; ++i) events.on_message({"gcp"}, message);
  Events unused;
  Node node(node_options("coordinator", nullptr, unused));
  thread.start(node);
  const char* refused = "gcp/0 is refused: it sends faster than anyone can read";
  CHECK(eventually([&] { return lines.count(refused) > 0; }));
  thread.stop();
  CHECK(lines.count(refused) == 1);
}

TEST_CASE("a coordinator does not end before everyone knows that the job is over") {
  ServiceJob job(3);
  job.linger = std::chrono::milliseconds(0);
  job.start_coordinator();
  job.start_cluster("aws");
  job.start_cluster("gcp");
  for (const auto& cluster : job.clusters) {
    REQUIRE(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  // Its fetch takes longer than the coordinator would wait for nobody.
  TestCluster& late = job.start_cluster("lambda", {.fetch = std::chrono::seconds(4)});
  CHECK(job.server->wait(in_seconds(60)));
  CHECK(late.wait_end(in_seconds(10)) == End::finished);
  CHECK(late.fetches() == 1);
  job.check_end();
}

TEST_CASE("a coordinator with nobody to wait for ends when its time for late clusters is over") {
  ServiceJob job(2);
  job.start_coordinator();
  job.start_cluster("aws");
  job.start_cluster("gcp");
  for (const auto& cluster : job.clusters) {
    REQUIRE(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  job.clusters.clear();
  job.server.reset();
  job.linger = std::chrono::milliseconds(300);
  job.start_coordinator();
  CHECK(job.server->wait(in_seconds(20)));
  job.check_end();
}

}  // namespace
}  // namespace train::wide::test
