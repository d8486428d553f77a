// What every command is given, and how the command line is run: main() fills a CommandContext, adds
// the commands that it has to a CLI::App, and returns what run_command_line() returns. Owned and
// used by the main thread.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/commands/audit_row.h"
#include "app/commands/order_row.h"
#include "app/config.h"
#include "app/table.h"
#include "base/result.h"

namespace CLI {
class App;
}

namespace doorbuster {

// The contract's exit status.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1; // it failed, or the audit found a violation
inline constexpr int kExitUsage = 2;  // the command line or the configuration is wrong

// Reads the books without a server, read-only. One sale, or all; Errc::not_found for an unknown
// one.
using OfflineAudit = std::function<Result<std::vector<AuditRow>>(
    const Config& config, const std::optional<std::string>& sale)>;
// Takes one order; an error ends the export, as its own.
using OrderSink = std::function<Result<void>(const OrderRow& order)>;
// Gives a sale's orders to the sink, oldest first, a few at a time in memory.
using OfflineExport = std::function<Result<void>(const Config& config, const std::string& sale,
                                                 const OrderSink& sink)>;

struct CommandContext {
    std::ostream& out; // what the command was asked for, and nothing else
    std::ostream& err; // what went wrong, and progress
    Environment environment = {};
    Terminal out_is_terminal = Terminal::no;
    Terminal err_is_terminal = Terminal::no;
    OfflineAudit offline_audit = {};
    OfflineExport offline_export = {};
    int exit_code = kExitDone;
    std::vector<std::string> arguments = {}; // as given; run_command_line sets them
    std::istream* in = nullptr;              // answers to questions; none: none are asked
    Terminal in_is_terminal = Terminal::no;

    // Says what went wrong, each line of it with the program's name, and sets the exit status.
    void failed(int code, std::string_view what);
    // The same for an error: kExitUsage for Errc::invalid, else kExitFailed.
    void failed(const Error& error);
    [[nodiscard]] Colour colour() const { return colour_for(out_is_terminal, environment); }
    // The command line for a record of what was done: quoted for a shell, without the admin token.
    [[nodiscard]] std::string command_line() const;
};

// Parses the arguments (without the program's name), runs the command that they name, and returns
// the exit status: kExitUsage, with the reason on `err`, when they are wrong; at least kExitFailed,
// and a word about it, when `out` did not take everything that was printed.
[[nodiscard]] int run_command_line(CLI::App& app, CommandContext& context,
                                   std::vector<std::string> arguments);

} // namespace doorbuster
