#include "app/stages/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "app/config.h"

namespace doorbuster::stages {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

// A broker that makes a topic, a database that makes tables: seconds.
constexpr milliseconds kReadyMax{60'000};
constexpr milliseconds kLookEvery{20};
constexpr std::size_t kLogEnd = 600; // enough for the line that says why

constexpr std::string_view kSettingPrefix = "DOORBUSTER_";

std::vector<std::string> environment_with(const Child::Settings& settings) {
    std::vector<std::string> all;
    for (const auto& [name, value] : process_environment()) {
        std::string line(name);
        line += '=';
        line += value;
        if (!name.starts_with(kSettingPrefix)) all.push_back(std::move(line));
    }
    for (const auto& [name, value] : settings) {
        std::string line(name);
        line += '=';
        line += value;
        all.push_back(std::move(line));
    }
    return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
}

Error error_of_errno(const std::string& doing) {
    return {make_error_code(Errc::io), doing + ": " + std::generic_category().message(errno)};
}

} // namespace

Result<std::unique_ptr<Child>> Child::start(const std::string& program, const Settings& settings,
                                            const std::string& log, const std::atomic<bool>& stop) {
    std::vector<std::string> words{program, "serve", "--json"};
    std::vector<std::string> variables = environment_with(settings);
    const std::vector<char*> argv = pointers(words);
    const std::vector<char*> envp = pointers(variables);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        return tl::make_unexpected(error_of_errno("making a pipe"));
    }
    const int log_file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const pid_t parent = ::getpid();
    const pid_t pid = log_file < 0 ? -1 : ::fork();
    if (pid == 0) {                         // only calls that are safe between fork and exec
        ::setpgid(0, 0);                    // Ctrl-C is for us: we end the child in order
        ::prctl(PR_SET_PDEATHSIG, SIGKILL); // and it never outlives us
        if (::getppid() != parent) ::_exit(126);
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::dup2(pipe[1], STDOUT_FILENO);
        ::dup2(log_file, STDERR_FILENO);
        ::execve(argv[0], argv.data(), envp.data());
        ::_exit(127);
    }
    const int failure = errno;
    ::close(pipe[1]);
    if (log_file >= 0) ::close(log_file);
    if (pid < 0) {
        ::close(pipe[0]);
        errno = failure;
        return tl::make_unexpected(error_of_errno("starting " + program));
    }
    std::unique_ptr<Child> child(new Child(pid, pipe[0], log));
    if (auto ready = child->wait_until_ready(stop); !ready) {
        return tl::make_unexpected(std::move(ready.error()));
    }
    return child;
}

Child::~Child() {
    if (!is_over_) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status_, 0);
    }
    ::close(out_);
}

// Its one line of JSON: url, data, version.
Result<void> Child::wait_until_ready(const std::atomic<bool>& stop) {
    const auto until = Steady::now() + kReadyMax;
    std::string line;
    while (line.find('\n') == std::string::npos) {
        if (stop.load()) return fail(Errc::unavailable, "stopped");
        if (Steady::now() > until) {
            return fail(Errc::unavailable, "the server is not ready: " + end_of_log());
        }
        pollfd readable{out_, POLLIN, 0};
        if (::poll(&readable, 1, static_cast<int>(kLookEvery.count())) <= 0) continue;
        std::array<char, 512> bytes{};
        const ssize_t size = ::read(out_, bytes.data(), bytes.size());
        if (size <= 0) {
            static_cast<void>(has_ended(Child::kStopMax));
            return fail(Errc::unavailable, "the server does not start: " + end_of_log());
        }
        line.append(bytes.data(), static_cast<std::size_t>(size));
    }
    boost::system::error_code error;
    const auto json = boost::json::parse(line.substr(0, line.find('\n')), error);
    if (error || !json.is_object() || !json.as_object().contains("url")) {
        return fail(Errc::corrupt, "the server says '" + line + "' instead of where it is");
    }
    url_ = json.at("url").as_string().c_str();
    return {};
}

bool Child::has_ended(milliseconds within) {
    const auto until = Steady::now() + within;
    while (!is_over_) {
        const pid_t ended = ::waitpid(pid_, &status_, WNOHANG);
        is_over_ = ended == pid_ || (ended < 0 && errno == ECHILD);
        if (is_over_ || Steady::now() > until) break;
        ::poll(nullptr, 0, static_cast<int>(kLookEvery.count())); // poll: its end
    }
    return is_over_;
}

Result<void> Child::stop(milliseconds within) {
    if (is_over_) return {};
    ::kill(pid_, SIGTERM);
    if (!has_ended(within)) {
        ::kill(pid_, SIGKILL);
        static_cast<void>(has_ended(kStopMax));
        return fail(Errc::io, "the server did not stop: " + end_of_log());
    }
    if (WIFEXITED(status_) && WEXITSTATUS(status_) == 0) return {};
    return fail(Errc::io, "the server did not end well: " + end_of_log());
}

std::string Child::end_of_log() const {
    std::ifstream in(log_, std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (all.empty()) return "it says nothing";
    return all.size() <= kLogEnd ? all : "..." + all.substr(all.size() - kLogEnd);
}

Result<std::string> own_program() {
    std::array<char, 4096> path{};
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    if (size <= 0) return tl::make_unexpected(error_of_errno("finding this program"));
    return std::string(path.data(), static_cast<std::size_t>(size));
}

} // namespace doorbuster::stages
