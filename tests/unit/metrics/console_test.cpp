#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "libtrain/metrics/console_sink.hpp"

using namespace std::chrono_literals;
using train::ConsoleSink;
using train::Progress;

namespace {

/// A stream that keeps what is written, and a clock that the test moves.
class Screen {
 public:
  ~Screen() {
    std::fclose(stream_);
    std::free(text_);
  }
  std::FILE* stream() { return stream_; }
  std::string text() {
    std::fflush(stream_);
    return {text_, size_};
  }
  ConsoleSink::SteadyClock clock() {
    return [this] { return std::chrono::steady_clock::time_point(now); };
  }

  std::chrono::milliseconds now{0};

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* stream_ = open_memstream(&text_, &size_);
};

int lines_in(const std::string& text) {
  int lines = 0;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  return lines;
}

/// What a terminal shows of the last line: \r goes back, later characters cover earlier ones.
std::string rendered_last_line(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  text = text.substr(text.rfind('\n') + 1);
  std::string shown;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\r', begin), text.size());
    shown.replace(0, end - begin, text, begin, end - begin);
    begin = end + 1;
  }
  return shown.substr(0, shown.find_last_not_of(' ') + 1);
}

}  // namespace

TEST_CASE("Without a terminal: first and last step, evaluations, else a line per interval") {
  Screen screen;
  ConsoleSink sink({.steps_total = 100, .plain_interval = 1s}, screen.stream(), screen.clock());
  for (int step = 1; step <= 100; ++step) {
    screen.now += 100ms;
    train::StepRecord record{.step = step, .loss = 2};
    if (step == 15) record.val_loss = 2.5;
    sink.write(record);
  }
  const std::string text = screen.text();
  CHECK(text.find('\r') == std::string::npos);
  CHECK(text.starts_with("step 1/100  loss 2.0000"));
  CHECK(text.find("step 15/100  loss 2.0000  val 2.5000") != std::string::npos);
  CHECK(text.find("step 25/100") != std::string::npos);
  CHECK(text.find("step 26/100") == std::string::npos);
  CHECK(lines_in(text) == 12);  // 1, 11, 15, 25, 35, …, 95, 100
  sink.finish();
  CHECK(screen.text() == text);
}

TEST_CASE("The live line is rewritten in place and left standing") {
  Screen screen;
  {
    ConsoleSink sink({.progress = Progress::live, .steps_total = 1000, .live_interval = 100ms},
                     screen.stream(), screen.clock());
    sink.write({.step = 1, .loss = 1000.5, .val_loss = 1001});
    CHECK(rendered_last_line(screen.text())
              .starts_with("step 1/1000  loss 1000.5000  val 1001.0000"));
    screen.now += 50ms;
    sink.write({.step = 2, .loss = 9});  // too soon
    CHECK(screen.text().find("step 2/") == std::string::npos);
    screen.now += 50ms;
    sink.write({.step = 3, .loss = 2});
    const std::string line = rendered_last_line(screen.text());
    CHECK(line.starts_with("step 3/1000  loss 2.0000  val 1001.0000"));
    CHECK(line.ends_with("grad 0"));  // nothing of the longer line is left
    sink.print("saved");
    CHECK(lines_in(screen.text()) == 1);
    CHECK(rendered_last_line(screen.text()) == line);
    screen.now += 10ms;
    sink.write({.step = 4, .loss = 1.5});
  }
  CHECK(lines_in(screen.text()) == 2);
  CHECK(screen.text().ends_with('\n'));
  CHECK(rendered_last_line(screen.text()).starts_with("step 4/1000  loss 1.5000"));
}

TEST_CASE("Asked for silence, the console stays silent") {
  Screen screen;
  {
    ConsoleSink sink({.progress = Progress::none}, screen.stream(), screen.clock());
    sink.write({.step = 1, .val_loss = 3});
  }
  CHECK(screen.text().empty());
}
