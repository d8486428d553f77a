#include "app/commands/command_context.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <ostream>

#include "app/config_keys.h"

namespace doorbuster {
namespace {

constexpr std::string_view kTokenOption = "--admin-token";
constexpr std::string_view kMask = "********";

using Commands = std::vector<const CLI::App*>;

Commands commands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

// What is wrong with the words that name the command; empty: nothing. CLI11 would only say that a
// subcommand is required.
std::string wrong_command(const CLI::App& app, const std::vector<std::string>& arguments) {
    const CLI::App* current = &app;
    std::string path; // of `current`, without the program's name
    for (std::size_t i = 0; current->get_require_subcommand_min() > 0; ++i) {
        const Commands commands = commands_of(*current);
        std::vector<std::string> names;
        for (const CLI::App* command : commands) names.push_back(command->get_name());
        const std::string help =
            fmt::format("'doorbuster {}{}--help' says more", path, path.empty() ? "" : " ");
        if (i == arguments.size()) {
            return fmt::format("name a command{}{}: {}; {}", path.empty() ? "" : " of ", path,
                               fmt::join(names, ", "), help);
        }
        const std::string& word = arguments[i];
        if (word.starts_with('-')) {
            if (current->get_option_no_throw(word) != nullptr) return {}; // --help, --version
            return fmt::format("unknown option '{}' before the command. The commands are {}; {}",
                               word, fmt::join(names, ", "), help);
        }
        path += path.empty() ? word : ' ' + word;
        if (const auto known = std::ranges::find(names, word); known != names.end()) {
            current = commands[static_cast<std::size_t>(known - names.begin())];
            continue;
        }
        const auto nearest = std::ranges::min_element(
            names, {}, [&](const std::string& name) { return edit_distance(word, name); });
        return fmt::format("unknown command '{}'; the nearest known one is '{}'. There are {}; {}",
                           path, *nearest, fmt::join(names, ", "), help);
    }
    return {};
}

std::string quoted(const std::string& word) {
    constexpr std::string_view kPlain = "-_./:=,+@%";
    const bool is_plain = !word.empty() && std::ranges::all_of(word, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kPlain.find(c) != std::string_view::npos;
    });
    if (is_plain) return word;
    std::string out = "'";
    for (const char c : word) {
        if (c == '\'') {
            out += R"('\'')";
        } else {
            out += c;
        }
    }
    return out + '\'';
}

int parse_and_run(CLI::App& app, CommandContext& context) {
    if (const std::string wrong = wrong_command(app, context.arguments); !wrong.empty()) {
        context.failed(kExitUsage, wrong);
        return kExitUsage;
    }
    std::vector<std::string> reversed(context.arguments.rbegin(), context.arguments.rend());
    try {
        app.parse(std::move(reversed)); // the order in which CLI11 wants them
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error, context.out, context.err);
        return code == 0 ? kExitDone : kExitUsage; // --help and --version come this way, too
    }
    return context.exit_code;
}

} // namespace

void CommandContext::failed(int code, std::string_view what) {
    exit_code = code;
    while (!what.empty()) {
        const std::size_t end = std::min(what.find('\n'), what.size());
        err << "doorbuster: " << what.substr(0, end) << '\n';
        what.remove_prefix(std::min(end + 1, what.size()));
    }
}

void CommandContext::failed(const Error& error) {
    const std::string what = error.context.empty() ? error.message() : error.context;
    failed(error.is(Errc::invalid) ? kExitUsage : kExitFailed, what);
}

std::string CommandContext::command_line() const {
    std::string out = "doorbuster";
    bool is_token = false; // the next word
    for (const std::string& word : arguments) {
        const bool holds_token =
            word.starts_with(kTokenOption) && word.substr(kTokenOption.size()).starts_with('=');
        out += ' ';
        if (is_token) {
            out += kMask;
        } else if (holds_token) {
            out.append(kTokenOption).append("=").append(kMask);
        } else {
            out += quoted(word);
        }
        is_token = word == kTokenOption;
    }
    return out;
}

int run_command_line(CLI::App& app, CommandContext& context, std::vector<std::string> arguments) {
    context.arguments = std::move(arguments);
    const int code = parse_and_run(app, context);
    context.out.flush();
    if (context.out.good()) return code;
    context.failed(kExitFailed, "cannot write to standard output: what it got is not complete");
    return std::max(code, kExitFailed);
}

} // namespace doorbuster
