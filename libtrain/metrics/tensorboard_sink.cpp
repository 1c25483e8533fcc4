#include "libtrain/metrics/tensorboard_sink.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "collectives/crc32c.hpp"

namespace train {
namespace {

// Protobuf's wire types; a field's key is its number << 3 | wire type.
enum Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <typename Unsigned>
void append_little_endian(std::string& out, Unsigned value) {
  for (std::size_t byte = 0; byte < sizeof(value); ++byte) {
    out += static_cast<char>((value >> (8 * byte)) & 0xffu);
  }
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80u; value >>= 7) out += static_cast<char>((value & 0x7fu) | 0x80u);
  out += static_cast<char>(value);
}

void append_key(std::string& out, std::uint32_t field, Wire wire) {
  append_varint(out, field << 3 | wire);
}

void append_bytes(std::string& out, std::uint32_t field, std::string_view value) {
  append_key(out, field, Wire::bytes);
  append_varint(out, value.size());
  out += value;
}

std::string event_at(double wall_time_s) {
  std::string event;
  append_key(event, 1, Wire::fixed64);
  append_little_endian(event, std::bit_cast<std::uint64_t>(wall_time_s));
  return event;
}

std::string event_at(double wall_time_s, std::int64_t step) {
  std::string event = event_at(wall_time_s);
  append_key(event, 2, Wire::varint);
  append_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

void append_scalar(std::string& summary, std::string_view tag, double scalar) {
  std::string value;
  append_bytes(value, 1, tag);
  append_key(value, 2, Wire::fixed32);
  append_little_endian(value, std::bit_cast<std::uint32_t>(static_cast<float>(scalar)));
  append_bytes(summary, 1, value);
}

std::uint32_t masked_crc(std::string_view data) {
  return std::rotr(crc32c(data), 15) + 0xa282ead8u;
}

std::string framed(std::string_view data) {
  std::string record;
  append_little_endian(record, std::uint64_t{data.size()});
  append_little_endian(record, masked_crc(record));
  record += data;
  append_little_endian(record, masked_crc(data));
  return record;
}

double wall_time_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// A SessionLog that says START: readers drop what earlier files have from this step on.
std::string session_start(std::int64_t step) {
  std::string log;
  append_key(log, 1, Wire::varint);
  append_varint(log, 1);
  std::string event = event_at(wall_time_s(), step);
  append_bytes(event, 7, log);
  return event;
}

std::filesystem::path file_name() {
  std::array<char, 256> host{};
  // A host without a name is no reason to stop: the process id and the time tell files apart.
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("events.out.tfevents.{:010}.{}.{}", static_cast<std::int64_t>(wall_time_s()),
                     host.data(), ::getpid());
}

}  // namespace

TensorBoardSink::TensorBoardSink(const std::filesystem::path& directory, bool goes_on)
    : cuts_(goes_on) {
  const std::filesystem::path path = directory / file_name();
  create_parent_directories(path);
  // Appending keeps both runs where one process opens two within a second.
  file_ = File(path, File::Mode::append);
  std::string event = event_at(wall_time_s());
  append_bytes(event, 3, "brain.Event:2");
  file_.write_whole(framed(event));
}

void TensorBoardSink::write(const StepRecord& record) {
  if (cuts_) file_.write_whole(framed(session_start(record.step)));
  cuts_ = false;
  std::string summary;
  append_scalar(summary, "loss", record.loss);
  if (record.val_loss) append_scalar(summary, "val_loss", *record.val_loss);
  for (const auto& [source, loss] : record.val_losses) {
    append_scalar(summary, "val_loss_" + source, loss);
  }
  if (record.choice_accuracy) append_scalar(summary, "choice_accuracy", *record.choice_accuracy);
  append_scalar(summary, "lr", record.lr);
  append_scalar(summary, "grad_norm", record.grad_norm);
  append_scalar(summary, "step_s", record.step_s);
  append_scalar(summary, "tokens_per_s", record.tokens_per_s);
  append_scalar(summary, "mfu", record.mfu);
  append_scalar(summary, "comm_s", record.comm_s);
  append_scalar(summary, "tokens", static_cast<double>(record.tokens));
  append_scalar(summary, "wide_bytes_sent", static_cast<double>(record.wide_bytes_sent));
  append_scalar(summary, "wide_bytes_received", static_cast<double>(record.wide_bytes_received));
  if (record.egress_usd) append_scalar(summary, "egress_usd", *record.egress_usd);

  std::string event = event_at(wall_time_s(), record.step);
  append_bytes(event, 5, summary);
  file_.write_whole(framed(event));
}

}  // namespace train
