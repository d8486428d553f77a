#include "app/commands/log_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <ostream>

#include "adapters/sql/order_store.h"
#include "app/assembly.h"
#include "app/commands/books_source.h"
#include "app/data_folder.h"
#include "domain/time.h"

namespace doorbuster {
namespace {

namespace json = boost::json;
using sql::DeadLetter;

constexpr std::size_t kPage = 1'000; // letters, or sales, in memory at a time

struct DeadFlags {
    BooksSource source; // its --config and --data
    bool as_json = false;
    std::string sale;
    bool with_dropped = false;
    std::vector<std::string> orders;
    bool all = false;
    std::string cause;
    bool yes = false;
};

std::string check_order_id(const std::string& text) {
    return OrderId::parse(text) ? "" : fmt::format("\"{}\" is not an order's id", text);
}

std::string check_sale_id(const std::string& text) {
    return is_sale_id(text) ? "" : fmt::format("\"{}\" is not a sale's id", text);
}

// The store, and for one that is a file what keeps servers away from it meanwhile.
struct OpenStore {
    std::optional<DataFolder> folder;
    std::unique_ptr<sql::SqlOrderStore> store;
};

Result<OpenStore> open_store(const Config& config, sql::StoreMode mode) {
    OpenStore opened;
    if (const auto path = sqlite_path_of(config)) {
        if (!std::filesystem::exists(*path)) {
            return fail(Errc::not_found,
                        "there is no order store at " + *path + "; name its folder with --data");
        }
        if (mode == sql::StoreMode::serve) {
            auto folder = DataFolder::acquire(config.server.data);
            if (!folder && folder.error().is(Errc::locked)) {
                return fail(Errc::locked, "a server runs on " + config.server.data +
                                              ": stop it first, then change its dead letters");
            }
            if (!folder) return tl::make_unexpected(std::move(folder.error()));
            opened.folder.emplace(std::move(*folder));
        }
    }
    sql::OrderStoreOptions options;
    options.url = store_url_of(config);
    options.pool_size = 1;
    options.mode = mode;
    options.with_events = !config.webhooks.endpoints.empty();
    auto store = sql::SqlOrderStore::open(options);
    if (!store) return tl::make_unexpected(std::move(store.error()));
    opened.store = std::move(*store);
    return opened;
}

using SaleNames = std::map<SaleNo, std::string>;

Result<SaleNames> sale_names(sql::SqlOrderStore& store) {
    SaleNames names;
    for (std::string after;;) {
        const auto page = store.list_sales(after, kPage);
        if (!page) return tl::make_unexpected(page.error());
        for (const StoredSale& sale : *page) names.emplace(sale.terms.no, sale.terms.id);
        if (page->size() < kPage) return names;
        after = page->back().terms.id;
    }
}

std::string name_of(const SaleNames& names, SaleNo no) {
    const auto at = names.find(no);
    return at == names.end() ? "-" : at->second; // of a record that is none, or of a lost sale
}

// Ends with the first error that `take` returns.
Result<void> for_each_letter(sql::SqlOrderStore& store,
                             const std::function<Result<void>(const DeadLetter&)>& take) {
    for (std::optional<OrderId> after;;) {
        const auto page = store.dead_letters(after, kPage);
        if (!page) return tl::make_unexpected(page.error());
        for (const DeadLetter& letter : *page) {
            if (auto taken = take(letter); !taken) return taken;
        }
        if (page->size() < kPage) return {};
        after = page->back().order;
    }
}

json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
}

json::object letter_json(const DeadLetter& letter, const SaleNames& names) {
    const auto sale = names.find(letter.sale);
    json::object out;
    out["order_id"] = letter.order.text();
    out["sale_id"] = text_or_null(sale == names.end() ? "" : sale->second);
    out["user_id"] = letter.user;
    out["quantity"] = letter.quantity;
    out["idempotency_key"] = text_or_null(letter.key);
    out["set_aside_at"] = to_rfc3339(letter.at);
    out["cause"] = letter.cause;
    out["record"] = text_or_null(letter.raw); // in hexadecimal, of what is no order
    out["dropped_at"] = text_or_null(letter.dropped_at ? to_rfc3339(*letter.dropped_at) : "");
    out["drop_cause"] = text_or_null(letter.drop_cause);
    return out;
}

void print_items(CommandContext& context, json::array items) {
    const json::object list{{"items", std::move(items)}, {"next_cursor", nullptr}};
    context.out << json::serialize(list) << '\n';
}

Result<void> list(CommandContext& context, const DeadFlags& flags, const Config& config) {
    auto opened = open_store(config, sql::StoreMode::read_only);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    std::optional<SaleNo> only;
    if (!flags.sale.empty()) {
        const auto sale = opened->store->find_sale(flags.sale);
        if (!sale) return tl::make_unexpected(sale.error());
        only = sale->terms.no;
    }
    const auto names = sale_names(*opened->store);
    if (!names) return tl::make_unexpected(names.error());
    using enum Table::Align;
    Table table({{"ORDER"}, {"SALE"}, {"USER"}, {"UNITS", right}, {"SINCE"}, {"DROPPED"}, {"WHY"}});
    json::array items;
    const auto take = [&](const DeadLetter& letter) -> Result<void> {
        if (only && letter.sale != *only) return {};
        if (letter.dropped_at && !flags.with_dropped) return {};
        if (flags.as_json) {
            items.push_back(letter_json(letter, *names));
            return {};
        }
        table.add({letter.order.text(), name_of(*names, letter.sale), letter.user,
                   grouped(letter.quantity), to_rfc3339(letter.at),
                   letter.dropped_at ? to_rfc3339(*letter.dropped_at) : "-",
                   letter.dropped_at ? letter.drop_cause : letter.cause});
        return {};
    };
    if (auto read = for_each_letter(*opened->store, take); !read) return read;
    if (flags.as_json) {
        print_items(context, std::move(items));
    } else {
        context.out << table.text(context.colour());
    }
    return {};
}

// Those that are named, or all that may become orders.
Result<std::vector<OrderId>> wanted(sql::SqlOrderStore& store, const DeadFlags& flags) {
    std::vector<OrderId> orders;
    for (const std::string& text : flags.orders) orders.push_back(*OrderId::parse(text));
    if (!flags.all) return orders;
    const auto take = [&](const DeadLetter& letter) -> Result<void> {
        if (!letter.dropped_at && letter.raw.empty()) orders.push_back(letter.order);
        return {};
    };
    auto read = for_each_letter(store, take);
    if (!read) return tl::make_unexpected(std::move(read.error()));
    return orders;
}

// What fails alone is said and left; the others go on.
void note_failure(CommandContext& context, const OrderId& order, const Error& error) {
    const std::string why = error.is(Errc::not_found) ? "there is no such dead letter"
                            : error.context.empty()   ? error.message()
                                                      : error.context;
    context.failed(kExitFailed, order.text() + ": " + why);
}

Result<void> replay(CommandContext& context, const DeadFlags& flags, const Config& config) {
    auto opened = open_store(config, sql::StoreMode::serve);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    const auto orders = wanted(*opened->store, flags);
    if (!orders) return tl::make_unexpected(orders.error());
    const auto names = sale_names(*opened->store);
    if (!names) return tl::make_unexpected(names.error());
    using enum Table::Align;
    Table table({{"ORDER"}, {"SALE"}, {"USER"}, {"UNITS", right}, {"STATUS"}});
    json::array items;
    for (const OrderId& id : *orders) {
        const auto order = opened->store->replay_dead_letter(id);
        if (!order && order.error().is(Errc::unavailable)) return tl::unexpected(order.error());
        if (!order) {
            note_failure(context, id, order.error());
            continue;
        }
        const std::string sale = name_of(*names, id.sale());
        items.push_back(json::object{{"order_id", id.text()},
                                     {"sale_id", sale},
                                     {"user_id", order->user},
                                     {"quantity", order->quantity},
                                     {"status", to_string(order->status)}});
        table.add(
            {id.text(), sale, order->user, grouped(order->quantity), to_string(order->status)});
    }
    if (flags.as_json) {
        print_items(context, std::move(items));
    } else {
        context.out << table.text(context.colour());
    }
    return {};
}

// Asked on a terminal only: a script has said what it wants.
bool is_agreed(CommandContext& context, const DeadFlags& flags) {
    if (flags.yes || context.in == nullptr || context.in_is_terminal == Terminal::no) return true;
    context.err << fmt::format("Give {} for good? Each buyer was promised the order. [y/N] ",
                               flags.orders.size() == 1
                                   ? "this order up"
                                   : fmt::format("these {} orders up", flags.orders.size()))
                << std::flush;
    std::string answer;
    std::getline(*context.in, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return true;
    context.failed(kExitFailed, "nothing was dropped");
    return false;
}

Result<void> drop(CommandContext& context, const DeadFlags& flags, const Config& config) {
    auto opened = open_store(config, sql::StoreMode::serve);
    if (!opened) return tl::make_unexpected(std::move(opened.error()));
    if (!is_agreed(context, flags)) return {};
    Table table({{"ORDER"}, {"SALE"}, {"UNITS"}});
    json::array items;
    for (const std::string& text : flags.orders) {
        const OrderId id = *OrderId::parse(text);
        const auto given_back = opened->store->drop_dead_letter(id, flags.cause);
        if (!given_back && given_back.error().is(Errc::unavailable)) {
            return tl::unexpected(given_back.error());
        }
        if (!given_back) {
            note_failure(context, id, given_back.error());
            continue;
        }
        const std::string& sale = given_back->sale.terms.id;
        const bool gives_back = !given_back->orders.empty();
        items.push_back(json::object{
            {"order_id", text}, {"sale_id", text_or_null(sale)}, {"gives_back", gives_back}});
        table.add({text, sale.empty() ? "-" : sale,
                   gives_back ? "are for sale again" : "none to give back"});
    }
    if (flags.as_json) {
        print_items(context, std::move(items));
    } else {
        context.out << table.text(context.colour());
    }
    return {};
}

using Run = Result<void> (*)(CommandContext& context, const DeadFlags& flags, const Config& config);

// Its flags live as long as its callback, which reads them.
struct Added {
    CLI::App& command;
    std::shared_ptr<DeadFlags> flags;
};

Added add(CLI::App& parent, CommandContext& context, const char* name, const char* help,
          const char* examples, Run run) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->footer(examples);
    Added added{*command, std::make_shared<DeadFlags>()};
    command
        ->add_option("--config", added.flags->source.config_file,
                     "Settings (docs/settings.md) that name the store")
        ->type_name("FILE");
    command->add_option("--data", added.flags->source.data, "The folder of the store's file")
        ->type_name("DIR");
    command->add_flag("--json", added.flags->as_json, "Print one JSON document");
    command->callback([&context, flags = added.flags, run] {
        const auto config = flags->source.load(context.environment);
        if (!config) return context.failed(config.error());
        if (auto done = run(context, *flags, *config); !done) context.failed(done.error());
    });
    return added;
}

CLI::Option* add_orders(const Added& added) {
    return added.command.add_option("order", added.flags->orders, "The order's id")
        ->check(CLI::Validator(check_order_id, ""));
}

} // namespace

void add_log_command(CLI::App& app, CommandContext& context) {
    CLI::App* log = app.add_subcommand("log", "See to what came out of the order log");
    log->require_subcommand(1);
    CLI::App* dead = log->add_subcommand(
        "dead", "Dead letters: accepted orders that the order store did not take");
    dead->require_subcommand(1);
    const std::string examples = "Examples:\n"
                                 "  doorbuster log dead list --config shop.toml\n"
                                 "  doorbuster log dead replay --all --config shop.toml";
    log->footer(examples);
    dead->footer(examples);
    const Added listing = add(*dead, context, "list", "List them, and why they are there",
                              "Example:\n  doorbuster log dead list --data ./data --json", list);
    listing.command.add_option("--sale", listing.flags->sale, "Only this sale's")
        ->type_name("ID")
        ->check(CLI::Validator(check_sale_id, ""));
    listing.command.add_flag("--dropped", listing.flags->with_dropped,
                             "Also those that were given up");
    const Added replaying =
        add(*dead, context, "replay", "Store them after all, when the cause is mended",
            "A store in a file must not be in use by a server.\n"
            "Example:\n  doorbuster log dead replay 000000gdqkrr40000000dq5c5w9w05zp",
            replay);
    CLI::Option* all = replaying.command.add_flag("--all", replaying.flags->all, "Every one");
    all->excludes(add_orders(replaying));
    replaying.command.parse_complete_callback([flags = replaying.flags] {
        if (!flags->all && flags->orders.empty()) throw CLI::RequiredError("an order, or --all");
    });
    const Added dropping =
        add(*dead, context, "drop", "Give them up: their units are for sale again",
            "A store in a file must not be in use by a server.\n"
            "Example:\n  doorbuster log dead drop 000000gdqkrr40000000dq5c5w9w05zp "
            "--cause 'refunded by hand'",
            drop);
    add_orders(dropping)->required();
    dropping.command.add_option("--cause", dropping.flags->cause, "Why, for those who ask later")
        ->type_name("TEXT")
        ->required()
        ->check(CLI::Validator(
            [](const std::string& text) { return text.empty() ? "is empty" : ""; }, ""));
    dropping.command.add_flag("--yes", dropping.flags->yes, "Do not ask");
}

} // namespace doorbuster
