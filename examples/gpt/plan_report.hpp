#pragma once

#include <string>
#include <vector>

#include "examples/gpt/plan_arguments.hpp"

/// What plan_grid prints.

std::string text_of(const PlanArguments& arguments, const train::GridChoice& choice);
std::string json_of(const PlanArguments& arguments, const train::GridChoice& choice);
/// Where nothing fits: what would have to change.
std::string what_would_fit(const PlanArguments& arguments, const train::GridChoice& choice);
/// The flags of train_gpt that say this plan.
std::vector<std::string> flags_of(const PlanArguments& arguments, const train::GridPlan& plan);
