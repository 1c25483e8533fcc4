#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "collectives/error.hpp"
#include "collectives/wide/protocol/types.hpp"

namespace train::wide {

using Bytes = std::vector<std::byte>;

// The binary form of messages and journal records: integers little-endian in their own width,
// counts and lengths in 32 bits and bounded, no padding. Each type lists its fields once, in
// `fields(archive, value)`; a Writer and a Reader go over the same list. The form is canonical:
// whatever a Reader accepts, a Writer writes back to the same bytes.

inline constexpr std::size_t text_bytes_max = 512;
inline constexpr std::size_t list_length_max = 16384;

/// Appends values to bytes.
class Writer {
 public:
  template <typename... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }
  Bytes bytes;

 private:
  template <std::unsigned_integral T>
  void put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
  }
  void put(bool value) { put(std::uint8_t{value}); }
  void put(const std::string& text) {
    invariant(text.size() <= text_bytes_max, "a text too long for the wire");
    put(static_cast<std::uint32_t>(text.size()));
    for (char c : text) put(static_cast<std::uint8_t>(c));
  }
  void put(const RangeSet& set) { put(set.ranges()); }
  template <typename T>
  void put(const std::vector<T>& list) {
    invariant(list.size() <= list_length_max, "a list too long for the wire");
    put(static_cast<std::uint32_t>(list.size()));
    for (const T& element : list) put(element);
  }
  template <typename T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <typename... T>
  void put(const std::variant<T...>& value) {
    put(static_cast<std::uint8_t>(value.index()));
    std::visit([this](const auto& alternative) { put(alternative); }, value);
  }
  template <typename T>
  requires std::is_class_v<T>
  void put(const T& value) {
    fields(*this, const_cast<T&>(value));  // fields() serves both directions; a Writer only reads
  }
};

/// Takes values from bytes. After the first error everything reads as zero and ok() is false.
/// Memory is taken as elements arrive, never by a length that was merely announced.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  bool ok() const { return ok_; }
  /// All read, nothing left over.
  bool complete() const { return ok_ && at_ == bytes_.size(); }

 private:
  template <std::unsigned_integral T>
  void get(T& value) {
    value = 0;
    if (!ok_ || bytes_.size() - at_ < sizeof(T)) {
      ok_ = false;
      return;
    }
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(bytes_[at_ + i]) << (8 * i)));
    }
    at_ += sizeof(T);
  }
  void get(bool& value) {
    std::uint8_t byte = 0;
    get(byte);
    value = byte == 1;
    ok_ = ok_ && byte <= 1;
  }
  /// A count of elements of at least one byte each.
  std::uint32_t count(std::size_t most) {
    std::uint32_t length = 0;
    get(length);
    ok_ = ok_ && length <= most && length <= bytes_.size() - at_;
    return ok_ ? length : 0;
  }
  void get(std::string& text) {
    const std::uint32_t length = count(text_bytes_max);
    text.assign(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
  }
  void get(RangeSet& set) {
    std::vector<Range> ranges;
    get(ranges);
    ok_ = ok_ && set.assign(std::move(ranges));
  }
  template <typename T>
  void get(std::vector<T>& list) {
    list.clear();
    const std::uint32_t length = count(list_length_max);
    for (std::uint32_t i = 0; i < length && ok_; ++i) get(list.emplace_back());
  }
  template <typename T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (!ok_ || !present) return;
    T inner;
    get(inner);
    value = std::move(inner);
  }
  template <typename... T>
  void get(std::variant<T...>& value) {
    std::uint8_t index = 0;
    get(index);
    ok_ = ok_ && index < sizeof...(T);
    if (ok_) get_alternative(value, index, std::index_sequence_for<T...>());
  }
  template <typename V, std::size_t... I>
  void get_alternative(V& value, std::size_t index, std::index_sequence<I...>) {
    ((index == I ? get(value.template emplace<I>()) : void()), ...);
  }
  template <typename T>
  requires std::is_class_v<T>
  void get(T& value) { fields(*this, value); }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

template <typename Archive>
void fields(Archive& archive, Range& range) {
  archive(range.begin, range.end);
}
template <typename Archive>
void fields(Archive& archive, ExchangeId& id) {
  archive(id.epoch, id.round, id.attempt);
}
template <typename Archive>
void fields(Archive& archive, Position& position) {
  archive(position.next, position.holes);
}
template <typename Archive>
void fields(Archive& archive, StateInfo& state) {
  archive(state.id, state.hash, state.position);
}
template <typename Archive>
void fields(Archive& archive, Identity& identity) {
  archive(identity.name, identity.incarnation);
}
template <typename Archive>
void fields(Archive& archive, Offer& offer) {
  archive(offer.addresses, offer.lanes);
}

}  // namespace train::wide
