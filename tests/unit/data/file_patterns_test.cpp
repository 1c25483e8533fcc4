#include "libtrain/data/file_patterns.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collectives/error.hpp"
#include "tests/unit/data/data_files.hpp"

namespace train::test {
namespace {

/// A folder with files in it, and the paths that patterns below it find, without the folder.
class Tree {
 public:
  explicit Tree(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      const auto path = scratch_.path() / file;
      std::filesystem::create_directories(path.parent_path());
      write_file(path, "x");
    }
  }

  std::vector<std::string> find(const std::vector<std::string>& patterns) const {
    std::vector<std::string> full;
    for (const auto& pattern : patterns) full.push_back((scratch_.path() / pattern).string());
    auto found = find_files(full);
    for (auto& path : found) path = path.substr(scratch_.path().string().size() + 1);
    return found;
  }

  const std::filesystem::path& path() const { return scratch_.path(); }

 private:
  ScratchDirectory scratch_;
};

using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE("folders, globs and names stand for sorted files") {
  const Tree tree({"b.txt", "a.txt", "a10.bin", "a2.bin", "sub/c.txt", "sub/deep/d.txt", ".hidden",
                   ".git/config", "sub/.e.txt", "odd[1].txt"});
  CHECK(tree.find({"sub"}) == Paths{"sub/c.txt", "sub/deep/d.txt"});
  CHECK(tree.find({"*.txt"}) == Paths{"a.txt", "b.txt", "odd[1].txt"});
  CHECK(tree.find({"a?.bin"}) == Paths{"a2.bin"});
  CHECK(tree.find({"[ab].txt"}) == Paths{"a.txt", "b.txt"});
  CHECK(tree.find({"*/c.txt"}) == Paths{"sub/c.txt"});
  CHECK(tree.find({"s*/de*/*"}) == Paths{"sub/deep/d.txt"});
  CHECK(tree.find({"**/*.txt"}) ==
        Paths{"a.txt", "b.txt", "odd[1].txt", "sub/c.txt", "sub/deep/d.txt"});
  CHECK(tree.find({"sub/**"}) == Paths{"sub/c.txt", "sub/deep/d.txt"});
  CHECK(tree.find({"odd[1].txt"}) == Paths{"odd[1].txt"});
  CHECK(tree.find({"b.txt", "*.txt"}) == Paths{"b.txt", "a.txt", "odd[1].txt"});
  CHECK(tree.find({".hidden"}) == Paths{".hidden"});
}

TEST_CASE("a link to a folder is not followed into a circle, and one to a file is that file") {
  const Tree tree({"sub/a.txt", "z.txt"});
  std::filesystem::create_directory_symlink(tree.path(), tree.path() / "sub" / "up");
  std::filesystem::create_symlink(tree.path() / "sub" / "a.txt", tree.path() / "sub" / "b.txt");
  CHECK(tree.find({"."}) == Paths{"./sub/a.txt", "./z.txt"});
  CHECK(tree.find({"**/*.txt"}) == Paths{"sub/a.txt", "z.txt"});
  CHECK(tree.find({"sub/b.txt", "z.txt", "sub"}) == Paths{"sub/b.txt", "z.txt"});
}

TEST_CASE("a folder whose name looks like a pattern can be part of one") {
  const Tree tree({"data [2]/a.txt", "data 2/b.txt"});
  CHECK(tree.find({"data [2]/*.txt"}) == Paths{"data [2]/a.txt"});
  CHECK(tree.find({"data [1-3]/*.txt"}) == Paths{"data 2/b.txt"});
}

TEST_CASE("a pattern that finds nothing is named") {
  const Tree tree({"a.txt"});
  std::filesystem::create_directory(tree.path() / "empty");
  const auto message = [&](const std::string& pattern) {
    return message_of<Error>([&] { tree.find({pattern}); });
  };
  CHECK(contains(message("*.bin"), "*.bin'"));
  CHECK(contains(message("missing.txt"), "missing.txt'"));
  CHECK(contains(message("missing/**/x"), "missing/**/x'"));
  CHECK(contains(message("a.txt/*"), "a.txt/*'"));
  CHECK(contains(message("empty"), "empty' holds no files"));
  write_file(tree.path() / "pile_text_document.idx", "");
  CHECK(contains(message("pile_text_document"), "pile_text_document.idx' here"));
  REQUIRE(::mkfifo((tree.path() / "pipe").c_str(), 0600) == 0);
  CHECK(contains(message("pipe"), "pipe' is a device or pipe"));
}

TEST_CASE("what a closed folder holds is not said to be missing") {
  const Tree tree({"closed/a.txt"});
  const auto folder = tree.path() / "closed";
  REQUIRE(::chmod(tree.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(folder.c_str(), 0644) == 0);  // to be listed, not to be entered
  const bool is_root = ::geteuid() == 0;
  if (is_root) REQUIRE(::seteuid(65534) == 0);
  std::vector<std::string> said;
  for (const char* pattern : {"closed/a.txt", "closed/*", "closed", "*/a.txt"}) {
    said.push_back(message_of<Error>([&] { tree.find({pattern}); }));
  }
  if (is_root) REQUIRE(::seteuid(0) == 0);
  REQUIRE(::chmod(folder.c_str(), 0755) == 0);
  for (const std::string& message : said) {
    CHECK(message.starts_with("cannot look up '" + folder.string() + "/"));
    CHECK(message.ends_with("': Permission denied"));
  }
}

}  // namespace train::test
