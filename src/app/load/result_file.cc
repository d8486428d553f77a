#include "app/load/result_file.h"

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <string_view>

#include "app/load/machine.h"
#include "domain/time.h"

namespace doorbuster {
namespace {

std::string json_text(const std::string& text) {
    return boost::json::serialize(boost::json::string(text));
}

Result<void> write_file(const std::string& name, const std::string& text) {
    errno = 0;
    std::ofstream out(name, std::ios::trunc);
    out << text;
    out.close();
    if (out) return {};
    const std::string why = errno == 0 ? "" : std::string(": ") + std::strerror(errno);
    return fail(Errc::io, "writing '" + name + "'" + why);
}

} // namespace

ResultHead result_head(std::string version, std::string command) {
    const auto now = std::chrono::floor<Duration>(std::chrono::system_clock::now());
    return {describe_machine(), std::move(version), std::move(command), to_rfc3339(now)};
}

std::string head_json(const ResultHead& head) {
    return fmt::format(R"("machine":{},"version":{},"command":{},"started_at":{})",
                       json_text(head.machine), json_text(head.version), json_text(head.command),
                       json_text(head.started_at));
}

std::string head_markdown(const ResultHead& head) {
    return fmt::format("- machine: {}\n- version: {}\n- command: `{}`\n- started: {}\n",
                       head.machine, head.version, head.command, head.started_at);
}

std::pair<std::string, std::string> result_paths(const std::string& path) {
    std::string base = path;
    for (const std::string_view ending : {".md", ".json"}) {
        if (base.ends_with(ending)) base.resize(base.size() - ending.size());
    }
    return {base + ".md", base + ".json"};
}

Result<void> write_result(const std::string& path, const std::string& markdown,
                          const std::string& json) {
    const auto [for_people, for_programs] = result_paths(path);
    if (auto done = write_file(for_people, markdown); !done) return done;
    return write_file(for_programs, json + '\n');
}

} // namespace doorbuster
