#include "adapters/sql/outbox.h"

#include <gtest/gtest.h>

#include "adapters/sql/store_fixture.h"

namespace doorbuster::sql {
namespace {

using namespace fixture;

const std::string kShop = "https://shop.example/hook";
const std::string kStock = "https://stock.example/";
constexpr Duration kDay{86'400'000};
constexpr TimePoint kLongAgo{};

class OutboxTest : public StoreTest {
protected:
    void SetUp() override {
        StoreTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        file_ = std::make_unique<ScratchStore>(GetParam());
        store_ = file_->open_bound({"", 4, StoreMode::serve, &clock_, true});
        SaleTerms demo = terms("demo", 1'000);
        demo.payment_timeout = Duration(900'000);
        const auto made = store_->create_sale(demo, "demo", "test");
        ASSERT_TRUE(made.has_value());
        sale_ = made->first.terms.no;
        reopen();
    }
    void reopen() {
        outbox_.reset();
        auto opened = SqlEventOutbox::open(*store_);
        ASSERT_TRUE(opened.has_value());
        outbox_ = std::move(*opened);
        // The server may still have to notice that the connection before it is gone.
        ASSERT_TRUE(eventually([&] { return outbox_->try_lead().value_or(false); }));
    }
    // Orders first to last get into the store: an event each.
    void confirm(std::uint64_t first, std::uint64_t last) {
        std::vector<LogRecord> records;
        for (std::uint64_t n = first; n <= last; ++n) records.push_back(order(sale_, n));
        ASSERT_TRUE(apply_next(*store_, records));
        look();
    }
    void change(std::uint64_t n, OrderAction action) {
        const OrderChange change{order(sale_, n).order, action, "payment-" + std::to_string(n)};
        const auto report = store_->change_orders(std::span(&change, 1));
        ASSERT_TRUE(report.has_value());
        ASSERT_EQ(report->changes.front().verdict, ChangeVerdict::done);
        look();
    }
    // As the dispatcher does before it reads: what is new gets its numbers.
    void look() { ASSERT_TRUE(outbox_->last_seq().has_value()); }
    EndpointRecord registered(const std::string& url, TimePoint now = kNow,
                              TimePoint forget_before = kLongAgo) {
        const auto records = outbox_->register_endpoints(std::span(&url, 1), now, forget_before);
        EXPECT_TRUE(records.has_value());
        return records ? records->front() : EndpointRecord();
    }
    void save(const EndpointRecord& record, std::vector<DeliveryProgress::Aside> aside = {},
              std::vector<std::int64_t> delivered = {}) {
        const DeliveryProgress progress{record, std::move(aside), std::move(delivered)};
        ASSERT_TRUE(outbox_->save(std::span(&progress, 1)));
    }
    std::vector<std::int64_t> read(const EndpointRecord& record, std::int64_t after,
                                   std::size_t limit = 100) {
        std::vector<std::int64_t> seqs;
        const auto events = outbox_->read(record.no, after, limit);
        EXPECT_TRUE(events.has_value());
        for (const OutboxEvent& event : *events) seqs.push_back(event.seq);
        return seqs;
    }
    std::vector<std::int64_t> aside(const EndpointRecord& record, AsideState state) {
        std::vector<std::int64_t> seqs;
        const auto events = outbox_->read_aside(record.no, state, 0, 100);
        EXPECT_TRUE(events.has_value());
        for (const AsideEvent& one : *events) seqs.push_back(one.event.seq);
        return seqs;
    }

    using Seqs = std::vector<std::int64_t>;
    std::unique_ptr<ScratchStore> file_;
    ManualClock clock_{kNow};
    std::unique_ptr<SqlOrderStore> store_;
    std::unique_ptr<SqlEventOutbox> outbox_;
    SaleNo sale_;
};

INSTANTIATE_TEST_SUITE_P(In, OutboxTest, testing::ValuesIn(kAllDialects), suffix_of);

TEST_P(OutboxTest, TellsEachChangeOfAnOrderAsItWasThen) {
    const EndpointRecord shop = registered(kShop);
    confirm(1, 2);
    clock_.advance(Duration(5));
    change(1, OrderAction::pay);
    change(2, OrderAction::cancel);
    const auto events = outbox_->read(shop.no, 0, 10);
    ASSERT_TRUE(events.has_value());
    ASSERT_EQ(events->size(), 4U);
    EXPECT_EQ(*outbox_->last_seq(), events->back().seq);

    const OutboxEvent& confirmed = (*events)[0];
    EXPECT_EQ(confirmed.order.id, order(sale_, 1).order);
    EXPECT_EQ(confirmed.order.status, OrderStatus::confirmed);
    EXPECT_EQ(confirmed.order.version, 1);
    EXPECT_EQ(confirmed.order.user, "user1");
    EXPECT_EQ(confirmed.order.quantity, 1);
    EXPECT_EQ(confirmed.order.expires_at, kNow + Duration(900'000));
    EXPECT_EQ(confirmed.order.paid_at, std::nullopt); // not yet
    EXPECT_EQ(confirmed.order.payment_ref, std::nullopt);
    EXPECT_EQ(confirmed.sale_id, "demo");
    EXPECT_EQ(confirmed.at, kNow);

    const OutboxEvent& paid = (*events)[2];
    EXPECT_EQ(paid.order.id, order(sale_, 1).order);
    EXPECT_EQ(paid.order.status, OrderStatus::paid);
    EXPECT_EQ(paid.order.version, 2);
    EXPECT_EQ(paid.order.paid_at, kNow + Duration(5));
    EXPECT_EQ(paid.order.payment_ref, "payment-1");
    EXPECT_EQ(paid.at, kNow + Duration(5));
    EXPECT_EQ((*events)[3].order.status, OrderStatus::cancelled);
    EXPECT_EQ((*events)[3].order.payment_ref, std::nullopt);
}

TEST_P(OutboxTest, ReadsPageByPage) {
    const EndpointRecord shop = registered(kShop);
    confirm(1, 5);
    EXPECT_EQ(read(shop, 0, 2), (Seqs{1, 2}));
    EXPECT_EQ(read(shop, 2, 2), (Seqs{3, 4}));
    EXPECT_EQ(read(shop, 4, 2), (Seqs{5}));
    EXPECT_EQ(read(shop, 5, 2), Seqs{});
}

TEST_P(OutboxTest, WithoutReadersNothingIsWritten) {
    const auto without = file_->open({"", 2, StoreMode::serve, &clock_, false});
    ASSERT_TRUE(apply_next(*without, {order(sale_, 1)}));
    EXPECT_EQ(*outbox_->last_seq(), 0);
}

TEST_P(OutboxTest, ANewEndpointStartsAtTheEndAndAKnownOneWhereItWas) {
    confirm(1, 3);
    EndpointRecord shop = registered(kShop);
    EXPECT_EQ(shop.cursor, 3);
    EXPECT_EQ(shop.state, EndpointState::active);
    EXPECT_EQ(shop.since, kNow);
    shop.cursor = 2;
    shop.delivered = 7;
    shop.last_error = "500";
    shop.failing_since = kNow;
    save(shop);
    reopen();
    const EndpointRecord again = registered(kShop, kNow + kDay);
    EXPECT_EQ(again.no, shop.no);
    EXPECT_EQ(again.cursor, 2);
    EXPECT_EQ(again.delivered, 7);
    EXPECT_EQ(again.last_error, "500");
    EXPECT_EQ(again.failing_since, kNow);
    EXPECT_EQ(again.since, kNow);
}

TEST_P(OutboxTest, AnEndpointThatLeavesTheSettingsIsForgottenAfterAWhile) {
    const EndpointRecord shop = registered(kShop);
    confirm(1, 2);
    save(shop, {{1, AsideState::parked, 9, kNow, "422"}});
    static_cast<void>(registered(kStock, kNow + kDay));
    auto listed = outbox_->list_endpoints();
    ASSERT_TRUE(listed.has_value());
    ASSERT_EQ(listed->size(), 2U);
    EXPECT_EQ((*listed)[0].state, EndpointState::removed);
    EXPECT_EQ((*listed)[0].since, kNow + kDay);
    EXPECT_EQ((*listed)[0].parked, 1);

    // Back in time, it goes on where it was.
    EndpointRecord back = registered(kShop, kNow + 2 * kDay);
    EXPECT_EQ(back.state, EndpointState::active);
    EXPECT_EQ(back.cursor, shop.cursor);
    EXPECT_EQ(aside(back, AsideState::parked), Seqs{1});

    static_cast<void>(registered(kStock, kNow + 3 * kDay));
    static_cast<void>(registered(kStock, kNow + 9 * kDay, kNow + 4 * kDay));
    back = registered(kShop, kNow + 10 * kDay);
    EXPECT_EQ(back.cursor, 2); // a new one
    EXPECT_EQ(aside(back, AsideState::parked), Seqs{});
}

TEST_P(OutboxTest, WhatIsSetAsideIsReadApart) {
    EndpointRecord shop = registered(kShop);
    confirm(1, 4);
    shop.cursor = 4;
    save(shop,
         {{1, AsideState::retrying, 3, kNow, "500"}, {3, AsideState::parked, 90, kNow, "422"}});
    EXPECT_EQ(read(shop, 0), (Seqs{2, 4}));
    EXPECT_EQ(aside(shop, AsideState::retrying), Seqs{1});
    EXPECT_EQ(aside(shop, AsideState::parked), Seqs{3});
    const auto one = outbox_->read_aside(shop.no, AsideState::parked, 0, 1);
    ASSERT_TRUE(one.has_value());
    EXPECT_EQ(one->front().attempts, 90);
    EXPECT_EQ(one->front().last_error, "422");
    EXPECT_EQ(one->front().failing_since, kNow);
    EXPECT_EQ(one->front().event.order.id, order(sale_, 3).order);

    save(shop, {{1, AsideState::parked, 99, kNow, "500"}}, {3});
    EXPECT_EQ(aside(shop, AsideState::retrying), Seqs{});
    EXPECT_EQ(aside(shop, AsideState::parked), Seqs{1});
}

TEST_P(OutboxTest, ReplaysSinceATime) {
    EndpointRecord shop = registered(kShop);
    confirm(1, 2);
    clock_.advance(kDay);
    confirm(3, 4);
    shop.cursor = 4;
    save(shop,
         {{1, AsideState::parked, 9, kNow, "422"}, {4, AsideState::retrying, 3, kNow, "500"}});
    ReplayRequest request;
    request.since = kNow + Duration(1);
    auto record = outbox_->replay(shop.no, request, clock_.now());
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(record->cursor, 2);
    EXPECT_EQ(read(shop, 2), (Seqs{3, 4}));
    EXPECT_EQ(aside(shop, AsideState::retrying), Seqs{});
    EXPECT_EQ(aside(shop, AsideState::parked), Seqs{1});
    // Never forward.
    request.since = clock_.now() + kDay;
    record = outbox_->replay(shop.no, request, clock_.now());
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(record->cursor, 2);
}

TEST_P(OutboxTest, ReplaysOneEvent) {
    EndpointRecord shop = registered(kShop);
    confirm(1, 4);
    shop.cursor = 2;
    save(shop, {{1, AsideState::parked, 9, kNow, "422"}, {4, AsideState::parked, 9, kNow, "422"}});
    const auto replay = [&](std::uint64_t n, std::int64_t version) {
        ReplayRequest request;
        request.event = {order(sale_, n).order, version};
        return outbox_->replay(shop.no, request, kNow);
    };
    ASSERT_TRUE(replay(1, 1).has_value()); // parked
    ASSERT_TRUE(replay(2, 1).has_value()); // delivered
    ASSERT_TRUE(replay(3, 1).has_value()); // not yet read
    ASSERT_TRUE(replay(4, 1).has_value()); // parked before the cursor came there
    EXPECT_EQ(aside(shop, AsideState::retrying), (Seqs{1, 2}));
    EXPECT_EQ(aside(shop, AsideState::parked), Seqs{});
    EXPECT_EQ(read(shop, 2), (Seqs{3, 4}));
    EXPECT_TRUE(replay(1, 2).error().is(Errc::not_found));
    EXPECT_TRUE(outbox_->replay(99, {}, kNow).error().is(Errc::not_found));
}

TEST_P(OutboxTest, ReplaysWhatIsParkedAndBringsADisabledEndpointBack) {
    EndpointRecord shop = registered(kShop);
    confirm(1, 4);
    shop.cursor = 3;
    shop.state = EndpointState::disabled;
    shop.reason = "it answered 410";
    shop.failing_since = kNow;
    save(shop, {{1, AsideState::parked, 9, kNow, "422"}, {4, AsideState::parked, 9, kNow, "422"}});
    ReplayRequest request;
    request.parked = true;
    const auto record = outbox_->replay(shop.no, request, kNow + kDay);
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(record->state, EndpointState::active);
    EXPECT_EQ(record->since, kNow + kDay);
    EXPECT_EQ(record->reason, "");
    EXPECT_EQ(record->failing_since, std::nullopt);
    EXPECT_EQ(record->cursor, 3);
    EXPECT_EQ(aside(shop, AsideState::retrying), Seqs{1});
    EXPECT_EQ(read(shop, 3), Seqs{4});
}

TEST_P(OutboxTest, PrunesWhatIsOldAndEveryActiveEndpointIsPast) {
    EndpointRecord shop = registered(kShop);
    confirm(1, 6);
    clock_.advance(kDay);
    confirm(7, 8);
    const TimePoint before = kNow + Duration(1);
    EXPECT_EQ(*outbox_->prune(before, 10), 0U); // nothing is delivered
    shop.cursor = 8;
    save(shop,
         {{1, AsideState::parked, 9, kNow, "422"}, {2, AsideState::retrying, 3, kNow, "500"}});
    EXPECT_EQ(*outbox_->prune(before, 2), 2U); // at most two at a time: 1 and 3
    EXPECT_EQ(aside(shop, AsideState::parked), Seqs{});
    EXPECT_EQ(*outbox_->prune(before, 10), 3U);
    EXPECT_EQ(*outbox_->prune(before, 10), 0U);
    EXPECT_EQ(aside(shop, AsideState::retrying), Seqs{2}); // is still tried
    EXPECT_EQ(read(shop, 0), (Seqs{7, 8}));                // too young

    // A disabled one holds nothing.
    shop.cursor = 0;
    shop.state = EndpointState::disabled;
    save(shop);
    EXPECT_EQ(*outbox_->prune(clock_.now() + Duration(1), 10), 3U);
    EXPECT_EQ(*outbox_->last_seq(), 0);
    confirm(9, 9);
    EXPECT_EQ(*outbox_->last_seq(), 9); // no seq is used twice
}

} // namespace
} // namespace doorbuster::sql
