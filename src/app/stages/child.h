// A `doorbuster serve` of our own, in a process of its own: started with exactly the settings that
// it is given, known to be ready, and ended with its owner, however that ends. One thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace doorbuster::stages {

class Child {
public:
    // Environment variables beside this process's own, of which those of doorbuster's settings are
    // left out.
    using Settings = std::vector<std::pair<std::string, std::string>>;

    // Runs `program serve --json` and waits until it says that it is ready. `log`: the file that
    // gets what it logs; its end is in the error when the server does not start. Errc::unavailable;
    // also when `stop` is set meanwhile.
    [[nodiscard]] static Result<std::unique_ptr<Child>> start(const std::string& program,
                                                              const Settings& settings,
                                                              const std::string& log,
                                                              const std::atomic<bool>& stop);
    ~Child(); // kills it, if it is still there
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] const std::string& url() const { return url_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    // The contract's ten seconds, and a busy machine.
    static constexpr std::chrono::milliseconds kStopMax{12'000};
    // SIGTERM, and SIGKILL when that does not help in time. Errc::io: it did not end well; its
    // log's end is in the error.
    [[nodiscard]] Result<void> stop(std::chrono::milliseconds within = kStopMax);

private:
    Child(pid_t pid, int out, std::string log) : pid_(pid), out_(out), log_(std::move(log)) {}
    [[nodiscard]] Result<void> wait_until_ready(const std::atomic<bool>& stop);
    [[nodiscard]] std::string end_of_log() const;
    // True when it has ended; its status is in status_ then.
    [[nodiscard]] bool has_ended(std::chrono::milliseconds within);

    pid_t pid_;
    int out_; // the end of its standard output that is ours
    std::string log_;
    std::string url_;
    int status_ = 0;
    bool is_over_ = false;
};

// This program's own file.
[[nodiscard]] Result<std::string> own_program();

} // namespace doorbuster::stages
