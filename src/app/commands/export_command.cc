#include "app/commands/export_command.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <memory>
#include <ostream>

#include "app/commands/books_source.h"
#include "domain/ids.h"

namespace doorbuster {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedraw{200}; // of a terminal's line
constexpr std::chrono::seconds kLine{5};          // between lines elsewhere
constexpr std::int64_t kLookEvery = 1'000;        // orders between two looks at the clock

struct ExportFlags {
    BooksSource source;
    std::string sale;
    std::string format = "csv";
    bool as_json = false;
};

// Says on `err` how far the export is. Silent where the orders go to the same terminal.
class Progress {
public:
    explicit Progress(CommandContext& context)
        : context_(context),
          redraws_(context.err_is_terminal == Terminal::yes),
          silent_(redraws_ && context.out_is_terminal == Terminal::yes),
          last_(Clock::now()) {}

    void at(std::int64_t orders) {
        if (silent_ || orders % kLookEvery != 0) return;
        const auto now = Clock::now();
        if (now - last_ < (redraws_ ? Clock::duration(kRedraw) : Clock::duration(kLine))) return;
        last_ = now;
        drawn_ = redraws_;
        context_.err << (redraws_ ? "\r" : "") << grouped(orders) << " orders"
                     << (redraws_ ? "" : "\n") << std::flush;
    }
    void end() {
        if (drawn_) context_.err << "\r\x1b[K" << std::flush;
    }

private:
    CommandContext& context_;
    bool redraws_;
    bool silent_;
    bool drawn_ = false;
    Clock::time_point last_;
};

Result<void> export_from_server(const ExportFlags& flags, const Environment& environment,
                                const OrderSink& sink) {
    auto server = ServerClient::create(flags.source.server, environment);
    if (!server) return tl::unexpected<Error>(server.error());
    const std::string path = "/v1/sales/" + url_escaped(flags.sale) + "/orders";
    return server->for_each(path, [&](const json::value& item) -> Result<void> {
        const auto order = order_from_json(item);
        if (!order) return tl::unexpected<Error>(order.error());
        return sink(*order);
    });
}

Result<void> export_from_books(const ExportFlags& flags, const CommandContext& context,
                               const OrderSink& sink) {
    const auto config = flags.source.load(context.environment);
    if (!config) return tl::unexpected<Error>(config.error());
    if (!context.offline_export) {
        return fail(Errc::unavailable, "this build reads no store: use --url");
    }
    return context.offline_export(*config, flags.sale, sink);
}

void run_export(CommandContext& context, const ExportFlags& flags) {
    OrderStream stream(context.out, flags.as_json           ? ExportFormat::json
                                    : flags.format == "csv" ? ExportFormat::csv
                                                            : ExportFormat::ndjson);
    Progress progress(context);
    bool begun = false;
    // The header waits for the first order, so that a failed export leaves nothing behind that
    // looks like an empty one.
    const auto begin = [&]() -> Result<void> {
        if (begun) return {};
        begun = true;
        return stream.begin();
    };
    const OrderSink sink = [&](const OrderRow& order) -> Result<void> {
        if (auto done = begin(); !done) return done;
        auto written = stream.write(order);
        progress.at(stream.count());
        return written;
    };
    Result<void> done = flags.source.is_offline()
                            ? export_from_books(flags, context, sink)
                            : export_from_server(flags, context.environment, sink);
    if (done) done = begin();
    if (done) done = stream.end();
    progress.end();
    if (done) return;
    context.exit_code = kExitFailed;
    if (!context.out.good()) return; // run_command_line says so
    context.failed(done.error());
    if (begun) {
        context.err << "doorbuster: the export is not complete; it ends after "
                    << grouped(stream.count()) << " orders\n";
    }
}

} // namespace

Result<void> OrderStream::check() const {
    if (out_.good()) return {};
    return fail(Errc::io, "cannot write the output");
}

Result<void> OrderStream::begin() {
    switch (format_) {
    case ExportFormat::csv: out_ << csv_header(); break;
    case ExportFormat::ndjson: break;
    case ExportFormat::json: out_ << '['; break;
    }
    return check();
}

Result<void> OrderStream::write(const OrderRow& order) {
    switch (format_) {
    case ExportFormat::csv: out_ << order_as_csv(order); break;
    case ExportFormat::ndjson: out_ << order_as_json(order) << '\n'; break;
    case ExportFormat::json: out_ << (count_ == 0 ? "" : ",\n") << order_as_json(order); break;
    }
    ++count_;
    return check();
}

Result<void> OrderStream::end() {
    if (format_ == ExportFormat::json) out_ << "]\n";
    out_ << std::flush;
    return check();
}

void add_export_command(CLI::App& app, CommandContext& context) {
    CLI::App* command = app.add_subcommand("export", "Write out what is in the store");
    command->require_subcommand(1);
    CLI::App* orders = command->add_subcommand("orders", "A sale's orders, oldest first");
    const std::string examples =
        "Examples:\n"
        "  doorbuster export orders --sale shoes --format csv > orders.csv\n"
        "  doorbuster export orders --sale shoes --format ndjson --data ./data";
    command->footer(examples);
    orders->footer(examples);
    // Shared, because CLI11 holds pointers into it and the callback reads it.
    const auto flags = std::make_shared<ExportFlags>();
    orders->add_option("--sale", flags->sale, "The sale")
        ->type_name("ID")
        ->required()
        ->check(CLI::Validator(
            [](const std::string& text) {
                return is_sale_id(text) ? std::string() : "\"" + text + "\" is not a sale's id";
            },
            ""));
    CLI::Option* format = orders->add_option("--format", flags->format, "csv or ndjson (csv)")
                              ->type_name("FORMAT")
                              ->check(CLI::IsMember({"csv", "ndjson"}).description(""));
    CLI::Option* as_json =
        orders->add_flag("--json", flags->as_json, "One JSON document, a list, instead");
    as_json->excludes(format);
    add_books_options(*orders, flags->source);
    orders->callback([&context, flags] { run_export(context, *flags); });
}

} // namespace doorbuster
