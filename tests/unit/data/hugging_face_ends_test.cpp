// Where texts begin and end by a tokenizer.json and the files beside it.
#include <doctest/doctest.h>

#include "collectives/error.hpp"
#include "libtrain/data/open_data.hpp"
#include "tests/unit/data/data_files.hpp"
#include "tests/unit/data/golden_tokenizer.hpp"

namespace train::test {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::int32_t>;

/// The folder of a model, with added tokens behind the 856 of the golden vocabulary.
class Folder {
 public:
  explicit Folder(const std::vector<std::string>& added) {
    document = golden_document("gpt2_style");
    document["added_tokens"] = json::array();
    for (const std::string& token : added) {
      const std::size_t id = 856 + document["added_tokens"].size();
      document["added_tokens"].push_back({{"id", id}, {"content", token}, {"special", true}});
    }
  }

  void beside(const char* name, const std::string& content) {
    write_file(scratch_ / name, content);
  }

  std::shared_ptr<const Tokenizer> read() const {
    write_file(scratch_ / "tokenizer.json", document.dump());
    const auto tokenizer = make_tokenizer("hf:" + scratch_.path().string());
    // Whatever is true of it is true of the one that travels in a weights file.
    const auto restored = tokenizer_from_json(tokenizer->to_json());
    // And its frame goes out again.
    const ScratchDirectory other;
    write_file(other / "tokenizer.json", restored->to_hugging_face().value());
    const auto written = make_tokenizer("hf:" + other.path().string());
    CHECK(written->frame().before == tokenizer->frame().before);
    CHECK(written->frame().after == tokenizer->frame().after);
    return restored;
  }

  std::string message() const {
    return message_of<Error>([&] { read(); });
  }

  std::filesystem::path path() const { return scratch_.path(); }

  json document;

 private:
  ScratchDirectory scratch_;
};

json special(const char* name) {
  return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}};
}

json text_piece(const char* which = "A") {
  return {{"Sequence", {{"id", which}, {"type_id", 0}}}};
}

/// Llama 3's post-processor: a template behind what trims offsets.
json around(const std::vector<json>& single) {
  const json ids = {{"<s>", {{"id", "<s>"}, {"ids", {856}}, {"tokens", {"<s>"}}}},
                    {"</s>", {{"id", "</s>"}, {"ids", {857}}, {"tokens", {"</s>"}}}},
                    {"gap", {{"id", "gap"}, {"ids", {900}}, {"tokens", {"gap"}}}}};
  return {{"type", "Sequence"},
          {"processors",
           {{{"type", "ByteLevel"}, {"trim_offsets", false}},
            {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", ids}}}}};
}

}  // namespace

TEST_CASE("texts end with what a tokenizer's own files name") {
  Folder folder({"<|endoftext|>", "<|im_end|>", "<|eot|>"});
  CHECK(folder.read()->end_of_text() == 856);
  // config.json may hold a default, 2, that is an ordinary token here.
  folder.beside("config.json", R"({"eos_token_id": [2, 858, 99999]})");
  CHECK(folder.read()->end_of_text() == 858);
  folder.beside("generation_config.json", R"({"eos_token_id": 857})");
  CHECK(folder.read()->end_of_text() == 857);
  folder.beside("tokenizer_config.json", R"({"eos_token": {"content": "<|endoftext|>"}})");
  const auto tokenizer = folder.read();
  CHECK(tokenizer->end_of_text() == 856);
  for (const std::int32_t end : {856, 857, 858}) CHECK(tokenizer->is_end(end));
  for (const std::int32_t other : {2, 855, 99999, -1}) CHECK_FALSE(tokenizer->is_end(other));
  folder.beside("tokenizer_config.json", R"({"eos_token": "<|eot|>"})");
  CHECK(folder.read()->end_of_text() == 858);
  folder.beside("tokenizer_config.json", R"({"eos_token": null})");
  CHECK(folder.read()->end_of_text() == 857);
  folder.beside("tokenizer_config.json", "{");
  CHECK(contains(folder.message(), "tokenizer_config.json'"));
}

TEST_CASE("texts end with a token of a well-known name, where no file names one") {
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<｜end▁of▁sentence｜>"}) {
    CAPTURE(name);
    CHECK(Folder({"<pad>", name, "<|im_end|>"}).read()->end_of_text() == 857);
  }
  CHECK(Folder({"<|im_start|>", "<|im_end|>"}).read()->end_of_text() == 857);
  CHECK_FALSE(Folder({"<pad>"}).read()->end_of_text().has_value());
}

TEST_CASE("a template's tokens stand around documents, and not in what encode() makes") {
  Folder folder({"<s>", "</s>"});
  folder.document["post_processor"] = around({special("<s>"), text_piece()});
  const auto tokenizer = folder.read();
  CHECK(tokenizer->frame().before == Tokens{856});
  CHECK(tokenizer->frame().after.empty());
  const Tokens plain = tokenizer->encode("the king");
  Tokens framed = plain;
  framed.insert(framed.begin(), 856);
  CHECK(encode_document(*tokenizer, "the king") == framed);
  CHECK(tokenizer->decode(plain) == "the king");

  folder.document["post_processor"] = around({special("<s>"), text_piece(), special("</s>")});
  CHECK(folder.read()->frame().after == Tokens{857});
  folder.document["post_processor"] = around({text_piece()});
  CHECK(encode_document(*folder.read(), "the king") == plain);
}

TEST_CASE("what a post-processor may not be is refused by name") {
  Folder folder({"<s>", "</s>"});
  const auto refuses = [&](const json& processor, const char* name) {
    folder.document["post_processor"] = processor;
    const std::string message = folder.message();
    CAPTURE(message);
    CHECK(contains(message, "tokenizer.json'"));
    CHECK(contains(message, name));
  };
  refuses({{"type", "BertProcessing"}}, "BertProcessing");
  refuses(around({text_piece("B")}), "second");
  refuses(around({text_piece(), text_piece()}), "holds 2");
  refuses(around({}), "holds 0");
  refuses(around({special("<unknown>"), text_piece()}), "<unknown>");
  refuses(around({special("gap"), text_piece()}), "id 900");
}

TEST_CASE("documents are separated once, and only where there is an end of text") {
  Folder folder({"<s>", "</s>"});
  folder.beside("1.txt", "a");
  folder.beside("2.txt", "b");
  const auto joined = [&] {
    folder.read();
    const std::string text = (folder.path() / "*.txt").string();
    return read_all(*open_data({text}, "hf:" + folder.path().string()).sources.front().tokens);
  };
  const std::int32_t a = folder.document["model"]["vocab"]["a"];
  const std::int32_t b = folder.document["model"]["vocab"]["b"];
  CHECK(joined() == Tokens{a, 857, b});
  folder.document["post_processor"] = around({special("<s>"), text_piece()});
  CHECK(joined() == Tokens{856, a, 857, 856, b});
  folder.document["post_processor"] = around({text_piece(), special("</s>")});
  CHECK(joined() == Tokens{a, 857, b, 857});
  folder.document["post_processor"] = around({special("</s>"), text_piece()});
  CHECK(joined() == Tokens{857, a, 857, b});
  folder.document["post_processor"] = nullptr;
  folder.document["added_tokens"][1]["content"] = "<sep>";
  CHECK(joined() == Tokens{a, b});
}

TEST_CASE("ids that are gaps of the vocabulary have no text") {
  Folder folder({"<s>"});
  folder.document["added_tokens"][0]["id"] = 900;
  const auto tokenizer = folder.read();
  CHECK(tokenizer->vocabulary_size() == 901);
  for (const std::int32_t id : {0, 855, 900}) CHECK(tokenizer->has_text(id));
  for (const std::int32_t id : {-1, 856, 899, 901}) CHECK_FALSE(tokenizer->has_text(id));
  CHECK(make_tokenizer("bytes")->has_text(255));
  CHECK_FALSE(make_tokenizer("bytes")->has_text(256));
}

}  // namespace train::test
