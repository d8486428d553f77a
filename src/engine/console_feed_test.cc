#include "engine/console_feed.h"

#include <boost/asio/post.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using fixture::finish;
using fixture::run_on;
using fixture::start_on;

constexpr TimePoint kStart{Duration(1'700'000'000'000)};

// Two cores with a sale that the test makes up; its clock moves by a tick a tick.
class Consoles : public ::testing::Test {
protected:
    explicit Consoles(std::size_t cores = 2)
        : readiness_({{"order_log", [] { return std::string("up"); }}}), cores_(cores) {
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            directories_.push_back(std::make_unique<SaleDirectory>());
        }
        feed_ = std::make_unique<ConsoleFeed>(ConsoleFeed::Parts{
            cores_, clock_, directories_, purchases_, log_, nullptr, store_, tally_, readiness_});
        add_sale("demo");
    }

    void add_sale(const std::string& id) {
        SaleTerms terms;
        terms.no = SaleNo(++sales_);
        terms.id = id;
        terms.title = "A " + id;
        terms.stock = 10;
        terms.starts_at = kStart;
        const auto shared = std::make_shared<const SaleTerms>(terms);
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            on(i, [&] { directories_[i]->set_terms(shared); });
        }
    }
    static std::string sale_name(std::size_t i) { return "sale-" + std::to_string(i); }
    void add_sales(std::size_t sales) {
        for (std::size_t i = 0; i < sales; ++i) add_sale(sale_name(i));
    }
    // The inventory counts the stock of "demo".
    std::shared_ptr<StockSignals> count_stock(Units remaining) {
        auto signals = std::make_shared<StockSignals>(0);
        signals->remaining = remaining;
        for (std::size_t i = 0; i < cores_.size(); ++i) {
            on(i, [&] { directories_[i]->set_signals(SaleNo(1), signals); });
        }
        return signals;
    }
    // So many purchases end like this on that core.
    void count(std::size_t core, PurchaseOutcome outcome, int times,
               const std::string& id = "demo") {
        on(core, [&] {
            SaleView* sale = directories_[core]->find(id);
            for (int i = 0; i < times; ++i) sale->counts.add(outcome);
        });
    }
    template <class F> void on(std::size_t core, F f) {
        auto task = [](Cores& cores, std::size_t at, F& do_it) -> Task<void> {
            co_await call_on(cores.at(at), do_it);
        };
        run_on(cores_.at(core), task(cores_, core, f));
    }
    void tick() {
        clock_.advance(ConsoleFeed::kTick);
        run_on(cores_.at(0), feed_->tick());
    }
    std::unique_ptr<ConsoleView> view(const std::string& sale = "demo") {
        return feed_->view(sale, cores_.at(1).executor());
    }
    std::string next(ConsoleView& view) {
        const ConsoleText text = run_on(cores_.at(1), view.next());
        return text ? *text : "";
    }

    static std::set<std::string> ids(const boost::json::object& figures) {
        std::set<std::string> found;
        for (const auto& sale : figures.at("sales").as_array()) {
            found.emplace(sale.as_object().at("id").as_string().c_str());
        }
        return found;
    }

    // The data of the event of this name.
    static boost::json::object data(const std::string& text, const std::string& event) {
        const std::string mark = "event: " + event + "\ndata: ";
        const std::size_t at = text.find(mark);
        if (at == std::string::npos) return {};
        const std::size_t from = at + mark.size();
        return boost::json::parse(text.substr(from, text.find("\n\n", from) - from)).as_object();
    }

    ManualClock clock_{kStart};
    fixture::FakeOrderLog log_;
    fixture::FakeOrderStore store_;
    OrderTally tally_;
    Readiness readiness_;
    std::vector<std::unique_ptr<SaleDirectory>> directories_;
    std::vector<std::unique_ptr<PurchaseService>> purchases_;
    std::uint32_t sales_ = 0;
    fixture::RunningCores cores_;
    std::unique_ptr<ConsoleFeed> feed_;
};

TEST_F(Consoles, AddTheCoresUp) {
    tick();
    count(0, PurchaseOutcome::accepted, 3);
    count(1, PurchaseOutcome::accepted, 2);
    count(1, PurchaseOutcome::sold_out, 4);
    tally_.set(SaleNo(1), {0, 0, 5, 0, 0, 0, 0});
    const auto console = view();
    EXPECT_TRUE(data(next(*console), "figures").at("complete").as_bool());
    tick();
    const auto figures = data(next(*console), "figures");
    EXPECT_FALSE(figures.at("complete").as_bool());
    const auto& sale = figures.at("sales").as_array().at(0).as_object();
    EXPECT_EQ(sale.at("attempts").as_int64(), 9);
    EXPECT_EQ(sale.at("outcomes").as_object().at("accepted").as_int64(), 5);
    EXPECT_EQ(sale.at("outcomes").as_object().at("sold_out").as_int64(), 4);
    EXPECT_EQ(sale.at("orders").as_object().at("confirmed").as_int64(), 5);
}

TEST_F(Consoles, SendOneTextToAllViewers) {
    tick();
    const auto first = view();
    const auto second = view();
    next(*first);
    next(*second);
    count(0, PurchaseOutcome::accepted, 1);
    tick();
    const ConsoleText one = run_on(cores_.at(1), first->next());
    const ConsoleText other = run_on(cores_.at(1), second->next());
    EXPECT_EQ(one.get(), other.get()); // the same bytes, not equal ones
}

TEST_F(Consoles, SendOnlyTheSalesThatMoved) {
    add_sale("other");
    tick();
    const auto console = view();
    EXPECT_EQ(data(next(*console), "figures").at("sales").as_array().size(), 2U);
    count(0, PurchaseOutcome::accepted, 1);
    tick();
    const auto figures = data(next(*console), "figures");
    ASSERT_EQ(figures.at("sales").as_array().size(), 1U);
    EXPECT_EQ(figures.at("sales").as_array()[0].as_object().at("id").as_string(), "demo");
    EXPECT_EQ(figures.at("sales_known").as_int64(), 2);
}

TEST_F(Consoles, TellAViewerThatMissedATickEverything) {
    add_sale("other");
    tick();
    const auto console = view();
    next(*console);
    for (int i = 0; i < 5; ++i) {
        count(0, PurchaseOutcome::accepted, 1);
        tick();
    }
    const auto figures = data(next(*console), "figures");
    EXPECT_TRUE(figures.at("complete").as_bool());
    EXPECT_EQ(figures.at("sales").as_array().size(), 2U);
}

TEST_F(Consoles, BeginWithTheHistoryOfTheSale) {
    tick();
    count(0, PurchaseOutcome::accepted, 4);
    tick();
    count(0, PurchaseOutcome::accepted, 6);
    tick();
    const auto console = view();
    const auto history = data(next(*console), "sale_history");
    EXPECT_EQ(history.at("sale").as_string(), "demo");
    const auto& recent = history.at("history").as_object().at("recent").as_object();
    EXPECT_EQ(boost::json::value(recent.at("accepted")), boost::json::parse("[0,4,10]"));
    EXPECT_TRUE(data(next(*view("other")), "sale_history").empty());
}

TEST_F(Consoles, AreToldEveryTwoSecondsThatNothingHappens) {
    tick();
    const auto console = view();
    next(*console);
    auto told = start_on(cores_.at(1), console->next());
    for (int i = 0; i < 4; ++i) tick();
    const ConsoleText text = finish(told);
    EXPECT_TRUE(data(*text, "figures").at("sales").as_array().empty());
}

TEST_F(Consoles, WakeAViewerThatWaits) {
    tick();
    const auto console = view();
    next(*console);
    auto told = start_on(cores_.at(1), console->next());
    count(1, PurchaseOutcome::accepted, 1);
    tick();
    EXPECT_NE(finish(told)->find("\"accepted\":1"), std::string::npos);
}

TEST_F(Consoles, EndAStreamThatIsStopped) {
    tick();
    const auto console = view();
    next(*console);
    auto told = start_on(cores_.at(1), console->next());
    on(1, [&] { console->stop(); });
    EXPECT_FALSE(finish(told));
    EXPECT_FALSE(run_on(cores_.at(1), console->next()));
}

TEST_F(Consoles, HaveABoundAndGiveTheirPlacesBack) {
    tick();
    std::vector<std::unique_ptr<ConsoleView>> views;
    for (std::size_t i = 0; i < ConsoleFeed::kViewersMax; ++i) views.push_back(view());
    EXPECT_TRUE(views.back());
    EXPECT_FALSE(view());
    views.pop_back();
    EXPECT_TRUE(view());
}

// A server that was restarted sees all its sales at one tick.
TEST_F(Consoles, AreToldOfTheNewestSalesAndOfTheirOwn) {
    add_sales(300);
    tick();
    const auto told = ids(data(next(*view("sale-3")), "figures"));
    EXPECT_EQ(told.size(), ConsoleFeed::kSalesMax + 1);
    EXPECT_TRUE(told.contains("sale-3"));
    EXPECT_TRUE(told.contains("sale-299"));
    EXPECT_FALSE(told.contains("sale-4"));
}

TEST_F(Consoles, AreToldOfAllThatMoveInTurnAndOfTheirOwnFirst) {
    constexpr std::size_t kSales = 450;
    add_sales(kSales);
    tick();
    const auto newest = view("sale-449");
    next(*newest);
    for (std::size_t i = 0; i < kSales; ++i) count(1, PurchaseOutcome::sold_out, 1, sale_name(i));
    std::set<std::string> told;
    for (int ticks = 0; ticks < 3; ++ticks) {
        count(0, PurchaseOutcome::sold_out, 1, "sale-449");
        tick();
        const auto now = ids(data(next(*newest), "figures"));
        EXPECT_LE(now.size(), ConsoleFeed::kSalesMax);
        EXPECT_TRUE(now.contains("sale-449"));
        told.insert(now.begin(), now.end());
    }
    EXPECT_EQ(told.size(), kSales);
}

TEST_F(Consoles, AreToldOfTheirOwnSaleWhenTheyMissedATick) {
    add_sales(300);
    tick();
    const auto console = view("sale-3");
    next(*console);
    tick();
    count(0, PurchaseOutcome::sold_out, 1);
    tick();
    count(0, PurchaseOutcome::sold_out, 1);
    tick();
    const auto figures = data(next(*console), "figures");
    EXPECT_TRUE(figures.at("complete").as_bool());
    EXPECT_TRUE(ids(figures).contains("sale-3"));
}

TEST_F(Consoles, SayThatStockIsNotCountedRatherThanNone) {
    const auto signals = count_stock(7);
    tick();
    const auto console = view();
    const auto sale_of = [](const boost::json::object& figures) {
        return figures.at("sales").as_array().at(0).as_object();
    };
    EXPECT_EQ(sale_of(data(next(*console), "figures")).at("remaining").as_int64(), 7);
    signals->is_cold = true; // the inventory was lost
    count(0, PurchaseOutcome::unavailable, 1);
    tick();
    const auto lost = sale_of(data(next(*console), "figures"));
    EXPECT_FALSE(lost.at("counted").as_bool());
    EXPECT_TRUE(lost.at("remaining").is_null());
    const auto history = data(next(*view()), "sale_history").at("history").as_object();
    EXPECT_EQ(boost::json::value(history.at("recent").as_object().at("remaining")),
              boost::json::parse("[7,null]"));
}

TEST_F(Consoles, KeepTheHistoryOfEveryOutcome) {
    tick();
    for (std::size_t i = 1; i < kPurchaseOutcomes; ++i) {
        count(0, static_cast<PurchaseOutcome>(i), static_cast<int>(i));
    }
    tick();
    const auto history = data(next(*view()), "sale_history").at("history").as_object();
    const auto& recent = history.at("recent").as_object();
    for (std::size_t i = 1; i < kPurchaseOutcomes; ++i) {
        const char* name = to_string(static_cast<PurchaseOutcome>(i));
        ASSERT_TRUE(recent.contains(name)) << name;
        EXPECT_EQ(recent.at(name).as_array().back().to_number<std::size_t>(), i) << name;
    }
}

TEST_F(Consoles, ForgetTheOldestHistories) {
    add_sales(ConsoleFeed::kSalesMax);
    tick();
    count(0, PurchaseOutcome::accepted, 1);
    tick();
    EXPECT_FALSE(data(next(*view()), "sale_history").empty());
    for (std::size_t i = 0; i < ConsoleFeed::kSalesMax; ++i) {
        count(0, PurchaseOutcome::accepted, 1, sale_name(i));
    }
    tick();
    EXPECT_TRUE(data(next(*view()), "sale_history").empty());
    EXPECT_FALSE(data(next(*view("sale-0")), "sale_history").empty());
}

class ConsolesOfOneCore : public Consoles {
protected:
    ConsolesOfOneCore() : Consoles(1) {}
};

// Whatever else the core has to do has a turn behind every slice.
TEST_F(ConsolesOfOneCore, LookAtManySalesInSlices) {
    constexpr std::size_t kSlices = 4;
    add_sales(kSlices * ConsoleFeed::kSliceMax - 1); // and "demo"
    std::size_t turns = 0;
    std::function<void()> take_a_turn = [&] {
        ++turns;
        boost::asio::post(cores_.at(0).executor(), [&] {
            if (turns > 0) take_a_turn();
        });
    };
    const auto look = [&]() -> Task<std::size_t> {
        take_a_turn();
        co_await feed_->tick();
        co_return std::exchange(turns, 0); // and no more
    };
    EXPECT_GE(run_on(cores_.at(0), look()), kSlices);
    on(0, [] {}); // the last turn is over
}

TEST_F(Consoles, ShowFiguresBeforeTheFirstTick) {
    const auto console = view();
    const auto figures = data(next(*console), "figures");
    EXPECT_TRUE(figures.at("at").is_null());
    EXPECT_FALSE(figures.at("process").as_object().at("ready").as_bool());
}

} // namespace
} // namespace doorbuster
