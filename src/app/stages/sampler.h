// What a server shows of itself while a load runs, many times a second, and what of it can be told
// once the load is over. Sampler: its owner's thread, and one of its own that looks.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "app/commands/http_client.h"
#include "app/load/load.h"
#include "app/stages/metrics_page.h"
#include "app/stages/stages.h"
#include "base/result.h"

namespace doorbuster::stages {

inline constexpr const char* kSale = "stage"; // whose orders are counted

// Errors: those of HttpClient.
[[nodiscard]] Result<MetricsPage> read_metrics(HttpClient& http);

class Sampler {
public:
    // The first sample is taken when this returns: what there was before the load.
    explicit Sampler(HttpClient http);
    ~Sampler() { stop(); }
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    // How far the load is, for the samples from now on.
    void note(const LoadProgress& progress);
    // Their times count from `began`; the last one before is the one of second 0.
    [[nodiscard]] std::vector<Sample> finish(std::chrono::steady_clock::time_point began);

private:
    void stop();
    void work();
    void take();

    HttpClient http_; // the thread's, once it runs
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::atomic<bool> is_over_{false};
    std::mutex mutex_; // guards the next
    LoadProgress progress_;
    std::vector<Sample> samples_;
    std::thread thread_;
};

} // namespace doorbuster::stages
