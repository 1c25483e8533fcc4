// Looks into checkpoints, and brings models in and out.
//
//   build/bin/checkpoint_tool list runs/a
//   build/bin/checkpoint_tool verify runs/a
//   build/bin/checkpoint_tool export runs/a --to safetensors --naming hf --output gpt2/
//   build/bin/checkpoint_tool import gpt2/ --output runs/b
//
// Ends with 0 when all is well, 1 for damage or differences, 2 when it could not do its work.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "collectives/error.hpp"
#include "collectives/flags/parse_flags.hpp"
#include "collectives/standard_streams.hpp"
#include "examples/checkpoint/inspect.hpp"
#include "libtrain/checkpoint/interchange/hugging_face.hpp"
#include "libtrain/checkpoint/interchange/llmc_model.hpp"
#include "libtrain/checkpoint/interchange/native_model.hpp"
#include "libtrain/checkpoint/interchange/open_model.hpp"

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string path;
  std::string other;
  std::string to = "safetensors";
  std::string naming = "native";
  std::string dtype;
  std::string output;
  std::string tokenizer;
  double shard_gb = 5.0;
  bool norms = true;
};

train::DataType type_for(const Arguments& arguments, const train::ModelSource& model) {
  if (arguments.dtype.empty()) return model.type();
  return arguments.dtype == "f32" ? train::DataType::f32 : train::DataType::bf16;
}

// A model with the tokenizer of the user's choice.
class WithTokenizer final : public train::ModelSource {
 public:
  WithTokenizer(std::unique_ptr<train::ModelSource> model,
                std::shared_ptr<const train::Tokenizer> tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {}

  const train::GptConfig& config() const override { return model_->config(); }
  std::shared_ptr<const train::Tokenizer> tokenizer() const override { return tokenizer_; }
  train::DataType type() const override { return model_->type(); }
  void read(const train::ModelTensor& tensor, std::span<std::byte> out) override {
    model_->read(tensor, out);
  }

 private:
  std::unique_ptr<train::ModelSource> model_;
  std::shared_ptr<const train::Tokenizer> tokenizer_;
};

std::unique_ptr<train::ModelSource> open_model(const Arguments& arguments, bool full_precision) {
  auto model = train::open_model(arguments.path, full_precision);
  if (arguments.tokenizer.empty()) return model;
  return std::make_unique<WithTokenizer>(
      std::move(model),
      arguments.tokenizer == "none" ? nullptr : train::make_tokenizer(arguments.tokenizer));
}

int export_model(const Arguments& arguments) {
  if (arguments.to == "llmc" && arguments.naming == "hf") {
    throw train::Error(
        "--naming hf: is for --to safetensors; a file of llm.c's has no names (leave it out)");
  }
  constexpr double shard_gb_max = 1e9;  // bytes stay within 64 bits
  if (!(arguments.shard_gb > 0.0 && arguments.shard_gb <= shard_gb_max)) {
    throw train::Error(fmt::format("--shard-gb {}: must be above 0, and at most {:g}",
                                   arguments.shard_gb, shard_gb_max));
  }
  const auto model = open_model(arguments, arguments.dtype == "f32");
  const train::DataType type = type_for(arguments, *model);
  const char* tokenizer = "";
  if (arguments.to == "llmc") {
    train::write_llmc_model(arguments.output, *model, type);
  } else if (arguments.naming == "hf") {
    const bool with_tokenizer = train::write_hugging_face(
        arguments.output, *model, type, static_cast<std::uint64_t>(arguments.shard_gb * 1e9));
    tokenizer = with_tokenizer ? ", with tokenizer.json" : ", without a tokenizer";
  } else {
    train::write_native(arguments.output, *model, type);
  }
  fmt::print("wrote {} ({:.2f} M parameters, {}{})\n", arguments.output,
             static_cast<double>(model->config().parameter_count()) / 1e6, name_of(type),
             tokenizer);
  return 0;
}

int import_model(const Arguments& arguments) {
  const auto model = open_model(arguments, /*full_precision=*/false);
  const train::DataType type = type_for(arguments, *model);
  fs::path written = arguments.output;
  if (written.extension() == ".safetensors") {
    train::write_native(written, *model, type);
  } else {
    written = train::write_model_checkpoint(arguments.output, *model, type);
  }
  fmt::print("wrote {} ({:.2f} M parameters, {}, {})\n", written.string(),
             static_cast<double>(model->config().parameter_count()) / 1e6, name_of(type),
             model->tokenizer() == nullptr ? "no tokenizer" : "with its tokenizer");
  return 0;
}

void add_dtype(CLI::App& command, Arguments& arguments) {
  command.add_option("--dtype", arguments.dtype, "f32 | bf16 [as it is]")
      ->check(CLI::IsMember({"f32", "bf16"}));
}

void add_tokenizer(CLI::App& command, Arguments& arguments) {
  command.add_option("--tokenizer", arguments.tokenizer,
                     "gpt2:FILE | hf:tokenizer.json | bytes | none [the model's own]");
}

void add_export(CLI::App& app, Arguments& arguments) {
  CLI::App* command = app.add_subcommand("export", "Write a model for other programs");
  command->add_option("PATH", arguments.path, "A checkpoint, a directory of them, or any model")
      ->required();
  command->add_option("--to", arguments.to, "safetensors | llmc")
      ->check(CLI::IsMember({"safetensors", "llmc"}))
      ->capture_default_str();
  command
      ->add_option("--naming", arguments.naming,
                   "native (a file for --init and --weights) | hf (a directory for transformers)")
      ->check(CLI::IsMember({"native", "hf"}))
      ->capture_default_str();
  command->add_option("--output", arguments.output, "File, or directory with --naming hf")
      ->required();
  command->add_option("--shard-gb", arguments.shard_gb, "Largest file with --naming hf, GB")
      ->capture_default_str();
  add_tokenizer(*command, arguments);
  add_dtype(*command, arguments);
}

void add_import(CLI::App& app, Arguments& arguments) {
  CLI::App* command =
      app.add_subcommand("import", "Read a model of Hugging Face's (GPT-2, Llama) or of llm.c");
  command->add_option("PATH", arguments.path, "Directory with config.json, or model .bin of llm.c")
      ->required();
  command
      ->add_option("--output", arguments.output,
                   "A .safetensors file for --init, or a directory for a checkpoint")
      ->required();
  add_tokenizer(*command, arguments);
  add_dtype(*command, arguments);
}

// Where a path ends in a slash, its last name is "".
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

int checkpoint_tool(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Looks into checkpoints, and brings models in and out.", "checkpoint_tool");
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* what) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("PATH", arguments.path, "A checkpoint, or a directory of them")->required();
    return command;
  };
  add("list", "One line per checkpoint");
  add("show", "Step, configuration, and every tensor with its shape and norm")
      ->add_flag("!--no-norms", arguments.norms, "Read no tensors");
  add("verify", "Compare all hashes");
  add("diff", "Where two checkpoints differ, and by how much")
      ->add_option("OTHER", arguments.other, "Another")
      ->required();
  add_export(app, arguments);
  add_import(app, arguments);
  if (const auto status = train::parse_flags(app, argc, argv)) return *status;
  const std::string command = app.get_subcommands().front()->get_name();
  const fs::path path = without_slash(arguments.path);
  if (command == "list") return list_checkpoints(path);
  if (command == "show") return show_checkpoint(path, arguments.norms);
  if (command == "verify") return verify_checkpoints(path);
  if (command == "diff") return compare_checkpoints(path, without_slash(arguments.other));
  if (command == "export") return export_model(arguments);
  return import_model(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  train::occupy_standard_descriptors();
  try {
    const int status = checkpoint_tool(argc, argv);
    train::flush_standard_output();
    return status;
  } catch (const std::exception& error) {
    train::log_line(fmt::format("error: {}", error.what()));
    return 2;
  }
}
