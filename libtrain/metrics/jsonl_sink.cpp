#include "libtrain/metrics/jsonl_sink.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace train {
namespace {

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  const auto narrow = static_cast<float>(value);
  return std::isfinite(narrow) ? fmt::format("{}", narrow) : fmt::format("{}", value);
}

/// Where the last whole line before `end` ends.
std::uint64_t end_of_line_before(const File& file, std::uint64_t end) {
  std::array<std::byte, 4096> block;
  while (end > 0) {
    const std::uint64_t begin = end > block.size() ? end - block.size() : 0;
    file.read_at(begin, std::span(block).first(end - begin));
    for (; end > begin; --end) {
      if (block[end - begin - 1] == std::byte{'\n'}) return end;
    }
  }
  return 0;
}

/// The step of a line; nothing where it is not a line of ours.
std::optional<std::int64_t> step_of(const File& file, std::uint64_t begin, std::uint64_t end) {
  std::string line(end - begin, '\0');
  file.read_at(begin, std::as_writable_bytes(std::span(line)));
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step")) return std::nullopt;
  const auto& step = json["step"];
  return step.is_number_integer() ? std::optional(step.get<std::int64_t>()) : std::nullopt;
}

/// Where a run goes on whose first record is of this step.
std::uint64_t begin_of_step(const File& file, std::int64_t step) {
  std::uint64_t end = end_of_line_before(file, file.size());
  while (end > 0) {
    const std::uint64_t begin = end_of_line_before(file, end - 1);
    const auto found = step_of(file, begin, end);
    if (!found || *found < step) break;
    end = begin;
  }
  return end;
}

// Pipes and devices have no end to mend.
bool is_regular(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::is_regular_file(path, none);
}

File open(const std::filesystem::path& path) {
  create_parent_directories(path);
  return {path, File::Mode::append};
}

}  // namespace

std::string to_json(const StepRecord& record) {
  std::string line = fmt::format(R"({{"step":{},"tokens":{})", record.step, record.tokens);
  auto add = [&](const std::string& key, double value) {
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
  if (record.egress_usd) add("egress_usd", *record.egress_usd);
  if (record.job) {
    fmt::format_to(
        std::back_inserter(line), R"(,"round":{},"epoch":{},"clusters":{},"state_hash":"{:016x}")",
        record.job->round, record.job->epoch, record.job->clusters, record.job->state_hash);
  }
  if (record.val_loss) add("val_loss", *record.val_loss);
  for (const auto& [source, loss] : record.val_losses) add("val_loss_" + source, loss);
  if (record.choice_accuracy) add("choice_accuracy", *record.choice_accuracy);
  line += '}';
  return line;
}

JsonlSink::JsonlSink(const std::filesystem::path& path, bool goes_on)
    : file_(open(path)), goes_on_(goes_on), cuts_(is_regular(path)) {}

void JsonlSink::write(const StepRecord& record) {
  if (cuts_) {
    const std::uint64_t end =
        goes_on_ ? begin_of_step(File(file_.path(), File::Mode::read), record.step) : 0;
    if (end != file_.size()) file_.resize(end);
    cuts_ = false;
  }
  file_.write_whole(to_json(record) + '\n');
}

}  // namespace train
