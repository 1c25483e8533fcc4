#include <csignal>
#include <functional>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/hello.hpp"
#include "collectives/wide/stream/io/listener.hpp"
#include "tests/wide/stream/pair.hpp"
#include "tests/wide/stream/raw_peer.hpp"

namespace train::wide::test {
namespace {

using namespace detail;

std::vector<std::byte> hello_from(const std::string& cluster, const std::string& to = "aws") {
  return encode(Hello{.session = 1, .stream = 0, .from = {cluster}, .to = {to}});
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// aws, with a good link to lambda, and its log.
struct Target {
  Target()
      : aws([this] {
          auto options = node_options("aws", &certificates, events);
          options.handshake_max = std::chrono::milliseconds(500);
          return options;
        }()),
        lambda(node_options("lambda", &certificates, lambda_events)),
        port(aws.listen("127.0.0.1:0")),
        to_lambda(aws.link({"lambda"})),
        to_aws(lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 2})) {
    REQUIRE(to_lambda.wait_connected(in_seconds(10)));
  }

  /// The peer does `attack`; it is refused with exactly one line that holds `reason`, and the link
  /// does not notice.
  void refuses(const char* reason, const std::function<void(RawPeer&)>& attack) {
    CAPTURE(reason);
    const auto lines_before = events.lines().size();
    {
      RawPeer peer(port);
      attack(peer);
      peer.read_all();  // until this end closes
    }
    REQUIRE(events.wait_lines(lines_before + 1));
    transfer();
    const auto lines = events.lines();
    REQUIRE(lines.size() == lines_before + 1);
    CAPTURE(lines.back());
    CHECK(lines.back().find("127.0.0.1:") != std::string::npos);
    CHECK(lines.back().find(reason) != std::string::npos);
    // The thinning of such lines has a test of its own.
    CHECK(events.ups().size() == 1);
  }

  void transfer() {
    const auto source = random_bytes(100'000, 3);
    std::vector<std::byte> target(source.size());
    auto sent = to_aws.send(++id, source, in_seconds(30));
    auto received = to_lambda.receive(id, target, in_seconds(30));
    received.wait();
    sent.wait();
    CHECK(target == source);
  }

  Certificates certificates;
  Events events, lambda_events;
  Node aws, lambda;
  std::uint16_t port;
  Link to_lambda, to_aws;
  std::uint64_t id = 0;
};

TEST_CASE("strangers are refused, each with one line") {
  ::signal(SIGPIPE, SIG_IGN);  // of the raw peer's own TLS
  Target target;
  const Certificates other_job("demo");  // the same name, another authority
  const auto& mine = target.certificates;
  target.refuses("did not return a certificate", [](RawPeer& peer) { peer.handshake({}); });
  target.refuses("its certificate: ",
                 [&](RawPeer& peer) { peer.handshake(other_job.of("lambda")); });
  target.refuses("expired", [&](RawPeer& peer) {
    peer.handshake(mine.forge("libtrain://demo/cluster/lambda", -1));
  });
  target.refuses("for the job \"other\"", [&](RawPeer& peer) {
    peer.handshake(mine.forge("libtrain://other/cluster/lambda", 1));
  });
  target.refuses("names no cluster", [&](RawPeer& peer) {
    peer.handshake(mine.forge("https://demo/cluster/lambda", 1));
  });
  target.refuses("claims to be \"coordinator\"", [&](RawPeer& peer) {
    REQUIRE(peer.handshake(mine.of("lambda")));
    peer.send(hello_from("coordinator"));
  });
  target.refuses("protocol", [&](RawPeer& peer) {
    CHECK_FALSE(peer.handshake(mine.of("lambda"), TLS1_2_VERSION));
  });
  target.refuses("http request",
                 [](RawPeer& peer) { peer.send(bytes_of("GET / HTTP/1.1\r\n\r\n")); });
}

TEST_CASE("nonsense is refused, with one line") {
  ::signal(SIGPIPE, SIG_IGN);
  Target target;
  const auto& mine = target.certificates;
  target.refuses("refused", [](RawPeer& peer) { peer.send(random_bytes(1000, 1)); });
  target.refuses("did not introduce itself", [](RawPeer&) {});
  target.refuses("did not introduce itself", [&](RawPeer& peer) {
    REQUIRE(peer.handshake(mine.of("lambda")));
    const auto hello = hello_from("lambda");
    for (int i = 0; i < 3; ++i) peer.send(std::span(hello).subspan(static_cast<unsigned>(i), 1));
  });
  const auto after_handshake = [&](const char* reason, std::vector<std::byte> bytes) {
    target.refuses(reason, [&](RawPeer& peer) {
      REQUIRE(peer.handshake(mine.of("lambda")));
      peer.send(bytes);
    });
  };
  after_handshake("does not speak libtrain", random_bytes(100, 2));
  after_handshake("looks for gcp/0", hello_from("lambda", "gcp"));
  auto malformed = hello_from("lambda");
  malformed.back() = std::byte{0};  // a name with a zero in it
  after_handshake("malformed hello", malformed);
  const auto header = [](FrameType type, std::uint32_t length) {
    const auto bytes = encode(FrameHeader{type, length, 0, 0});
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  after_handshake("where 1 to 512 are allowed", header(FrameType::hello, 0xffffffff));
  after_handshake("did not begin with a hello", header(FrameType::message, 10));
}

TEST_CASE("a peer of the job that breaks the rules loses its stream, with one line") {
  ::signal(SIGPIPE, SIG_IGN);
  Certificates certificates;
  Events events;
  Node aws(node_options("aws", &certificates, events));
  const auto port = aws.listen("127.0.0.1:0");
  Link link = aws.link({"lambda"});
  std::vector<std::byte> memory(100'000);
  auto received = link.receive(1, memory, in_seconds(60));
  const auto breaks = [&](const char* reason, FrameHeader header, std::size_t body) {
    CAPTURE(reason);
    const auto before = events.lines().size();
    RawPeer peer(port);
    REQUIRE(peer.handshake(certificates.of("lambda")));
    peer.send(hello_from("lambda"));
    peer.send(encode(header));
    peer.send(std::vector<std::byte>(body));
    peer.read_all();
    REQUIRE(events.wait_lines(before + 1));
    const auto lines = events.lines();
    CHECK(lines.size() == before + 1);
    CHECK(lines.back().find(reason) != std::string::npos);
  };
  breaks("with 4194306 bytes", {FrameType::chunk, (4 << 20) + 2, 1, 0}, 0);
  breaks("with 4294967295 bytes", {FrameType::message, 0xffffffff, 1, 0}, 0);
  breaks("no such chunk", {FrameType::chunk, 1000, 1, 512 << 10}, 0);
  breaks("no such chunk", {FrameType::chunk, 1000, 1, 0xffffffffffffff00}, 0);
  breaks("no such chunk", {FrameType::chunk, 1000, 1, 0}, 0);
  breaks("chunks of 0 bytes", {FrameType::grant, 12, 1, 1}, 12);
  breaks("unknown type 77", {static_cast<FrameType>(77), 0, 0, 0}, 0);
  breaks("second hello", {FrameType::hello, 10, 0, 0}, 10);
  CHECK_FALSE(received.done());
  received.cancel();
}

TEST_CASE("the end that dials refuses servers that are not who they should be") {
  const Certificates mine, others;
  Events events, server_events;
  Node lambda(node_options("lambda", &mine, events));
  std::optional<Node> server;
  const char* reason = "";
  SUBCASE("another cluster of the job") {
    server.emplace(node_options("coordinator", &mine, server_events));
    reason = "its certificate is of \"coordinator\", not of \"aws\"";
  }
  SUBCASE("another job's") {
    server.emplace(node_options("aws", &others, server_events));
    reason = "its certificate: ";
  }
  SUBCASE("plaintext") {
    server.emplace(node_options("aws", nullptr, server_events));
    reason = "127.0.0.1";  // TLS's word, or the kernel's: the server closes at once
  }
  const auto port = server->listen("127.0.0.1:0");
  Link link = lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1});
  REQUIRE(events.wait_lines(1));
  CAPTURE(events.lines().front());
  CHECK(events.lines().front().find("cannot reach aws/0 at " + at_port(port)) == 0);
  CHECK(events.lines().front().find(reason) != std::string::npos);
  CHECK_FALSE(link.wait_connected(in_seconds(0.3)));
  CHECK(events.lines().size() == 1);  // said once, though tried again
  CHECK(server_events.ups().empty());
}

TEST_CASE("silent connections keep nobody out") {
  const Certificates certificates;
  Events events, lambda_events;
  auto options = node_options("aws", &certificates, events);
  options.pending_handshakes_max = 4;
  options.handshake_max = std::chrono::minutes(1);
  Node aws(options);
  const auto port = aws.listen("127.0.0.1:0");
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(std::make_unique<RawPeer>(port));
  REQUIRE(events.wait_lines(4));
  CHECK(events.lines()[3].find("too many connections") != std::string::npos);
  Node lambda(node_options("lambda", &certificates, lambda_events));
  CHECK(lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1})
            .wait_connected(in_seconds(10)));
}

TEST_CASE("a stranger with many connections takes no place from other addresses") {
  ::signal(SIGPIPE, SIG_IGN);
  const Certificates certificates;
  Events events;
  auto options = node_options("aws", &certificates, events);
  options.pending_handshakes_max = 4;
  options.handshake_max = std::chrono::minutes(1);
  Node aws(options);
  const auto port = aws.listen("127.0.0.1:0");
  RawPeer slow(port, "127.0.0.2");
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(std::make_unique<RawPeer>(port));
  REQUIRE(events.wait_lines(10));  // more than come from one address; the rest are not said
  REQUIRE(slow.handshake(certificates.of("lambda")));
  slow.send(hello_from("lambda"));
  CHECK(events.wait_ups(1));
}

TEST_CASE("sources are told apart by what one stranger can have many of") {
  const auto source = [](const char* address) {
    return source_of(asio::ip::make_address(address));
  };
  CHECK(source("10.0.0.1") != source("10.0.0.2"));
  CHECK(source("2001:db8::1") == source("2001:db8::ffff:2"));
  CHECK(source("2001:db8::1") != source("2001:db8:0:1::1"));
  CHECK(source("::ffff:10.0.0.1") == source("10.0.0.1"));
  CHECK(oldest_of_busiest({}) == 0);
  const std::vector<std::string> sources{"a", "b", "c", "b", "a", "b"};
  CHECK(oldest_of_busiest(sources) == 1);
}

TEST_CASE("plaintext stays on loopback, and must be asked for") {
  Events events;
  CHECK_THROWS_WITH_AS(Node(NodeOptions{.name = "aws"}), doctest::Contains("certificates"), Error);
  Node aws(node_options("aws", nullptr, events));
  CHECK_THROWS_WITH_AS(aws.listen("0.0.0.0:0"), doctest::Contains("loopback"), Error);
  Link link = aws.link({"lambda"}, {.addresses = {"192.0.2.1:1"}});
  REQUIRE(events.wait_lines(1));
  CHECK(events.lines().front().find("no loopback address") != std::string::npos);
}

TEST_CASE("certificates that cannot serve are errors that name the file") {
  const Certificates certificates, others;
  const auto load = [](const TlsFiles& files) {
    return train::test::message_of<Error>([&] { const TlsContext context(files); });
  };
  auto files = certificates.of("aws");
  CHECK(TlsContext(files).identity() == CertificateName{"demo", "aws"});
  CHECK(TlsContext(certificates.of("coordinator")).identity() ==
        CertificateName{"demo", "coordinator"});
  CHECK(load(certificates.of("gcp")).find("gcp/authority.pem") != std::string::npos);
  files.key = certificates.of("lambda").key;
  CHECK(load(files).find("is not the key of") != std::string::npos);
  files = certificates.of("aws");
  files.authority = others.of("aws").authority;
  CHECK(load(files).find("is not valid under") != std::string::npos);
  CHECK(load(certificates.forge("libtrain://demo/cluster/aws", -1)).find("expired") !=
        std::string::npos);
  train::test::write_file(files.certificate, "nonsense");
  files.authority = certificates.of("lambda").authority;
  CHECK(load(files).find("is no certificate") != std::string::npos);
  Events events;
  auto options = node_options("lambda", &certificates, events);
  options.name = "gcp";
  CHECK_THROWS_WITH_AS(Node(std::move(options)), doctest::Contains("is of \"lambda\""), Error);
}

TEST_CASE("trainctl certs adds clusters, and overwrites nothing") {
  const Certificates certificates;
  const auto& directory = certificates.directory();
  CHECK(trainctl_certs(directory, "--job demo --cluster gcp --days 30").status == 0);
  CHECK(TlsContext(certificates.of("gcp")).identity() == CertificateName{"demo", "gcp"});
  const auto before = train::test::read_file(certificates.of("aws").certificate);
  const auto refused = [&](const char* words, const char* reason) {
    CAPTURE(words);
    const auto outcome = trainctl_certs(directory, words);
    CHECK(outcome.status != 0);
    CAPTURE(outcome.output);
    CHECK(outcome.output.find(reason) != std::string::npos);
  };
  refused("--job demo --cluster aws", "not overwritten");
  refused("--job other --cluster azure", "of the job \"demo\"");
  refused("--job demo --cluster ../azure", "is no name");
  refused("--job '' --cluster azure", "is no name");
  refused("--job demo --cluster coordinator", "by itself");
  refused("--job demo --cluster azure --days 0", "--days");
  refused("--job demo --cluster azure --days 9000", "fewer --days");
  CHECK(train::test::read_file(certificates.of("aws").certificate) == before);
  const auto in_a_file = trainctl_certs(certificates.of("aws").key, "--job demo");
  CHECK(in_a_file.status != 0);
  const auto nowhere = trainctl_certs("", "--job demo --cluster azure");
  CHECK(nowhere.status != 0);
  CHECK(nowhere.output.find("argument DIR: is empty") != std::string::npos);
  CHECK(in_a_file.output.find("cannot be a directory for certificates") != std::string::npos);
  namespace fs = std::filesystem;
  for (const auto& key : {directory / "authority.key", certificates.of("aws").key}) {
    CHECK((fs::status(key).permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
          fs::perms::none);
  }
}

}  // namespace
}  // namespace train::wide::test
