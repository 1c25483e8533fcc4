#include "libtrain/data/choice_questions.hpp"

#include <random>

#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

// Two questions: 11 · 2 + 9 · 2 bytes and more, as their second words say.
const std::vector<std::uint16_t> first{65535, 30, 0, 1, 2, 3, 10, 11, 12, 2, 20, 21, 3, 30, 31};
const std::vector<std::uint16_t> first_end{32};
const std::vector<std::uint16_t> second{65535, 24, 1, 0, 2, 1, 50256, 1, 7, 2, 8, 9};

std::string questions() {
  std::vector<std::uint16_t> words = first;
  words.insert(words.end(), first_end.begin(), first_end.end());
  words[1] = static_cast<std::uint16_t>(2 * words.size());
  words.insert(words.end(), second.begin(), second.end());
  return packed(words);
}

}  // namespace

TEST_CASE("questions are read as llm.c lays them out") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "q.bin").string();
  write_file(path, llmc_header(20240522, 1, 2) + questions());
  const std::vector<ChoiceQuestion> read = read_choice_questions(path);
  REQUIRE(read.size() == 2);
  CHECK(read[0].context == std::vector<std::int32_t>{10, 11, 12});
  CHECK(read[0].endings == std::vector<std::vector<std::int32_t>>{{20, 21}, {30, 31, 32}});
  CHECK(read[0].answer == 1);
  CHECK(read[1].context == std::vector<std::int32_t>{50256});
  CHECK(read[1].endings == std::vector<std::vector<std::int32_t>>{{7}, {8, 9}});
  CHECK(read[1].answer == 0);
}

TEST_CASE("a damaged file of questions is named with what is wrong") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "q.bin").string();
  const auto message = [&](const std::string& content) {
    write_file(path, content);
    const auto text = message_of<Error>([&] { read_choice_questions(path); });
    CHECK(contains(text, "'" + path + "'"));
    return text;
  };
  const std::string good = questions();
  const std::string head = llmc_header(20240522, 1, 2);
  const auto changed = [&](std::size_t word, std::uint16_t value) {
    std::string bytes = good;
    bytes.replace(2 * word, 2, packed<std::uint16_t>({value}));
    return head + bytes;
  };
  CHECK(contains(message("short"), "holds no multiple-choice questions"));
  CHECK(contains(message(llmc_header(20240520, 1, 2) + good), "begin with 20240522"));
  CHECK(contains(message(llmc_header(20240522, 2, 2) + good), "version 1"));
  CHECK(contains(message(llmc_header(20240522, 1, 3) + good),
                 "2 questions, but its header promises 3"));
  CHECK(contains(message(llmc_header(20240522, 1, 0)), "0 questions"));
  CHECK(contains(message(changed(0, 7)), "question 0 does not begin with 65535"));
  CHECK(contains(message(changed(1, 8)), "question 0 is not as long as it says"));
  CHECK(contains(message(changed(3, 2)), "question 0 has no right ending"));
  CHECK(contains(message(changed(4, 1)), "question 0 has no right ending"));
  CHECK(contains(message(changed(5, 0)), "question 0 has an empty text"));
  CHECK(contains(message(head + good.substr(0, good.size() - 2)), "question 1 ends too early"));
}

TEST_CASE("whatever is damaged, reading ends with questions or an error") {
  const ScratchDirectory scratch;
  const auto path = (scratch / "q.bin").string();
  const std::string good = llmc_header(20240522, 1, 2) + questions();
  std::mt19937 random(3);
  int whole = 0, damaged = 0;
  for (int turn = 0; turn < 300; ++turn) {
    std::string bytes = good;
    if (turn % 2 == 0) bytes.resize(1024 + random() % (good.size() - 1024));
    if (bytes.size() > 1024) {
      bytes[1024 + random() % (bytes.size() - 1024)] = static_cast<char>(random());
    }
    write_file(path, bytes);
    try {
      const std::size_t count = read_choice_questions(path).size();
      CHECK(count == 2);
      ++whole;
    } catch (const Error&) {
      ++damaged;
    }
  }
  CHECK(whole > 10);
  CHECK(damaged > 100);
}

}  // namespace train::test
