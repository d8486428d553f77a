#include "app/commands/log_command.h"

#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <gtest/gtest.h>
#include <sstream>

#include "adapters/sql/order_store.h"
#include "app/data_folder.h"
#include "app/scratch_folder.h"

namespace doorbuster {
namespace {

namespace json = boost::json;

constexpr TimePoint kNoon{Duration(1'764'234'000'000)};

// One run of the command line.
struct CommandRun {
    std::ostringstream out;
    std::ostringstream err;
    std::istringstream in;
    CommandContext context{.out = out, .err = err};
    int code = -1;

    explicit CommandRun(std::vector<std::string> arguments, const std::string& answer = {})
        : in(answer) {
        context.in = &in;
        context.in_is_terminal = answer.empty() ? Terminal::no : Terminal::yes;
        CLI::App app("doorbuster");
        app.require_subcommand(1);
        add_log_command(app, context);
        code = run_command_line(app, context, std::move(arguments));
    }
    [[nodiscard]] json::array items() const {
        return json::parse(out.str()).as_object().at("items").as_array();
    }
};

std::string text(const json::value& item, const char* name) {
    return item.as_object().at(name).as_string().c_str();
}

// A data folder with a sale of ten and four orders: one stored, one that no table takes, and two
// of a sale that came to the store after them.
class LogDead : public testing::Test {
protected:
    void SetUp() override {
        const auto store = open();
        ASSERT_TRUE(store->bind_log("log-1"));
        add_sale(*store, "shoes");
        const std::vector<LogRecord> records = {order(1, 1, 1), order(1, 2, 0), order(2, 3, 1),
                                                order(2, 4, 1)};
        const auto applied = store->apply({kOnlyPartition, LogPosition(1)}, LogPosition(5), records,
                                          StockGuard::version_and_stock);
        ASSERT_TRUE(applied) << applied.error().message();
        ASSERT_EQ(applied->dead_letters, 3U);
        add_sale(*store, "boots");
    }
    [[nodiscard]] std::unique_ptr<sql::SqlOrderStore> open() const {
        sql::OrderStoreOptions options;
        options.url = folder_.path() + "/orders.db";
        auto store = sql::SqlOrderStore::open(options);
        EXPECT_TRUE(store) << store.error().message();
        return std::move(*store);
    }
    static void add_sale(sql::SqlOrderStore& store, const std::string& id) {
        SaleTerms terms;
        terms.id = id;
        terms.title = id;
        terms.stock = 10;
        terms.starts_at = kNoon;
        ASSERT_TRUE(store.create_sale(terms, id, "test"));
    }
    static LogRecord order(std::uint32_t sale, std::uint64_t n, Units quantity) {
        LogRecord record;
        record.kind = LogRecordKind::order;
        record.sale = SaleNo(sale);
        record.order = OrderId(record.sale, kNoon, 0, n);
        record.quantity = quantity;
        record.user = "user" + std::to_string(n);
        return record;
    }
    static std::string id(std::uint32_t sale, std::uint64_t n) {
        return order(sale, n, 1).order.text();
    }
    [[nodiscard]] CommandRun run(std::vector<std::string> arguments,
                                 const std::string& answer = {}) const {
        arguments.insert(arguments.begin(), {"log", "dead"});
        arguments.insert(arguments.end(), {"--data", folder_.path()});
        return CommandRun(std::move(arguments), answer);
    }

    ScratchFolder folder_ = std::move(*ScratchFolder::make());
};

TEST_F(LogDead, AreListedWithTheirCause) {
    const auto table = run({"list"});
    EXPECT_EQ(table.code, kExitDone) << table.err.str();
    for (const std::string& word : {id(1, 2), id(2, 3), id(2, 4), std::string("boots")}) {
        EXPECT_NE(table.out.str().find(word), std::string::npos) << word;
    }
    const auto of_sale = run({"list", "--sale", "shoes", "--json"});
    ASSERT_EQ(of_sale.items().size(), 1U) << of_sale.out.str();
    const json::value letter = of_sale.items().front();
    EXPECT_EQ(text(letter, "order_id"), id(1, 2));
    EXPECT_EQ(text(letter, "sale_id"), "shoes");
    EXPECT_EQ(text(letter, "user_id"), "user2");
    EXPECT_NE(text(letter, "cause"), "");
    EXPECT_TRUE(letter.as_object().at("dropped_at").is_null());
    EXPECT_EQ(run({"list", "--sale", "hats"}).code, kExitFailed);
}

TEST_F(LogDead, AreListedWhileAServerRuns) {
    const auto folder = DataFolder::acquire(folder_.path());
    ASSERT_TRUE(folder);
    EXPECT_EQ(run({"list", "--json"}).items().size(), 3U);
}

TEST_F(LogDead, AreNotChangedWhileAServerRuns) {
    const auto folder = DataFolder::acquire(folder_.path());
    ASSERT_TRUE(folder);
    const auto replayed = run({"replay", "--all"});
    EXPECT_EQ(replayed.code, kExitFailed);
    EXPECT_NE(replayed.err.str().find("a server runs on"), std::string::npos);
    EXPECT_EQ(run({"drop", id(1, 2), "--cause", "x"}).code, kExitFailed);
    EXPECT_EQ(run({"list", "--json"}).items().size(), 3U);
}

TEST_F(LogDead, BecomeOrdersWhenTheCauseIsMended) {
    const auto one = run({"replay", id(2, 3), "--json"});
    EXPECT_EQ(one.code, kExitDone) << one.err.str();
    ASSERT_EQ(one.items().size(), 1U);
    EXPECT_EQ(text(one.items().front(), "status"), "confirmed");
    EXPECT_EQ(open()->find_sale("boots")->sold, 1);

    const auto all = run({"replay", "--all", "--json"});
    EXPECT_EQ(all.code, kExitFailed) << "one of them still fails";
    EXPECT_NE(all.err.str().find(id(1, 2)), std::string::npos) << all.err.str();
    ASSERT_EQ(all.items().size(), 1U) << "the other does not wait for it";
    EXPECT_EQ(text(all.items().front(), "order_id"), id(2, 4));
    EXPECT_EQ(run({"list", "--json"}).items().size(), 1U);
    EXPECT_EQ(run({"replay", id(2, 3)}).code, kExitFailed) << "it is no dead letter any more";
}

TEST_F(LogDead, AreDroppedWithACauseAndLeaveTheirUnitsToTheSweep) {
    const auto dropped = run({"drop", id(1, 2), "--cause", "refunded", "--json"});
    EXPECT_EQ(dropped.code, kExitDone) << dropped.err.str();
    EXPECT_EQ(text(dropped.items().front(), "order_id"), id(1, 2));
    const auto left = open()->pending_give_backs(std::nullopt, 10);
    ASSERT_TRUE(left);
    ASSERT_EQ(left->size(), 1U);
    EXPECT_EQ(left->front().orders.front().text(), id(1, 2));
    EXPECT_EQ(run({"list", "--json"}).items().size(), 2U);
    const auto with_dropped = run({"list", "--json", "--dropped", "--sale", "shoes"});
    EXPECT_EQ(text(with_dropped.items().front(), "drop_cause"), "refunded");
    EXPECT_EQ(run({"replay", id(1, 2)}).code, kExitFailed) << "given up is given up";
    EXPECT_EQ(run({"drop", id(1, 7), "--cause", "refunded"}).code, kExitFailed) << "unknown";
}

TEST_F(LogDead, AreDroppedOnATerminalOnlyWhenTheAnswerIsYes) {
    const auto asked = run({"drop", id(1, 2), "--cause", "refunded"}, "n\n");
    EXPECT_EQ(asked.code, kExitFailed);
    EXPECT_NE(asked.err.str().find("[y/N]"), std::string::npos);
    EXPECT_EQ(run({"list", "--json"}).items().size(), 3U);
    EXPECT_EQ(run({"drop", id(1, 2), "--cause", "refunded"}, "y\n").code, kExitDone);
    EXPECT_EQ(run({"list", "--json"}).items().size(), 2U);
    const auto sure = run({"drop", id(2, 3), "--cause", "refunded", "--yes"}, "n\n");
    EXPECT_EQ(sure.code, kExitDone) << sure.err.str();
    EXPECT_EQ(sure.err.str(), "");
}

TEST_F(LogDead, ExitWithTwoWhenTheArgumentsAreWrong) {
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{"replay"},
                                               {"replay", "--all", id(1, 2)},
                                               {"replay", "nonsense"},
                                               {"drop", id(1, 2)},
                                               {"drop", id(1, 2), "--cause", ""},
                                               {"drop", "--cause", "x"},
                                               {"list", "--sale", "No Sale"}}) {
        EXPECT_EQ(run(wrong).code, kExitUsage) << wrong.front() << " " << wrong.back();
    }
}

TEST(LogDeadWithoutAStore, MakesNone) {
    const auto folder = std::move(*ScratchFolder::make());
    const CommandRun list({"log", "dead", "list", "--data", folder.path()});
    EXPECT_EQ(list.code, kExitFailed);
    EXPECT_NE(list.err.str().find("there is no order store"), std::string::npos);
    const CommandRun replay({"log", "dead", "replay", "--all", "--data", folder.path()});
    EXPECT_EQ(replay.code, kExitFailed);
}

} // namespace
} // namespace doorbuster
