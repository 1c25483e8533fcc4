#include "libtrain/checkpoint/store.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "collectives/error.hpp"

namespace train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step-";
constexpr std::string_view partial_suffix = ".partial";
constexpr std::string_view replaced_suffix = ".replaced";
constexpr std::string_view removing_suffix = ".removing";
constexpr const char* latest_name = "latest";

std::string hidden(std::int64_t step, std::string_view suffix) {
  return fmt::format(".{}{}", checkpoint_name(step), suffix);
}

// ".step-00001000.replaced" with the suffix ".replaced" -> 1000.
std::optional<std::int64_t> step_of_hidden(std::string_view name, std::string_view suffix) {
  if (!name.starts_with('.') || !name.ends_with(suffix)) return std::nullopt;
  return step_of_checkpoint(name.substr(1, name.size() - 1 - suffix.size()));
}

[[noreturn]] void fail(const std::string& what, const std::error_code& code) {
  throw Error(fmt::format("cannot {}: {}", what, code.message()));
}

void rename_path(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) fail(fmt::format("rename {} to {}", from.string(), to.filename().string()), code);
}

void remove_tree(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) fail("remove " + path.string(), code);
}

void sync_directory(const fs::path& path) {
  File(path, File::Mode::read).sync();
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator entry(directory, code), end; !code && entry != end;
       entry.increment(code)) {
    names.push_back(entry->path().filename().string());
  }
  if (code) fail("list " + directory.string(), code);
  return names;
}

// What a save that was interrupted has left. A checkpoint that was being replaced and lost its name
// gets it back.
void clean(const fs::path& directory) {
  for (const std::string& name : names_in(directory)) {
    if (const auto step = step_of_hidden(name, replaced_suffix)) {
      const fs::path home = directory / checkpoint_name(*step);
      std::error_code ignored;
      if (!fs::exists(home, ignored)) {
        rename_path(directory / name, home);
        continue;
      }
    } else if (!step_of_hidden(name, partial_suffix) && !step_of_hidden(name, removing_suffix)) {
      continue;
    }
    remove_tree(directory / name);
  }
}

std::string readable(std::uint64_t bytes) {
  const auto mib = static_cast<double>(bytes) / (std::uint64_t{1} << 20);
  return mib < 1024 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.3f} GiB", mib / 1024);
}

void point_latest(const fs::path& directory, const std::string& name) {
  const fs::path temporary = directory / ".latest.partial";
  std::error_code code;
  fs::remove(temporary, code);
  fs::create_symlink(name, temporary, code);
  if (code) fail("make the link " + temporary.string(), code);
  rename_path(temporary, directory / latest_name);
  sync_directory(directory);
}

fs::path make_set_aside(const fs::path& directory) {
  for (int number = 1;; ++number) {
    fs::path made = directory / fmt::format("set-aside-{}", number);
    std::error_code code;
    if (fs::create_directory(made, code)) return made;
    if (code) fail("create the directory " + made.string(), code);
  }
}

void write_manifest(const fs::path& directory, const Manifest& manifest) {
  AtomicFile file(directory / Manifest::file_name);
  file.file().write(manifest.to_text());
  file.commit();
}

// The directories to try, in order. One rank looks, so that all see the same.
std::vector<std::string> agreed_names(SaveGroup& group, const CheckpointStore& store) {
  std::string lines;
  group.together([&] {
    if (group.rank() != 0) return;
    for (const auto& entry : store.newest_first()) {
      lines += entry.directory.filename().string() + "\n";
    }
  });
  lines = group.said_by(0, lines);
  std::vector<std::string> names;
  for (std::size_t begin = 0, end; begin < lines.size(); begin = end + 1) {
    end = lines.find('\n', begin);
    names.push_back(lines.substr(begin, end - begin));
  }
  return names;
}

// Each rank writes its own blocks of one list. Ranks with lists of their own, or another order of
// it, would leave a checkpoint that nobody can read.
void require_same_contents(SaveGroup& group, const CheckpointSnapshot& snapshot) {
  const std::string own =
      fmt::format("{} tensors as step {} (plan {:016x})", snapshot.tensors().size(),
                  snapshot.step(), snapshot.plan_hash());
  const std::string first = group.said_by(0, own);
  group.together([&] {
    if (own == first) return;
    throw Error(
        fmt::format("rank {} saves {}, and rank 0 {}: steps, and tensors' names, types, layouts "
                    "and order, must be the same on all ranks",
                    group.rank(), own, first));
  });
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("{}{:08}", prefix, step);
}

std::optional<std::int64_t> step_of_checkpoint(std::string_view name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::int64_t step = 0;
  const auto [stop, code] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (code != std::errc() || stop != name.data() + name.size()) return std::nullopt;
  return checkpoint_name(step).substr(prefix.size()) == name ? std::optional(step) : std::nullopt;
}

std::string steps_of(const std::vector<CheckpointStore::Entry>& entries) {
  constexpr std::size_t told_max = 20;
  std::string text = entries.size() > told_max ? "…" : "";
  for (std::size_t i = entries.size() - std::min(entries.size(), told_max); i < entries.size();
       ++i) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", entries[i].step);
  }
  return text;
}

CheckpointStore::CheckpointStore(fs::path directory, StoreOptions options)
    : directory_(std::move(directory)), options_(options) {
  if (options_.keep < 0) {
    throw Error(fmt::format("--keep {}: the least is 0, for all", options.keep));
  }
  std::error_code none;
  if (fs::exists(directory_ / Manifest::file_name, none)) {
    throw Error(
        fmt::format("{} is one checkpoint; a run is known by the directory that holds it, {}",
                    directory_.string(), fs::absolute(directory_).parent_path().string()));
  }
  if (options_.keep_every < 0) {
    throw Error(fmt::format("--keep-every {}: the least is 0, for none", options.keep_every));
  }
}

void CheckpointStore::prepare(Communicator& ranks) {
  SaveGroup(ranks).together([&] {
    if (ranks.rank() != 0) return;
    create_parent_directories(directory_ / "x");
    if (!lock_.held()) lock_ = StoreLock(directory_);
    clean(directory_);
  });
}

SaveReport CheckpointStore::save(Communicator& ranks, const CheckpointContents& contents) {
  prepare(ranks);
  SaveGroup group(ranks);
  CheckpointSnapshot snapshot;
  group.together([&] { snapshot.refer_to(contents, ranks.rank()); });
  return save(group, snapshot);
}

SaveReport CheckpointStore::save(SaveGroup& group, const CheckpointSnapshot& snapshot) {
  const bool root = group.rank() == 0;
  const fs::path final = directory_ / checkpoint_name(snapshot.step());
  const fs::path partial = directory_ / hidden(snapshot.step(), partial_suffix);
  try {
    require_same_contents(group, snapshot);
    group.together([&] {
      if (root) begin(partial, snapshot.bytes_total());
    });
    const Manifest manifest = write_shards(group, partial, snapshot, options_.layout);
    group.together([&] {
      if (root) publish(partial, final, manifest);
    });
  } catch (const Error& error) {
    // All ranks have left the directory: they agreed that it failed.
    std::error_code ignored;
    if (root) fs::remove_all(partial, ignored);
    throw Error(fmt::format("cannot save the checkpoint {}: {}", final.string(), error.what()));
  }
  SaveReport report{final, snapshot.bytes_total(), ""};
  if (root) report.warning = remove_old(snapshot.step());
  return report;
}

void CheckpointStore::begin(const fs::path& partial, std::uint64_t bytes) {
  if (!lock_.held()) lock_ = StoreLock(directory_);
  clean(directory_);
  require_space(bytes);
  std::error_code code;
  fs::create_directory(partial, code);
  if (code) fail("create the directory " + partial.string(), code);
}

// Bookkeeping and manifest come on top: 300 bytes a block, 20 for each MiB.
void CheckpointStore::require_space(std::uint64_t bytes) const {
  const std::uint64_t needed = bytes + bytes / 1000 + (std::uint64_t{1} << 20);
  std::error_code code;
  const auto space = fs::space(directory_, code);
  if (code) fail("ask for the free space of " + directory_.string(), code);
  if (space.available >= needed) return;
  throw Error(
      fmt::format("it needs {}, and {} has {} free; free some, lower --keep, or save elsewhere",
                  readable(needed), directory_.string(), readable(space.available)));
}

void CheckpointStore::publish(const fs::path& partial, const fs::path& final,
                              const Manifest& manifest) {
  sync_directory(partial);
  write_manifest(partial, manifest);
  const fs::path replaced = directory_ / hidden(manifest.step, replaced_suffix);
  std::error_code ignored;
  const bool replaces = fs::exists(final, ignored);
  // Directories cannot change places everywhere; clean() puts the old one back if we end here.
  if (replaces) rename_path(final, replaced);
  try {
    rename_path(partial, final);
    sync_directory(directory_);
    point_latest(directory_, final.filename().string());
  } catch (const Error&) {
    // A save that is told as failed leaves nothing, under no name.
    fs::rename(final, partial, ignored);
    if (replaces) fs::rename(replaced, final, ignored);
    throw;
  }
  if (replaces) fs::remove_all(replaced, ignored);
}

std::string CheckpointStore::remove_old(std::int64_t step) {
  if (options_.keep == 0) return "";
  try {
    // Higher steps are of a run that was rewound: not ours to judge.
    std::vector<Entry> entries = list();
    std::erase_if(entries, [&](const Entry& entry) { return entry.step > step; });
    const auto kept = std::min(entries.size(), static_cast<std::size_t>(options_.keep));
    entries.resize(entries.size() - kept);
    for (const Entry& entry : entries) {
      if (options_.keep_every > 0 && entry.step % options_.keep_every == 0) continue;
      if (entry.step == held_) continue;
      // First the name, so that half a checkpoint never looks like one.
      const fs::path removing = directory_ / hidden(entry.step, removing_suffix);
      rename_path(entry.directory, removing);
      remove_tree(removing);
    }
    return "";
  } catch (const Error& error) {
    return fmt::format("an old checkpoint stays: {}", error.what());
  }
}

std::vector<CheckpointStore::Entry> CheckpointStore::list() const {
  std::vector<Entry> entries;
  std::error_code code;
  if (!fs::exists(directory_, code)) return entries;
  const auto names = names_in(directory_);
  for (const std::string& name : names) {
    if (const auto step = step_of_checkpoint(name)) entries.push_back({*step, directory_ / name});
    // A save that was killed between two renames.
    const auto replaced = step_of_hidden(name, replaced_suffix);
    if (replaced && std::ranges::find(names, checkpoint_name(*replaced)) == names.end()) {
      entries.push_back({*replaced, directory_ / name});
    }
  }
  std::ranges::sort(entries, {}, &Entry::step);
  return entries;
}

std::vector<CheckpointStore::Entry> CheckpointStore::newest_first() const {
  std::vector<Entry> entries = list();
  std::ranges::reverse(entries);
  std::error_code code;
  const fs::path target = fs::read_symlink(directory_ / latest_name, code);
  const auto latest = code ? std::nullopt : step_of_checkpoint(target.filename().string());
  if (!latest) return entries;
  std::ranges::stable_partition(entries, [&](const Entry& entry) { return entry.step <= *latest; });
  return entries;
}

CheckpointStore::Entry CheckpointStore::find(std::int64_t step) const {
  const std::vector<Entry> entries = list();
  const auto found = std::ranges::find(entries, step, &Entry::step);
  if (found != entries.end()) return *found;
  if (entries.empty()) {
    throw Error(
        fmt::format("{} holds no checkpoint of step {}, and no other", directory_.string(), step));
  }
  throw Error(fmt::format("{} holds no checkpoint of step {}; there are those of {}",
                          directory_.string(), step, steps_of(entries)));
}

fs::path CheckpointStore::set_aside_after(Communicator& ranks, std::int64_t step) {
  fs::path aside;
  SaveGroup group(ranks);
  group.together([&] {
    if (ranks.rank() != 0) return;
    if (!lock_.held()) lock_ = StoreLock(directory_);
    std::vector<Entry> later = list();
    std::erase_if(later, [&](const Entry& entry) { return entry.step <= step; });
    if (!later.empty()) aside = make_set_aside(directory_);
    // Newest first: whoever ends here leaves what he would have left by going back less far.
    for (; !later.empty(); later.pop_back()) {
      rename_path(later.back().directory, aside / checkpoint_name(later.back().step));
    }
    if (!aside.empty()) sync_directory(aside);
    point_latest(directory_, checkpoint_name(step));
  });
  return group.said_by(0, aside.string());
}

fs::path CheckpointStore::load(Communicator& ranks,
                               const std::function<void(CheckpointReader&)>& load,
                               const LoadOptions& options) {
  SaveGroup group(ranks);
  const auto load_from = [&](const fs::path& directory) {
    group.together([&] {
      CheckpointReader reader(directory);
      load(reader);
    });
    return directory;
  };
  if (!options.only.empty()) return load_from(options.only);
  const std::vector<std::string> names = agreed_names(group, *this);
  std::string failures;
  for (std::size_t i = 0; i < names.size(); ++i) {
    try {
      return load_from(directory_ / names[i]);
    } catch (const Error& error) {
      if (!options.fall_back) throw;
      failures += fmt::format("{}{}", failures.empty() ? "" : "; ", error.what());
      if (ranks.rank() == 0 && options.warn && i + 1 < names.size()) {
        options.warn(fmt::format("{}; falling back to {}", error.what(), names[i + 1]));
      }
    }
  }
  if (names.empty()) return {};
  throw Error(fmt::format("no checkpoint in {} can be loaded: {}", directory_.string(), failures));
}

}  // namespace train
