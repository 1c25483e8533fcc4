#include "libtrain/checkpoint/resume_point.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"
#include "libtrain/agreement.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

// What rank 0 has found, as it tells the others.
struct Found {
  std::string extra;      // of the manifest
  std::string directory;  // it lies in
  std::string named;      // the same, when it was asked for
  bool own = true;
  std::int64_t step = 0;
};

std::optional<std::int64_t> as_step(const std::string& text) {
  std::int64_t step = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), step);
  const bool digits = !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) != 0;
  if (!digits || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return step;
}

Found found_in(const fs::path& directory) {
  const CheckpointReader reader(directory);
  return {.extra = reader.extra(),
          .directory = directory.string(),
          .named = {},
          .own = true,
          .step = reader.step()};
}

// The newest whose manifest is whole.
std::optional<Found> find_newest(const CheckpointStore& store) {
  std::string failures;
  for (const auto& entry : store.newest_first()) {
    try {
      return found_in(entry.directory);
    } catch (const Error& error) {
      failures += fmt::format("{}{}", failures.empty() ? "" : "; ", error.what());
    }
  }
  if (failures.empty()) return std::nullopt;
  throw Error(
      fmt::format("no checkpoint in {} can be read: {}", store.directory().string(), failures));
}

// A checkpoint by its path, links followed: `latest` may move on.
fs::path one_checkpoint(const std::string& from) {
  std::error_code code;
  const fs::path path = fs::canonical(from, code);
  if (code) throw Error(fmt::format("--resume-from {}: {}", from, code.message()));
  if (fs::exists(path / Manifest::file_name, code)) return path;
  const auto held = fs::is_directory(path, code) ? CheckpointStore(path).list()
                                                 : std::vector<CheckpointStore::Entry>();
  if (held.empty()) {
    throw Error(fmt::format(
        "--resume-from {}: is no checkpoint; a run may begin with other weights by --init", from));
  }
  throw Error(fmt::format("--resume-from {}: holds checkpoints of steps {}; name one of them: {}",
                          from, steps_of(held),
                          (from / held.back().directory.filename()).string()));
}

// Whether the newest was made by a run that went back to this step.
std::optional<Found> made_since(const CheckpointStore& store, std::int64_t step) {
  auto newest = find_newest(store);
  if (!newest) return std::nullopt;
  const auto from = RunState::from_json(newest->extra, newest->directory).resumed_from;
  return from && from->run.empty() && from->step == step ? newest : std::nullopt;
}

Found find_own(const CheckpointStore& store, std::int64_t step, bool or_newest) {
  if (or_newest) {
    if (const auto newest = made_since(store, step)) return *newest;
  }
  const fs::path directory = store.find(step).directory;
  Found found = found_in(directory);
  if (found.step != step) {
    throw Error(fmt::format("{}: is named as step {}, and holds step {}", directory.string(), step,
                            found.step));
  }
  found.named = found.directory;
  return found;
}

Found find_named(const CheckpointStore& store, const ResumeRequest& request) {
  if (const auto step = as_step(request.from)) return find_own(store, *step, request.or_newest);
  const fs::path directory = one_checkpoint(request.from);
  std::error_code none;
  if (fs::equivalent(directory.parent_path(), store.directory(), none)) {
    if (const auto step = step_of_checkpoint(directory.filename().string())) {
      return find_own(store, *step, request.or_newest);
    }
  }
  if (!store.list().empty()) {
    if (request.or_newest) return find_newest(store).value();
    throw Error(fmt::format(
        "--resume-from {}: {} holds checkpoints of a run; add --resume to go on with that, or "
        "choose another --checkpoint",
        request.from, store.directory().string()));
  }
  Found found = found_in(directory);
  found.named = found.directory;
  found.own = false;
  return found;
}

}  // namespace

std::optional<ResumePoint> find_resume_point(const CheckpointStore& store, Communicator& world,
                                             const ResumeRequest& request) {
  require_same(world, std::array{fmt::format("--resume-from {}", request.from),
                                 fmt::format("--resume {}", request.or_newest)});
  SaveGroup group(world);
  std::optional<Found> found;
  group.together([&] {
    if (world.rank() != 0) return;
    found = request.from.empty() ? find_newest(store) : find_named(store, request);
  });
  const std::string extra = group.said_by(0, found ? found->extra : "");
  if (extra.empty()) return std::nullopt;
  ResumePoint point{
      .run = RunState::from_json(extra, group.said_by(0, found ? found->directory : "")),
      .checkpoint = group.said_by(0, found ? found->named : "")};
  std::array<std::int64_t, 2> words{found && found->own ? 1 : 0, found ? found->step : 0};
  group.broadcast(words, 0);
  point.own = words[0] == 1;
  point.step = words[1];
  return point;
}

}  // namespace train
