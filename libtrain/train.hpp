#pragma once

/// Everything that a training program uses.
#include "libtrain/checkpoint/training_checkpoints.hpp"
#include "libtrain/checkpoint/weights.hpp"
#include "libtrain/data/token_dataset.hpp"
#include "libtrain/job.hpp"
#include "libtrain/memory_report.hpp"
#include "libtrain/metrics/console_sink.hpp"
#include "libtrain/metrics/jsonl_sink.hpp"
#include "libtrain/metrics/patient_sink.hpp"
#include "libtrain/metrics/tensorboard_sink.hpp"
#include "libtrain/model/generator.hpp"
#include "libtrain/model/gpt.hpp"
#include "libtrain/optimizer/sharded_optimizer.hpp"
#include "libtrain/parallel/plan.hpp"
#include "libtrain/rounds/rounds.hpp"
#include "libtrain/stop_signal.hpp"
#include "libtrain/trainer.hpp"
