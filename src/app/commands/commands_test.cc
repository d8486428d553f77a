// The client commands from their arguments to what they print, against a prepared server.
#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "app/commands/audit_command.h"
#include "app/commands/config_command.h"
#include "app/commands/export_command.h"
#include "app/commands/fake_server.h"
#include "app/commands/order_command.h"
#include "app/commands/sale_command.h"

namespace doorbuster {
namespace {

using testing::FakeServer;

const std::string kSale =
    R"({"id":"shoes","title":"Shoes","state":"open","sold_out":false,"stock":1000,)"
    R"("remaining":998,"per_user_limit":1,"starts_at":"2026-11-27T09:00:00.000Z","ends_at":null,)"
    R"("price":null,"currency":null,"payment_timeout_s":0,)"
    R"("server_time":"2026-11-27T09:00:01.000Z"})";
const std::string kAudit =
    R"({"sale_id":"shoes","stock":1000,"sold":2,"remaining":998,"orders":{"confirmed":2},)"
    R"("log_accepted_units":2,"inventory_remaining":998,"violations":[],"balanced":true})";
const std::string kProblem = R"({"type":"/problems/not_found","title":"Not found","status":404,)"
                             R"("detail":"there is no sale \"boots\"","code":"not_found"})";

const std::string kOrderId = "000000gdqkrr40000000dq5c5w9w05zp";

std::string order_json(int number) {
    OrderRow order;
    order.order_id = fmt::format("order-{}", number);
    order.sale_id = "shoes";
    order.user_id = fmt::format("user-{}", number);
    order.quantity = 1;
    order.status = "confirmed";
    order.created_at = "2026-11-27T09:00:00.000Z";
    order.version = 1;
    return order_as_json(order);
}

// One run of the command line.
struct CommandRun {
    std::ostringstream out;
    std::ostringstream err;
    CommandContext context{.out = out, .err = err};
    int code = -1;

    void go(std::vector<std::string> arguments) {
        CLI::App app("doorbuster");
        app.require_subcommand(1);
        add_sale_command(app, context);
        add_order_command(app, context);
        add_audit_command(app, context);
        add_export_command(app, context);
        add_config_command(app, context);
        code = run_command_line(app, context, std::move(arguments));
    }
};

TEST(Commands, ExitWithTwoWhenTheArgumentsAreWrong) {
    const std::vector<std::string> create = {"sale",    "create", "--id",    "a",
                                             "--title", "A",      "--stock", "5"};
    const auto with = [&](std::vector<std::string> more) {
        std::vector<std::string> all = create;
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
             {},
             {"no-such-command"},
             {"sale"},
             {"sale", "create"},
             {"sale", "create", "--id", "A", "--title", "A", "--stock", "5"},
             {"sale", "create", "--id", "a", "--title", "", "--stock", "5"},
             {"sale", "create", "--id", "a", "--title", "A", "--stock", "-1"},
             {"sale", "create", "--id", "a", "--title", "A", "--stock", "many"},
             with({"--per-user-limit", "0"}),
             with({"--starts-at", "tomorrow"}),
             with({"--ends-at", "2026-13-01T00:00:00Z"}),
             with({"--price", "1999"}),
             with({"--currency", "EUR"}),
             with({"--price", "1", "--currency", "eur"}),
             with({"--payment-timeout", "90"}),
             with({"--no-such-flag"}),
             with({"--url", "127.0.0.1:8080"}),
             with({"--url", "https://127.0.0.1:1", "--ca-file", "no/such/file.pem"}),
             {"sale", "show"},
             {"sale", "show", "../a"},
             {"sale", "show", "a", "--journal", "some"},
             {"sale", "edit", "a"},
             {"sale", "edit", "a", "--starts-at", "now"},
             {"sale", "edit", "a", "--ends-at", "later"},
             {"sale", "edit", "a", "--stock", "5"},
             {"sale", "extend", "a"},
             {"sale", "extend", "a", "--by", "0"},
             {"sale", "extend", "a", "--by", "ten minutes"},
             {"sale", "extend", "a", "--by", "1m", "--ends-at", "2026-11-27T21:00:00Z"},
             {"order", "show"},
             {"order", "show", "no-order"},
             {"order", "pay", kOrderId},
             {"sale", "restock", "a"},
             {"sale", "restock", "a", "--add", "0"},
             {"audit", "--sale", "A"},
             {"audit", "--url", "http://127.0.0.1:1", "--data", "d"},
             {"audit", "--url", "http://127.0.0.1:1", "--config", "c"},
             {"audit", "--config", "no/such/file.toml"},
             {"audit", "--admin-token", "file:no/such/token"},
             {"audit", "--admin-token", "a\r\nX-User-Id: b"},
             {"export"},
             {"export", "orders"},
             {"export", "orders", "--sale", "a", "--format", "xml"},
             {"export", "orders", "--sale", "a", "--format", "csv", "--json"},
             {"config"},
             {"config", "show", "--config", "no/such/file.toml"}}) {
        std::vector<std::string> arguments = wrong;
        CommandRun run;
        run.go(arguments);
        EXPECT_EQ(run.code, kExitUsage) << (wrong.empty() ? "" : wrong.back());
        EXPECT_EQ(run.out.str(), "");
        EXPECT_NE(run.err.str(), "");
    }
}

TEST(Commands, NameWhatWasMeantByAMisspeltOne) {
    const auto said = [](const std::vector<std::string>& arguments) {
        CommandRun run;
        run.go(arguments);
        EXPECT_EQ(run.code, kExitUsage);
        EXPECT_EQ(run.out.str(), "");
        return run.err.str();
    };
    EXPECT_EQ(said({"adit", "--json"}),
              "doorbuster: unknown command 'adit'; the nearest known one is 'audit'. There are "
              "sale, order, audit, export, config; 'doorbuster --help' says more\n");
    EXPECT_EQ(said({"config", "chekc", "--help"}),
              "doorbuster: unknown command 'config chekc'; the nearest known one is 'check'. There "
              "are check, show; 'doorbuster config --help' says more\n");
    EXPECT_EQ(said({"config", "--json", "show"}),
              "doorbuster: unknown option '--json' before the command. The commands are check, "
              "show; 'doorbuster config --help' says more\n");
    EXPECT_EQ(said({}), "doorbuster: name a command: sale, order, audit, export, config; "
                        "'doorbuster --help' says more\n");
    EXPECT_EQ(said({"config"}), "doorbuster: name a command of config: check, show; 'doorbuster "
                                "config --help' says more\n");
}

TEST(Commands, FailWhenNobodyTakesTheirOutput) {
    FakeServer server(
        {{"GET /v1/sales?limit=1000", {200, R"({"items":[)" + kSale + R"(],"next_cursor":null})"}},
         {"GET /v1/sales/shoes/audit", {200, kAudit}}});
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{"sale", "list", "--url", server.url()},
                                               {"audit", "--json", "--url", server.url()},
                                               {"config", "show"},
                                               {"--help"}}) {
        CommandRun run;
        run.out.setstate(std::ios::badbit);
        run.go(arguments);
        EXPECT_EQ(run.code, kExitFailed) << arguments.front();
        EXPECT_EQ(run.err.str(),
                  "doorbuster: cannot write to standard output: what it got is not complete\n");
    }
}

TEST(Commands, NameTheProgramInEveryLineOfAnError) {
    CommandRun run;
    run.context.failed(kExitUsage, "one\ntwo");
    EXPECT_EQ(run.err.str(), "doorbuster: one\ndoorbuster: two\n");
}

TEST(Commands, RecordTheirCommandLineWithoutTheToken) {
    CommandRun run;
    run.context.arguments = {"sale",  "list",  "--admin-token",      "hush",
                             "--url", "a b'c", "--admin-token=hush", "--admin-token",
                             "hush"};
    EXPECT_EQ(run.context.command_line(),
              R"(doorbuster sale list --admin-token ******** --url 'a b'\''c' )"
              R"(--admin-token=******** --admin-token ********)");
}

TEST(Commands, ExplainThemselvesWithAnExample) {
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"sale"},
                                               {"sale", "create"},
                                               {"sale", "list"},
                                               {"sale", "show"},
                                               {"sale", "pause"},
                                               {"sale", "resume"},
                                               {"sale", "close"},
                                               {"sale", "restock"},
                                               {"sale", "edit"},
                                               {"sale", "extend"},
                                               {"order"},
                                               {"order", "show"},
                                               {"order", "pay"},
                                               {"order", "cancel"},
                                               {"audit"},
                                               {"export"},
                                               {"export", "orders"},
                                               {"config"},
                                               {"config", "check"},
                                               {"config", "show"}}) {
        std::vector<std::string> arguments = command;
        arguments.emplace_back("--help");
        CommandRun run;
        run.go(arguments);
        EXPECT_EQ(run.code, kExitDone) << command.back();
        EXPECT_NE(run.out.str().find("  doorbuster " + command.front()), std::string::npos)
            << run.out.str();
        EXPECT_EQ(run.err.str(), "");
    }
}

TEST(SaleCommand, SendsWhatTheFlagsSay) {
    FakeServer server({{"POST /v1/sales", {201, kSale}}});
    CommandRun run;
    run.context.environment = {{"DOORBUSTER_ADMIN_TOKEN", "t0ken"}};
    run.go({"sale", "create", "--id", "shoes", "--title", "Shoes", "--stock", "1000", "--ends-at",
            "2026-11-27T21:00:00Z", "--price", "1999", "--currency", "EUR", "--payment-timeout",
            "15m", "--url", server.url()});
    EXPECT_EQ(run.code, kExitDone) << run.err.str();
    EXPECT_NE(run.out.str().find("per user limit     1\n"), std::string::npos) << run.out.str();
    ASSERT_EQ(server.seen().size(), 1U);
    EXPECT_EQ(server.seen()[0].authorization, "Bearer t0ken");
    EXPECT_EQ(boost::json::parse(server.seen()[0].body),
              boost::json::parse(R"({"id":"shoes","title":"Shoes","stock":1000,)"
                                 R"("ends_at":"2026-11-27T21:00:00Z","price":1999,)"
                                 R"("currency":"EUR","payment_timeout_s":900})"));
}

TEST(SaleCommand, CallsTheServerForEachOfItsVerbs) {
    FakeServer server({{"GET /v1/sales/shoes", {200, kSale}},
                       {"PATCH /v1/sales/shoes", {200, kSale}},
                       {"POST /v1/sales/shoes/close", {200, kSale}},
                       {"POST /v1/sales/shoes/stock", {200, kSale}}});
    for (const char* verb : {"show", "pause", "resume", "close"}) {
        CommandRun run;
        std::vector<std::string> arguments = {"sale",  verb,         "shoes",
                                              "--url", server.url(), "--json"};
        if (verb == std::string("show")) arguments.insert(arguments.end(), {"--journal", "0"});
        run.go(arguments);
        EXPECT_EQ(run.code, kExitDone) << verb << run.err.str();
        EXPECT_EQ(run.out.str(), kSale + "\n");
    }
    CommandRun run;
    run.go({"sale", "restock", "shoes", "--add", "-5", "--idempotency-key", "k1", "--url",
            server.url()});
    EXPECT_EQ(run.code, kExitDone) << run.err.str();
    const auto seen = server.seen();
    ASSERT_EQ(seen.size(), 5U);
    EXPECT_EQ(seen[1].body, R"({"state":"paused"})");
    EXPECT_EQ(seen[2].body, R"({"state":"open"})");
    EXPECT_EQ(seen[3].body, "");
    EXPECT_EQ(seen[4].body, R"({"add":-5})");
    EXPECT_EQ(seen[4].idempotency_key, "k1");
}

TEST(SaleCommand, EditsWhatIsNamed) {
    FakeServer server({{"PATCH /v1/sales/shoes", {200, kSale}}});
    const auto sent = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"sale", "edit", "shoes", "--url", server.url()});
        CommandRun run;
        run.go(arguments);
        EXPECT_EQ(run.code, kExitDone) << run.err.str();
        return server.seen().back().body;
    };
    EXPECT_EQ(sent({"--title", "Red"}), R"({"title":"Red"})");
    EXPECT_EQ(sent({"--ends-at", "none", "--per-user-limit", "2"}),
              R"({"per_user_limit":2,"ends_at":null})");
    EXPECT_EQ(sent({"--starts-at", "2026-11-27T09:00:00Z", "--ends-at", "2026-11-27T21:00:00Z"}),
              R"({"starts_at":"2026-11-27T09:00:00Z","ends_at":"2026-11-27T21:00:00Z"})");
}

std::string sale_that_ends_at(const std::string& time) {
    std::string sale = kSale;
    const std::string none = R"("ends_at":null)";
    return sale.replace(sale.find(none), none.size(), R"("ends_at":")" + time + '"');
}

TEST(SaleCommand, ExtendsFromTheEndOrFromNowIfThatIsPast) {
    const auto sent = [](const std::string& sale, std::vector<std::string> arguments) {
        FakeServer server(
            {{"GET /v1/sales/shoes", {200, sale}}, {"PATCH /v1/sales/shoes", {200, sale}}});
        arguments.insert(arguments.begin(), {"sale", "extend", "shoes", "--url", server.url()});
        CommandRun run;
        run.go(arguments);
        return run.code == kExitDone ? server.seen().back().body : run.err.str();
    };
    const std::string open = sale_that_ends_at("2026-11-27T21:00:00.000Z");
    const std::string over = sale_that_ends_at("2026-11-27T09:00:00.500Z");
    EXPECT_EQ(sent(open, {"--by", "10m"}), R"({"ends_at":"2026-11-27T21:10:00.000Z"})");
    EXPECT_EQ(sent(over, {"--by", "90s"}), R"({"ends_at":"2026-11-27T09:01:31.000Z"})");
    EXPECT_EQ(sent(kSale, {"--by", "10m"}),
              "doorbuster: sale shoes has no end that could be moved\n");
    EXPECT_EQ(sent(kSale, {"--ends-at", "2026-11-27T22:00:00Z"}),
              R"({"ends_at":"2026-11-27T22:00:00Z"})");
}

std::string journal_entry(int number) {
    return fmt::format(R"({{"at":"2026-11-27T09:00:{:02}.000Z","who":"loopback 127.0.0.1",)"
                       R"("what":"restocked","before":{{"stock":{}}},"after":{{"stock":{}}}}})",
                       number, number, number + 1'000);
}

TEST(SaleCommand, ShowsTheLatestOfTheJournal) {
    std::string first = R"({"at":"2026-11-27T08:00:00.000Z","who":"admin token from 10.0.0.1",)"
                        R"("what":"created","before":{},"after":{"title":"Shoes","stock":1000,)"
                        R"("ends_at":null,"payment_timeout_s":0,"paused":false}})";
    std::string second = journal_entry(0);
    for (int i = 1; i < 22; ++i) second += "," + journal_entry(i);
    FakeServer server({{"GET /v1/sales/shoes", {200, kSale}},
                       {"GET /v1/sales/shoes/journal?limit=1000",
                        {200, R"({"items":[)" + first + R"(],"next_cursor":"1"})"}},
                       {"GET /v1/sales/shoes/journal?limit=1000&cursor=1",
                        {200, R"({"items":[)" + second + R"(],"next_cursor":null})"}}});
    const auto shown = [&](std::vector<std::string> more) {
        CommandRun run;
        more.insert(more.begin(), {"sale", "show", "shoes", "--url", server.url()});
        run.go(more);
        EXPECT_EQ(run.code, kExitDone) << run.err.str();
        return run.out.str();
    };
    const std::string text = shown({});
    EXPECT_NE(text.find("title              Shoes\n"), std::string::npos) << text;
    EXPECT_NE(text.find("\n\nAT "), std::string::npos) << text;
    EXPECT_NE(text.find("2026-11-27T09:00:21.000Z  loopback 127.0.0.1  restocked  "
                        "stock: 21 -> 1,021\n"),
              std::string::npos)
        << text;
    EXPECT_EQ(text.find("stock: 1 -> 1,001\n"), std::string::npos) << "the third from the start";
    EXPECT_NE(text.find("stock: 2 -> 1,002\n"), std::string::npos);
    EXPECT_NE(shown({"--journal", "all"})
                  .find("created    title: Shoes, stock: 1,000, payment timeout s: 0\n"),
              std::string::npos);
    const auto json = boost::json::parse(shown({"--json"}));
    EXPECT_EQ(json.at("id"), "shoes");
    EXPECT_EQ(json.at("journal").as_array().size(), 20U);
    EXPECT_EQ(json.at("journal").at(19), boost::json::parse(journal_entry(21)));
    const auto all = boost::json::parse(shown({"--json", "--journal", "all"}));
    EXPECT_EQ(all.at("journal").as_array().size(), 23U);
    EXPECT_EQ(boost::json::parse(shown({"--json", "--journal", "0"})), boost::json::parse(kSale));
}

TEST(OrderCommand, ShowsPaysAndCancels) {
    const std::string path = "/v1/orders/" + kOrderId;
    FakeServer server({{"GET " + path, {200, order_json(1)}},
                       {"POST " + path + "/pay", {200, order_json(2)}},
                       {"POST " + path + "/cancel", {200, order_json(3)}}});
    CommandRun show;
    show.go({"order", "show", kOrderId, "--url", server.url()});
    EXPECT_EQ(show.code, kExitDone) << show.err.str();
    EXPECT_NE(show.out.str().find("user id      user-1\n"), std::string::npos) << show.out.str();
    CommandRun pay;
    pay.go({"order", "pay", kOrderId, "--payment-ref", "pi 1", "--url", server.url(), "--json"});
    EXPECT_EQ(pay.out.str(), order_json(2) + "\n") << pay.err.str();
    CommandRun cancel;
    cancel.go({"order", "cancel", kOrderId, "--url", server.url(), "--json"});
    EXPECT_EQ(cancel.out.str(), order_json(3) + "\n") << cancel.err.str();
    EXPECT_EQ(server.seen().at(1).body, R"({"payment_ref":"pi 1"})");
    EXPECT_EQ(server.seen().at(2).body, "");
}

TEST(SaleCommand, ListsEveryPage) {
    FakeServer server(
        {{"GET /v1/sales?limit=1000", {200, R"({"items":[)" + kSale + R"(],"next_cursor":"a b"})"}},
         {"GET /v1/sales?limit=1000&cursor=a%20b",
          {200, R"({"items":[)" + kSale + R"(],"next_cursor":null})"}}});
    CommandRun run;
    run.context.environment = {{"DOORBUSTER_URL", server.url()}};
    run.go({"sale", "list"});
    EXPECT_EQ(run.code, kExitDone) << run.err.str();
    const std::string line = "shoes  open   1,000        998         1  "
                             "2026-11-27T09:00:00.000Z  -        Shoes\n";
    EXPECT_EQ(
        run.out.str(),
        "SALE   STATE  STOCK  REMAINING  PER USER  STARTS AT                 ENDS AT  TITLE\n" +
            line + line);
    CommandRun json;
    json.go({"sale", "list", "--json", "--url", server.url()});
    EXPECT_EQ(boost::json::parse(json.out.str()).at("items").as_array().size(), 2U);
}

TEST(SaleCommand, SaysWhatTheServerRefused) {
    FakeServer server(
        {{"GET /v1/sales/boots", {404, kProblem}},
         {"GET /v1/sales/a", {401, R"({"code":"unauthorized","title":"no admin token"})"}},
         {"GET /v1/sales/b", {502, "<html>"}},
         {"GET /v1/sales/c", {200, "{"}},
         {"GET /v1/sales/d", {400, R"({"code":"invalid_request","detail":"stock: too much"})"}},
         {"GET /v1/sales?limit=1000", {200, R"({"items":[],"next_cursor":""})"}}});
    const auto said = [&](std::vector<std::string> arguments) {
        CommandRun run;
        arguments.insert(arguments.end(), {"--url", server.url(), "--json"});
        run.go(arguments);
        EXPECT_EQ(run.out.str(), "");
        return fmt::format("{} {}", run.code, run.err.str());
    };
    EXPECT_EQ(said({"sale", "show", "boots"}),
              "1 doorbuster: there is no sale \"boots\" (404 not_found)\n");
    EXPECT_EQ(said({"sale", "show", "a"}),
              "1 doorbuster: no admin token; give the admin token with DOORBUSTER_ADMIN_TOKEN or "
              "--admin-token (401 unauthorized)\n");
    EXPECT_EQ(said({"sale", "show", "b"}), fmt::format("1 doorbuster: {} answered 502, and not as "
                                                       "a doorbuster does\n",
                                                       server.url()));
    EXPECT_EQ(said({"sale", "show", "c"})[0], '1');
    EXPECT_EQ(said({"sale", "show", "d"}), "2 doorbuster: stock: too much (400 invalid_request)\n");
    EXPECT_EQ(said({"sale", "list"})[0], '1');
}

TEST(SaleCommand, ReadsPaymentTimeouts) {
    EXPECT_EQ(parse_seconds("0"), std::chrono::seconds(0));
    EXPECT_EQ(parse_seconds("90s"), std::chrono::seconds(90));
    EXPECT_EQ(parse_seconds("15m"), std::chrono::minutes(15));
    EXPECT_EQ(parse_seconds("1h"), std::chrono::hours(1));
    for (const char* wrong : {"", "s", "90", "-1s", "1.5m", "1w", "9223372036854775807d", "1 m"}) {
        EXPECT_FALSE(parse_seconds(wrong).has_value()) << wrong;
    }
}

TEST(AuditCommand, AsksTheServerAboutEverySale) {
    FakeServer server(
        {{"GET /v1/sales?limit=1000", {200, R"({"items":[)" + kSale + R"(],"next_cursor":null})"}},
         {"GET /v1/sales/shoes/audit", {200, kAudit}}});
    CommandRun run;
    run.go({"audit", "--json", "--url", server.url()});
    EXPECT_EQ(run.code, kExitDone) << run.err.str();
    EXPECT_EQ(run.out.str(), "[" + kAudit + "]\n");
}

TEST(AuditCommand, ExitsWithOneOnAViolation) {
    std::string broken = kAudit;
    broken.replace(broken.find("[]"), 2, R"(["oversold by 1"])");
    FakeServer server({{"GET /v1/sales/shoes/audit", {200, broken}}});
    CommandRun run;
    run.go({"audit", "--sale", "shoes", "--url", server.url()});
    EXPECT_EQ(run.code, kExitFailed);
    EXPECT_NE(run.out.str().find("oversold by 1"), std::string::npos);
}

TEST(AuditCommand, ReadsTheBooksWithoutAServer) {
    CommandRun run;
    run.context.offline_audit =
        [](const Config& config,
           const std::optional<std::string>& sale) -> Result<std::vector<AuditRow>> {
        EXPECT_EQ(config.server.data, "some/folder");
        EXPECT_EQ(sale, "shoes");
        return std::vector{*audit_from_json(boost::json::parse(kAudit))};
    };
    run.go({"audit", "--data", "some/folder", "--sale", "shoes", "--json"});
    EXPECT_EQ(run.code, kExitDone) << run.err.str();
    EXPECT_EQ(run.out.str(), "[" + kAudit + "]\n");
}

TEST(ExportCommand, WritesEveryPageOfTheServersOrders) {
    FakeServer server(
        {{"GET /v1/sales/shoes/orders?limit=1000",
          {200, R"({"items":[)" + order_json(1) + "," + order_json(2) + R"(],"next_cursor":"n"})"}},
         {"GET /v1/sales/shoes/orders?limit=1000&cursor=n",
          {200, R"({"items":[)" + order_json(3) + R"(],"next_cursor":null})"}}});
    const auto exported = [&](std::vector<std::string> more) {
        CommandRun run;
        std::vector<std::string> arguments = {"export", "orders", "--sale",
                                              "shoes",  "--url",  server.url()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        run.go(arguments);
        EXPECT_EQ(run.code, kExitDone) << run.err.str();
        return run.out.str();
    };
    EXPECT_EQ(exported({"--format", "csv"}),
              csv_header() + "order-1,shoes,user-1,1,confirmed,2026-11-27T09:00:00.000Z,,,\r\n"
                             "order-2,shoes,user-2,1,confirmed,2026-11-27T09:00:00.000Z,,,\r\n"
                             "order-3,shoes,user-3,1,confirmed,2026-11-27T09:00:00.000Z,,,\r\n");
    EXPECT_EQ(exported({"--format", "ndjson"}),
              order_json(1) + "\n" + order_json(2) + "\n" + order_json(3) + "\n");
    EXPECT_EQ(boost::json::parse(exported({"--json"})).as_array().size(), 3U);
}

TEST(ExportCommand, WritesAHeaderForNoOrderAndNothingForNoSale) {
    FakeServer server(
        {{"GET /v1/sales/shoes/orders?limit=1000", {200, R"({"items":[],"next_cursor":null})"}},
         {"GET /v1/sales/boots/orders?limit=1000", {404, kProblem}}});
    CommandRun empty;
    empty.go({"export", "orders", "--sale", "shoes", "--url", server.url()});
    EXPECT_EQ(empty.out.str(), csv_header());
    CommandRun json;
    json.go({"export", "orders", "--sale", "shoes", "--json", "--url", server.url()});
    EXPECT_EQ(json.out.str(), "[]\n");
    CommandRun unknown;
    unknown.go({"export", "orders", "--sale", "boots", "--url", server.url()});
    EXPECT_EQ(unknown.code, kExitFailed);
    EXPECT_EQ(unknown.out.str(), "");
}

TEST(ExportCommand, StreamsFromTheBooksAndSaysWhenItBreaksOff) {
    CommandRun run;
    run.context.offline_export = [](const Config& config, const std::string& sale,
                                    const OrderSink& sink) -> Result<void> {
        EXPECT_EQ(config.server.data, "some/folder");
        EXPECT_EQ(sale, "shoes");
        for (int i = 1; i <= 2; ++i) {
            if (auto done = sink(*order_from_json(boost::json::parse(order_json(i)))); !done) {
                return done;
            }
        }
        return fail(Errc::io, "the disk is gone");
    };
    run.go({"export", "orders", "--sale", "shoes", "--format", "ndjson", "--data", "some/folder"});
    EXPECT_EQ(run.code, kExitFailed);
    EXPECT_EQ(run.out.str(), order_json(1) + "\n" + order_json(2) + "\n");
    EXPECT_EQ(run.err.str(), "doorbuster: the disk is gone\n"
                             "doorbuster: the export is not complete; it ends after 2 orders\n");
}

TEST(ExportCommand, EndsWhenNobodyReadsItsOutput) {
    CommandRun run;
    int taken = 0;
    run.context.offline_export = [&](const Config&, const std::string&,
                                     const OrderSink& sink) -> Result<void> {
        run.out.setstate(std::ios::badbit);
        for (int i = 0; i < 10; ++i) {
            ++taken;
            if (auto done = sink(*order_from_json(boost::json::parse(order_json(i)))); !done) {
                return done;
            }
        }
        return {};
    };
    run.go({"export", "orders", "--sale", "shoes", "--data", "some/folder"});
    EXPECT_EQ(run.code, kExitFailed);
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(run.err.str(),
              "doorbuster: cannot write to standard output: what it got is not complete\n");
}

TEST(ConfigCommand, ChecksTheSettingsThatServeWouldTake) {
    CommandRun good;
    good.go({"config", "check"});
    EXPECT_EQ(good.code, kExitDone);
    EXPECT_EQ(good.out.str(), "ok\n");
    CommandRun bad;
    bad.context.environment = {{"DOORBUSTER_SERVER_LISTEN", "0.0.0.0:80"},
                               {"DOORBUSTER_LOG_BACKEND", "kafka"},
                               {"DOORBUSTER_KAFKA_BROKERS", "127.0.0.1:9092"},
                               {"DOORBUSTER_IDENTITY_MODE", "jwt"},
                               {"DOORBUSTER_IDENTITY_JWT_KEYS", "hs256:short"}};
    bad.go({"config", "check", "--json"});
    EXPECT_EQ(bad.code, kExitUsage);
    EXPECT_EQ(bad.err.str(), "");
    const auto answer = boost::json::parse(bad.out.str());
    EXPECT_FALSE(answer.at("ok").as_bool());
    EXPECT_EQ(answer.at("errors").as_array().size(), 2U) << bad.out.str();
    EXPECT_EQ(bad.out.str().find("hs256:short"), std::string::npos);
    CommandRun people;
    people.context.environment = {{"DOORBUSTER_LIMITS_STATUS", "200"}};
    people.go({"config", "check"});
    EXPECT_EQ(people.err.str(), "doorbuster: limits.status: 200 is not a whole number from 400 to "
                                "599 (DOORBUSTER_LIMITS_STATUS)\n");
}

TEST(ConfigCommand, ShowsTheSettingsWithSecretsMasked) {
    CommandRun run;
    run.context.environment = {{"DOORBUSTER_ADMIN_TOKEN", "hush"}};
    run.go({"config", "show"});
    EXPECT_EQ(run.code, kExitDone);
    EXPECT_NE(run.out.str().find("token = \"********\" "), std::string::npos);
    EXPECT_NE(run.out.str().find("# DOORBUSTER_ADMIN_TOKEN"), std::string::npos);
    CommandRun json;
    json.context.environment = run.context.environment;
    json.go({"config", "show", "--json"});
    EXPECT_EQ(boost::json::parse(json.out.str()).at("admin").at("token").at("value"), "********");
    EXPECT_EQ(json.out.str().find("hush"), std::string::npos);
}

} // namespace
} // namespace doorbuster
