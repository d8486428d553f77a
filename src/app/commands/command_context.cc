#include "app/commands/command_context.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>

namespace doorbuster {

void CommandContext::failed(int code, std::string_view what) {
    err << "doorbuster: " << what << '\n';
    exit_code = code;
}

void CommandContext::failed(const Error& error) {
    const std::string what = error.context.empty() ? error.message() : error.context;
    failed(error.is(Errc::invalid) ? kExitUsage : kExitFailed, what);
}

int run_command_line(CLI::App& app, CommandContext& context, std::vector<std::string> arguments) {
    std::ranges::reverse(arguments); // the order in which CLI11 wants them
    try {
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error, context.out, context.err);
        return code == 0 ? kExitDone : kExitUsage; // --help and --version come this way, too
    }
    return context.exit_code;
}

} // namespace doorbuster
