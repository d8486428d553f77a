#include "app/commands/order_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <ostream>

#include "app/commands/json_read.h"
#include "app/commands/json_table.h"
#include "app/commands/server_client.h"
#include "domain/ids.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

struct OrderFlags {
    ServerOptions server;
    bool as_json = false;
    std::string id;
    std::string payment_ref;
};

std::string check_order_id(const std::string& text) {
    return OrderId::parse(text) ? "" : fmt::format("\"{}\" is not an order's id", text);
}

std::string path_of(const OrderFlags& flags) { return "/v1/orders/" + url_escaped(flags.id); }

using Call = std::function<Result<json::value>(ServerClient& server, const OrderFlags& flags)>;

void run_and_print(CommandContext& context, const OrderFlags& flags, const Call& call) {
    auto server = ServerClient::create(flags.server, context.environment);
    if (!server) return context.failed(server.error());
    const auto order = call(*server, flags);
    if (!order) return context.failed(order.error());
    JsonReader in(*order, "an order");
    static_cast<void>(in.text("order_id"));
    if (!in.complete()) return context.failed(kExitFailed, in.problem());
    context.out << (flags.as_json ? json::serialize(*order) + '\n'
                                  : object_text(order->as_object()));
}

// Its flags live as long as its callback, which reads them.
struct Added {
    CLI::App& command;
    std::shared_ptr<OrderFlags> flags;
};

Added add(CLI::App& parent, CommandContext& context, const char* name, const char* help,
          const std::string& example, const Call& call) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->footer("Example:\n  doorbuster order " + example);
    Added added{*command, std::make_shared<OrderFlags>()};
    command->add_option("id", added.flags->id, "The order's id")
        ->required()
        ->check(CLI::Validator(check_order_id, ""));
    add_server_options(*command, added.flags->server);
    command->add_flag("--json", added.flags->as_json, "Print one JSON document");
    command->callback(
        [&context, flags = added.flags, call] { run_and_print(context, *flags, call); });
    return added;
}

} // namespace

void add_order_command(CLI::App& app, CommandContext& context) {
    CLI::App* order = app.add_subcommand("order", "Look at one order, or change it");
    order->require_subcommand(1);
    const std::string id = "000000gdqkrr40000000dq5c5w9w05zp";
    order->footer("Example:\n  doorbuster order show " + id);
    add(*order, context, "show", "Show an order", "show " + id,
        [](ServerClient& server, const OrderFlags& flags) { return server.get(path_of(flags)); });
    const Added pay = add(*order, context, "pay", "Say that an order has been paid",
                          "pay " + id + " --payment-ref pi_123",
                          [](ServerClient& server, const OrderFlags& flags) {
                              return server.send("POST", path_of(flags) + "/pay",
                                                 json::object{{"payment_ref", flags.payment_ref}});
                          });
    pay.command
        .add_option("--payment-ref", pay.flags->payment_ref, "The payment's name at the shop")
        ->type_name("TEXT")
        ->required();
    add(*order, context, "cancel", "Cancel an order that waits for its payment", "cancel " + id,
        [](ServerClient& server, const OrderFlags& flags) {
            return server.send("POST", path_of(flags) + "/cancel", nullptr);
        });
}

} // namespace doorbuster
