#pragma once

#include <optional>
#include <string>

#include "examples/gpt/train_arguments.hpp"

/// What plan_grid's command line says.
struct PlanArguments {
  TrainArguments training;
  int ranks = 0;
  int ranks_per_node = 0;  ///< 0: all of them
  std::string memory;
  double device_tflops = 0.0;
  double utilisation = 0.5;
  double tokens_per_s = 0.0;
  std::string node_rate, network_rate, memory_rate;  ///< "": the device's default
  double latency_us = 0.0;                           ///< the same
  int clusters = 1;                                  ///< of the job
  int lines = 8;
  bool json = false;

  train::GridQuestion question;  ///< all of it, as the library asks
  train::LaneForecast lane;      ///< of several clusters
};

/// Fills the arguments; returns the exit status when nothing is left to do.
std::optional<int> parse_plan_arguments(const train::Job& job, PlanArguments& arguments);
