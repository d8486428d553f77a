#include "app/commands/webhook_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <gtest/gtest.h>
#include <sstream>

#include "app/commands/fake_server.h"

namespace doorbuster {
namespace {

using testing::FakeServer;

const std::string kHook = "https://shop.example/hook";
const std::string kQuoted = "https%3A%2F%2Fshop.example%2Fhook";
const std::string kEndpoint =
    R"({"url":"https://shop.example/hook","state":"disabled","since":"2026-11-27T09:00:00.000Z",)"
    R"("reason":"it answered 410 Gone: it wants no more events","pending":1204,"parked":2,)"
    R"("delivered":98765,"failing_since":"2026-11-27T08:59:00.000Z","last_error":"410"})";
const std::string kEvent =
    R"({"id":"000000gdqkrr40000000dq5c5w9w05zp.2","type":"doorbuster.order.paid",)"
    R"("sale_id":"shoes","order_id":"000000gdqkrr40000000dq5c5w9w05zp",)"
    R"("time":"2026-11-27T09:00:00.000Z","state":"parked","attempts":301,)"
    R"("failing_since":"2026-11-26T09:00:00.000Z","last_error":"422"})";

std::string list_of(const std::string& item) {
    return R"({"items":[)" + item + R"(],"next_cursor":null})";
}

// One run of the command line.
struct CommandRun {
    std::ostringstream out;
    std::ostringstream err;
    CommandContext context{.out = out, .err = err};
    int code = -1;

    explicit CommandRun(std::vector<std::string> arguments) {
        CLI::App app("doorbuster");
        app.require_subcommand(1);
        add_webhook_command(app, context);
        code = run_command_line(app, context, std::move(arguments));
    }
};

TEST(WebhookCommand, ListsEndpointsInATableAndAsJson) {
    FakeServer server({{"GET /v1/webhooks?limit=1000", {200, list_of(kEndpoint)}}});
    const CommandRun table({"webhook", "list", "--url", server.url()});
    EXPECT_EQ(table.code, kExitDone) << table.err.str();
    EXPECT_EQ(table.out.str(),
              "ENDPOINT                   STATE     PENDING  PARKED  DELIVERED  "
              "FAILING SINCE             WHY\n"
              "https://shop.example/hook  disabled    1,204       2     98,765  "
              "2026-11-27T08:59:00.000Z  it answered 410 Gone: it wants no more events\n");
    const CommandRun json({"webhook", "list", "--json", "--url", server.url()});
    EXPECT_EQ(json.out.str(), list_of(kEndpoint) + "\n");
}

TEST(WebhookCommand, ListsTheEventsOfAnEndpoint) {
    const std::string target = "GET /v1/webhooks/events?endpoint=" + kQuoted + "&state=";
    FakeServer server({{target + "pending&limit=1000", {200, list_of("")}},
                       {target + "parked&limit=1000", {200, list_of(kEvent)}}});
    const CommandRun pending({"webhook", "events", kHook, "--json", "--url", server.url()});
    EXPECT_EQ(pending.code, kExitDone) << pending.err.str();
    EXPECT_EQ(pending.out.str(), list_of("") + "\n");
    const CommandRun parked({"webhook", "events", kHook, "--parked", "--url", server.url()});
    EXPECT_EQ(parked.code, kExitDone) << parked.err.str();
    EXPECT_NE(parked.out.str().find("000000gdqkrr40000000dq5c5w9w05zp.2"), std::string::npos);
    EXPECT_NE(parked.out.str().find("422"), std::string::npos);
}

TEST(WebhookCommand, SendsWhatIsToBeReplayed) {
    FakeServer server({{"POST /v1/webhooks/replay", {200, kEndpoint}}});
    for (const auto& [more, body] : std::vector<std::pair<std::vector<std::string>, std::string>>{
             {{}, R"({"endpoint":"https://shop.example/hook"})"},
             {{"--since", "2026-11-27T09:00:00Z"},
              R"({"endpoint":"https://shop.example/hook","since":"2026-11-27T09:00:00Z"})"},
             {{"--event", "a.2"}, R"({"endpoint":"https://shop.example/hook","event_id":"a.2"})"},
             {{"--parked"}, R"({"endpoint":"https://shop.example/hook","parked":true})"}}) {
        std::vector<std::string> arguments = {"webhook", "replay", kHook, "--url", server.url()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const CommandRun run(arguments);
        EXPECT_EQ(run.code, kExitDone) << run.err.str();
        EXPECT_EQ(boost::json::parse(server.seen().back().body), boost::json::parse(body));
        EXPECT_NE(run.out.str().find("98,765"), std::string::npos) << run.out.str();
    }
}

TEST(WebhookCommand, RefusesArgumentsThatDoNotGoTogether) {
    for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
             {"--since", "yesterday"},
             {"--parked", "--since", "2026-11-27T09:00:00Z"},
             {"--parked", "--event", "a.2"},
             {"--event", "a.2", "--since", "2026-11-27T09:00:00Z"}}) {
        std::vector<std::string> arguments = {"webhook", "replay", kHook};
        arguments.insert(arguments.end(), more.begin(), more.end());
        EXPECT_EQ(CommandRun(arguments).code, kExitUsage);
    }
    EXPECT_EQ(CommandRun({"webhook"}).code, kExitUsage);
    EXPECT_EQ(CommandRun({"webhook", "replay"}).code, kExitUsage);
    EXPECT_EQ(CommandRun({"webhook", "events"}).code, kExitUsage);
}

} // namespace
} // namespace doorbuster
