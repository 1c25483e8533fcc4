#include "libtrain/data/choice_questions.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/data/mapped_file.hpp"

namespace train {
namespace {

constexpr std::size_t header_bytes = 1024;
constexpr std::int32_t magic = 20240522, version = 1;
constexpr std::uint16_t record_mark = 65535;

class Reader {
 public:
  explicit Reader(const std::string& path) : file_(path) {
    if (file_.bytes().size() < header_bytes || header(0) != magic || header(1) != version) {
      throw Error(fmt::format(
          "'{}' holds no multiple-choice questions of llm.c: they begin with {} and version {} in "
          "a header of {} bytes",
          path, magic, version, header_bytes));
    }
    const std::span<const std::byte> records = file_.bytes().subspan(header_bytes);
    words_.resize(records.size() / sizeof(std::uint16_t));
    const auto words = std::as_writable_bytes(std::span(words_));
    std::ranges::copy(records.first(words.size()), words.begin());
  }

  std::vector<ChoiceQuestion> read() {
    std::vector<ChoiceQuestion> questions;
    while (next_ < words_.size()) {
      question_ = questions.size();
      questions.push_back(read_question());
    }
    if (questions.empty() || questions.size() != static_cast<std::uint32_t>(header(2))) {
      throw Error(
          fmt::format("'{}' holds {} questions, but its header promises {}: it is truncated "
                      "or damaged",
                      file_.path(), questions.size(), header(2)));
    }
    return questions;
  }

 private:
  ChoiceQuestion read_question() {
    const std::size_t begin = next_;
    check(word() == record_mark, "does not begin with 65535");
    const std::size_t bytes = word();
    word();  // its place in the data that it comes from
    ChoiceQuestion question;
    question.answer = word();
    const std::size_t endings = word();
    check(endings >= 2 && question.answer < endings, "has no right ending");
    question.context = tokens();
    for (std::size_t i = 0; i < endings; ++i) question.endings.push_back(tokens());
    check((next_ - begin) * sizeof(std::uint16_t) == bytes, "is not as long as it says");
    return question;
  }

  std::vector<std::int32_t> tokens() {
    const std::size_t count = word();
    check(count > 0, "has an empty text");
    std::vector<std::int32_t> tokens(count);
    for (std::int32_t& token : tokens) token = word();
    return tokens;
  }

  std::uint16_t word() {
    check(next_ < words_.size(), "ends too early");
    return words_[next_++];
  }

  void check(bool right, const char* what) const {
    if (right) return;
    throw Error(fmt::format("'{}': question {} {}; the file is truncated or damaged", file_.path(),
                            question_, what));
  }

  std::int32_t header(std::size_t place) const {
    std::int32_t word = 0;
    std::memcpy(&word, file_.bytes().data() + place * sizeof(word), sizeof(word));
    return word;
  }

  MappedFile file_;
  std::vector<std::uint16_t> words_;
  std::size_t next_ = 0, question_ = 0;
};

}  // namespace

std::vector<ChoiceQuestion> read_choice_questions(const std::string& path) {
  return Reader(path).read();
}

}  // namespace train
