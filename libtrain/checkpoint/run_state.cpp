#include "libtrain/checkpoint/run_state.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "collectives/error.hpp"

namespace train {

using json = nlohmann::ordered_json;

std::string RunState::to_json() const {
  json object = {{"config", json::parse(config.to_json())},
                 {"seed", seed},
                 {"data", data},
                 {"held_out", held_out},
                 {"sequences", place.sequences},
                 {"tokens", place.tokens},
                 {"more", json::object()}};
  for (const auto& [key, text] : more) object["more"][key] = json::parse(text);
  if (resumed_from) {
    object["resumed_from"] = {{"step", resumed_from->step}, {"run", resumed_from->run}};
  }
  // Long: last, for those who look at the manifest.
  if (tokenizer != nullptr) object["tokenizer"] = json::parse(tokenizer->to_json());
  // A directory need not be called in UTF-8.
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

RunState RunState::from_json(const std::string& text, const std::filesystem::path& checkpoint) {
  try {
    const json object = json::parse(text);
    RunState state;
    state.config = GptConfig::from_json(object.at("config").dump());
    object.at("seed").get_to(state.seed);
    object.at("data").get_to(state.data);
    state.held_out = object.value("held_out", "");
    object.at("sequences").get_to(state.place.sequences);
    object.at("tokens").get_to(state.place.tokens);
    for (const auto& [key, value] : object.at("more").items()) state.more[key] = value.dump();
    if (object.contains("resumed_from")) {
      const json& from = object["resumed_from"];
      state.resumed_from = {from.at("step").get<std::int64_t>(), from.at("run").get<std::string>()};
    }
    if (object.contains("tokenizer")) {
      state.tokenizer = tokenizer_from_json(object["tokenizer"].dump());
    }
    return state;
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: is not the checkpoint of a training run: {}", checkpoint.string(),
                            error.what()));
  }
}

}  // namespace train
