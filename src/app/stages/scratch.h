// What one run leaves on the user's own engines, and takes away again: a schema or database, keys
// under a prefix of its own, a topic. Blocking; the main thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "adapters/sql/scratch_database.h"
#include "app/scratch_folder.h"
#include "base/result.h"
#include "domain/time.h"

namespace doorbuster::stages {

// The user's engines, as settings name them; empty: none (SQLite, no Redis, no Kafka).
struct Engines {
    std::string store;
    std::string redis;
    std::string kafka; // brokers, separated by commas
};

class Scratch {
public:
    // `name`: of what is made: letters, digits, '_' and '-'.
    [[nodiscard]] static Result<std::unique_ptr<Scratch>> make(const Engines& engines,
                                                               const std::string& name);
    ~Scratch(); // cleans up if nobody did; says nothing
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] const std::string& folder() const { return folder_.path(); }
    [[nodiscard]] std::string store_url() const;
    // A prefix of keys, a topic, a group.
    [[nodiscard]] const std::string& name() const { return name_; }

    // Everything, whatever became of the rest: the first error of several. `wait_max`: for Redis,
    // and for Kafka.
    [[nodiscard]] Result<void> clean_up(Duration wait_max);

private:
    Scratch(Engines engines, std::string name, ScratchFolder folder)
        : engines_(std::move(engines)), name_(std::move(name)), folder_(std::move(folder)) {}

    Engines engines_;
    std::string name_;
    ScratchFolder folder_;
    std::unique_ptr<sql::ScratchDatabase> database_;
    bool is_clean_ = false;
};

// Deletes every key that begins with `prefix`. Errc::unavailable, Errc::timeout.
[[nodiscard]] Result<void> delete_keys(const std::string& redis_url, const std::string& prefix,
                                       Duration wait_max);

} // namespace doorbuster::stages
