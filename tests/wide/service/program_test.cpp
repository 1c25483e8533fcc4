// The program as users run it, and as machines end it.
#include <csignal>
#include <random>

#include "tests/wide/service/coordinator_process.hpp"

namespace train::wide::test {
namespace {

using End = TestCluster::End;

/// Nobody is lost in these jobs, however slow all is.
std::vector<std::string> words(const ServiceJob& job, const std::vector<std::string>& more = {}) {
  std::vector<std::string> all{"--listen",
                               at_port(job.port),
                               "--journal",
                               (job.scratch / "job").string(),
                               "--events",
                               (job.scratch / "events.jsonl").string(),
                               "--clusters-min=2",
                               "--heartbeat-ms=100",
                               "--silence-min-ms=20000",
                               "--silence-max-ms=30000",
                               "--restart-grace-seconds=60",
                               "--link-grace-seconds=0.5"};
  if (job.certificates == nullptr) {
    all.emplace_back("--plaintext");
  } else {
    all.insert(all.end(), {"--certs", job.certificates->directory().string()});
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_CASE("killed at any moment, again and again, it takes the job to its end") {
  const Certificates certificates;
  ServiceJob job(150, &certificates);
  auto process = std::make_unique<CoordinatorProcess>(words(job));
  job.port = process->port();
  REQUIRE(job.port != 0);
  job.start_cluster("aws");
  job.start_cluster("lambda");
  std::mt19937 random(11);
  for (int kill = 0; kill < 25; ++kill) {
    CAPTURE(process->lines.all());
    REQUIRE(job.reaches(std::min<std::uint64_t>(job.plane.rounds() + 1 + random() % 2, 150)));
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 30));
    process->signal(SIGKILL);
    CHECK(process->wait() == -SIGKILL);
    process = std::make_unique<CoordinatorProcess>(words(job));
    REQUIRE(process->port() == job.port);
  }
  for (const auto& cluster : job.clusters) {
    CHECK(cluster->wait_end(in_seconds(60)) == End::finished);
  }
  CHECK(process->lines.count("is out of the epoch") == 0);
  job.clusters.clear();
  CHECK(process->wait() == 0);
  CHECK(process->lines.count("the job is over") == 1);
  job.check_end();
}

TEST_CASE("asked to end, it ends well, and another one goes on") {
  ServiceJob job(40);
  for (const int signal : {SIGTERM, SIGINT, 0}) {
    CoordinatorProcess process(words(job));
    job.port = process.port();
    REQUIRE(job.port != 0);
    if (job.clusters.empty()) {
      job.start_cluster("aws");
      job.start_cluster("gcp");
    }
    if (signal != 0) {
      REQUIRE(job.reaches(job.plane.rounds() + 3));
      process.signal(signal);
    } else {
      job.end_clusters();
    }
    CHECK(process.wait() == 0);
  }
  job.check_end();
}

TEST_CASE("on a full disk it says so and ends; with room again, the job goes on") {
  ServiceJob job(40);
  {
    CoordinatorProcess process(words(job), 3000);
    job.port = process.port();
    REQUIRE(job.port != 0);
    job.start_cluster("aws");
    job.start_cluster("gcp");
    CHECK(process.wait() == 1);
    CAPTURE(process.lines.all());
    CHECK(process.lines.count("job/journal: File too large") == 1);
    CHECK(process.lines.count("start the coordinator again") == 1);
    const std::string file = train::test::read_file(job.scratch / "job/journal");
    const Replay journal = replay(std::as_bytes(std::span(file)));
    CHECK(journal.error == "");
    CHECK_FALSE(journal.torn);
    CHECK(journal.records > 0);
  }
  CoordinatorProcess process(words(job));
  job.end_clusters();
  CHECK(process.wait() == 0);
  job.check_end();
}

TEST_CASE("it needs nobody who reads its log") {
  ServiceJob job(20);
  job.port = CoordinatorProcess(words(job)).port();
  REQUIRE(job.port != 0);
  for (const char* error_path : {"/dev/full", ""}) {
    CAPTURE(error_path);
    CoordinatorProcess process(words(job), {}, error_path);
    if (job.clusters.empty()) {
      job.start_cluster("aws");
      job.start_cluster("gcp");
      REQUIRE(job.reaches(5));
      process.signal(SIGTERM);
    } else {
      job.end_clusters();
    }
    CHECK(process.wait() == 0);
  }
  job.check_end();
  CHECK(train::test::read_file(job.scratch / "job/lock").find("round") == std::string::npos);
  // Nor does it end otherwise when it has an error to tell.
  CoordinatorProcess process({"--listen", "0.0.0.0:0", "--journal", "j"}, {}, "/dev/full");
  CHECK(process.wait() == 1);
}

TEST_CASE("what it cannot do, it says in one line") {
  const train::test::ScratchDirectory scratch;
  const std::string journal = (scratch / "job").string();
  const auto refuses = [](const char* reason, const std::vector<std::string>& flags) {
    CAPTURE(reason);
    CoordinatorProcess process(flags);
    CHECK(process.wait() != 0);
    CHECK(eventually([&] { return process.lines.count("") > 0; }));
    CAPTURE(process.lines.all());
    CHECK(process.lines.count("") == 1);
    CHECK(process.lines.count(reason) == 1);
  };
  refuses("--help lists the flags", {"--lissten", "127.0.0.1:0"});
  refuses("launch/trainctl certs", {"--listen", "127.0.0.1:0", "--journal", journal});
  refuses("loopback", {"--listen", "0.0.0.0:0", "--journal", journal, "--plaintext"});
  refuses("authority.pem",
          {"--listen", "127.0.0.1:0", "--journal", journal, "--certs", scratch.path().string()});
  refuses("silence-min-ms", {"--listen", "127.0.0.1:0", "--journal", journal, "--plaintext",
                             "--heartbeat-ms", "9000"});
  refuses(
      "--round-seconds: is no number of seconds",
      {"--listen", "127.0.0.1:0", "--journal", journal, "--plaintext", "--round-seconds", "nan"});
  refuses("--journal \"\": is empty", {"--listen", "127.0.0.1:0", "--journal", "", "--plaintext"});
  refuses("--samples -5: must not be negative",
          {"--listen", "127.0.0.1:0", "--journal", journal, "--plaintext", "--samples", "-5"});
  refuses("/proc/job", {"--listen", "127.0.0.1:0", "--journal", "/proc/job", "--plaintext"});
  const CoordinatorProcess first({"--listen", "127.0.0.1:0", "--journal", journal, "--plaintext"});
  REQUIRE(eventually([&] { return first.lines.count("listening") == 1; }));
  refuses("another coordinator", {"--listen", "127.0.0.1:0", "--journal", journal, "--plaintext"});
}

}  // namespace
}  // namespace train::wide::test
