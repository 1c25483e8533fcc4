// Strangers, liars and talkers of nonsense against a coordinator with a job under way: each is
// refused and said once, and the job does not notice.
#include <csignal>

#include "collectives/wide/protocol/wire.hpp"
#include "collectives/wide/service/numbered.hpp"
#include "collectives/wide/stream/io/hello.hpp"
#include "tests/wide/service/coordinator_process.hpp"
#include "tests/wide/stream/raw_peer.hpp"

namespace train::wide::test {
namespace {

using Bytes = std::vector<std::byte>;

Bytes link_hello(const std::string& from, std::uint64_t session = 1) {
  return detail::encode(
      detail::Hello{.session = session, .stream = 0, .from = {from}, .to = {"coordinator"}});
}

Bytes link_header(detail::FrameType type, std::uint32_t length) {
  const auto bytes = detail::encode(detail::FrameHeader{type, length, 1, 0});
  return {bytes.begin(), bytes.end()};
}

Bytes protocol_hello(const std::string& name) {
  Hello hello;
  hello.job = 7;
  hello.self = {name, 1'000'000};
  hello.committed.hash = DataPlane::initial;
  return encode(hello);
}

/// train_coordinator with certificates, and aws and lambda, which train by it without an end.
struct Siege {
  Siege() {
    ::signal(SIGPIPE, SIG_IGN);                // of the raw peers' own TLS
    job.heartbeat = {100, 20'000, 30'000, 6};  // slow is not silent
    job.start_cluster("aws");
    job.start_cluster("lambda");
    REQUIRE(job.reaches(2));
  }
  std::vector<std::string> words() const {
    return {"--listen",
            "127.0.0.1:0",
            "--journal",
            (job.scratch / "job").string(),
            "--certs",
            certificates.directory().string(),
            "--clusters-min=2",
            "--silence-min-ms=20000",
            "--silence-max-ms=30000"};
  }
  std::uint16_t listening() {
    job.port = process.port();
    REQUIRE(job.port != 0);
    return job.port;
  }

  /// Each time of `times` it is refused, and the lines with `reason` are as many as `lines`.
  void refuses(const char* reason, int times, std::size_t lines,
               const std::function<void()>& attack) {
    CAPTURE(reason);
    const std::size_t before = process.lines.count(reason);
    for (int i = 0; i < times; ++i) attack();
    CHECK(eventually([&] { return process.lines.count(reason) >= before + lines; }, 20));
    unharmed();
    CAPTURE(process.lines.all());
    CHECK(process.lines.count(reason) == before + lines);
  }
  /// Rounds go on, with both clusters, and neither has lost its work or its connection.
  void unharmed() {
    REQUIRE(process.running());
    REQUIRE(job.reaches(job.plane.rounds() + 3));
    CHECK(process.lines.count("is out of the epoch") == 0);
    CHECK(process.lines.count("cluster aws ") == 1);  // that it connected
    CHECK(process.lines.count("cluster lambda ") == 1);
    CHECK(job.plane.troubles().empty());
  }

  Certificates certificates;
  ServiceJob job{0, &certificates};
  CoordinatorProcess process{words()};
  std::uint16_t port = listening();
};

TEST_CASE("connections that nobody of the job makes") {
  Siege siege;
  const Certificates other_job("demo");  // the same names, another authority
  const Certificates& mine = siege.certificates;
  const auto raw = [&](const char* reason, const std::function<void(RawPeer&)>& attack) {
    siege.refuses(reason, 1, 1, [&] {
      RawPeer peer(siege.port);
      attack(peer);
      peer.read_all();  // until the coordinator closes
    });
  };
  raw("did not return a certificate", [](RawPeer& peer) { peer.handshake({}); });
  raw("its certificate: ", [&](RawPeer& peer) { peer.handshake(other_job.of("aws")); });
  raw("expired",
      [&](RawPeer& peer) { peer.handshake(mine.forge("libtrain://demo/cluster/aws", -1)); });
  raw("for the job \"other\"",
      [&](RawPeer& peer) { peer.handshake(mine.forge("libtrain://other/cluster/aws", 1)); });
  raw("protocol",
      [&](RawPeer& peer) { CHECK_FALSE(peer.handshake(mine.of("aws"), TLS1_2_VERSION)); });
  raw("claims to be \"aws\"", [&](RawPeer& peer) {
    REQUIRE(peer.handshake(mine.forge("libtrain://demo/cluster/gcp", 1)));
    peer.send(link_hello("aws"));
  });
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  raw("http request", [&](RawPeer& peer) { peer.send(std::as_bytes(std::span(request))); });
  // In plaintext, what is a good introduction otherwise, and nonsense.
  const auto refused = [&] { return siege.process.lines.count("refused 127.0.0.1"); };
  for (const Bytes& bytes : {link_hello("aws"), random_bytes(5000, 1)}) {
    const std::size_t before = refused();
    RawPeer peer(siege.port);
    peer.send(bytes);
    peer.read_all();
    CHECK(eventually([&] { return refused() == before + 1; }, 20));
    siege.unharmed();
  }
}

TEST_CASE("a cluster of the job that breaks the rules of links") {
  Siege siege;
  const TlsFiles gcp = siege.certificates.forge("libtrain://demo/cluster/gcp", 1);
  std::uint64_t session = 0;
  const auto breaks = [&](const char* reason, const Bytes& bytes) {
    siege.refuses(reason, 1, 1, [&] {
      RawPeer peer(siege.port);
      REQUIRE(peer.handshake(gcp));
      peer.send(link_hello("gcp", ++session));
      peer.send(bytes);
      peer.read_all();
    });
  };
  breaks("with 4294967295 bytes", link_header(detail::FrameType::message, 0xffffffff));
  breaks("with 1048577 bytes", link_header(detail::FrameType::message, (1 << 20) + 1));
  breaks("unknown type 77", link_header(static_cast<detail::FrameType>(77), 0));
}

/// A cluster of the job with its own certificate, a good link, and no manners.
struct BadCluster {
  BadCluster(const Siege& siege, std::uint32_t lane = 0)
      : node([&] {
          NodeOptions options;
          options.tls = siege.certificates.forge("libtrain://demo/cluster/gcp", 1);
          options.lane = lane;
          options.threads = 1;
          options.events = events.hooks();
          return options;
        }()),
        link(node.link({"coordinator"}, {.addresses = {at_port(siege.port)}, .streams = 1})) {
    REQUIRE(link.wait_connected(in_seconds(10)));
  }
  void say(const Bytes& content) { link.post(with_number(++number, content)); }
  /// What the coordinator answered on the last connection.
  std::vector<std::string> answers() {
    std::vector<std::string> names;
    for (const auto& message : events.messages()) {
      const auto numbered = split_number(message);
      if (!numbered || numbered->number != number) continue;
      const Decoded decoded = decode(numbered->content);
      names.emplace_back(decoded.message ? name_of(*decoded.message) : "closed");
    }
    return names;
  }

  Events events;
  Node node;
  Link link;
  std::uint64_t number = 0;
};

TEST_CASE("a cluster of the job that breaks the rules of the protocol") {
  Siege siege;
  const char* reason = "gcp/0 is refused: ";
  std::function<void(BadCluster&)> attack;
  std::string said = reason;
  std::vector<std::string> answers{"Refused", "closed"};
  SUBCASE("it says that it is another cluster") {
    said += "it says that it is \"aws\", which it cannot prove";
    attack = [](BadCluster& gcp) { gcp.say(protocol_hello("aws")); };
  }
  SUBCASE("it says so in more than a line") {
    said += "it says that it is \"aws?2026?[31mthe job is lost\", which it cannot prove";
    attack = [](BadCluster& gcp) { gcp.say(protocol_hello("aws\n2026\x1b[31mthe job is lost")); };
  }
  SUBCASE("it says nothing that can be read") {
    said += "it sent not a frame";
    attack = [](BadCluster& gcp) { gcp.say(random_bytes(3000, 5)); };
  }
  SUBCASE("it announces more than may be") {
    said += "it sent a frame of 4294967295 bytes";
    attack = [](BadCluster& gcp) {
      Bytes frame = protocol_hello("gcp");
      for (std::size_t i = 4; i < 8; ++i) frame[i] = std::byte{0xff};
      gcp.say(frame);
    };
  }
  SUBCASE("it does not number its messages") {
    said += "it sent a message without a number";
    answers.clear();
    attack = [](BadCluster& gcp) { gcp.link.post(Bytes(3)); };
  }
  {
    BadCluster gcp(siege);
    siege.refuses(said.c_str(), 3, 1, [&] { attack(gcp); });
    CHECK(eventually([&] { return gcp.answers() == answers; }, 20));
  }
  // Said once, and only for the first thing that was wrong.
  CHECK(siege.process.lines.count(reason) == 1);
}

TEST_CASE("a cluster of the job that speaks by another lane, out of turn, or all the time") {
  Siege siege;
  {
    BadCluster lane(siege, 3);
    siege.refuses("gcp/3 is refused: a cluster speaks to its coordinator by its lane 0 alone", 3, 1,
                  [&] { lane.say(protocol_hello("gcp")); });
  }
  BadCluster gcp(siege);
  gcp.say(encode(Done{{1, 1, 1}, 5}));
  CHECK(eventually([&] { return gcp.answers() == std::vector<std::string>{"closed"}; }, 20));
  // What belongs to aws and lambda alone, after a good Hello: their exchange and their samples.
  gcp.say(protocol_hello("gcp"));
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    const std::uint64_t round = siege.job.plane.rounds() + 1;
    for (const Message& message :
         std::vector<Message>{Done{{1, round, 1}, i}, Failed{{1, round, 1}, "aws"},
                              Ready{{1, round, 1}, 1, 1, 0, RangeSet({0, 1 << 20}), 0},
                              LeaseRequest{1, 1'000'000}}) {
      gcp.link.post(with_number(gcp.number, encode(message)));
    }
  }
  siege.unharmed();
  CHECK(siege.process.lines.count("cannot finish it") == 0);
}

TEST_CASE("those who connect and say nothing, or say it slowly, keep nobody out") {
  Siege siege;
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<RawPeer>(siege.port));
  for (int i = 0; i < 20; ++i) {
    siege.unharmed();
    silent[static_cast<std::size_t>(180 + i)]->send(Bytes(1, std::byte{0x16}));
  }
  // Neither do they keep out who comes now.
  siege.job.clusters.pop_back();
  TestCluster& again = siege.job.start_cluster("lambda");
  CHECK(eventually([&] { return again.in_epoch(); }));
  CHECK(siege.process.lines.count("too many connections") > 0);
}

TEST_CASE("a cluster whose certificate is revoked is shut out, and comes back with a new one") {
  Siege siege;
  const auto certs = [&](const char* words) {
    REQUIRE(trainctl_certs(siege.certificates.directory(), words).status == 0);
  };
  certs("--revoke lambda");
  const auto& lines = siege.process.lines;
  CHECK(eventually([&] { return lines.count("certificates that are revoked: 1") == 1; }, 20));
  // The stream that it had, and those that it dials since.
  CHECK(eventually([&] { return lines.count("its certificate, of \"lambda\", is revoked") > 1; },
                   20));
  CHECK(eventually([&] { return lines.count("refused 127.0.0.1") > 0; }, 20));
  siege.job.clusters.pop_back();
  certs("--cluster lambda");
  TestCluster& again = siege.job.start_cluster("lambda");
  CHECK(eventually([&] { return again.in_epoch(); }));
  CHECK(siege.job.reaches(siege.job.plane.rounds() + 3));
  CHECK(siege.process.running());
}

}  // namespace
}  // namespace train::wide::test
