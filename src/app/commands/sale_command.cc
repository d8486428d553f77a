#include "app/commands/sale_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <deque>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <ostream>

#include "app/commands/json_read.h"
#include "app/commands/json_table.h"
#include "app/commands/server_client.h"
#include "domain/ids.h"
#include "domain/sale.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

constexpr std::int64_t kPaymentTimeoutMax_s = 365LL * 24 * 3'600; // more is a typing error
constexpr std::size_t kJournalShown = 20;                         // a screen of them

// The flags of one subcommand.
struct SaleFlags {
    ServerOptions server;
    bool as_json = false;
    std::string id;
    std::string title;
    Units stock = 0;
    std::optional<Units> per_user_limit;
    std::string starts_at = "now";
    std::string ends_at = "none";
    std::optional<std::int64_t> price;
    std::string currency;
    std::string payment_timeout;
    std::string by; // extend
    std::string journal = std::to_string(kJournalShown);
    Units add = 0;
    std::string idempotency_key;
};

std::string check_sale_id(const std::string& text) {
    return is_sale_id(text) ? ""
                            : fmt::format("\"{}\" is not a sale's id: a-z, 0-9 and -, not "
                                          "starting with -, at most 63 characters",
                                          text);
}

std::string check_title(const std::string& text) {
    const auto characters = std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    const bool fits = characters >= 1 && static_cast<std::size_t>(characters) <= kTitleMax;
    return fits ? "" : fmt::format("a title has 1 to {} characters", kTitleMax);
}

std::string check_start(const std::string& text) {
    if (text == "now" || parse_rfc3339(text)) return "";
    return fmt::format("\"{}\" is neither \"now\" nor a time such as 2026-11-27T09:00:00Z", text);
}

std::string check_end(const std::string& text) {
    if (text == "none" || parse_rfc3339(text)) return "";
    return fmt::format("\"{}\" is neither \"none\" nor a time such as 2026-11-27T21:00:00Z", text);
}

std::string check_currency(const std::string& text) {
    const bool fits =
        text.size() == 3 && std::ranges::all_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
    return fits ? "" : fmt::format("\"{}\" is not a currency such as EUR", text);
}

// To write into the body of a change, which knows no "now".
std::string check_time(const std::string& text) {
    if (parse_rfc3339(text)) return "";
    return fmt::format("\"{}\" is not a time such as 2026-11-27T21:00:00Z", text);
}

std::string check_by(const std::string& text) {
    const auto by = parse_seconds(text);
    return by && by->count() > 0 ? "" : fmt::format("\"{}\" is not 90s, 15m, 1h or 1d", text);
}

// The latest so many entries; nullopt: not a number of them.
std::optional<std::size_t> journal_count(const std::string& text) {
    if (text == "all") return SIZE_MAX;
    std::size_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return count;
}

std::string check_journal(const std::string& text) {
    return journal_count(text) ? "" : fmt::format("\"{}\" is not a number or all", text);
}

std::string check_timeout(const std::string& text) {
    return parse_seconds(text) ? "" : fmt::format("\"{}\" is not 0, 90s, 15m, 1h or 1d", text);
}

std::string check_key(const std::string& text) {
    return is_idempotency_key(text) ? "" : "a key has 1 to 255 printable characters";
}

std::string check_add(const std::string& text) {
    return text == "0" || text == "-0" || text == "+0" ? "adding 0 units changes nothing" : "";
}

std::string path_of(const std::string& sale) { return "/v1/sales/" + url_escaped(sale); }

json::object create_body(const SaleFlags& flags) {
    json::object body{{"id", flags.id}, {"title", flags.title}, {"stock", flags.stock}};
    if (flags.per_user_limit) body.emplace("per_user_limit", *flags.per_user_limit);
    if (flags.starts_at != "now") body.emplace("starts_at", flags.starts_at);
    if (flags.ends_at != "none") body.emplace("ends_at", flags.ends_at);
    if (flags.price) body.emplace("price", *flags.price);
    if (!flags.currency.empty()) body.emplace("currency", flags.currency);
    if (!flags.payment_timeout.empty()) {
        body.emplace("payment_timeout_s", parse_seconds(flags.payment_timeout)->count());
    }
    return body;
}

json::object edit_body(const SaleFlags& flags) {
    json::object body;
    if (!flags.title.empty()) body.emplace("title", flags.title);
    if (flags.per_user_limit) body.emplace("per_user_limit", *flags.per_user_limit);
    if (!flags.starts_at.empty()) body.emplace("starts_at", flags.starts_at);
    if (flags.ends_at == "none") {
        body.emplace("ends_at", nullptr);
    } else if (!flags.ends_at.empty()) {
        body.emplace("ends_at", flags.ends_at);
    }
    return body;
}

// A sale's end, moved by so much: from its end, or from now if it has ended.
Result<std::string> later_end(ServerClient& server, const SaleFlags& flags) {
    const auto sale = server.get(path_of(flags.id));
    if (!sale) return tl::unexpected<Error>(sale.error());
    JsonReader in(*sale, "a sale");
    const auto now = parse_rfc3339(in.text("server_time"));
    const auto end_text = in.text_if_any("ends_at");
    if (!in.complete()) return fail(Errc::io, in.problem());
    if (!end_text) {
        return fail(Errc::wrong_state,
                    fmt::format("sale {} has no end that could be moved", flags.id));
    }
    const auto end = parse_rfc3339(*end_text);
    if (!now || !end) return fail(Errc::io, "the answer is not a sale: it has a strange time");
    return to_rfc3339(std::max(*end, *now) + *parse_seconds(flags.by));
}

Result<json::value> extend(ServerClient& server, const SaleFlags& flags) {
    std::string ends_at = flags.ends_at;
    if (ends_at.empty()) {
        auto later = later_end(server, flags);
        if (!later) return tl::unexpected<Error>(later.error());
        ends_at = std::move(*later);
    }
    return server.send("PATCH", path_of(flags.id), json::object{{"ends_at", ends_at}});
}

// The sale, with the latest entries of its journal under "journal".
Result<json::value> show(ServerClient& server, const SaleFlags& flags) {
    auto sale = server.get(path_of(flags.id));
    const std::size_t count = *journal_count(flags.journal);
    if (!sale || count == 0) return sale;
    json::object* object = sale->if_object();
    if (object == nullptr) return fail(Errc::io, "the answer is not a sale");
    std::deque<json::value> latest;
    const auto read = server.for_each(path_of(flags.id) + "/journal",
                                      [&](const json::value& entry) -> Result<void> {
                                          latest.push_back(entry);
                                          if (latest.size() > count) latest.pop_front();
                                          return {};
                                      });
    if (!read) return tl::unexpected<Error>(read.error());
    object->insert_or_assign("journal", json::array(latest.begin(), latest.end()));
    return sale;
}

// "stock: 5 -> 7"; of a new sale what was set.
std::string change_text(const json::object& before, const json::object& after) {
    std::string text;
    for (const auto& [name, value] : after) {
        const json::value* was = before.if_contains(name);
        if (was == nullptr && (value.is_null() || value == false)) continue;
        if (!text.empty()) text += ", ";
        text += spaced(name) + ": ";
        if (was != nullptr) text += words(*was) + " -> ";
        text += words(value);
    }
    return text;
}

Result<std::string> journal_text(const json::array& journal) {
    Table table({{"AT"}, {"WHO"}, {"WHAT"}, {"CHANGE"}});
    for (const json::value& entry : journal) {
        JsonReader in(entry, "an entry of a journal");
        const json::object* before = in.object("before");
        const json::object* after = in.object("after");
        std::vector<std::string> cells = {in.text("at"), in.text("who"), in.text("what")};
        if (!in.complete()) return fail(Errc::io, in.problem());
        cells.push_back(change_text(*before, *after));
        table.add(std::move(cells));
    }
    return table.text(Colour::off);
}

Result<std::string> sale_text(const json::value& sale) {
    JsonReader in(sale, "a sale");
    const std::string id = in.text("id");
    const std::string state = in.text("state");
    if (!in.complete()) return fail(Errc::io, in.problem());
    json::object members = sale.as_object();
    const json::value* journal = members.if_contains("journal");
    if (journal == nullptr || !journal->is_array()) return object_text(members);
    const auto entries = journal_text(journal->as_array());
    if (!entries) return entries;
    members.erase("journal");
    return object_text(members) + "\n" + *entries;
}

using Call = std::function<Result<json::value>(ServerClient& server, const SaleFlags& flags)>;

void run_and_print_sale(CommandContext& context, const SaleFlags& flags, const Call& call) {
    auto server = ServerClient::create(flags.server, context.environment);
    if (!server) return context.failed(server.error());
    const auto sale = call(*server, flags);
    if (!sale) return context.failed(sale.error());
    if (flags.as_json) {
        context.out << json::serialize(*sale) << '\n';
        return;
    }
    const auto text = sale_text(*sale);
    if (!text) return context.failed(text.error());
    context.out << *text;
}

void run_list(CommandContext& context, const SaleFlags& flags) {
    auto server = ServerClient::create(flags.server, context.environment);
    if (!server) return context.failed(server.error());
    using enum Table::Align;
    Table table({{"SALE"},
                 {"STATE"},
                 {"STOCK", right},
                 {"REMAINING", right},
                 {"PER USER", right},
                 {"STARTS AT"},
                 {"ENDS AT"},
                 {"TITLE"}});
    json::array all;
    const auto done = server->for_each("/v1/sales", [&](const json::value& sale) -> Result<void> {
        if (flags.as_json) {
            all.push_back(sale);
            return {};
        }
        JsonReader in(sale, "a sale");
        std::vector<std::string> cells = {in.text("id"),
                                          in.text("state"),
                                          grouped(in.whole("stock")),
                                          grouped(in.whole("remaining")),
                                          grouped(in.whole("per_user_limit")),
                                          in.text_if_any("starts_at").value_or("-"),
                                          in.text_if_any("ends_at").value_or("-"),
                                          in.text("title")};
        if (!in.complete()) return fail(Errc::io, in.problem());
        table.add(std::move(cells));
        return {};
    });
    if (!done) return context.failed(done.error());
    if (flags.as_json) {
        const json::object list{{"items", std::move(all)}, {"next_cursor", nullptr}};
        context.out << json::serialize(list) << '\n';
    } else {
        context.out << table.text(context.colour());
    }
}

// Adds the subcommands one by one.
class SaleCommands {
public:
    SaleCommands(CLI::App& parent, CommandContext& context) : parent_(parent), context_(context) {}

    void add_create();
    void add_list();
    void add_edit();
    void add_extend();
    void add_restock();
    void add_show();
    // A subcommand that only takes the sale's id.
    void add_simple(const char* name, const char* help, const Call& call);

private:
    struct Added {
        CLI::App& command;
        // Shared, because CLI11 holds pointers into it until the callback has run, and the callback
        // itself reads it: whichever goes last frees it.
        std::shared_ptr<SaleFlags> flags;
    };
    Added add(const char* name, const char* help, const std::string& example);
    static void add_id(const Added& added);
    void run(const Added& added, const Call& call);

    CLI::App& parent_;
    CommandContext& context_;
};

SaleCommands::Added SaleCommands::add(const char* name, const char* help,
                                      const std::string& example) {
    CLI::App* command = parent_.add_subcommand(name, help);
    command->footer("Example:\n  doorbuster sale " + example);
    Added added{*command, std::make_shared<SaleFlags>()};
    add_server_options(*command, added.flags->server);
    command->add_flag("--json", added.flags->as_json, "Print one JSON document");
    return added;
}

void SaleCommands::add_id(const Added& added) {
    added.command.add_option("id", added.flags->id, "The sale's id")
        ->required()
        ->check(CLI::Validator(check_sale_id, ""));
}

void SaleCommands::run(const Added& added, const Call& call) {
    added.command.callback([&context = context_, flags = added.flags, call] {
        run_and_print_sale(context, *flags, call);
    });
}

void SaleCommands::add_create() {
    const Added added =
        add("create", "Create a sale; the same again changes nothing",
            "create --id shoes --title \"Shoes\" --stock 1000 --starts-at 2026-11-27T09:00:00Z");
    CLI::App& command = added.command;
    SaleFlags& flags = *added.flags;
    const auto check = [](auto* function) { return CLI::Validator(function, ""); };
    command.add_option("--id", flags.id, "Its name in addresses: a-z, 0-9 and -")
        ->required()
        ->check(check(check_sale_id));
    command.add_option("--title", flags.title, "Its name for people")
        ->required()
        ->check(check(check_title));
    command.add_option("--stock", flags.stock, "Units to sell")
        ->required()
        ->check(CLI::Range(Units{0}, kStockMax));
    command.add_option("--per-user-limit", flags.per_user_limit, "Units one buyer may have (1)")
        ->check(CLI::Range(Units{1}, kPerUserLimitMax));
    command.add_option("--starts-at", flags.starts_at, "now, or a time as in RFC 3339 (now)")
        ->check(check(check_start));
    command.add_option("--ends-at", flags.ends_at, "none, or a time as in RFC 3339 (none)")
        ->check(check(check_end));
    CLI::Option* price =
        command.add_option("--price", flags.price, "Price of a unit in minor units: 1999")
            ->check(CLI::Range(std::int64_t{0}, kPriceMax));
    CLI::Option* currency = command.add_option("--currency", flags.currency, "Currency: EUR")
                                ->check(check(check_currency));
    price->needs(currency);
    currency->needs(price);
    command
        .add_option("--payment-timeout", flags.payment_timeout,
                    "How long a buyer has to pay: 90s, 15m; 0: no payment step (0)")
        ->check(check(check_timeout));
    run(added, [](ServerClient& server, const SaleFlags& given) {
        return server.send("POST", "/v1/sales", create_body(given));
    });
}

void SaleCommands::add_list() {
    const Added added = add("list", "List all sales", "list --json");
    added.command.callback(
        [&context = context_, flags = added.flags] { run_list(context, *flags); });
}

void SaleCommands::add_edit() {
    const Added added = add("edit", "Change a sale's terms; what is not named stays",
                            "edit shoes --title \"Red shoes\" --per-user-limit 2");
    add_id(added);
    CLI::App& command = added.command;
    SaleFlags& flags = *added.flags;
    flags.starts_at.clear();
    flags.ends_at.clear();
    const auto check = [](auto* function) { return CLI::Validator(function, ""); };
    CLI::Option_group* terms = command.add_option_group("terms");
    terms->add_option("--title", flags.title, "Its name for people")->check(check(check_title));
    terms->add_option("--per-user-limit", flags.per_user_limit, "Units one buyer may have")
        ->check(CLI::Range(Units{1}, kPerUserLimitMax));
    terms->add_option("--starts-at", flags.starts_at, "A time as in RFC 3339")
        ->check(check(check_time));
    terms->add_option("--ends-at", flags.ends_at, "none, or a time as in RFC 3339")
        ->check(check(check_end));
    terms->require_option(1, 0);
    run(added, [](ServerClient& server, const SaleFlags& given) {
        return server.send("PATCH", path_of(given.id), edit_body(given));
    });
}

void SaleCommands::add_extend() {
    const Added added =
        add("extend", "Move a sale's end; one that has ended opens again", "extend shoes --by 10m");
    add_id(added);
    SaleFlags& flags = *added.flags;
    flags.ends_at.clear();
    CLI::Option_group* end = added.command.add_option_group("end");
    end->add_option("--ends-at", flags.ends_at, "The new end: a time as in RFC 3339")
        ->check(CLI::Validator(check_time, ""));
    end->add_option("--by", flags.by, "By so much, from its end or from now if it has ended: 10m")
        ->check(CLI::Validator(check_by, ""));
    end->require_option(1);
    run(added, extend);
}

void SaleCommands::add_show() {
    const Added added = add("show", "Show a sale and its journal", "show shoes");
    add_id(added);
    added.command
        .add_option("--journal", added.flags->journal,
                    fmt::format("The latest so many entries of the journal, or all ({}); 0 needs "
                                "no admin token",
                                kJournalShown))
        ->type_name("COUNT")
        ->check(CLI::Validator(check_journal, ""));
    run(added, show);
}

void SaleCommands::add_restock() {
    const Added added = add("restock", "Add units to a sale's stock, or take free ones out",
                            "restock shoes --add 200");
    add_id(added);
    added.command.add_option("--add", added.flags->add, "How many; -5 takes 5 out")
        ->required()
        ->check(CLI::Range(-kStockMax, kStockMax) & CLI::Validator(check_add, ""));
    added.command
        .add_option("--idempotency-key", added.flags->idempotency_key,
                    "A key that makes trying again safe: the stock changes once a key")
        ->check(CLI::Validator(check_key, ""));
    run(added, [](ServerClient& server, const SaleFlags& flags) {
        std::vector<HttpHeader> headers;
        if (!flags.idempotency_key.empty()) {
            headers.push_back({"Idempotency-Key", flags.idempotency_key});
        }
        return server.send("POST", path_of(flags.id) + "/stock", json::object{{"add", flags.add}},
                           std::move(headers));
    });
}

void SaleCommands::add_simple(const char* name, const char* help, const Call& call) {
    const Added added = add(name, help, fmt::format("{} shoes", name));
    add_id(added);
    run(added, call);
}

} // namespace

void add_sale_command(CLI::App& app, CommandContext& context) {
    CLI::App* sale = app.add_subcommand("sale", "Administer the sales of a running server");
    sale->require_subcommand(1);
    sale->footer("Examples:\n"
                 "  doorbuster sale create --id shoes --title \"Shoes\" --stock 1000\n"
                 "  doorbuster sale list\n"
                 "  doorbuster sale restock shoes --add 200");
    SaleCommands commands(*sale, context);
    commands.add_create();
    commands.add_list();
    commands.add_show();
    commands.add_edit();
    commands.add_extend();
    commands.add_simple(
        "pause", "Stop selling until it is resumed",
        [](ServerClient& server, const SaleFlags& flags) {
            return server.send("PATCH", path_of(flags.id), json::object{{"state", "paused"}});
        });
    commands.add_simple(
        "resume", "Go on selling", [](ServerClient& server, const SaleFlags& flags) {
            return server.send("PATCH", path_of(flags.id), json::object{{"state", "open"}});
        });
    commands.add_simple("close", "Close a sale for good",
                        [](ServerClient& server, const SaleFlags& flags) {
                            return server.send("POST", path_of(flags.id) + "/close", nullptr);
                        });
    commands.add_restock();
}

std::optional<std::chrono::seconds> parse_seconds(std::string_view text) {
    if (text == "0") return std::chrono::seconds(0);
    if (text.size() < 2) return std::nullopt;
    std::int64_t unit_s = 0;
    switch (text.back()) {
    case 's': unit_s = 1; break;
    case 'm': unit_s = 60; break;
    case 'h': unit_s = 3'600; break;
    case 'd': unit_s = 86'400; break;
    default: return std::nullopt;
    }
    text.remove_suffix(1);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
    if (error != std::errc{} || end != text.end() || number < 0) return std::nullopt;
    if (number > kPaymentTimeoutMax_s / unit_s) return std::nullopt;
    return std::chrono::seconds(number * unit_s);
}

} // namespace doorbuster
