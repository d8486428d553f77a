// The keeper of one process, in the test's own thread: it is core 0, the blocking threads and the
// time. What other processes do, the test does to the store and to the inventory.
#include "engine/sale_keeper.h"

#include <future>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "runtime/task_fixture.h"
#include "runtime/virtual_time.h"

namespace doorbuster {
namespace {

const TimePoint kStart(Duration(1'700'000'000'000));
constexpr Duration kSoon{50};       // a look that was asked for has been taken
constexpr Duration kRound{500};     // a round of looks is over
constexpr Duration kRebuilt{3'000}; // the waits before a rebuild are over

// A store that can be away.
class Store final : public fixture::FakeOrderStore {
public:
    using FakeOrderStore::FakeOrderStore;

    Result<std::vector<StoredSale>> list_sales(const std::string& after,
                                               std::size_t limit) override {
        if (is_away) return fail(Errc::unavailable, "the store is away");
        return FakeOrderStore::list_sales(after, limit);
    }
    Result<StoredSale> find_sale(std::string_view id) override {
        ++look_ups;
        if (is_away) return fail(Errc::unavailable, "the store is away");
        return FakeOrderStore::find_sale(id);
    }

    bool is_away = false;
    int look_ups = 0;
};

// An inventory that outlives its processes, and can be away.
class SharedInventory final : public Inventory {
public:
    // The test's side: what another process installed.
    void put(const SaleTerms& terms, Epoch epoch) {
        epochs[terms.no] = epoch;
        versions[terms.no] = terms.version;
        if (!signals[terms.no]) signals[terms.no] = std::make_shared<StockSignals>(0);
        signals[terms.no]->is_cold.store(false);
    }
    void lose(SaleNo sale) {
        epochs.erase(sale);
        if (signals[sale]) signals[sale]->is_cold.store(true);
    }

    Task<Step<Reservation>> reserve(const PurchaseRequest&, OrderLog&) override {
        co_return tl::make_unexpected(Stop(Refusal()));
    }
    Task<Step<std::optional<Reservation>>> find_key(const PurchaseRequest&, OrderLog&) override {
        co_return tl::make_unexpected(Stop(Refusal()));
    }
    Task<Result<std::shared_ptr<const StockSignals>>> attach(const SaleTerms& terms,
                                                             Epoch epoch) override {
        using Attached = Result<std::shared_ptr<const StockSignals>>;
        if (is_away) co_return fail(Errc::unavailable, "the inventory is away");
        const auto at = epochs.find(terms.no);
        if (at == epochs.end() || at->second != epoch) co_return Attached();
        put(terms, epoch);
        co_return Attached(signals[terms.no]);
    }
    Task<Result<void>> begin_rebuild(SaleNo sale, Epoch epoch) override {
        begun.emplace_back(sale, epoch);
        lose(sale);
        co_return Result<void>();
    }
    Task<Result<std::shared_ptr<const StockSignals>>> install(SaleImage image) override {
        installed.emplace_back(image.terms.no, image.epoch);
        put(image.terms, image.epoch);
        co_return std::shared_ptr<const StockSignals>(signals[image.terms.no]);
    }
    Task<Result<void>> set_terms(const SaleTerms& terms) override {
        ++terms_told;
        if (is_away) co_return fail(Errc::unavailable, "the inventory is away");
        versions[terms.no] = std::max(versions[terms.no], terms.version);
        co_return Result<void>();
    }
    Task<Step<LogPosition>> withdraw(const Withdrawal&, OrderLog&) override {
        co_return tl::make_unexpected(Stop(Refusal()));
    }
    Task<Result<void>> release(const SaleTerms&, Epoch, std::span<const OrderId>) override {
        co_return Result<void>();
    }
    Task<Result<InventoryCount>> count(SaleNo, OrderLog&) override { co_return InventoryCount(); }
    void settled(SaleNo, const OrderId& order) override {
        std::erase_if(holds, [&order](const LogRecord& record) { return record.order == order; });
    }
    Task<Result<std::vector<LogRecord>>> pending(SaleNo sale, Duration,
                                                 std::size_t records_max) override {
        std::vector<LogRecord> records;
        for (const LogRecord& record : holds) {
            if (record.sale == sale && records.size() < records_max) records.push_back(record);
        }
        co_return records;
    }

    bool is_away = false;
    int terms_told = 0;
    std::map<SaleNo, Epoch> epochs; // of what is installed
    std::map<SaleNo, std::int64_t> versions;
    std::map<SaleNo, std::shared_ptr<StockSignals>> signals;
    std::vector<std::pair<SaleNo, Epoch>> begun;
    std::vector<std::pair<SaleNo, Epoch>> installed;
    std::vector<LogRecord> holds; // that are pending for long enough
};

struct Progress final : StoreProgress {
    Task<bool> reached(LogPosition, Duration wait_max) override {
        if (!is_live && clock != nullptr)
            co_await sleep_for(*clock, wait_max); // poll: virtual time
        co_return is_live;
    }
    Task<bool> stored(const OrderId&, Duration) override { co_return is_live; }
    Task<bool> caught_up(LogPartition, Duration) override { co_return is_live; }
    [[nodiscard]] bool is_store_up() const override { return is_live; }

    bool is_live = true;          // somebody writes
    const Clock* clock = nullptr; // by which one waits for the others
};

struct CallsInVirtualTime final : BlockingPool::Runner {
    explicit CallsInVirtualTime(fixture::VirtualTime& in) : time(in) {}
    void run(std::function<void()> call) override {
        time.in(std::chrono::milliseconds(1), std::move(call));
    }
    fixture::VirtualTime& time;
};

class SaleKeeperTest : public testing::Test {
protected:
    SaleKeeperTest() { directories.push_back(std::make_unique<SaleDirectory>()); }
    ~SaleKeeperTest() override { time.clear(); } // what is left of run() goes first

    static SaleTerms terms_of(const std::string& id) {
        SaleTerms terms;
        terms.id = id;
        terms.title = id;
        terms.stock = 10;
        terms.starts_at = kStart;
        return terms;
    }
    // Created elsewhere and installed there.
    StoredSale sell_elsewhere(const std::string& id) {
        const StoredSale sale = store.add_open_sale(terms_of(id));
        inventory.put(sale.terms, sale.epoch);
        return sale;
    }
    StoredSale retitle(const std::string& id, const std::string& title) {
        const auto change = [&title](StoredSale& sale) -> Result<void> {
            sale.terms.title = title;
            return {};
        };
        return *store.change_sale(id, change, std::nullopt, {"admin", "retitled"});
    }
    LogRecord hold_of(const StoredSale& sale) {
        LogRecord record;
        record.sale = sale.terms.no;
        record.epoch = sale.epoch;
        record.order = ids.make(record.sale, time.now());
        record.quantity = 1;
        record.user = "user";
        return record;
    }
    void start() { running = fixture::start_on(cores.at(0), keeper.run()); }
    void pass(Duration wait) {
        bool is_over = false;
        time.in(wait, [&is_over] { is_over = true; });
        cores.at(0).context().poll();
        while (!is_over) {
            time.step();
            cores.at(0).context().poll();
        }
    }
    [[nodiscard]] const SaleView* view(const std::string& id) { return directories[0]->find(id); }
    [[nodiscard]] bool sells(const std::string& id) {
        const SaleView* shown = view(id);
        return shown != nullptr && shown->signals && !shown->signals->is_cold.load();
    }
    std::uint64_t draw(std::uint64_t below) {
        draws.push_back(below);
        return below - 1; // the longest wait
    }

    fixture::VirtualTime time{kStart};
    CallsInVirtualTime runner{time};
    OrderIdSource ids{1, 1};
    Cores cores{1}; // never started
    BlockingPool blocking{runner, 100};
    Store store{&time};
    fixture::FakeOrderLog log;
    SharedInventory inventory;
    Progress progress;
    OrderTally tally;
    Fingerprinter prints{1, 2};
    std::vector<std::unique_ptr<SaleDirectory>> directories;
    Rebuild rebuild{Rebuild::Parts{cores, time, blocking, store, log, progress, inventory, tally,
                                   prints, directories}};
    std::vector<std::uint64_t> draws;
    std::vector<std::size_t> readies;
    SaleKeeper keeper{SaleKeeper::Parts{cores, time, blocking, store, log, inventory, rebuild,
                                        tally, directories,
                                        [this](std::uint64_t below) { return draw(below); },
                                        [this](std::size_t sales) { readies.push_back(sales); }}};
    std::future<void> running;
};

TEST_F(SaleKeeperTest, AttachesToWhatTheInventoryHasInsteadOfRebuildingIt) {
    sell_elsewhere("shoes");
    sell_elsewhere("books");
    start();
    pass(kRound);
    EXPECT_TRUE(sells("shoes"));
    EXPECT_TRUE(sells("books"));
    EXPECT_TRUE(inventory.begun.empty());
    EXPECT_TRUE(log.records().empty()); // no barrier
    EXPECT_EQ(keeper.state(), "up");
    EXPECT_EQ(readies, std::vector<std::size_t>{2}); // told once
    pass(kRebuilt);
    EXPECT_EQ(readies.size(), 1U);
}

TEST_F(SaleKeeperTest, ShowsWhatWasCreatedAndChangedElsewhere) {
    start();
    pass(kRound);
    sell_elsewhere("shoes");
    pass(kRound);
    EXPECT_TRUE(sells("shoes"));
    retitle("shoes", "Red shoes");
    pass(kRound);
    EXPECT_EQ(view("shoes")->terms->title, "Red shoes");
    EXPECT_EQ(inventory.versions[view("shoes")->terms->no], 2);
}

TEST_F(SaleKeeperTest, LooksAtOnceWhenItIsTold) {
    start();
    pass(kRound);
    sell_elsewhere("shoes");
    keeper.look_soon();
    pass(kSoon);
    EXPECT_TRUE(sells("shoes"));
}

TEST_F(SaleKeeperTest, TellsTheInventoryTermsThatTheirAuthorCouldNot) {
    const StoredSale sale = sell_elsewhere("shoes");
    start();
    pass(kRound);
    inventory.is_away = true;
    retitle("shoes", "Red shoes");
    pass(kRound);
    inventory.is_away = false;
    pass(kRound);
    EXPECT_EQ(inventory.versions[sale.terms.no], 2);
    const int told = inventory.terms_told;
    pass(kRound);
    EXPECT_EQ(inventory.terms_told, told); // once is enough
}

TEST_F(SaleKeeperTest, RebuildsAColdSaleAfterAWaitThatIsLeftToChance) {
    const StoredSale sale = store.add_open_sale(terms_of("shoes")); // the inventory has nothing
    start();
    pass(Duration(80));
    EXPECT_TRUE(inventory.begun.empty()); // another node may be at it
    EXPECT_EQ(draws, std::vector<std::uint64_t>{100});
    EXPECT_EQ(keeper.state(), "being rebuilt (this needs a live order writer)");
    EXPECT_EQ(readies, std::vector<std::size_t>{1}); // known; it need not sell
    pass(kRebuilt);
    const std::vector<std::pair<SaleNo, Epoch>> once{{sale.terms.no, Epoch(2)}};
    EXPECT_EQ(inventory.installed, once);
    EXPECT_TRUE(sells("shoes"));
    EXPECT_EQ(keeper.state(), "up");
    EXPECT_EQ(readies, std::vector<std::size_t>{1});
}

TEST_F(SaleKeeperTest, ARebuildThatTakesLongHoldsUpNoOtherSale) {
    progress.is_live = false; // no writer: a rebuild waits two minutes for its barrier
    progress.clock = &time;
    static_cast<void>(store.add_open_sale(terms_of("shoes"))); // the inventory has nothing
    start();
    pass(kRebuilt);
    ASSERT_FALSE(inventory.begun.empty());
    EXPECT_FALSE(sells("shoes"));
    sell_elsewhere("hats");
    pass(kRound);
    EXPECT_TRUE(sells("hats"));
    EXPECT_EQ(keeper.state(), "being rebuilt (this needs a live order writer)");
}

TEST_F(SaleKeeperTest, AttachesWhenAnotherNodeWasFaster) {
    static_cast<void>(store.add_open_sale(terms_of("shoes")));
    start();
    pass(Duration(80));
    const auto opened = store.next_epochs({}); // the other node's rebuild
    inventory.put(opened->front().terms, opened->front().epoch);
    pass(kRebuilt);
    EXPECT_TRUE(sells("shoes"));
    EXPECT_TRUE(inventory.begun.empty());
}

TEST_F(SaleKeeperTest, RebuildsASaleThatIsLostWhileItSells) {
    const StoredSale sale = sell_elsewhere("shoes");
    start();
    pass(kRound);
    inventory.lose(sale.terms.no);
    pass(kRebuilt);
    EXPECT_TRUE(sells("shoes"));
    const std::vector<std::pair<SaleNo, Epoch>> once{{sale.terms.no, Epoch(2)}};
    EXPECT_EQ(inventory.installed, once);
}

// Somebody took the next epoch and died: what is given back names that one, and nothing is.
TEST_F(SaleKeeperTest, RebuildsASaleThatSellsUnderAnotherEpochThanTheStores) {
    const StoredSale sale = sell_elsewhere("shoes");
    start();
    pass(kRound);
    ASSERT_TRUE(store.next_epochs({}).has_value());
    pass(kRound);
    EXPECT_TRUE(inventory.begun.empty()); // it may still be at it
    EXPECT_TRUE(sells("shoes"));
    pass(Duration(2 * kRebuilt));
    const std::vector<std::pair<SaleNo, Epoch>> once{{sale.terms.no, Epoch(3)}};
    EXPECT_EQ(inventory.installed, once);
    EXPECT_TRUE(sells("shoes"));
    EXPECT_EQ(keeper.state(), "up");
}

TEST_F(SaleKeeperTest, WaitsLongerAfterEachRebuildThatFails) {
    progress.is_live = false;
    static_cast<void>(store.add_open_sale(terms_of("shoes")));
    start();
    pass(Duration(60'000));
    EXPECT_EQ(keeper.state(), "being rebuilt (this needs a live order writer)");
    EXPECT_TRUE(inventory.installed.empty());
    ASSERT_GE(draws.size(), 8U);
    for (std::size_t i = 1; i < draws.size(); ++i) {
        EXPECT_EQ(draws[i], std::min<std::uint64_t>(draws[i - 1] * 2, 12'800)) << i;
    }
    EXPECT_LT(inventory.begun.size(), 15U); // not one a round
    progress.is_live = true;
    pass(Duration(20'000));
    EXPECT_TRUE(sells("shoes"));
}

TEST_F(SaleKeeperTest, LeavesASaleAloneThatWasClosedLongAgo) {
    const StoredSale sale = store.add_open_sale(terms_of("shoes"));
    const auto close = [](StoredSale& changed) -> Result<void> {
        changed.terms.closed_at = kStart - std::chrono::hours(25);
        return {};
    };
    ASSERT_TRUE(store.change_sale(sale.terms.id, close, std::nullopt, {"admin", "closed"}));
    start();
    pass(kRebuilt);
    EXPECT_TRUE(inventory.begun.empty());
    EXPECT_NE(view("shoes"), nullptr); // shown all the same
    EXPECT_EQ(keeper.state(), "up");
}

TEST_F(SaleKeeperTest, SaysWhatItWaitsFor) {
    store.is_away = true;
    sell_elsewhere("shoes");
    EXPECT_EQ(keeper.state(), "waiting for the order store"); // before it has looked at all
    start();
    pass(kRound);
    EXPECT_EQ(keeper.state(), "waiting for the order store");
    store.is_away = false;
    inventory.is_away = true;
    pass(kRound);
    EXPECT_EQ(keeper.state(), "waiting for the inventory");
    EXPECT_EQ(readies.size(), 1U); // stored orders can be read and paid
    inventory.is_away = false;
    pass(kRound);
    EXPECT_EQ(keeper.state(), "up");
    EXPECT_EQ(readies.size(), 1U);
    store.is_away = true;
    pass(kRound);
    EXPECT_EQ(keeper.state(), "waiting for the order store");
}

TEST_F(SaleKeeperTest, AppendsHoldsAgainThatStayedPendingAndSettlesThem) {
    const StoredSale sale = sell_elsewhere("shoes");
    inventory.holds = {hold_of(sale), hold_of(sale)};
    const std::vector<LogRecord> holds = inventory.holds;
    log.set_durability(fixture::FakeOrderLog::Durability::when_told);
    start();
    pass(kRound);
    ASSERT_EQ(log.records().size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(log.records()[i].order, holds[i].order);
        EXPECT_EQ(log.records()[i].epoch, holds[i].epoch); // the hold's own
        EXPECT_EQ(log.records()[i].user, holds[i].user);
    }
    EXPECT_EQ(inventory.holds.size(), 2U); // appended is not read back
    log.make_durable();
    pass(kRound);
    EXPECT_TRUE(inventory.holds.empty());
}

TEST_F(SaleKeeperTest, AHoldThatIsNotReadBackStaysPendingAndIsAppendedOnceMore) {
    const StoredSale sale = sell_elsewhere("shoes");
    inventory.holds = {hold_of(sale)};
    log.set_durability(fixture::FakeOrderLog::Durability::never);
    start();
    pass(Duration(10'000));
    EXPECT_EQ(inventory.holds.size(), 1U);
    EXPECT_EQ(log.records().size(), 1U) << "the log itself produces it again";
    pass(Duration(25'000));
    EXPECT_EQ(log.records().size(), 2U) << "it may have been made void";
}

TEST_F(SaleKeeperTest, AFullLogTakesPendingHoldsLater) {
    const StoredSale sale = sell_elsewhere("shoes");
    inventory.holds = {hold_of(sale), hold_of(sale), hold_of(sale)};
    log.set_room(2);
    start();
    pass(kRound);
    EXPECT_EQ(inventory.holds.size(), 1U);
    log.set_room(2);
    pass(Duration(2'000));
    EXPECT_TRUE(inventory.holds.empty());
}

TEST_F(SaleKeeperTest, DiscoversASaleThatWasCreatedElsewhereAMomentAgo) {
    start();
    pass(kRound);
    sell_elsewhere("shoes");
    auto found = fixture::start_on(cores.at(0), keeper.discover("shoes"));
    pass(Duration(3));
    EXPECT_TRUE(sells("shoes"));
    EXPECT_EQ(found.wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

TEST_F(SaleKeeperTest, AFloodOfWrongIdsCostsTheStoreABoundedNumberOfLookUps) {
    start();
    pass(kRound);
    std::vector<std::future<void>> answers;
    for (int i = 0; i < 1'000; ++i) { // in 100 ms
        answers.push_back(fixture::start_on(cores.at(0), keeper.discover("no-such-sale")));
        if (i % 10 == 9) pass(Duration(1));
    }
    pass(kRound);
    EXPECT_GE(store.look_ups, 10);
    EXPECT_LE(store.look_ups, 25); // one in 5 ms
    for (auto& answer : answers) {
        EXPECT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    }
}

TEST_F(SaleKeeperTest, RefreshShowsWhatTheStoreHas) {
    start();
    pass(kRound);
    sell_elsewhere("shoes");
    auto refreshed = fixture::start_on(cores.at(0), keeper.refresh());
    pass(Duration(5));
    EXPECT_EQ(refreshed.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    EXPECT_TRUE(sells("shoes"));
}

} // namespace
} // namespace doorbuster
