#include "libtrain/data/tokenizers/nfc.hpp"

#include <algorithm>
#include <cstdlib>

#include "libtrain/data/tokenizers/nfc_tables.hpp"
#include "libtrain/data/tokenizers/utf8.hpp"

namespace train::detail {
namespace {

// Hangul syllables are composed by arithmetic (The Unicode Standard, 3.12).
constexpr char32_t kSyllable = 0xac00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11a7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

/// Below this, characters neither change nor combine with those before them.
constexpr char32_t kFirstThatMatters = 0x300;

std::vector<char32_t> numbers_of(const char* text) {
  std::vector<char32_t> numbers;
  char* end = nullptr;
  for (const char* at = text;; at = end) {
    const unsigned long number = std::strtoul(at, &end, 16);
    if (end == at) return numbers;
    numbers.push_back(static_cast<char32_t>(number));
  }
}

std::uint64_t pair_of(char32_t first, char32_t second) {
  return std::uint64_t{first} << 32 | second;
}

bool is_within(char32_t character, char32_t first, char32_t count) {
  return character >= first && character - first < count;
}

}  // namespace

Nfc::Nfc() : depends_(0x110000) {
  const auto composed = numbers_of(nfc_composed);
  for (std::size_t i = 0; i + 2 < composed.size(); i += 3) {
    parts_[composed[i]] = {composed[i + 1], composed[i + 2]};
    composed_[pair_of(composed[i + 1], composed[i + 2])] = composed[i];
    depends_[composed[i + 2]] = true;
  }
  const auto pairs = numbers_of(nfc_pairs);
  for (std::size_t i = 0; i + 2 < pairs.size(); i += 3) {
    parts_[pairs[i]] = {pairs[i + 1], pairs[i + 2]};
    depends_[pairs[i]] = true;
  }
  const auto singles = numbers_of(nfc_singles);
  for (std::size_t i = 0; i + 1 < singles.size(); i += 2) {
    parts_[singles[i]] = {singles[i + 1], 0};
    depends_[singles[i]] = true;
  }
  const auto classes = numbers_of(nfc_classes);
  for (std::size_t i = 0; i + 2 < classes.size(); i += 3) {
    for (char32_t character = classes[i]; character <= classes[i + 1]; ++character) {
      classes_[character] = static_cast<int>(classes[i + 2]);
      depends_[character] = true;
    }
  }
  for (char32_t i = 0; i < kVowels; ++i) depends_[kVowel + i] = true;
  for (char32_t i = 1; i < kTails; ++i) depends_[kTail + i] = true;
}

std::string Nfc::normalize(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  Word word;              // the last character that stands alone, and those that depend behind it
  std::size_t begin = 0;  // of that word
  const auto finish = [&](std::size_t end) {
    // Almost all are one character that stands alone: already what it has to be.
    if (word.size() < 2 && (word.empty() || stands_alone(word.front()))) {
      result += text.substr(begin, end - begin);
    } else {
      Word parts;
      for (const char32_t character : word) decompose(character, parts);
      order(parts);
      compose(parts);
      for (const char32_t character : parts) append_utf8(result, character);
    }
    word.clear();
    begin = end;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto [character, bytes] = decode_utf8(text, at);
    if (bytes == 0 || stands_alone(character)) finish(at);
    if (bytes == 0) {
      result += text[at++];
      begin = at;
      continue;
    }
    word.push_back(character);
    at += bytes;
  }
  finish(text.size());
  return result;
}

bool Nfc::stands_alone(char32_t character) const {
  return character < kFirstThatMatters || !depends_[character];
}

int Nfc::class_of(char32_t character) const {
  const auto found = classes_.find(character);
  return found == classes_.end() ? 0 : found->second;
}

void Nfc::decompose(char32_t character, Word& out) const {
  if (is_within(character, kSyllable, kLeads * kVowels * kTails)) {
    const char32_t index = character - kSyllable;
    out.push_back(kLead + index / (kVowels * kTails));
    out.push_back(kVowel + index / kTails % kVowels);
    if (index % kTails != 0) out.push_back(kTail + index % kTails);
    return;
  }
  const auto found = parts_.find(character);
  if (found == parts_.end()) {
    out.push_back(character);
    return;
  }
  decompose(found->second.first, out);
  if (found->second.second != 0) decompose(found->second.second, out);
}

/// Marks behind one character, by class; those of one class stay in their order.
void Nfc::order(Word& word) const {
  for (auto begin = word.begin(); begin != word.end();) {
    const auto is_mark = [&](char32_t character) { return class_of(character) != 0; };
    const auto first = std::find_if(begin, word.end(), is_mark);
    begin = std::find_if_not(first, word.end(), is_mark);
    std::stable_sort(first, begin,
                     [&](char32_t a, char32_t b) { return class_of(a) < class_of(b); });
  }
}

char32_t Nfc::composed_of(char32_t first, char32_t second) const {
  if (is_within(first, kLead, kLeads) && is_within(second, kVowel, kVowels)) {
    return kSyllable + ((first - kLead) * kVowels + second - kVowel) * kTails;
  }
  const bool is_open =
      is_within(first, kSyllable, kLeads * kVowels * kTails) && (first - kSyllable) % kTails == 0;
  if (is_open && is_within(second, kTail + 1, kTails - 1)) return first + second - kTail;
  const auto found = composed_.find(pair_of(first, second));
  return found == composed_.end() ? 0 : found->second;
}

/// Each character with the last one of class 0, unless one of its own class or a higher one, or of
/// class 0, lies between.
void Nfc::compose(Word& word) const {
  std::size_t starter = 0, kept = 1;
  int last = word.empty() ? 0 : class_of(word[0]);
  bool has_starter = last == 0;
  for (std::size_t i = 1; i < word.size(); ++i) {
    const int own = class_of(word[i]);
    const bool adjacent = kept == starter + 1;
    const char32_t both =
        has_starter && (adjacent || last < own) ? composed_of(word[starter], word[i]) : 0;
    if (both != 0) {
      word[starter] = both;
      continue;
    }
    if (own == 0) {
      starter = kept;
      has_starter = true;
    }
    last = own;
    word[kept++] = word[i];
  }
  word.resize(std::min(kept, word.size()));
}

}  // namespace train::detail
