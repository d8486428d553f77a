#include "app/logging.h"

#include <boost/json/serialize.hpp>
#include <boost/json/string_view.hpp>
#include <chrono>
#include <memory>
#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <thread>

namespace doorbuster {
namespace {

constexpr std::size_t kQueueLines = 8'192;
constexpr std::chrono::milliseconds kFinishMax{1'000};
constexpr std::chrono::milliseconds kFinishPause{2};

// %* in the pattern: the message as a JSON string.
class JsonMessage final : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
                spdlog::memory_buf_t& out) override {
        const std::string quoted = boost::json::serialize(
            boost::json::string_view(message.payload.data(), message.payload.size()));
        out.append(quoted.data(), quoted.data() + quoted.size());
    }
    [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<JsonMessage>();
    }
};

spdlog::level::level_enum level_of(OutputConfig::LogLevel level) {
    switch (level) {
    case OutputConfig::LogLevel::trace: return spdlog::level::trace;
    case OutputConfig::LogLevel::debug: return spdlog::level::debug;
    case OutputConfig::LogLevel::info: return spdlog::level::info;
    case OutputConfig::LogLevel::warn: return spdlog::level::warn;
    case OutputConfig::LogLevel::error: return spdlog::level::err;
    case OutputConfig::LogLevel::off: return spdlog::level::off;
    }
    return spdlog::level::info;
}

} // namespace

void set_up_logging(const OutputConfig& config) {
    // Behind a bounded queue: a reader of our stderr that has stopped reading costs log lines,
    // never a core. The oldest lines go first.
    spdlog::init_thread_pool(kQueueLines, 1);
    auto logger = std::make_shared<spdlog::async_logger>(
        "doorbuster", std::make_shared<spdlog::sinks::stderr_sink_mt>(), spdlog::thread_pool(),
        spdlog::async_overflow_policy::overrun_oldest);
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    switch (config.log_format) {
    case OutputConfig::LogFormat::text:
        formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v");
        break;
    case OutputConfig::LogFormat::json:
        formatter->add_flag<JsonMessage>('*').set_pattern(
            R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})");
        break;
    }
    logger->set_formatter(std::move(formatter));
    logger->set_level(level_of(config.log_level));
    spdlog::set_default_logger(std::move(logger));
}

void finish_logging() {
    // Not spdlog::shutdown(): other threads may still log, and would find no logger.
    const auto pool = spdlog::thread_pool();
    const auto end = std::chrono::steady_clock::now() + kFinishMax;
    while (pool && pool->queue_size() > 0 && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(kFinishPause);
    }
    std::this_thread::sleep_for(kFinishPause); // the line that has just left the queue
}

} // namespace doorbuster
