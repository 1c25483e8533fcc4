// Certificates that the job's authority has revoked, and lists of them that are no good.
#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/wide/stream/pair.hpp"

namespace train::wide::test {
namespace {

namespace fs = std::filesystem;

/// Waits for a line that holds `text`, and `also` behind it.
bool says(Events& events, const std::string& text, const std::string& also = "") {
  const Deadline deadline = in_seconds(20);
  for (std::size_t seen = 0; Clock::now() < deadline;) {
    const auto lines = events.lines();
    for (; seen < lines.size(); ++seen) {
      const auto at = lines[seen].find(text);
      if (at != std::string::npos && lines[seen].find(also, at) != std::string::npos) return true;
    }
    static_cast<void>(events.wait_lines(seen + 1));
  }
  return false;
}

void revoke(const Certificates& certificates, const std::string& words) {
  const auto outcome = trainctl_certs(certificates.directory(), "--revoke " + words);
  CAPTURE(outcome.output);
  REQUIRE(outcome.status == 0);
}

std::string complaint(const TlsFiles& files) {
  return train::test::message_of<Error>([&] { const TlsContext context(files); });
}

}  // namespace

TEST_CASE("a certificate that is revoked loses its streams and gets no others, and both are told") {
  const Certificates certificates;
  Events events, stolen_events, new_events;
  Node aws(node_options("aws", &certificates, events));
  const auto port = aws.listen("127.0.0.1:0");
  {
    Node stolen(node_options("lambda", &certificates, stolen_events));
    Link link = stolen.link({"aws"}, {.addresses = {at_port(port)}, .streams = 2});
    REQUIRE(link.wait_connected(in_seconds(10)));
    revoke(certificates, "lambda");
    CHECK(says(events, "is read: certificates that are revoked: 1"));
    CHECK(events.wait_downs(1));
    CHECK(says(events, "lost a stream to lambda/0"));
    CHECK(says(events, "refused 127.0.0.1", "its certificate, of \"lambda\", is revoked"));
    CHECK(says(stolen_events, "it says that this end's certificate is revoked"));
    CHECK_FALSE(link.wait_connected(in_seconds(0.3)));
  }
  CHECK(events.ups().size() == 1);
  REQUIRE(trainctl_certs(certificates.directory(), "--cluster lambda").status == 0);
  Node lambda(node_options("lambda", &certificates, new_events));
  CHECK(lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1})
            .wait_connected(in_seconds(10)));
}

TEST_CASE("who dials refuses a server whose certificate is revoked, and both are told") {
  const Certificates certificates;
  const auto directory = certificates.directory();
  fs::copy(directory / "aws", directory / "stolen", fs::copy_options::recursive);
  revoke(certificates, "aws");
  fs::remove(directory / "stolen/revoked.pem");  // nobody tells the thief
  Events events, stolen_events;
  auto options = node_options("aws", &certificates, stolen_events);
  options.tls = certificates.of("stolen");
  Node stolen(std::move(options));
  const auto port = stolen.listen("127.0.0.1:0");
  Node lambda(node_options("lambda", &certificates, events));
  Link link = lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1});
  CHECK(says(events, "its certificate, of \"aws\", is revoked; trying again"));
  CHECK(says(stolen_events, "it says that this end's certificate is revoked"));
  CHECK_FALSE(link.wait_connected(in_seconds(0.3)));
  CHECK(stolen_events.ups().empty());
}

TEST_CASE("a list that is no good lets nobody in, rather than everybody") {
  const Certificates certificates, namesakes;
  const Certificates others("other");
  for (const auto* of : {&certificates, &namesakes, &others}) revoke(*of, "lambda");
  const TlsFiles files = certificates.of("aws");
  CHECK(TlsContext(files).identity().name == "aws");
  const auto good = train::test::read_file(files.revoked);
  const auto with = [&](const fs::path& list) {
    fs::copy_file(list, files.revoked, fs::copy_options::overwrite_existing);
    const std::string said = complaint(files);
    CAPTURE(said);
    CHECK(said.find(files.revoked.string()) != std::string::npos);
    return said;
  };
  CHECK(with(namesakes.directory() / "revoked.pem").find("signature") != std::string::npos);
  CHECK(with(others.directory() / "revoked.pem").find("unable to get") != std::string::npos);
  const auto made = certificates.directory() / "made.pem";
  certificates.write_list(made, "20250101000000Z");
  CHECK(with(made).find("has expired") != std::string::npos);
  for (const std::string& text : {std::string(), std::string("nonsense"), good.substr(0, 200)}) {
    train::test::write_file(made, text);
    CHECK(with(made).find("no list of revoked certificates") != std::string::npos);
  }
  fs::remove(files.revoked);
  fs::create_symlink("nowhere", files.revoked);
  CHECK(complaint(files).find("no list of revoked certificates") != std::string::npos);
  fs::remove(files.revoked);
  CHECK(TlsContext(files).identity().name == "aws");

  // Its own end may not begin with a certificate that it knows to be revoked.
  const auto own = certificates.directory() / "own";
  fs::copy(certificates.directory() / "aws", own, fs::copy_options::recursive);
  revoke(certificates, "aws");
  CHECK(complaint(TlsFiles::in(own)).find("certificate revoked") != std::string::npos);
}

TEST_CASE("a list that goes bad keeps newcomers out until it is right, and drops nobody") {
  const Certificates certificates;
  REQUIRE(trainctl_certs(certificates.directory(), "--cluster gcp").status == 0);
  revoke(certificates, "gcp");
  const auto list = certificates.of("aws").revoked;
  const auto good = train::test::read_file(list);
  Events events, lambda_events, later_events;
  Node aws(node_options("aws", &certificates, events));
  const auto port = aws.listen("127.0.0.1:0");
  Node lambda(node_options("lambda", &certificates, lambda_events));
  REQUIRE(lambda.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1})
              .wait_connected(in_seconds(10)));
  train::test::write_file(list, "half a li");
  CHECK(says(events, "until then nobody new is let in"));
  Node later(node_options("coordinator", &certificates, later_events));
  Link link = later.link({"aws"}, {.addresses = {at_port(port)}, .streams = 1});
  CHECK(says(events, "refused 127.0.0.1", list.string()));
  CHECK_FALSE(link.wait_connected(in_seconds(0.3)));
  CHECK(events.downs().empty());
  train::test::write_file(list, good);
  CHECK(link.wait_connected(in_seconds(20)));
  fs::remove(list);
  CHECK(says(events, "is gone: what it said last holds"));
  CHECK(events.downs().empty());
}

TEST_CASE("trainctl certs revokes all that was made for a name, and knows it from then on") {
  const Certificates certificates;
  const auto& directory = certificates.directory();
  // Renewed: the first of its certificates lies nowhere any more.
  fs::copy(directory / "aws", directory / "first", fs::copy_options::recursive);
  fs::remove_all(directory / "aws");
  REQUIRE(trainctl_certs(directory, "--cluster aws").status == 0);
  fs::copy(directory / "aws", directory / "second", fs::copy_options::recursive);
  revoke(certificates, "aws --cluster aws");
  revoke(certificates, "lambda");
  for (const char* name : {"first", "second"}) {
    CHECK(complaint(certificates.of(name)).find("certificate revoked") != std::string::npos);
  }
  CHECK(TlsContext(certificates.of("aws")).identity().name == "aws");
  for (const char* name : {"aws", "coordinator"}) {
    CHECK(train::test::read_file(certificates.of(name).revoked) ==
          train::test::read_file(directory / "revoked.pem"));
  }
  const auto refused = [&](const char* words, const char* reason) {
    const auto outcome = trainctl_certs(directory, words);
    CHECK(outcome.status != 0);
    CAPTURE(outcome.output);
    CHECK(outcome.output.find(reason) != std::string::npos);
  };
  refused("--revoke azure", "has made no certificate for \"azure\"");
  refused("--revoke ../aws", "is no name");
  fs::rename(directory / "authority.key", directory / "kept.key");
  refused("--revoke aws", "only who has it can revoke");
}

}  // namespace train::wide::test
