#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace train {

/// A text that goes on in one of several ways, one of which is right.
struct ChoiceQuestion {
  std::vector<std::int32_t> context;
  std::vector<std::vector<std::int32_t>> endings;
  std::size_t answer = 0;
};

/// Questions as llm.c's scripts write HellaSwag and MMLU (dev/data, write_evalfile): a header of
/// 256 int32 with magic 20240522, version 1 and the count of questions, then u16 records. Throws
/// Error naming the file and the question where it is not that.
std::vector<ChoiceQuestion> read_choice_questions(const std::string& path);

}  // namespace train
