#include "app/logging.h"

#include <boost/json/serialize.hpp>
#include <boost/json/string_view.hpp>
#include <memory>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace doorbuster {
namespace {

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
    auto logger = std::make_shared<spdlog::logger>(
        "doorbuster", std::make_shared<spdlog::sinks::stderr_sink_mt>());
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
    logger->flush_on(spdlog::level::trace); // a line is out before a crash can eat it
    spdlog::set_default_logger(std::move(logger));
}

} // namespace doorbuster
