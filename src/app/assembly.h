// The one place that wires: from the settings to a running engine. Owned by the main thread, which
// opens it, starts it and stops it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "app/config.h"
#include "base/result.h"

namespace doorbuster {

class Assembly {
public:
    // Takes the data folder, opens store and log, binds the port. Nothing runs yet. Errors say what
    // to do. `on_fatal` must end the process: it is called when going on would break a promise.
    [[nodiscard]] static Result<std::unique_ptr<Assembly>>
    open(const Config& config, std::function<void(const Error&)> on_fatal);
    ~Assembly();
    Assembly(const Assembly&) = delete;
    Assembly& operator=(const Assembly&) = delete;

    // Starts all threads; the port answers from here on, purchases once the rebuild is done.
    void start();
    // Waits up to `at_most` for the rebuild of all sales. Errc::timeout: it is still going on.
    [[nodiscard]] Result<std::size_t> wait_until_ready(std::chrono::milliseconds at_most);
    // Stops accepting, answers what is in flight, writes what is durable to the store, ends all
    // threads. False: some requests had to be cut off.
    bool stop();

    [[nodiscard]] std::string url() const; // "http://127.0.0.1:8080"
    // For people: which backend is not up, and why.
    [[nodiscard]] std::string waiting_for() const;

private:
    struct Parts;
    explicit Assembly(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

// The file that `store.url` names; Errc::invalid when it names none.
[[nodiscard]] Result<std::string> sqlite_path_of(const Config& config);
// What the order store is opened with: that file, or the URL as it stands.
[[nodiscard]] std::string store_url_of(const Config& config);

} // namespace doorbuster
