#include "app/commands/webhook_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <memory>
#include <ostream>

#include "app/commands/json_read.h"
#include "app/commands/json_table.h"
#include "app/commands/server_client.h"
#include "domain/time.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

struct WebhookFlags {
    ServerOptions server;
    bool as_json = false;
    std::string endpoint;
    bool parked = false;
    std::string since;
    std::string event_id;
};

std::string check_time(const std::string& text) {
    return parse_rfc3339(text)
               ? ""
               : fmt::format("\"{}\" is not a time such as 2026-11-27T09:00:00Z", text);
}

std::vector<std::string> endpoint_cells(JsonReader& in) {
    return {in.text("url"),
            in.text("state"),
            grouped(in.whole("pending")),
            grouped(in.whole("parked")),
            grouped(in.whole("delivered")),
            in.text_if_any("failing_since").value_or("-"),
            in.text_if_any("reason").value_or(in.text_if_any("last_error").value_or("-"))};
}

std::vector<std::string> event_cells(JsonReader& in) {
    return {in.text("id"),
            in.text("type"),
            in.text("sale_id"),
            in.text("time"),
            grouped(in.whole("attempts")),
            in.text_if_any("last_error").value_or("-")};
}

// Every item of a list, as one document or as a table.
void print_list(CommandContext& context, const WebhookFlags& flags, const std::string& path,
                Table table, std::vector<std::string> (*cells_of)(JsonReader&)) {
    auto server = ServerClient::create(flags.server, context.environment);
    if (!server) return context.failed(server.error());
    json::array all;
    const auto done = server->for_each(path, [&](const json::value& item) -> Result<void> {
        JsonReader in(item, "an item");
        std::vector<std::string> cells = cells_of(in);
        if (!in.complete()) return fail(Errc::io, in.problem());
        if (flags.as_json) {
            all.push_back(item);
        } else {
            table.add(std::move(cells));
        }
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

void run_list(CommandContext& context, const WebhookFlags& flags) {
    using enum Table::Align;
    const Table table({{"ENDPOINT"},
                       {"STATE"},
                       {"PENDING", right},
                       {"PARKED", right},
                       {"DELIVERED", right},
                       {"FAILING SINCE"},
                       {"WHY"}});
    print_list(context, flags, "/v1/webhooks", table, endpoint_cells);
}

void run_events(CommandContext& context, const WebhookFlags& flags) {
    using enum Table::Align;
    const Table table(
        {{"EVENT"}, {"TYPE"}, {"SALE"}, {"TIME"}, {"ATTEMPTS", right}, {"LAST ERROR"}});
    const std::string path =
        fmt::format("/v1/webhooks/events?endpoint={}&state={}", url_escaped(flags.endpoint),
                    flags.parked ? "parked" : "pending");
    print_list(context, flags, path, table, event_cells);
}

void run_replay(CommandContext& context, const WebhookFlags& flags) {
    auto server = ServerClient::create(flags.server, context.environment);
    if (!server) return context.failed(server.error());
    json::object body{{"endpoint", flags.endpoint}};
    if (!flags.since.empty()) body.emplace("since", flags.since);
    if (!flags.event_id.empty()) body.emplace("event_id", flags.event_id);
    if (flags.parked) body.emplace("parked", true);
    const auto endpoint = server->send("POST", "/v1/webhooks/replay", body);
    if (!endpoint) return context.failed(endpoint.error());
    JsonReader in(*endpoint, "an endpoint");
    static_cast<void>(endpoint_cells(in));
    if (!in.complete()) return context.failed(kExitFailed, in.problem());
    context.out << (flags.as_json ? json::serialize(*endpoint) + '\n'
                                  : object_text(endpoint->as_object()));
}

using Run = void (*)(CommandContext& context, const WebhookFlags& flags);

// Its flags live as long as its callback, which reads them.
struct Added {
    CLI::App& command;
    std::shared_ptr<WebhookFlags> flags;
};

Added add(CLI::App& parent, CommandContext& context, const char* name, const char* help,
          const char* examples, Run run) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->footer(examples);
    Added added{*command, std::make_shared<WebhookFlags>()};
    add_server_options(*command, added.flags->server);
    command->add_flag("--json", added.flags->as_json, "Print one JSON document");
    command->callback([&context, flags = added.flags, run] { run(context, *flags); });
    return added;
}

void add_endpoint(const Added& added) {
    added.command.add_option("endpoint", added.flags->endpoint, "Its URL, as in the settings")
        ->required()
        ->type_name("URL");
}

} // namespace

void add_webhook_command(CLI::App& app, CommandContext& context) {
    CLI::App* webhook = app.add_subcommand(
        "webhook", "See what the receivers of webhooks have been told, and tell them again");
    webhook->require_subcommand(1);
    webhook->footer("Examples:\n"
                    "  doorbuster webhook list\n"
                    "  doorbuster webhook events https://shop.example/hook --parked\n"
                    "  doorbuster webhook replay https://shop.example/hook");
    add(*webhook, context, "list", "List the endpoints and how far each has come",
        "Example:\n  doorbuster webhook list --json", run_list);
    const Added events =
        add(*webhook, context, "events", "List the events that an endpoint has not taken",
            "Example:\n  doorbuster webhook events https://shop.example/hook "
            "--parked",
            run_events);
    add_endpoint(events);
    events.command.add_flag("--parked", events.flags->parked,
                            "Those that were given up, not those that are still to be sent");
    const Added replay =
        add(*webhook, context, "replay",
            "Bring a disabled endpoint back, and send events again under the same ids",
            "Examples:\n"
            "  doorbuster webhook replay https://shop.example/hook\n"
            "  doorbuster webhook replay https://shop.example/hook --since 2026-11-27T09:00:00Z",
            run_replay);
    add_endpoint(replay);
    CLI::Option* since =
        replay.command
            .add_option("--since", replay.flags->since, "Everything of this time and later")
            ->check(CLI::Validator(check_time, ""));
    CLI::Option* event =
        replay.command.add_option("--event", replay.flags->event_id, "The event with this id");
    CLI::Option* parked =
        replay.command.add_flag("--parked", replay.flags->parked, "All events that were given up");
    since->excludes(event)->excludes(parked);
    event->excludes(parked);
}

} // namespace doorbuster
