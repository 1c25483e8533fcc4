// Certificates that the job's authority has revoked, and lists of them that are no good.
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/pem.h>

#include "collectives/error.hpp"
#include "collectives/wide/stream/io/trust.hpp"
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

std::unique_ptr<X509, detail::FreeCertificate> certificate_of(const TlsFiles& files) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_file(files.certificate.c_str(), "r"),
                                                      BIO_free);
  std::unique_ptr<X509, detail::FreeCertificate> certificate(
      PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  REQUIRE(certificate);
  return certificate;
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

TEST_CASE("a list that is no good is tried again, and one that is gone lets nobody in") {
  const Certificates certificates;
  revoke(certificates, "lambda");
  const TlsFiles files = certificates.of("aws");
  const auto good = train::test::read_file(files.revoked);
  detail::Trust trust(files, certificate_of(files).get());
  const auto refreshes = [&](const std::string& expected) {
    const std::string said = trust.refresh();
    CAPTURE(said);
    CHECK(said.find(expected) != std::string::npos);
    CHECK(trust.refresh().empty());
    return trust.view().trouble.empty();
  };
  const std::string bad(good.size(), 'x');
  train::test::write_file(files.revoked, bad);
  CHECK_FALSE(refreshes("until then nobody new is let in"));
  fs::remove(files.revoked);
  CHECK_FALSE(refreshes("nobody new is let in until a good one is there"));
  train::test::write_file(files.revoked, bad);
  CHECK(trust.refresh().empty());  // the same trouble
  // Put right as a change of permissions would, without a trace in the file's time and size.
  const auto written = fs::last_write_time(files.revoked);
  train::test::write_file(files.revoked, good);
  fs::last_write_time(files.revoked, written);
  CHECK(refreshes("certificates that are revoked: 1"));
  fs::remove(files.revoked);
  CHECK(refreshes("is gone: what it said last holds"));
}

TEST_CASE("an older list than one that was read brings nobody back") {
  const Certificates certificates;
  revoke(certificates, "lambda");
  const TlsFiles files = certificates.of("aws");
  const auto older = train::test::read_file(files.revoked);
  REQUIRE(trainctl_certs(certificates.directory(), "--cluster gcp").status == 0);
  const auto gcp = certificate_of(certificates.of("gcp"));
  revoke(certificates, "gcp");
  const auto newer = train::test::read_file(files.revoked);
  detail::Trust trust(files, certificate_of(files).get());
  const auto refreshed = [&](const std::string& list) {
    train::test::write_file(files.revoked, list);
    const std::string said = trust.refresh();
    CHECK(trust.view().trouble.empty());
    CHECK(detail::verify(trust.view().store.get(), gcp.get()) == X509_V_ERR_CERT_REVOKED);
    return said;
  };
  const std::string said = refreshed(older);
  CAPTURE(said);
  CHECK(said.find("is an older list, number 1: number 2, which was read before, holds") !=
        std::string::npos);
  CHECK(refreshed(newer).find("is read: certificates that are revoked: 2") != std::string::npos);
  revoke(certificates, "coordinator");
  CHECK(trust.refresh().find("is read: certificates that are revoked: 3") != std::string::npos);
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
  fs::rename(directory / ".revoked", directory / "kept");  // as by a copy of all that is not hidden
  refused("--revoke coordinator", "does not know all that");
  fs::remove_all(directory / ".revoked");
  fs::rename(directory / "kept", directory / ".revoked");
  fs::rename(directory / "authority.key", directory / "kept.key");
  refused("--revoke aws", "only who has it can revoke");
}

TEST_CASE("trainctl certs forgets none of those that are revoked at once, or again") {
  const Certificates certificates;
  const auto& directory = certificates.directory();
  const train::test::ScratchDirectory copies;
  const fs::path kept = copies / "kept";
  const std::vector<std::string> names{"c0", "c1", "c2", "c3", "c4"};
  const auto words_of = [](const char* flag, const std::string& name) {
    return std::string(flag).append(" ").append(name).append(" ");
  };
  std::string all;
  for (const std::string& name : names) all += words_of("--cluster", name);
  REQUIRE(trainctl_certs(directory, all).status == 0);
  fs::copy(directory, kept, fs::copy_options::recursive);
  {
    std::vector<std::jthread> operators;
    for (const std::string& name : names) {
      operators.emplace_back([&] { trainctl_certs(directory, words_of("--revoke", name)); });
    }
  }
  const auto list = train::test::read_file(directory / "revoked.pem");
  for (const std::string& name : names) {
    train::test::write_file(kept / name / "revoked.pem", list);
    CHECK(complaint(TlsFiles::in(kept / name)).find("certificate revoked") != std::string::npos);
  }
  CHECK(train::test::read_file(certificates.of("aws").revoked) == list);
  // Brought back from a copy, whole or in part.
  fs::copy(kept / "c0", directory / "c0", fs::copy_options::recursive);
  fs::create_directory(directory / "c1");
  revoke(certificates, "c0 --revoke c1");
  CHECK_FALSE(fs::exists(directory / "c0"));
  CHECK_FALSE(fs::exists(directory / "c1"));
}

}  // namespace train::wide::test
