#include "engine/console_feed.h"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>
#include <memory>
#include <string>
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
    Consoles() : readiness_({{"order_log", [] { return std::string("up"); }}}), cores_(2) {
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
    // So many purchases end like this on that core.
    void count(std::size_t core, PurchaseOutcome outcome, int times) {
        on(core, [&] {
            SaleView* sale = directories_[core]->find("demo");
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

TEST_F(Consoles, ShowFiguresBeforeTheFirstTick) {
    const auto console = view();
    const auto figures = data(next(*console), "figures");
    EXPECT_TRUE(figures.at("at").is_null());
    EXPECT_FALSE(figures.at("process").as_object().at("ready").as_bool());
}

} // namespace
} // namespace doorbuster
