#include "tests/wide/service/coordinator_process.hpp"

#include <array>
#include <csignal>
#include <stdexcept>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace train::wide::test {

CoordinatorProcess::CoordinatorProcess(const std::vector<std::string>& words,
                                       std::optional<rlim_t> file_bytes_max,
                                       std::optional<std::string> error_path) {
  std::vector<std::string> all{TRAIN_COORDINATOR};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  process_ = ::fork();
  if (process_ == 0) {
    if (file_bytes_max) {
      const rlimit limit{*file_bytes_max, *file_bytes_max};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::dup2(pipe[1], STDERR_FILENO);
    if (error_path) ::close(STDERR_FILENO);
    if (error_path && !error_path->empty()) ::open(error_path->c_str(), O_WRONLY);  // as the least
    ::execv(TRAIN_COORDINATOR, pointers.data());
    ::_exit(127);
  }
  ::close(pipe[1]);
  output_ = pipe[0];
  reader_ = std::thread([this] { read(); });
}

CoordinatorProcess::~CoordinatorProcess() {
  if (running()) {
    signal(SIGKILL);
    wait();
  }
  if (reader_.joinable()) reader_.join();
  ::close(output_);
}

void CoordinatorProcess::read() {
  std::string line;
  std::array<char, 4096> some{};
  for (ssize_t got; (got = ::read(output_, some.data(), some.size())) > 0;) {
    for (const char letter : std::span(some).first(static_cast<std::size_t>(got))) {
      if (letter != '\n') {
        line += letter;
        continue;
      }
      lines.add(line);
      line.clear();
    }
  }
}

std::uint16_t CoordinatorProcess::port() {
  const std::string before = "listening at 127.0.0.1:";
  const bool said = eventually([&] { return lines.count(before) > 0 || !running(); });
  const std::string all = lines.all();
  const auto at = all.find(before);
  if (!said || at == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::stoi(all.substr(at + before.size())));
}

void CoordinatorProcess::signal(int number) {
  ::kill(process_, number);
}

bool CoordinatorProcess::running() {
  if (status_) return false;
  int status = 0;
  if (::waitpid(process_, &status, WNOHANG) != process_) return true;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return false;
}

int CoordinatorProcess::wait() {
  if (!eventually([&] { return !running(); })) {
    signal(SIGKILL);
    eventually([&] { return !running(); });
  }
  if (reader_.joinable()) reader_.join();  // its last lines may still be in the pipe
  return status_.value_or(-1);
}

}  // namespace train::wide::test
