#include "app/stages/sampler.h"

#include <algorithm>
#include <utility>

namespace doorbuster::stages {
namespace {

using Steady = std::chrono::steady_clock;

// Often at first, for a load that is over in a moment.
constexpr std::chrono::milliseconds kSampleEvery{100};
constexpr std::chrono::milliseconds kFirstSampleEvery{20};
constexpr std::chrono::seconds kFirstSamplesFor{3};

double seconds_between(Steady::time_point from, Steady::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

double orders_of(const MetricsPage& page, std::string_view status) {
    return page.sum("doorbuster_orders", R"(sale="stage")", status);
}

} // namespace

Result<MetricsPage> read_metrics(HttpClient& http) {
    auto reply = http.get("/metrics");
    if (!reply) return tl::make_unexpected(std::move(reply.error()));
    return MetricsPage::parse(reply->body);
}

Sampler::Sampler(HttpClient http) : http_(std::move(http)) {
    take();
    thread_ = std::thread([this] { work(); });
}

void Sampler::note(const LoadProgress& progress) {
    const std::lock_guard lock(mutex_);
    progress_ = progress;
}

std::vector<Sample> Sampler::finish(Steady::time_point began) {
    stop();
    const double early = seconds_between(start_, began);
    for (Sample& sample : samples_) sample.seconds -= early;
    const auto first = std::ranges::find_if(samples_, [](auto& s) { return s.seconds >= 0; });
    if (first - samples_.begin() > 1) samples_.erase(samples_.begin(), first - 1);
    if (!samples_.empty()) samples_[0].seconds = std::max(samples_[0].seconds, 0.0);
    return std::exchange(samples_, {});
}

void Sampler::stop() {
    is_over_.store(true);
    if (thread_.joinable()) thread_.join();
}

void Sampler::work() {
    while (!is_over_.load()) {
        const bool is_young = Steady::now() < start_ + kFirstSamplesFor;
        // poll: a curve over time
        std::this_thread::sleep_for(is_young ? kFirstSampleEvery : kSampleEvery);
        take(); // once more after the end
    }
}

void Sampler::take() {
    const auto page = read_metrics(http_);
    if (!page) return;
    const std::lock_guard lock(mutex_);
    Sample sample;
    sample.seconds = seconds_between(start_, Steady::now());
    sample.connections = page->sum("doorbuster_store_connections", R"(state="in_use")");
    sample.connections_max = page->sum("doorbuster_store_connections_in_use_max");
    sample.orders = orders_of(*page, R"(status="confirmed")");
    sample.stored = sample.orders + orders_of(*page, R"(status="refused")");
    sample.attempts = static_cast<double>(progress_.attempts);
    sample.yes = static_cast<double>(progress_.accepted);
    samples_.push_back(sample);
}

} // namespace doorbuster::stages
