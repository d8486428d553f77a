// What becomes of the store's calls when the connection or the server goes away, also in the very
// moment of a COMMIT.
#include <array>
#include <atomic>
#include <charconv>
#include <future>
#include <gtest/gtest.h>

#include "adapters/sql/outbox.h"
#include "adapters/sql/session.h"
#include "adapters/sql/store_fixture.h"
#include "adapters/sql/tcp_gate.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;
using Cut = TcpGate::Cut;

constexpr StockGuard kGuard = StockGuard::version_and_stock;

// The port in a test server's URL: behind the last colon before the path.
std::uint16_t port_of(const std::string& url) {
    const std::size_t path = url.find('/', url.find("://") + 3);
    const std::size_t colon = url.rfind(':', path);
    std::uint16_t port = 0;
    std::from_chars(url.data() + colon + 1, url.data() + path, port);
    return port;
}

class BrokenConnection : public StoreTest {
protected:
    void SetUp() override {
        StoreTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        file_ = std::make_unique<ScratchStore>(GetParam());
        const std::uint16_t port = port_of(file_->url());
        ASSERT_NE(port, 0) << "the tests' URL must name a port";
        gate_ = std::make_unique<TcpGate>(port);
        std::string url = file_->url();
        const std::string there = ":" + std::to_string(port) + "/";
        url.replace(url.find(there), there.size(), ":" + std::to_string(gate_->port()) + "/");
        if (GetParam() == Dialect::postgresql) url += "&sslmode=disable&gssencmode=disable";
        const auto count = [this](SaleNo, Units units) -> Result<void> {
            raised_ += units;
            return {};
        };
        auto store = SqlOrderStore::open({url, 2, StoreMode::serve, nullptr, true, count});
        ASSERT_TRUE(store.has_value()) << store.error().message();
        store_ = std::move(*store);
        ASSERT_TRUE(store_->bind_log("log-1"));
        SaleTerms sale = terms("s", 100);
        sale.payment_timeout = Duration(900'000);
        sale_ = store_->create_sale(sale, "s", "test")->first.terms.no;
    }
    void TearDown() override {
        store_.reset();
        gate_.reset();
    }
    Result<ApplyReport> apply(std::uint64_t first, std::uint64_t last) {
        std::vector<LogRecord> records;
        for (std::uint64_t n = first; n <= last; ++n) records.push_back(order(sale_, n));
        return store_->apply(LogPosition(first), LogPosition(last + 1), records, kGuard);
    }
    // In no log: it was told what it saw, and waits.
    Result<ApplyReport> apply_alone(std::uint64_t n, const StockSighting& seen, StockGuard guard) {
        LogRecord record = order(sale_, n);
        record.sighting = seen;
        const LogPosition nowhere(1);
        return store_->apply(nowhere, nowhere, std::span(&record, 1), guard);
    }
    [[nodiscard]] Units sold() { return store_->find_sale("s")->sold; }

    std::unique_ptr<ScratchStore> file_;
    std::unique_ptr<TcpGate> gate_;
    std::unique_ptr<SqlOrderStore> store_;
    SaleNo sale_;
    std::atomic<Units> raised_{0}; // as Redis' counter would be
};
INSTANTIATE_TEST_SUITE_P(In, BrokenConnection, testing::ValuesIn(kServers), suffix_of);

TEST_P(BrokenConnection, ABatchIsStoredOnceWhateverItsCommitMet) {
    std::uint64_t stored = 0;
    for (const Cut cut : {Cut::before_commit, Cut::after_commit, Cut::none}) {
        gate_->cut_next(cut);
        const auto report = apply(stored + 1, stored + 5);
        ASSERT_TRUE(report.has_value()) << report.error().message();
        EXPECT_TRUE(gate_->has_cut());
        EXPECT_EQ(report->confirmed, 5U);
        stored += 5;
        EXPECT_EQ(store_->log_binding()->next.at(kOnlyPartition), LogPosition(stored + 1));
        EXPECT_EQ(sold(), static_cast<Units>(stored));
        EXPECT_EQ(books_of(*store_, "s").log_accepted_orders, static_cast<std::int64_t>(stored));
    }
    // A batch of the past is still one.
    EXPECT_TRUE(apply(11, 15).error().is(Errc::fenced));
}

TEST_P(BrokenConnection, ABatchWhoseCommitIsUnknownIsKnownInALaterCall) {
    ASSERT_TRUE(apply(1, 5));
    // The server answers nobody behind the cut, until the call has given up.
    gate_->cut_next(Cut::after_commit);
    auto given_up = std::async(std::launch::async, [this] { return apply(6, 10); });
    while (!gate_->has_cut()) std::this_thread::yield();
    gate_->shut();
    const auto first = given_up.get();
    gate_->open();
    if (!first) { // else it was faster than the gate
        EXPECT_TRUE(first.error().is(Errc::unavailable)) << first.error().message();
        const auto again = apply(6, 10);
        ASSERT_TRUE(again.has_value()) << again.error().message();
        EXPECT_EQ(again->confirmed, 5U);
    }
    EXPECT_EQ(sold(), 10);
}

TEST_P(BrokenConnection, AnOrderInNoLogIsStoredOnceAndItsBuyerHearsYesWhateverItsCommitMet) {
    std::uint64_t stored = 0;
    for (const StockGuard guard : {StockGuard::version, StockGuard::overwrite}) {
        for (const Cut cut : {Cut::before_commit, Cut::after_commit, Cut::none}) {
            const StockSighting seen = *store_->look_at_stock(sale_);
            gate_->cut_next(cut);
            const auto report = apply_alone(++stored, seen, guard);
            ASSERT_TRUE(report.has_value()) << report.error().message();
            EXPECT_TRUE(gate_->has_cut());
            EXPECT_EQ(report->confirmed, 1U);
            EXPECT_EQ(report->refused, 0U);
            EXPECT_EQ(sold(), static_cast<Units>(stored));
            EXPECT_EQ(raised_, static_cast<Units>(stored)) << "once an order";
            EXPECT_TRUE(store_->find_order(order(sale_, stored).order).has_value());
        }
    }
}

TEST_P(BrokenConnection, AnOrderInNoLogWhoseCommitNobodyAnsweredMayBeThere) {
    const StockSighting seen = *store_->look_at_stock(sale_);
    gate_->cut_next(Cut::after_commit);
    auto given_up =
        std::async(std::launch::async, [&] { return apply_alone(1, seen, StockGuard::version); });
    while (!gate_->has_cut()) std::this_thread::yield();
    gate_->shut();
    const auto report = given_up.get();
    gate_->open();
    if (!report) { // else it was faster than the gate
        EXPECT_TRUE(report.error().is(Errc::timeout)) << report.error().message();
    }
    EXPECT_TRUE(store_->find_order(order(sale_, 1).order).has_value());
    gate_->shut();
    EXPECT_TRUE(apply_alone(2, seen, StockGuard::version).error().is(Errc::unavailable))
        << "nothing was begun";
    gate_->open();
}

TEST_P(BrokenConnection, ChangesOfOrdersHappenOnceAndAreReportedAsDone) {
    ASSERT_TRUE(apply(1, 9));
    std::uint64_t n = 1;
    for (const Cut cut : {Cut::before_commit, Cut::after_commit, Cut::none}) {
        gate_->cut_next(cut);
        const std::array<OrderChange, 3> changes = {
            {{order(sale_, n).order, OrderAction::pay, "p"},
             {order(sale_, n + 1).order, OrderAction::cancel, ""},
             {order(sale_, n + 2).order, OrderAction::cancel, ""}}};
        const auto report = store_->change_orders(changes);
        ASSERT_TRUE(report.has_value()) << report.error().message();
        EXPECT_TRUE(gate_->has_cut());
        for (const auto& change : report->changes) {
            EXPECT_EQ(change.verdict, ChangeVerdict::done);
            EXPECT_EQ(change.before, OrderStatus::confirmed);
            EXPECT_EQ(change.order.version, 2);
        }
        ASSERT_EQ(report->given_back.size(), 1U);
        EXPECT_EQ(report->given_back[0].orders.size(), 2U);
        n += 3;
    }
    EXPECT_EQ(sold(), 3);
    EXPECT_EQ(books_of(*store_, "s").give_backs, 6);
}

TEST_P(BrokenConnection, ASaleIsChangedOnce) {
    const auto add = [](StoredSale& sale) -> Result<void> {
        sale.terms.stock += 10;
        return {};
    };
    Units stock = 100;
    for (const Cut cut : {Cut::before_commit, Cut::after_commit, Cut::none}) {
        gate_->cut_next(cut);
        const auto changed = store_->change_sale("s", add, {}, {"anna", "restocked"});
        ASSERT_TRUE(changed.has_value()) << changed.error().message();
        EXPECT_TRUE(gate_->has_cut());
        stock += 10;
        EXPECT_EQ(changed->terms.stock, stock);
        gate_->cut_next(cut);
        const std::string key = std::to_string(static_cast<int>(cut));
        const auto keyed = store_->change_sale("s", add, OrderStore::ChangeKey{key, "add 10"},
                                               {"anna", "restocked"});
        ASSERT_TRUE(keyed.has_value()) << keyed.error().message();
        stock += 10;
        EXPECT_EQ(store_->find_sale("s")->terms.stock, stock);
    }
    EXPECT_EQ(store_->journal(sale_, 0, 100)->size(), 7U);
}

TEST_P(BrokenConnection, ASaleIsCreatedOnceAndBelongsToWhoeverAsked) {
    int i = 0;
    for (const Cut cut : {Cut::before_commit, Cut::after_commit, Cut::none}) {
        const std::string id = "new-" + std::to_string(++i);
        gate_->cut_next(cut);
        const auto made = store_->create_sale(terms(id, 5), id, "anna");
        ASSERT_TRUE(made.has_value()) << made.error().message();
        EXPECT_TRUE(gate_->has_cut());
        EXPECT_TRUE(made->second);
        EXPECT_EQ(store_->journal(made->first.terms.no, 0, 10)->size(), 1U);
        gate_->cut_next(cut);
        const std::uint64_t epoch = store_->find_sale(id)->epoch.get();
        const std::array<SaleNo, 1> sale = {made->first.terms.no};
        const auto opened = store_->next_epochs(sale);
        ASSERT_TRUE(opened.has_value()) << opened.error().message();
        EXPECT_GT(opened->front().epoch.get(), epoch);
        EXPECT_EQ(opened->front().epoch, store_->find_sale(id)->epoch);
    }
}

TEST_P(BrokenConnection, IdleConnectionsThatWereCutAreMadeAgain) {
    ASSERT_TRUE(apply(1, 1));
    gate_->shut();
    for (int i = 0; i < 3; ++i) {
        const auto none = store_->find_sale("s");
        ASSERT_FALSE(none.has_value());
        EXPECT_TRUE(none.error().is(Errc::unavailable)) << none.error().message();
        EXPECT_TRUE(apply(2, 2).error().is(Errc::unavailable));
        EXPECT_TRUE(store_->ping().error().is(Errc::unavailable));
    }
    gate_->open();
    EXPECT_TRUE(store_->ping().has_value());
    EXPECT_TRUE(apply(2, 2).has_value());
    EXPECT_EQ(sold(), 2);
}

TEST_P(BrokenConnection, SaysThatTheServerIsAwayAndNotThePassword) {
    std::string url = file_->url();
    gate_->shut();
    const std::string there = url.substr(0, url.find("://") + 3);
    const std::string path = url.substr(url.find('/', there.size()));
    url = there + "anna:s%65cret%2Fword@127.0.0.1:" + std::to_string(gate_->port()) + path;
    const auto store = SqlOrderStore::open({url, 1, StoreMode::serve});
    ASSERT_FALSE(store.has_value());
    EXPECT_TRUE(store.error().is(Errc::unavailable));
    EXPECT_NE(store.error().message().find("anna@127.0.0.1"), std::string::npos);
    EXPECT_EQ(store.error().message().find("secret"), std::string::npos);
}

TEST_P(BrokenConnection, TheOutboxLosesItsLeadWithItsConnection) {
    auto outbox = SqlEventOutbox::open(*store_);
    ASSERT_TRUE(outbox.has_value());
    SqlEventOutbox& ours = **outbox;
    const std::string url = "https://shop.example/";
    ASSERT_TRUE(*ours.try_lead());
    const auto shop = ours.register_endpoints(std::span(&url, 1), kNow, TimePoint());
    ASSERT_TRUE(shop.has_value());
    const DeliveryProgress progress{shop->front(), {}, {}};
    ASSERT_TRUE(ours.save(std::span(&progress, 1)));
    gate_->shut();
    EXPECT_TRUE(ours.last_seq().error().is(Errc::unavailable));
    gate_->open();
    const auto fenced = ours.save(std::span(&progress, 1));
    ASSERT_FALSE(fenced.has_value());
    EXPECT_TRUE(fenced.error().is(Errc::fenced)) << fenced.error().message();
    // The server may need a moment to see that the old connection is gone.
    EXPECT_TRUE(eventually([&] { return ours.try_lead().value_or(false); }));
    EXPECT_TRUE(ours.save(std::span(&progress, 1)).has_value());
}

} // namespace
} // namespace doorbuster::sql
