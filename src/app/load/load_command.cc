#include "app/load/load_command.h"

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "app/load/load.h"
#include "app/load/progress.h"
#include "app/load/report.h"
#include "app/load/stop_signal.h"

namespace doorbuster {
namespace {

constexpr double kDurationMaxMs = 365.0 * 24 * 3600 * 1000;

constexpr const char* kDescription =
    "Send a rush of simulated buyers at a running server and check every answer";

constexpr const char* kFooter = R"(
Every buyer is a distinct user (buyer-000001, buyer-000002, ...), named in X-User-Id, so the server
must run in identity mode "header". Attempts of a buyer come in a random order among the others',
the same order for the same --seed. A second run against the same sale sends the same buyers; give
it another --user-prefix for new ones. A prefix is for one run at a time.

Without --rate each connection sends its next attempt when the last one is answered. With --rate
attempts are due on a fixed schedule and latency counts from when an attempt was due, so that a
stall of the server is not hidden.

A run ends with the last attempt, with --duration, or when nothing but failures came for 10 s (for
--timeout, if that is longer).

In the result, attempts = accepted + replayed + rejected + errors. Rejected are the refusals of the
contract, by code; a retry with its key is no attempt of its own. Errors of the kind "books" come on
top: they are about answers that are good one by one and cannot all be true.

Checked: the status, code, fields and outcome headers of each answer; that no order id
is given twice; that no buyer gets more than the sale's limit; with --keys, that each key has one
order and one answer; and, before and after, that the sale's own figures agree with what the buyers
were told. What cannot be explained is an error.

Exit status: 0 all explained, 1 it failed or there were errors, 2 the command line is wrong.

Examples:
  doorbuster load --url http://127.0.0.1:8080 --sale demo --buyers 20000 --attempts-per-buyer 3
  doorbuster load --url http://127.0.0.1:8080 --sale demo --buyers 900000 --rate 20000 --keys
)";

struct LoadFlags {
    LoadOptions options;
    std::string duration;
    std::string timeout = "10s";
    std::string quantity = "1";
    bool json = false;
};

// Errc::invalid in words, or nothing.
std::string take_texts(LoadFlags& flags) {
    if (!flags.duration.empty()) {
        flags.options.duration = parse_duration(flags.duration);
        if (!flags.options.duration) return "--duration: '" + flags.duration + "' is not like 30s";
    }
    const auto timeout = parse_duration(flags.timeout);
    if (!timeout) return "--timeout: '" + flags.timeout + "' is not like 10s";
    flags.options.timeout = *timeout;
    const auto quantity = parse_quantity(flags.quantity);
    if (!quantity) return "--quantity: '" + flags.quantity + "' is not like 2 or 1-3";
    flags.options.quantity_min = quantity->min;
    flags.options.quantity_max = quantity->max;
    return {};
}

void run_command(CommandContext& context, LoadFlags& flags) {
    if (const std::string wrong = take_texts(flags); !wrong.empty()) {
        return context.failed(kExitUsage, wrong);
    }
    const StopSignal stop;
    ProgressLine line;
    const ProgressSink progress = [&line](const LoadProgress& p) { line.show(p); };
    const auto report = run_load(flags.options, stop.flag(), progress);
    line.end();
    if (!report) return context.failed(report.error());
    if (flags.json) {
        context.out << to_json(*report) << '\n';
    } else {
        context.out << to_table(*report);
    }
    context.out.flush();
    context.err << to_remarks(*report);
    if (report->errors_total() > 0) context.exit_code = kExitFailed;
}

} // namespace

void add_load_command(CLI::App& app, CommandContext& context) {
    CLI::App* const command = app.add_subcommand("load", kDescription);
    command->footer(kFooter);
    // The command owns its flags; they live as long as its callback.
    const auto flags = std::make_shared<LoadFlags>();
    LoadOptions& o = flags->options;
    command->add_option("--url", o.url, "The server, http[s]://HOST[:PORT][/PREFIX]")
        ->required()
        ->type_name("URL");
    command
        ->add_option("--also", o.other_urls,
                     "Another server of the same sale; connections are spread over all of them")
        ->type_name("URL")
        ->allow_extra_args(false);
    command->add_option("--sale", o.sale, "The sale's id")->required()->type_name("ID");
    command->add_option("--buyers", o.buyers, "How many distinct buyers")
        ->required()
        ->type_name("N");
    command->add_option("--attempts-per-buyer", o.attempts_per_buyer, "Purchases that each tries")
        ->capture_default_str()
        ->type_name("K");
    command->add_option("--connections", o.connections, "Connections kept open")
        ->capture_default_str()
        ->type_name("C");
    command
        ->add_option("--rate", o.rate,
                     "Open loop: attempts per second, of all connections together")
        ->type_name("R");
    command
        ->add_option("--duration", flags->duration,
                     "End after this long even if attempts are left: 30s, 5m")
        ->type_name("D");
    command->add_flag("--keys", o.keys,
                      "Send an Idempotency-Key per buyer: later attempts of an accepted buyer must "
                      "get the same order, and broken connections are tried again for 30 s");
    command
        ->add_option("--quantity", flags->quantity,
                     "Units a purchase, or a range such as 1-3 to draw from")
        ->capture_default_str()
        ->type_name("N[-M]");
    command->add_option("--user-prefix", o.user_prefix, "User ids are this and a number")
        ->capture_default_str()
        ->type_name("TEXT");
    command->add_option("--seed", o.seed, "Of the random order and quantities")
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--timeout", flags->timeout, "For a connection and for an answer")
        ->capture_default_str()
        ->type_name("D");
    command->add_option("--threads", o.threads, "Threads that send; they share the machine")
        ->capture_default_str()
        ->type_name("N");
    command
        ->add_option("--ca-file", o.ca_file,
                     "https: trust the certificates in this PEM file, not the system's")
        ->type_name("FILE");
    command->add_flag("--insecure", o.insecure, "https: take any certificate");
    command->add_flag("--json", flags->json, "One JSON document on standard output");
    command->callback([flags, &context] { run_command(context, *flags); });
}

std::optional<Duration> parse_duration(std::string_view text) {
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
    if (error != std::errc{}) return std::nullopt;
    const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
    constexpr std::array<std::pair<std::string_view, double>, 5> kUnitsMs{
        {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}}};
    for (const auto& [name, ms] : kUnitsMs) {
        if (name != unit) continue;
        const double out = std::ceil(number * ms);
        if (!(out >= 1) || out > kDurationMaxMs) return std::nullopt;
        return Duration(static_cast<std::int64_t>(out));
    }
    return std::nullopt;
}

std::optional<QuantityRange> parse_quantity(std::string_view text) {
    QuantityRange out;
    const char* const end = text.data() + text.size();
    auto read = std::from_chars(text.data(), end, out.min);
    if (read.ec != std::errc{}) return std::nullopt;
    out.max = out.min;
    if (read.ptr != end) {
        if (*read.ptr != '-') return std::nullopt;
        read = std::from_chars(read.ptr + 1, end, out.max);
        if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
    }
    if (out.min < 1 || out.max < out.min || out.max > kQuantityMax) return std::nullopt;
    return out;
}

} // namespace doorbuster
