#include "libtrain/data/tokenizer.hpp"

namespace train {

std::vector<std::int32_t> encode_document(const Tokenizer& tokenizer, std::string_view text) {
  const TextFrame frame = tokenizer.frame();
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  ids.insert(ids.begin(), frame.before.begin(), frame.before.end());
  ids.insert(ids.end(), frame.after.begin(), frame.after.end());
  return ids;
}

std::optional<std::int32_t> document_separator(const Tokenizer& tokenizer) {
  const auto end = tokenizer.end_of_text();
  const TextFrame frame = tokenizer.frame();
  const bool begins = !frame.before.empty() && end == frame.before.front();
  const bool ends = !frame.after.empty() && end == frame.after.back();
  return begins || ends ? std::nullopt : end;
}

bool marks_documents(const Tokenizer& tokenizer) {
  const TextFrame frame = tokenizer.frame();
  return tokenizer.end_of_text() || !frame.before.empty() || !frame.after.empty();
}

}  // namespace train
