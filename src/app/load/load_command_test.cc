#include "app/load/load_command.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>
#include <sstream>

#include "app/load/fake_shop.h"

namespace doorbuster {
namespace {

using load::FakeShop;

struct Outcome {
    int exit_code = -1;
    std::string out;
    std::string err;
};

Outcome run(std::vector<std::string> arguments, std::ios::iostate out_state = std::ios::goodbit) {
    std::ostringstream out;
    std::ostringstream err;
    out.setstate(out_state);
    CommandContext context{.out = out, .err = err};
    CLI::App app;
    app.require_subcommand(1);
    add_load_command(app, context);
    arguments.insert(arguments.begin(), "load");
    Outcome outcome;
    outcome.exit_code = run_command_line(app, context, std::move(arguments));
    outcome.out = out.str();
    outcome.err = err.str();
    return outcome;
}

TEST(LoadCommand, PrintsOneJsonDocumentAndNothingElse) {
    FakeShop shop({.stock = 20, .remaining = 20});
    const Outcome outcome = run({"--url", shop.url(), "--sale", "demo", "--buyers", "100",
                                 "--attempts-per-buyer", "2", "--connections", "4", "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    const boost::json::value json = boost::json::parse(outcome.out);
    EXPECT_EQ(json.at("attempts").as_int64(), 200);
    EXPECT_EQ(json.at("accepted").as_int64(), 20);
    EXPECT_EQ(json.at("errors").as_int64(), 0);
    std::int64_t rejected = 0;
    for (const auto& code : json.at("rejected").as_object()) rejected += code.value().as_int64();
    EXPECT_EQ(rejected, 180);
    for (const char* name : {"seconds", "attempts_per_second", "accepted_per_second"}) {
        EXPECT_GT(json.at(name).as_double(), 0) << name;
    }
    for (const char* name : {"latency_ms", "accepted_latency_ms"}) {
        for (const char* part : {"p50", "p90", "p99", "p999", "max"}) {
            EXPECT_GT(json.at(name).at(part).as_double(), 0) << name << part;
        }
    }
}

TEST(LoadCommand, PrintsATableForPeople) {
    FakeShop shop({.stock = 20, .remaining = 20});
    const Outcome outcome =
        run({"--url", shop.url(), "--sale", "demo", "--buyers", "1500", "--connections", "4"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_NE(outcome.out.find("attempts                       1,500\n"), std::string::npos)
        << outcome.out;
    EXPECT_NE(outcome.out.find("  sold_out                     1,480\n"), std::string::npos);
    EXPECT_NE(outcome.out.find("latency, ms"), std::string::npos);
}

TEST(LoadCommand, ExitsWith1WhereAnAnswerIsUnexplainedAndShowsIt) {
    FakeShop shop({}, [](const load::ShopRequest& request, load::ShopAnswer& answer) {
        if (request.number == 7) answer.status = 500;
    });
    const Outcome outcome =
        run({"--url", shop.url(), "--sale", "demo", "--buyers", "50", "--connections", "1"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_NE(outcome.err.find("1 errors, for example:\n  answer: buyer-"), std::string::npos)
        << outcome.err;
    EXPECT_NE(outcome.err.find("status 500"), std::string::npos);
}

TEST(LoadCommand, ExitsWith1WhereItFailsAndWith2WhereTheLineIsWrong) {
    FakeShop shop({});
    const std::string url = shop.url();
    EXPECT_EQ(run({"--url", url, "--sale", "none", "--buyers", "5"}).exit_code, 1);
    for (const auto& [name, value] : {std::pair{"--duration", "soon"}, std::pair{"--timeout", "0"},
                                      std::pair{"--quantity", "0"}, std::pair{"--rate", "-1"},
                                      std::pair{"--connections", "0"}}) {
        const std::string option = std::string(name) + "=" + value;
        EXPECT_EQ(run({"--url", url, "--sale", "demo", "--buyers", "5", option}).exit_code, 2)
            << option;
    }
    EXPECT_EQ(run({"--url", "here", "--sale", "demo", "--buyers", "5"}).exit_code, 2);
    EXPECT_EQ(run({"--sale", "demo"}).exit_code, 2);
}

TEST(LoadCommand, ExitsWith1WhereNobodyTakesItsResult) {
    FakeShop shop({});
    const Outcome outcome =
        run({"--url", shop.url(), "--sale", "demo", "--buyers", "5"}, std::ios::badbit);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_NE(outcome.err.find("doorbuster: cannot write to standard output"), std::string::npos)
        << outcome.err;
}

TEST(LoadCommand, SaysHowItsFiguresAddUp) {
    EXPECT_NE(run({"--help"}).out.find("attempts = accepted + replayed + rejected + errors"),
              std::string::npos);
}

TEST(LoadCommand, ReadsDurationsAndQuantities) {
    EXPECT_EQ(parse_duration("90s"), Duration(90'000));
    EXPECT_EQ(parse_duration("15m"), Duration(900'000));
    EXPECT_EQ(parse_duration("500ms"), Duration(500));
    EXPECT_EQ(parse_duration("1.5h"), Duration(5'400'000));
    EXPECT_EQ(parse_duration("2"), Duration(2'000));
    for (const char* text : {"", "s", "-1s", "0", "1d", "1 s", "1e3", "nan", "inf", "99999h"}) {
        EXPECT_FALSE(parse_duration(text)) << text;
    }
    EXPECT_EQ(parse_quantity("3")->min, 3);
    EXPECT_EQ(parse_quantity("1-3")->max, 3);
    for (const char* text : {"", "0", "3-1", "1-", "-1", "1-2-3", "x", "1000001"}) {
        EXPECT_FALSE(parse_quantity(text)) << text;
    }
}

} // namespace
} // namespace doorbuster
