// Running a sale, on a log and a store that the test commands: what reaches the cores and the
// journal, and that lowering takes free units only, once.
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "adapters/memory/inventory.h"
#include "engine/order_writer.h"
#include "engine/sale_service.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"

namespace doorbuster {
namespace {

using namespace fixture;
using Durability = FakeOrderLog::Durability;

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr std::size_t kCores = 2;
const std::string kId = "demo";
const std::string kWho = "anna";

class SaleServiceTest : public testing::Test {
protected:
    SaleServiceTest()
        : inventory_(cores_, clock_),
          writer_(log_, store_, clock_, options()),
          rebuild_({cores_, clock_, blocking_, store_, log_, writer_, inventory_, tally_, prints_,
                    directories_}),
          sales_({clock_, rebuild_, store_, log_, writer_, inventory_, blocking_, 7}) {
        for (std::size_t i = 0; i < kCores; ++i) {
            directories_.push_back(std::make_unique<SaleDirectory>());
        }
        writer_.start(LogPosition(1));
        cores_.start();
    }
    ~SaleServiceTest() override {
        log_.make_durable();
        cores_.stop();
    }

    static OrderWriter::Options options() {
        OrderWriter::Options options;
        options.on_fatal = [](const Error& error) { ADD_FAILURE() << error.message(); };
        return options;
    }

    void open(Units stock) {
        SaleTerms terms;
        terms.id = kId;
        terms.title = "Demo";
        terms.stock = stock;
        terms.per_user_limit = 1'000;
        terms.starts_at = kNoon;
        ASSERT_TRUE(run_on(cores_.at(0), sales_.create(terms, kId, kWho)));
        no_ = store_.find_sale(kId)->terms.no;
    }
    // A hold and its record; the order reaches the store as soon as the log is durable.
    void buy(Units quantity) {
        PurchaseRequest request;
        request.sale = no_;
        const std::string user = "buyer" + std::to_string(++bought_);
        request.user = user;
        request.user_print = prints_.of(user);
        request.order_id = OrderId(no_, clock_.now(), 0, bought_);
        request.quantity = quantity;
        ASSERT_TRUE(run_on(cores_.at(0), inventory_.reserve(request, log_)));
    }
    std::future<Step<SaleTerms>> start_change(Units add, const std::optional<std::string>& key,
                                              std::size_t core = 0) {
        return start_on(cores_.at(core), change_task(add, key));
    }
    Step<SaleTerms> change_stock(Units add, const std::optional<std::string>& key = {}) {
        return run_on(cores_.at(0), change_task(add, key));
    }
    Task<Step<SaleTerms>> change_task(Units add, std::optional<std::string> key) {
        co_return co_await sales_.change_stock(kId, add, key, kWho);
    }
    Result<SaleTerms> edit(const SaleEdit& edit) {
        return run_on(cores_.at(1), sales_.edit(kId, edit, kWho));
    }
    Units free_units() { return run_on(cores_.at(0), inventory_.count(no_, log_))->remaining; }
    // What each core's directory says of the sale.
    std::vector<SaleTerms> shown() {
        std::vector<SaleTerms> all;
        for (std::size_t i = 0; i < kCores; ++i) {
            auto look = [this, i]() -> Task<SaleTerms> {
                co_return *directories_[i]->find(kId)->terms;
            };
            all.push_back(run_on(cores_.at(i), look()));
        }
        return all;
    }
    std::vector<std::string> whats() {
        std::vector<std::string> all;
        const auto journal = run_on(cores_.at(0), sales_.journal(no_, 0, 1'000));
        for (const JournalEntry& entry : *journal) {
            EXPECT_EQ(entry.who, kWho);
            all.push_back(entry.what);
        }
        return all;
    }
    static Errc errc_of(const Step<SaleTerms>& step) {
        const auto* error = step ? nullptr : std::get_if<Error>(&step.error());
        EXPECT_NE(error, nullptr) << "no error";
        return error != nullptr ? static_cast<Errc>(error->code.value()) : Errc{};
    }
    static Refusal refusal_of(const Step<SaleTerms>& step) {
        const auto* refusal = step ? nullptr : std::get_if<Refusal>(&step.error());
        EXPECT_NE(refusal, nullptr) << "not refused";
        return refusal != nullptr ? *refusal : Refusal();
    }

    ManualClock clock_{kNoon};
    FakeOrderLog log_;
    FakeOrderStore store_{&clock_};
    Cores cores_{kCores};
    Fingerprinter prints_{1, 2};
    BlockingPool blocking_{2, 100};
    std::vector<std::unique_ptr<SaleDirectory>> directories_;
    OrderTally tally_;
    memory::MemoryInventory inventory_;
    OrderWriter writer_;
    Rebuild rebuild_;
    SaleService sales_;
    SaleNo no_;
    std::uint64_t bought_ = 0;
};

TEST_F(SaleServiceTest, ShowsEveryChangeToEveryCoreAndWritesItDown) {
    open(5);
    SaleEdit pause;
    pause.paused = true;
    SaleEdit resume;
    resume.paused = false;
    SaleEdit extend;
    extend.ends_at = kNoon + Duration(1'000);
    SaleEdit both = pause;
    both.title = "Other";
    for (const SaleEdit& each : {pause, pause, resume, extend, both}) {
        const auto changed = edit(each);
        ASSERT_TRUE(changed);
        for (const SaleTerms& terms : shown()) EXPECT_EQ(terms, *changed);
    }
    ASSERT_TRUE(change_stock(3));
    ASSERT_TRUE(change_stock(-4));
    for (const SaleTerms& terms : shown()) EXPECT_EQ(terms.stock, 4);
    ASSERT_TRUE(run_on(cores_.at(0), sales_.close(kId, kWho)));
    ASSERT_TRUE(run_on(cores_.at(0), sales_.close(kId, kWho)));
    for (const SaleTerms& terms : shown()) EXPECT_TRUE(terms.closed_at);
    EXPECT_EQ(whats(), (std::vector<std::string>{"created", "paused", "resumed", "edited", "edited",
                                                 "restocked", "restocked", "closed"}))
        << "the second pause and the second close changed nothing";
}

TEST_F(SaleServiceTest, TakesFreeUnitsOutOfTheStock) {
    open(10);
    buy(4);
    const auto lowered = change_stock(-6);
    ASSERT_TRUE(lowered);
    EXPECT_EQ(lowered->stock, 4);
    EXPECT_EQ(store_.find_sale(kId)->terms.stock, 4);
    EXPECT_EQ(free_units(), 0);
    ASSERT_TRUE(change_stock(2));
    EXPECT_EQ(free_units(), 2) << "the hold of the units is gone with them";
}

TEST_F(SaleServiceTest, TakesNoUnitThatIsSoldOrHeld) {
    open(10);
    log_.set_durability(Durability::when_told);
    buy(8); // promised, and not in the store yet
    const Refusal no = refusal_of(change_stock(-3));
    EXPECT_EQ(no.reason, PurchaseOutcome::sold_out);
    EXPECT_EQ(no.remaining, 2);
    EXPECT_EQ(free_units(), 2);
    EXPECT_EQ(whats(), (std::vector<std::string>{"created"}));
}

TEST_F(SaleServiceTest, HoldsTheUnitsUntilTheStoreHasTakenThemOut) {
    open(10);
    log_.set_durability(Durability::when_told);
    auto lowering = start_change(-6, {});
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 1; }));
    EXPECT_EQ(free_units(), 4) << "held at once";
    EXPECT_EQ(store_.find_sale(kId)->terms.stock, 10);
    log_.make_durable();
    ASSERT_TRUE(finish(lowering));
    EXPECT_EQ(free_units(), 4);
    EXPECT_EQ(store_.find_sale(kId)->terms.stock, 4);
}

TEST_F(SaleServiceTest, LowersOnceUnderAKey) {
    open(10);
    for (int i = 0; i < 3; ++i) {
        const auto lowered = change_stock(-4, "k");
        ASSERT_TRUE(lowered);
        EXPECT_EQ(lowered->stock, 6);
    }
    EXPECT_EQ(free_units(), 6);
    EXPECT_EQ(errc_of(change_stock(-3, "k")), Errc::conflict);
    EXPECT_EQ(errc_of(change_stock(4, "k")), Errc::conflict);
    ASSERT_TRUE(change_stock(1, "up"));
    EXPECT_EQ(errc_of(change_stock(-1, "up")), Errc::conflict);
    EXPECT_EQ(store_.find_sale(kId)->terms.stock, 7);
    EXPECT_EQ(free_units(), 7);
    // Also when it is closed by then.
    ASSERT_TRUE(run_on(cores_.at(0), sales_.close(kId, kWho)));
    EXPECT_TRUE(change_stock(-4, "k"));
}

TEST_F(SaleServiceTest, LowersOnceForOneKeyAtTheSameTime) {
    open(10);
    log_.set_durability(Durability::when_told);
    auto first = start_change(-3, "k", 0);
    auto second = start_change(-3, "k", 1);
    auto other = start_change(-2, "k", 1);
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 3; }));
    log_.make_durable();
    const auto one = finish(first);
    const auto two = finish(second);
    const auto three = finish(other);
    // Whoever came first in the log has won; those who asked for the same hear the same.
    const Units stock = store_.find_sale(kId)->terms.stock;
    ASSERT_TRUE(stock == 7 || stock == 8) << stock;
    EXPECT_EQ(one.has_value(), stock == 7);
    EXPECT_EQ(two.has_value(), stock == 7);
    EXPECT_EQ(three.has_value(), stock == 8);
    EXPECT_EQ(free_units(), stock);
    EXPECT_EQ(whats(), (std::vector<std::string>{"created", "restocked"}));
}

TEST_F(SaleServiceTest, KnowsItsOwnRequestBehindUnitsThatAreGone) {
    open(5);
    log_.set_durability(Durability::when_told);
    auto first = start_change(-5, "k", 0);
    ASSERT_TRUE(eventually([&] { return log_.waiting() == 1; }));
    auto again = start_change(-5, "k", 1); // nothing is free any more
    log_.make_durable();
    EXPECT_TRUE(finish(first));
    const auto second = finish(again);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->stock, 0);
}

TEST_F(SaleServiceTest, LowersNoClosedAndNoUnknownSale) {
    open(5);
    ASSERT_TRUE(run_on(cores_.at(0), sales_.close(kId, kWho)));
    EXPECT_EQ(errc_of(change_stock(-1)), Errc::wrong_state);
    EXPECT_EQ(free_units(), 5);
    const std::string nobody = "nobody";
    const auto none = run_on(cores_.at(0), sales_.change_stock(nobody, -1, {}, kWho));
    EXPECT_EQ(errc_of(none), Errc::not_found);
}

TEST_F(SaleServiceTest, TakesNothingWhenTheLogIsFull) {
    open(5);
    log_.set_room(0);
    EXPECT_EQ(refusal_of(change_stock(-2)).reason, PurchaseOutcome::overloaded);
    EXPECT_EQ(free_units(), 5);
}

TEST_F(SaleServiceTest, SaysThatItMayStillHappenWhenTheLogIsLate) {
    open(5);
    log_.set_durability(Durability::never);
    EXPECT_EQ(errc_of(change_stock(-2, "k")), Errc::timeout);
    EXPECT_EQ(free_units(), 3) << "they are on their way out";
    log_.set_durability(Durability::at_once);
    log_.make_durable();
    // The same again waits for the first, and takes nothing more.
    ASSERT_TRUE(writer_.wait_for(log_.last_enqueued(kOnlyPartition), kPatience));
    const auto again = change_stock(-2, "k");
    ASSERT_TRUE(again);
    EXPECT_EQ(again->stock, 3);
    EXPECT_EQ(store_.find_sale(kId)->terms.stock, 3);
}

} // namespace
} // namespace doorbuster
