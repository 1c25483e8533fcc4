#include "libtrain/rounds/egress.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/slices.hpp"
#include "libtrain/rounds/egress_guard.hpp"
#include "tests/support/scratch_directory.hpp"

using namespace train;
using train::test::read_file;
using train::test::ScratchDirectory;
using train::test::write_file;

namespace {

WideTraffic sent(std::uint64_t to_gcp, std::uint64_t to_lambda) {
  return {{{"gcp", {to_gcp, 5}}, {"lambda", {to_lambda, 7}}}};
}

wide::Directory::Peer cluster(const char* name, std::uint64_t since = 1) {
  return {.self = {name, 1}, .offer = {}, .since = since};
}

}  // namespace

TEST_CASE("prices are for all clusters, or for one") {
  EgressOptions options;
  CHECK_FALSE(options.has_price());
  options.add_price("0.09");
  options.add_price("gcp=0.02");
  options.add_price("lambda=0");
  CHECK(options.has_price());
  CHECK(options.usd_per_gb_of("aws") == 0.09);
  CHECK(options.usd_per_gb_of("gcp") == 0.02);
  CHECK(options.usd_per_gb_of("lambda") == 0.0);
  for (const char* wrong : {"", "cheap", "-1", "gcp=", "=0.1", "0.09usd", "gcp=nan", "inf"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(options.add_price(wrong), doctest::Contains("--egress-price"), Error);
  }
}

TEST_CASE("a budget that cannot be is refused") {
  const auto refused = [](const EgressOptions& options, const char* why) {
    CHECK_THROWS_WITH_AS(options.validate(), doctest::Contains(why), Error);
  };
  refused({.usd_per_gb = 0.1, .budget_usd = 0.0}, "--egress-budget is 0");
  refused({.usd_per_gb = 0.1, .budget_usd = -2.0}, "--egress-budget is -2");
  refused({.budget_usd = 5.0}, "needs an --egress-price");
  refused({.usd_per_gb = -0.1}, "--egress-price is -0.1");
  refused({.usd_per_gb_to = {{"gcp", -1.0}}}, "--egress-price is -1");
}

TEST_CASE("little money is told in its own digits") {
  CHECK(usd_text(0.0) == "$0.00");
  CHECK(usd_text(0.00423) == "$0.0042");
  CHECK(usd_text(1234.567) == "$1234.57");
}

TEST_CASE("what is sent is metered at its price, once") {
  EgressMeter meter({.usd_per_gb = 0.1, .usd_per_gb_to = {{"gcp", 0.02}}, .budget_usd = 1.0}, {});
  CHECK(meter.spent_usd() == 0.0);
  meter.update(sent(1'000'000'000, 2'000'000'000));
  CHECK(meter.spent_usd() == doctest::Approx(0.22));
  meter.update(sent(1'000'000'000, 2'000'000'000));
  CHECK(meter.spent_usd() == doctest::Approx(0.22));
  meter.update(sent(1'000'000'000, 3'500'000'000));
  CHECK(meter.spent_usd() == doctest::Approx(0.37));
  CHECK(meter.left_usd().value() == doctest::Approx(0.63));
  CHECK(meter.summary() == "1 GB to gcp ($0.02), 3.5 GB to lambda ($0.35): $0.37 of $1.00");
}

TEST_CASE("what a cluster fetches is not left for anything else") {
  EgressMeter meter({.usd_per_gb = 0.1, .budget_usd = 1.0}, {});
  meter.update({{{"gcp", {.sent = 1'000'000'000, .promised = 4'000'000'000}}, {"lambda", {}}}});
  CHECK(meter.left_usd().value() == doctest::Approx(0.5).epsilon(0.02));
  CHECK(meter.spent_usd() == doctest::Approx(0.1));
  CHECK(meter.has_promised("gcp"));
  CHECK_FALSE(meter.has_promised("lambda"));
  meter.update({{{"gcp", {.sent = 5'000'000'000}}, {"lambda", {}}}});
  CHECK(meter.left_usd().value() == doctest::Approx(0.5));
  CHECK_FALSE(meter.has_promised("gcp"));
}

TEST_CASE("a ledger carries what was spent over a cluster's processes") {
  const ScratchDirectory scratch;
  EgressOptions options{.usd_per_gb = 0.1, .budget_usd = 1.0, .ledger = scratch / "a/egress.json"};
  {
    EgressMeter meter(options, {});
    meter.update(sent(1'000'000'000, 0));
  }
  options.usd_per_gb = 0.2;  // for what is sent from now on
  {
    EgressMeter meter(options, {});
    CHECK(meter.spent_usd() == doctest::Approx(0.1));
    meter.update(sent(3'000'000'000, 1));  // of a process that counts from 0
    CHECK(meter.spent_usd() == doctest::Approx(0.7));
    meter.update(sent(4'600'000'000, 1));
  }
  CHECK_THROWS_WITH_AS(EgressMeter(options, {}), doctest::Contains("budget is spent"), Error);
  options.budget_usd = 2.0;
  CHECK(EgressMeter(options, {}).left_usd().value() == doctest::Approx(0.98));
}

TEST_CASE("a killed process leaves all but a second's traffic in its ledger") {
  const ScratchDirectory scratch;
  EgressMeter meter({.usd_per_gb = 0.1, .ledger = scratch / "egress.json"}, {});
  meter.update(sent(1'000'000'000, 0));
  CHECK(read_file(scratch / "egress.json").find("1000000000") != std::string::npos);
}

TEST_CASE("a ledger that cannot be read or written is an error, with a way out") {
  const ScratchDirectory scratch;
  const EgressOptions options{.usd_per_gb = 0.1, .ledger = scratch / "egress.json"};
  for (const char* content :
       {"", "{", "[]", R"({"format": "libtrain egress", "version": 2, "clusters": {}})",
        R"({"format": "libtrain egress", "version": 1})",
        R"({"format": "libtrain egress", "version": 1, "clusters": {"a": {"bytes_sent": 1}}})",
        R"({"format": "libtrain egress", "version": 1,
            "clusters": {"a": {"bytes_sent": 1, "usd": -1}}})"}) {
    CAPTURE(content);
    write_file(options.ledger, content);
    CHECK_THROWS_WITH_AS(EgressMeter(options, {}), doctest::Contains("egress.json is not a ledger"),
                         Error);
    CHECK(read_file(options.ledger) == content);
  }
  CHECK_THROWS_WITH_AS(EgressMeter({.usd_per_gb = 0.1, .ledger = "/proc/egress.json"}, {}),
                       doctest::Contains("/proc"), Error);
}

TEST_CASE("training goes on where the ledger cannot be written any more, with one warning") {
  const ScratchDirectory scratch;
  std::vector<std::string> lines;
  {
    EgressMeter meter({.usd_per_gb = 1.0, .ledger = scratch / "a/egress.json"},
                      [&](const std::string& line) { lines.push_back(line); });
    std::filesystem::remove_all(scratch / "a");
    write_file(scratch / "a", "no directory");
    meter.update(sent(1'000'000'000, 0));
    meter.update(sent(2'000'000'000, 0));
    CHECK(meter.spent_usd() == doctest::Approx(2.0));
  }
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("egress.json") != std::string::npos);
}

TEST_CASE("an exchange costs a cluster what the others own, and its own slice for each of them") {
  // Of 1 GB in 3 equal slices: 1/3 to each owner, and 1/3 to each of the others.
  const EgressOptions options{
      .usd_per_gb = 0.3, .usd_per_gb_to = {{"lambda", 0.6}}, .budget_usd = 1.3};
  EgressMeter meter(options, {});
  EgressGuard guard(meter, "aws", {600'000'000, 400'000'000}, 8'000'000'000);
  const FragmentRange all{0, 2};
  CHECK(guard.exchange_usd(all) == 0.0);  // nobody is there
  guard.use({cluster("aws"), cluster("gcp"), cluster("lambda"), cluster("waits", 0)});
  CHECK(guard.exchange_usd(all) == doctest::Approx(0.6).epsilon(0.03));
  CHECK(guard.exchange_usd({1, 2}) == doctest::Approx(0.4 * guard.exchange_usd(all)));
  CHECK(guard.can_pay(1.3));
  CHECK_FALSE(guard.can_pay(1.31));
  meter.update({{{"gcp", {1'000'000'000, 0}}}});
  CHECK(guard.can_pay(0.99));
  CHECK_FALSE(guard.can_pay(1.01));
  CHECK(guard.why_not(1.2, 1).find("$1.00 were left, and the next exchange costs $1.20") !=
        std::string::npos);

  // Shares of a half, a quarter and a quarter stay, until others are there.
  const wide::Start start{.id = {},
                          .participants = {{{"aws", 1}, 5, 0},
                                           {{"gcp", 1}, 5, wide::share_parts / 2},
                                           {{"lambda", 1}, 5, wide::share_parts / 4 * 3}}};
  guard.use(start);
  CHECK(guard.exchange_usd(all) == doctest::Approx(0.75 * 0.3 + 0.75 * 0.6).epsilon(0.03));
  guard.use({cluster("aws"), cluster("gcp"), cluster("lambda")});
  CHECK(guard.exchange_usd(all) == doctest::Approx(0.75 * 0.3 + 0.75 * 0.6).epsilon(0.03));
  guard.use({cluster("aws"), cluster("gcp")});
  CHECK(guard.exchange_usd(all) == doctest::Approx(0.3).epsilon(0.03));
}

TEST_CASE("newcomers get the state as far as money reaches beyond the next exchange") {
  // A state of 10 GB costs a dollar, an exchange of 1 GB in n equal slices 2 (n - 1) / n * 0.1.
  const auto receivers = [](double budget, const WideTraffic& traffic) {
    EgressMeter meter({.usd_per_gb = 0.1, .usd_per_gb_to = {{"far", 0.2}}, .budget_usd = budget},
                      {});
    meter.update(traffic);
    EgressGuard guard(meter, "aws", {1'000'000'000}, 10'000'000'000);
    guard.use({cluster("aws"), cluster("gcp"), cluster("near2", 0), cluster("far", 0),
               cluster("near1", 0)});
    return guard.state_goes_to({0, 1}).value();
  };
  using Names = std::vector<std::string>;
  CHECK(receivers(1.1, {}) == Names{});
  CHECK(receivers(1.3, {}) == Names{"near1"});
  CHECK(receivers(2.2, {}) == Names{"near1"});
  CHECK(receivers(2.4, {}) == Names{"far"});
  CHECK(receivers(4.4, {}) == Names{"far", "near1", "near2"});
  // Who is at it goes on; what he still gets is not there for others.
  const WideTraffic under_way{{{"near2", {.sent = 5'000'000'000, .promised = 5'000'000'000}}}};
  CHECK(receivers(1.3, under_way) == Names{"near2"});
  CHECK(receivers(2.4, under_way) == Names{"near1", "near2"});

  EgressMeter free({.usd_per_gb = 0.1}, {});
  CHECK_FALSE(EgressGuard(free, "aws", {1}, 1).state_goes_to({0, 1}).has_value());
}
