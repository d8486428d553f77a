// Is this process ready to sell, and what is it waiting for? Any thread may set and read.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace doorbuster {

class Readiness {
public:
    struct Backend {
        std::string name;
        std::function<std::string()> state; // "up", or what is wrong; called on any core
    };
    explicit Readiness(std::vector<Backend> backends) : backends_(std::move(backends)) {}

    // The inventory is installed: sales are known and sell.
    void set_recovered() { recovered_.store(true, std::memory_order_release); }
    void set_stopping() { stopping_.store(true, std::memory_order_release); }

    [[nodiscard]] bool has_recovered() const { return recovered_.load(std::memory_order_acquire); }
    [[nodiscard]] bool is_stopping() const { return stopping_.load(std::memory_order_acquire); }
    [[nodiscard]] const std::vector<Backend>& backends() const { return backends_; }

private:
    std::vector<Backend> backends_;
    std::atomic<bool> recovered_{false};
    std::atomic<bool> stopping_{false};
};

} // namespace doorbuster
