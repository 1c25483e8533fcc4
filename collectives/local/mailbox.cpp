#include "collectives/local/mailbox.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "collectives/ordered/fault.hpp"

namespace train::local {

using detail::Fault;

struct Mailbox::Letter : Work::State {
  enum class Status { waiting, copying, done, failed };

  std::shared_ptr<Mailbox> mailbox;
  bool is_send = false;
  int owner = 0;
  int peer = 0;
  Address address;
  ConstBuffer source;  // what both sides compare: the sender's buffer or the receiver's
  std::byte* destination = nullptr;
  Clock::time_point called = Clock::now();
  Deadline deadline;
  Status status = Status::waiting;
  Fault fault;

  std::string describe() const {
    return fmt::format("{}({}, count {}, tag {}) {} rank {}", is_send ? "send" : "receive",
                       name_of(source.type), source.count, std::get<2>(address),
                       is_send ? "to" : "from", peer);
  }

  bool wait_until(Deadline until) override {
    std::unique_lock lock(mailbox->group_->mutex());
    while (true) {
      const auto now = Clock::now();
      if (status == Status::waiting) mailbox->expire(*this, now);
      if (status == Status::failed) fault.raise();
      if (status == Status::done) return true;
      // A copy under way ends soon; leaving it would free memory that is being read.
      const auto limit = status == Status::copying ? Deadline::max() : std::min(until, deadline);
      if (now >= until && status == Status::waiting) return false;
      if (limit == Deadline::max()) {
        mailbox->group_->changed().wait(lock);
      } else {
        mailbox->group_->changed().wait_until(lock, limit);
      }
    }
  }
};

std::shared_ptr<Work::State> Mailbox::send(int rank, ConstBuffer buffer, int peer, int tag,
                                           Deadline deadline) {
  auto letter = std::make_shared<Letter>();
  letter->is_send = true;
  letter->owner = rank;
  letter->peer = peer;
  letter->address = {rank, peer, tag};
  letter->source = buffer;
  letter->deadline = deadline;
  return post(letter);
}

std::shared_ptr<Work::State> Mailbox::receive(int rank, Buffer buffer, int peer, int tag,
                                              Deadline deadline) {
  auto letter = std::make_shared<Letter>();
  letter->owner = rank;
  letter->peer = peer;
  letter->address = {peer, rank, tag};
  letter->source = buffer;
  letter->destination = buffer.data;
  letter->deadline = deadline;
  return post(letter);
}

std::shared_ptr<Work::State> Mailbox::post(const std::shared_ptr<Letter>& letter) {
  letter->mailbox = shared_from_this();
  std::shared_ptr<Letter> other;
  {
    std::lock_guard lock(group_->mutex());
    if (const auto fault = group_->fault_with(letter->owner, letter->peer)) {
      Fault{fmt::format("{} cannot finish: {}", letter->describe(), fault->message), fault->of_peer}
          .raise();
    }
    auto& box = boxes_[letter->address];
    auto& others = letter->is_send ? box.receives : box.sends;
    if (others.empty()) {
      (letter->is_send ? box.sends : box.receives).push_back(letter);
      return letter;
    }
    other = others.front();
    others.pop_front();
    if (box.sends.empty() && box.receives.empty()) boxes_.erase(letter->address);
    letter->status = other->status = Letter::Status::copying;
  }
  if (letter->is_send) {
    deliver(*letter, *other);
  } else {
    deliver(*other, *letter);
  }
  return letter;
}

void Mailbox::deliver(Letter& send, Letter& receive) {
  const bool same =
      send.source.type == receive.source.type && send.source.count == receive.source.count;
  if (same && send.source.count > 0) {
    std::memcpy(receive.destination, send.source.data, send.source.bytes());
  }
  std::lock_guard lock(group_->mutex());
  send.status = Letter::Status::done;
  receive.status = same ? Letter::Status::done : Letter::Status::failed;
  if (!same) {
    receive.fault = {
        fmt::format("{} on rank {} of group '{}' got {} on rank {}", receive.describe(),
                    receive.owner, group_->name(), send.describe(), send.owner),
        false};
  }
  group_->changed().notify_all();
}

void Mailbox::take_back(Letter& letter) {
  const auto found = boxes_.find(letter.address);
  if (found == boxes_.end()) return;
  auto& letters = letter.is_send ? found->second.sends : found->second.receives;
  std::erase_if(letters, [&](const auto& each) { return each.get() == &letter; });
  if (found->second.sends.empty() && found->second.receives.empty()) boxes_.erase(found);
}

void Mailbox::expire(Letter& letter, Clock::time_point now) {
  auto fault = group_->fault_with(letter.owner, letter.peer);
  if (fault) {
    fault->message = fmt::format("{} cannot finish: {}", letter.describe(), fault->message);
  } else if (now >= letter.deadline) {
    const std::chrono::duration<double> elapsed = now - letter.called;
    fault = Fault{fmt::format("{} in group '{}' stalled on rank {}: rank {} did not {} within "
                              "{:.2f} s",
                              letter.describe(), group_->name(), letter.owner, letter.peer,
                              letter.is_send ? "receive it" : "send it", elapsed.count()),
                  false};
  }
  if (!fault) return;
  letter.fault = *fault;
  letter.status = Letter::Status::failed;
  take_back(letter);
}

void Mailbox::drain(int rank) {
  std::vector<std::shared_ptr<Letter>> own;
  {
    std::lock_guard lock(group_->mutex());
    for (const auto& [address, box] : boxes_) {
      for (const auto* letters : {&box.sends, &box.receives}) {
        for (const auto& letter : *letters) {
          if (letter->owner == rank) own.push_back(letter);
        }
      }
    }
  }
  for (const auto& letter : own) {
    try {
      letter->wait_until(Deadline::max());
    } catch (const Error&) {
      // Whoever holds the letter's Work hears of it there.
    }
  }
}

}  // namespace train::local
