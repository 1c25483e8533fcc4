#include "libtrain/metrics/jsonl_sink.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

namespace train {
namespace {

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  const auto narrow = static_cast<float>(value);
  return std::isfinite(narrow) ? fmt::format("{}", narrow) : fmt::format("{}", value);
}

/// Where the file's last whole line ends. Looks back through at most one torn line.
std::uint64_t end_of_last_line(const File& file) {
  std::array<std::byte, 4096> block;
  for (std::uint64_t end = file.size(); end > 0;) {
    const std::uint64_t begin = end > block.size() ? end - block.size() : 0;
    file.read_at(begin, std::span(block).first(end - begin));
    for (; end > begin; --end) {
      if (block[end - begin - 1] == std::byte{'\n'}) return end;
    }
  }
  return 0;
}

File open(const std::filesystem::path& path, JsonlSink::Existing existing) {
  create_parent_directories(path);
  if (existing == JsonlSink::Existing::truncate) return {path, File::Mode::truncate};
  File file(path, File::Mode::append);
  // Pipes and devices have no end to mend.
  std::error_code none;
  if (std::filesystem::is_regular_file(path, none)) {
    const std::uint64_t end = end_of_last_line(File(path, File::Mode::read));
    if (end != file.size()) file.resize(end);
  }
  return file;
}

}  // namespace

std::string to_json(const StepRecord& record) {
  std::string line = fmt::format(R"({{"step":{},"tokens":{})", record.step, record.tokens);
  auto add = [&](const char* key, double value) {
    fmt::format_to(std::back_inserter(line), R"(,"{}":{})", key, json_number(value));
  };
  add("loss", record.loss);
  add("lr", record.lr);
  add("grad_norm", record.grad_norm);
  add("step_s", record.step_s);
  add("tokens_per_s", record.tokens_per_s);
  add("mfu", record.mfu);
  add("comm_s", record.comm_s);
  fmt::format_to(std::back_inserter(line), R"(,"wide_bytes_sent":{},"wide_bytes_received":{})",
                 record.wide_bytes_sent, record.wide_bytes_received);
  if (record.job) {
    fmt::format_to(
        std::back_inserter(line), R"(,"round":{},"epoch":{},"clusters":{},"state_hash":"{:016x}")",
        record.job->round, record.job->epoch, record.job->clusters, record.job->state_hash);
  }
  if (record.val_loss) add("val_loss", *record.val_loss);
  line += '}';
  return line;
}

JsonlSink::JsonlSink(const std::filesystem::path& path, Existing existing)
    : file_(open(path, existing)) {}

void JsonlSink::write(const StepRecord& record) {
  file_.write(to_json(record) + '\n');
}

}  // namespace train
