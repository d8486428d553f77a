#include "app/commands/audit_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/commands/books_source.h"
#include "app/commands/json_read.h"
#include "domain/ids.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

struct AuditFlags {
    BooksSource source;
    std::string sale;
    bool as_json = false;
};

Result<AuditRow> ask_one(ServerClient& server, const std::string& sale) {
    const auto answer = server.get("/v1/sales/" + url_escaped(sale) + "/audit");
    if (!answer) return tl::unexpected<Error>(answer.error());
    return audit_from_json(*answer);
}

Result<std::vector<AuditRow>> ask_server(const AuditFlags& flags, const Environment& environment) {
    auto server = ServerClient::create(flags.source.server, environment);
    if (!server) return tl::unexpected<Error>(server.error());
    std::vector<std::string> sales;
    if (!flags.sale.empty()) {
        sales.push_back(flags.sale);
    } else {
        const auto listed =
            server->for_each("/v1/sales", [&](const json::value& sale) -> Result<void> {
                JsonReader in(sale, "a sale");
                sales.push_back(in.text("id"));
                if (!in.complete()) return fail(Errc::io, in.problem());
                return {};
            });
        if (!listed) return tl::unexpected<Error>(listed.error());
    }
    std::vector<AuditRow> rows;
    for (const std::string& sale : sales) {
        auto row = ask_one(*server, sale);
        if (!row) return tl::unexpected<Error>(row.error());
        rows.push_back(std::move(*row));
    }
    return rows;
}

Result<std::vector<AuditRow>> read_books(const AuditFlags& flags, const CommandContext& context) {
    const auto config = flags.source.load(context.environment);
    if (!config) return tl::unexpected<Error>(config.error());
    if (!context.offline_audit) {
        return fail(Errc::unavailable, "this build reads no store: use --url");
    }
    return context.offline_audit(*config,
                                 flags.sale.empty() ? std::nullopt : std::optional(flags.sale));
}

void run_audit(CommandContext& context, const AuditFlags& flags) {
    const auto rows = flags.source.is_offline() ? read_books(flags, context)
                                                : ask_server(flags, context.environment);
    if (!rows) return context.failed(rows.error());
    if (flags.as_json) {
        context.out << audit_as_json_text(*rows) << '\n';
    } else {
        context.out << audit_as_text(*rows, context.colour());
    }
    if (!all_balanced(*rows)) context.exit_code = kExitFailed;
}

} // namespace

void add_audit_command(CLI::App& app, CommandContext& context) {
    CLI::App* audit = app.add_subcommand("audit", "Do the books balance?");
    audit->footer("Exit status 1 when they do not.\n"
                  "Examples:\n"
                  "  doorbuster audit\n"
                  "  doorbuster audit --data ./data --sale shoes --json");
    // Shared, because CLI11 holds pointers into it and the callback reads it.
    const auto flags = std::make_shared<AuditFlags>();
    add_books_options(*audit, flags->source);
    audit->add_option("--sale", flags->sale, "Only this sale")
        ->type_name("ID")
        ->check(CLI::Validator(
            [](const std::string& text) {
                return is_sale_id(text) ? std::string() : "\"" + text + "\" is not a sale's id";
            },
            ""));
    audit->add_flag("--json", flags->as_json, "Print one JSON document, a list");
    audit->callback([&context, flags] { run_audit(context, *flags); });
}

} // namespace doorbuster
