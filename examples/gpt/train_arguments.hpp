#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libtrain/train.hpp"

/// What train_gpt's command line says.
struct TrainArguments {
  std::vector<std::string> data;
  std::vector<std::string> validation_data;
  double validation_fraction = -1.0;  ///< below 0: the data's own default
  std::string tokenizer;
  std::string model = "nano";
  std::int64_t context = 0;     ///< 0: the model's
  std::int64_t vocabulary = 0;  ///< 0: the tokenizer's, or the model's
  float dropout = 0.0f;
  bool dropout_given = false;
  bool model_given = false;
  bool bias = true;
  bool bias_given = false;
  std::string dtype = "f32";
  std::uint64_t seed = 1;
  bool seed_given = false;
  train::GridOptions grid;
  train::AdamW adamw;
  train::TrainerOptions trainer;
  double stop_after_minutes = 0.0;  ///< 0: never
  int stopped_status = 0;
  std::string schedule = "cosine";
  double min_lr = -1.0;        ///< below 0: a tenth of lr
  std::size_t bucket_mib = 0;  ///< 0: the optimizer's choice
  int zero = 0;
  bool sequence_parallel = true;
  std::string gradient_dtype = "f32";
  std::int64_t resident_elements = train::OptimizerOptions{}.resident_elements;
  std::string recompute = "none";
  bool report_memory = false;
  std::string trace;
  std::int64_t trace_steps = 10;
  int timeout_s = 600;
  std::string metrics;
  std::string tensorboard;
  std::string progress = "auto";
  std::string save_weights;
  std::string eval_choices;
  std::int64_t eval_questions = 0;  // 0: all
  std::int64_t sample_every = 0;    ///< 0: never
  std::string sample_prompt;
  std::int64_t sample_tokens = 64;
  std::string init;
  std::string checkpoint;
  std::string checkpoint_layout = "sharded";
  std::int64_t save_every = 0;
  bool resume = false;
  std::string resume_from;  ///< a step, or the path of a checkpoint; "": the newest
  bool new_data = false;
  int keep = train::StoreOptions{}.keep;
  std::int64_t keep_every = 0;
  // One of several clusters.
  train::JobOptions job;
  train::RoundOptions rounds;
  std::string synchronisation = "rounds";
  std::string codec = "int8";
  std::string certificates;
  bool plaintext = false;
  int streams = 0;  ///< 0: by measurement
  double round_seconds = 0.0;
  std::vector<std::string> egress_prices;
  double egress_budget_usd = 0.0;  ///< 0: none
  int leave_notice_s = 30;
  int coordinator_timeout_s = 3600;
  int hang_timeout_s = 600;

  bool in_job() const { return !job.cluster.empty(); }
  bool goes_on() const { return resume || !resume_from.empty(); }
};

/// Fills the arguments; returns the exit status when nothing is left to do.
std::optional<int> parse_train_arguments(const train::Job& job, TrainArguments& arguments);
