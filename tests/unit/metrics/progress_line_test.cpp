#include "libtrain/metrics/progress_line.hpp"

#include <limits>

#include <doctest/doctest.h>

using train::human;
using train::human_duration;
using train::progress_line;

TEST_CASE("Numbers for people keep three digits and change unit without gaps") {
  CHECK(human(0) == "0");
  CHECK(human(999) == "999");
  CHECK(human(999.7) == "1.00k");
  CHECK(human(12'345) == "12.3k");
  CHECK(human(99'960) == "100k");
  CHECK(human(4'560'000) == "4.56M");
  CHECK(human(2.5e9) == "2.50G");
  CHECK(human(5e15) == "5000T");
  CHECK(human(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("Durations carry from seconds to days") {
  CHECK(human_duration(0) == "0:00");
  CHECK(human_duration(59.6) == "1:00");
  CHECK(human_duration(754) == "12:34");
  CHECK(human_duration(3599.9) == "1:00:00");
  CHECK(human_duration(187'200) == "2d 4h");
  CHECK(human_duration(-1) == "?");
  CHECK(human_duration(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("The remaining time follows the pace, all that a step holds included") {
  train::RemainingTime remaining;
  CHECK(remaining.seconds_for(10) == 0);
  remaining.update(1, 100, 0.5);
  CHECK(remaining.seconds_for(10) == doctest::Approx(5));
  for (int step = 2; step <= 5; ++step) remaining.update(step, 100 + 2.0 * step, 0.5);
  CHECK(remaining.seconds_for(10) == doctest::Approx(10 * (4 + 2 + 2 + 2) / 4.0).epsilon(0.02));
  for (int step = 6; step <= 400; ++step) remaining.update(step, 110 + 3.0 * (step - 5), 3);
  CHECK(remaining.seconds_for(10) == doctest::Approx(30).epsilon(0.01));
  CHECK(remaining.seconds_for(-3) == 0);
}

TEST_CASE("A line never outgrows its columns, and drops what matters least first") {
  const train::StepRecord record{.step = 120,
                                 .loss = 3.21454,
                                 .lr = 6e-4,
                                 .grad_norm = 1.25,
                                 .tokens_per_s = 12'345,
                                 .mfu = 0.412};
  const std::string whole = progress_line(record, 2000, 3.3, 754, 500);
  CHECK(whole ==
        "step 120/2000  loss 3.2145  val 3.3000  12.3k tok/s  ETA 12:34  lr 6.00e-04  "
        "MFU 41.2%  grad 1.25");
  CHECK(progress_line(record, 0, {}, 0, 30) == "step 120  loss 3.2145");
  for (std::size_t columns = 0; columns <= whole.size(); ++columns) {
    const std::string line = progress_line(record, 2000, 3.3, 754, columns);
    CHECK(line.size() <= columns);
    CHECK(whole.starts_with(line));
  }
}
