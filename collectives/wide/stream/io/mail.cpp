#include "collectives/wide/stream/io/mail.hpp"

namespace train::wide::detail {

bool Mail::post(std::span<const std::byte> content) {
  if (kept_bytes_ + content.size() > kept_bytes_max) return false;
  kept_bytes_ += content.size();
  kept_.push_back({++posted_, {content.begin(), content.end()}});
  return true;
}

std::optional<Mail::Letter> Mail::next(std::uint64_t carrier) {
  if (carrier_ != carrier) {
    carrier_ = carrier;
    sent_ = 0;
  }
  if (sent_ >= kept_.size()) return std::nullopt;
  return kept_[sent_++];
}

void Mail::on_received(std::uint64_t number) {
  while (!kept_.empty() && kept_.front().number <= number) {
    kept_bytes_ -= kept_.front().content.size();
    kept_.pop_front();
    if (sent_ > 0) --sent_;
  }
}

bool Mail::accept(std::uint64_t number) {
  if (number != accepted_ + 1) return false;
  accepted_ = number;
  return true;
}

void Mail::clear() {
  *this = Mail();
}

}  // namespace train::wide::detail
