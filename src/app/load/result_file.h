// A benchmark's result as files: one for people, one for programs, each with a head that says where
// its figures come from. Values; any thread.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace doorbuster {

struct ResultHead {
    std::string machine;
    std::string version;    // of the program that is measured
    std::string command;    // as it was typed
    std::string started_at; // RFC 3339, UTC
};

// Of a benchmark that begins now, on this machine.
[[nodiscard]] ResultHead result_head(std::string version, std::string command);

// The head's members of a JSON object, without the braces around them.
[[nodiscard]] std::string head_json(const ResultHead& head);
// The head as items of a list.
[[nodiscard]] std::string head_markdown(const ResultHead& head);

// The two files of write_result, for people and for programs.
[[nodiscard]] std::pair<std::string, std::string> result_paths(const std::string& path);
// PATH.md and PATH.json; a .md or .json at the end of `path` is left out. Errc::io.
[[nodiscard]] Result<void> write_result(const std::string& path, const std::string& markdown,
                                        const std::string& json);

} // namespace doorbuster
