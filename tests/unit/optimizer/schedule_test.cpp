#include "libtrain/optimizer/schedule.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "collectives/error.hpp"

using train::Schedule;

namespace {

Schedule schedule(Schedule::Kind kind) {
  Schedule made;
  made.kind = kind;
  made.lr = 1e-3f;
  made.min_lr = 1e-4f;
  made.warmup_steps = 100;
  made.steps = 2000;
  return made;
}

// nanoGPT's get_lr, as its train.py computes it.
double nanogpt(int it) {
  if (it < 100) return 1e-3 * (it + 1) / 101.0;
  if (it > 2000) return 1e-4;
  const double ratio = (it - 100) / 1900.0;
  return 1e-4 + 0.5 * (1.0 + std::cos(3.14159265358979 * ratio)) * (1e-3 - 1e-4);
}

}  // namespace

TEST_CASE("warm-up and cosine follow nanoGPT's") {
  const Schedule cosine = schedule(Schedule::Kind::cosine);
  for (const int step : {0, 1, 50, 99, 100, 101, 1000, 1999, 2000, 3000}) {
    CHECK(cosine.at(step) == doctest::Approx(nanogpt(step)).epsilon(1e-5));
  }
}

TEST_CASE("the cosine is as exact as the C library's") {
  Schedule cosine = schedule(Schedule::Kind::cosine);
  cosine.lr = 1.0f;
  cosine.min_lr = 0.0f;
  for (int step = 100; step <= 2000; ++step) {
    const double angle = 3.141592653589793 * (step - 100) / 1900.0;
    REQUIRE(std::fabs(cosine.at(step) - 0.5 * (1.0 + std::cos(angle))) < 6.1e-8);
  }
}

TEST_CASE("warm-up, stable, decay") {
  Schedule wsd = schedule(Schedule::Kind::wsd);
  CHECK(wsd.at(0) < 1e-4);
  CHECK(wsd.at(100) == doctest::Approx(1e-3));
  CHECK(wsd.at(1800) == doctest::Approx(1e-3));
  CHECK(wsd.at(1900) == doctest::Approx(5.5e-4));
  CHECK(wsd.at(2000) == doctest::Approx(1e-4));
  wsd.decay_steps = 1000;
  CHECK(wsd.at(1500) == doctest::Approx(5.5e-4));
}

TEST_CASE("constant stays") {
  const Schedule constant = schedule(Schedule::Kind::constant);
  CHECK(constant.at(100) == doctest::Approx(1e-3));
  CHECK(constant.at(100000) == doctest::Approx(1e-3));
}

TEST_CASE("schedules that cannot be are refused") {
  Schedule bad = schedule(Schedule::Kind::cosine);
  bad.min_lr = 2e-3f;
  CHECK_THROWS_AS(bad.validate(), train::Error);
  bad = schedule(Schedule::Kind::cosine);
  bad.lr = -1.0f;
  CHECK_THROWS_WITH_AS(bad.validate(), doctest::Contains("--lr is -1"), train::Error);
  bad = schedule(Schedule::Kind::wsd);
  bad.decay_steps = 5000;
  CHECK_THROWS_AS(bad.validate(), train::Error);
  CHECK_THROWS_AS(Schedule::parse_kind("linear"), train::Error);
}
