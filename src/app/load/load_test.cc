// Whole runs against a shop of our own: honest, then dishonest in every way that load must see.
#include "app/load/load.h"

#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "app/load/fake_shop.h"

namespace doorbuster {
namespace {

using load::FakeShop;
using load::ShopAnswer;
using load::ShopRequest;
using How = load::ShopAnswer::How;

LoadOptions options_for(const FakeShop& shop, std::uint64_t buyers = 200) {
    LoadOptions o;
    o.url = shop.url();
    o.sale = "demo";
    o.buyers = buyers;
    o.attempts_per_buyer = 3;
    o.connections = 8;
    o.timeout = Duration(5'000);
    return o;
}

FakeShop::Sale sale(Units stock, Units limit = 1) {
    return {.stock = stock, .remaining = stock, .per_user_limit = limit};
}

LoadReport run(const LoadOptions& options) {
    const std::atomic<bool> stop = false;
    auto report = run_load(options, stop, {});
    EXPECT_TRUE(report) << report.error().message();
    return report ? *report : LoadReport{};
}

std::uint64_t errors(const LoadReport& report, LoadErrorKind kind) {
    return report.errors[static_cast<std::size_t>(kind)];
}

std::uint64_t refused(const LoadReport& report, PurchaseOutcome outcome) {
    return report.rejected[static_cast<std::size_t>(outcome)];
}

void replace(std::string& text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    if (at != std::string::npos) text.replace(at, from.size(), to);
}

// A shop that spoils the answers of the contract, and what load must call it.
void expect_seen(const FakeShop::Spoil& spoil, LoadErrorKind kind, bool keys = false) {
    FakeShop shop(sale(50), spoil);
    LoadOptions options = options_for(shop);
    options.keys = keys;
    const LoadReport report = run(options);
    EXPECT_GT(errors(report, kind), 0U) << to_json(report);
    EXPECT_FALSE(report.examples.empty());
    EXPECT_LE(report.examples.size(), 10U);
}

TEST(Load, SellsEveryUnitOfAnHonestShopAndExplainsEveryAnswer) {
    FakeShop shop(sale(50));
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.attempts, 600U);
    EXPECT_EQ(report.accepted, 50U);
    EXPECT_EQ(report.replayed, 0U);
    EXPECT_EQ(refused(report, PurchaseOutcome::sold_out) +
                  refused(report, PurchaseOutcome::limit_reached),
              550U);
    EXPECT_EQ(shop.sale("demo").remaining, 0);
    EXPECT_TRUE(report.latency);
    EXPECT_TRUE(report.accepted_latency);
    EXPECT_EQ(shop.purchases(), 600U);
}

TEST(Load, DrawsQuantitiesAndKeepsToTheLimit) {
    FakeShop shop(sale(100'000, 3));
    LoadOptions options = options_for(shop);
    options.quantity_max = 3;
    options.threads = 2;
    const LoadReport report = run(options);
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_GT(report.accepted_units, static_cast<Units>(report.accepted));
    EXPECT_EQ(report.accepted_units, 100'000 - shop.sale("demo").remaining);
    EXPECT_GT(refused(report, PurchaseOutcome::limit_reached), 0U);
}

TEST(Load, WithKeysLaterAttemptsOfAnAcceptedBuyerAreReplays) {
    FakeShop shop(sale(50));
    LoadOptions options = options_for(shop);
    options.keys = true;
    const LoadReport report = run(options);
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.accepted, 50U);
    EXPECT_GT(report.replayed, 0U);
    EXPECT_EQ(report.accepted + report.replayed + refused(report, PurchaseOutcome::sold_out), 600U);
    // The same again: all are replays of the first run's orders, which is explained.
    const LoadReport again = run(options);
    EXPECT_EQ(again.errors_total(), 0U) << to_json(again);
    EXPECT_EQ(again.accepted, 0U);
    EXPECT_EQ(again.replayed, 150U);
    EXPECT_FALSE(again.notes.empty());
}

TEST(Load, WithKeysTakesAnEarlierRunsOtherQuantitiesForRefusals) {
    FakeShop shop(sale(1'000, 2));
    LoadOptions options = options_for(shop, 20);
    options.keys = true;
    EXPECT_EQ(run(options).accepted, 20U);
    options.quantity_min = options.quantity_max = 2;
    const LoadReport again = run(options);
    EXPECT_EQ(again.errors_total(), 0U) << to_json(again);
    EXPECT_EQ(refused(again, PurchaseOutcome::idempotency_mismatch), 60U);
    EXPECT_EQ(again.attempts, 60U);
    EXPECT_NE(to_remarks(again).find("note: 60 purchases got idempotency_mismatch"),
              std::string::npos)
        << to_remarks(again);
}

TEST(Load, SeesAKeyMismatchOnASaleThatHadNoOrders) {
    FakeShop shop(sale(50), [](const ShopRequest& request, ShopAnswer& answer) {
        if (request.number != 1) return;
        answer.status = 422;
        answer.content_type = "application/problem+json";
        answer.headers.clear();
        answer.body = R"({"type":"/problems/idempotency_mismatch","title":"T","status":422,)"
                      R"("detail":"D","code":"idempotency_mismatch"})";
    });
    LoadOptions options = options_for(shop);
    options.keys = true;
    EXPECT_GT(errors(run(options), LoadErrorKind::books), 0U);
}

TEST(Load, SendsTheSameRushForTheSameSeed) {
    std::array<std::string, 2> order;
    for (std::string& users : order) {
        FakeShop shop(sale(10), [&users](const ShopRequest& request, ShopAnswer&) {
            users += request.user + ' '; // one connection: one thread
        });
        LoadOptions options = options_for(shop, 20);
        options.connections = 1;
        (void)run(options);
    }
    EXPECT_EQ(order[0], order[1]);
    EXPECT_NE(order[0].find("buyer-000020"), std::string::npos);
}

TEST(Load, SeesAnOversoldSale) {
    // Every refusal becomes a yes with an order id of its own.
    std::atomic<int> made = 0;
    FakeShop shop(sale(50), [&made](const ShopRequest& request, ShopAnswer& answer) {
        if (answer.status != 409 || answer.body.find("limit_reached") != std::string::npos) return;
        const std::string id = fmt::format("extra-{}", ++made);
        answer = {};
        answer.status = 202;
        answer.headers = "Location: /v1/orders/" + id + "\r\n";
        answer.body = fmt::format(R"({{"order_id":"{}","sale_id":"demo","user_id":"{}",)"
                                  R"("quantity":1,"status":"queued",)"
                                  R"("created_at":"2026-11-27T09:00:00Z"}})",
                                  id, request.user);
    });
    LoadOptions options = options_for(shop);
    options.attempts_per_buyer = 1;
    const LoadReport report = run(options);
    EXPECT_EQ(report.accepted, 200U);
    EXPECT_EQ(errors(report, LoadErrorKind::books), 2U) << to_json(report);
    EXPECT_NE(report.examples.front().find("oversold"), std::string::npos);
}

TEST(Load, SeesOneOrderIdGivenTwice) {
    expect_seen(
        [](const ShopRequest&, ShopAnswer& answer) {
            if (answer.status != 202) return;
            const std::size_t at = answer.headers.find("order-");
            const std::string id = answer.headers.substr(at, answer.headers.find('\r', at) - at);
            replace(answer.headers, id, "order-1");
            replace(answer.body, id, "order-1");
        },
        LoadErrorKind::books);
}

TEST(Load, SeesAnOrderForAnotherBuyer) {
    expect_seen([](const ShopRequest&, ShopAnswer& a) { replace(a.body, "buyer-0", "buyer-9"); },
                LoadErrorKind::answer);
}

TEST(Load, SeesAnotherStatusThan202) {
    expect_seen([](const ShopRequest&, ShopAnswer& a) { a.status = a.status == 202 ? 200 : 409; },
                LoadErrorKind::answer);
}

TEST(Load, SeesAMissingField) {
    expect_seen([](const ShopRequest&, ShopAnswer& a) { replace(a.body, "created_at", "made_at"); },
                LoadErrorKind::answer);
}

TEST(Load, SeesACodeThatItDoesNotKnow) {
    expect_seen([](const ShopRequest&, ShopAnswer& a) { replace(a.body, "sold_out", "no_more"); },
                LoadErrorKind::answer);
}

TEST(Load, SeesAnswersThatAreNotHttp) {
    expect_seen(
        [](const ShopRequest& request, ShopAnswer& answer) {
            if (request.number % 50 == 0) answer.headers = "Content-Length: 3\r\n";
        },
        LoadErrorKind::answer);
}

TEST(Load, SeesASoldOutThatIsNotTrue) {
    FakeShop shop(sale(500), [](const ShopRequest&, ShopAnswer& answer) {
        replace(answer.body, R"(,"order_id":)", R"(,"other_id":)");
        replace(answer.body, "limit_reached", "sold_out");
        replace(answer.body, "limit_reached", "sold_out"); // in type and in code
    });
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(report.accepted, 200U);
    EXPECT_EQ(errors(report, LoadErrorKind::books), 1U) << to_json(report);
}

TEST(Load, SaysThatUnitsWentToNobodyItKnows) {
    FakeShop* leaking = nullptr;
    FakeShop shop(sale(500), [&leaking](const ShopRequest& request, ShopAnswer&) {
        if (request.number != 600) return;
        FakeShop::Sale now = leaking->sale("demo");
        now.remaining -= 7;
        leaking->set_sale("demo", now);
    });
    leaking = &shop;
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    ASSERT_EQ(report.notes.size(), 1U);
    EXPECT_NE(report.notes.front().find("7 units"), std::string::npos);
}

TEST(Load, SeesABuyerBeyondTheLimit) {
    FakeShop::Sale lie = sale(1'000, 3);
    lie.per_user_limit_told = 1;
    FakeShop shop(lie);
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(report.accepted, 600U);
    EXPECT_EQ(errors(report, LoadErrorKind::books), 400U) << to_json(report);
}

TEST(Load, WithKeysSeesASecondOrderUnderOneKey) {
    FakeShop shop(sale(1'000, 3), [](const ShopRequest&, ShopAnswer& answer) {
        replace(answer.headers, "Idempotency-Replayed: true\r\n", "");
    });
    LoadOptions options = options_for(shop);
    options.keys = true;
    EXPECT_GT(run(options).errors_total(), 0U);
}

TEST(Load, CountsABrokenConnectionAndConnectsAgain) {
    FakeShop shop(sale(50), [](const ShopRequest& request, ShopAnswer& answer) {
        if (request.number % 100 == 0) answer.how = How::close;
        if (request.number % 100 == 50) answer.how = How::half_then_close;
    });
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(errors(report, LoadErrorKind::io), 12U) << to_json(report);
    EXPECT_EQ(report.errors_total(), 12U) << to_json(report);
    EXPECT_EQ(report.attempts, 600U);
    EXPECT_GT(shop.connections(), 8U);
}

TEST(Load, WithKeysSendsAgainWhatABrokenConnectionLost) {
    FakeShop shop(sale(50), [](const ShopRequest& request, ShopAnswer& answer) {
        if (request.number % 7 == 0) answer.how = How::close;
    });
    LoadOptions options = options_for(shop);
    options.keys = true;
    const LoadReport report = run(options);
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.accepted, 50U); // also the orders whose first answer was lost
    EXPECT_GT(report.retries, 0U);
    EXPECT_EQ(report.attempts, 600U);
    EXPECT_EQ(shop.purchases(), 600U + report.retries);
}

TEST(Load, FollowsAServerThatClosesAfterItsAnswers) {
    FakeShop shop(sale(50), [](const ShopRequest& request, ShopAnswer& answer) {
        if (request.number % 10 != 0) return;
        answer.headers += "Connection: close\r\n";
        answer.how = How::whole_then_close;
    });
    const LoadReport report = run(options_for(shop));
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.accepted, 50U);
}

TEST(Load, DoesNotWaitForeverForAnAnswer) {
    FakeShop shop(sale(50), [](const ShopRequest& request, ShopAnswer& answer) {
        if (request.number == 10) answer.how = How::silence;
    });
    LoadOptions options = options_for(shop);
    options.timeout = Duration(2'000);
    const LoadReport report = run(options);
    EXPECT_GE(errors(report, LoadErrorKind::timeout), 1U) << to_json(report);
    EXPECT_EQ(report.attempts, 600U);
    ASSERT_TRUE(report.latency);
    EXPECT_GE(report.latency->max, 2'000.0);
}

TEST(Load, OpenLoopKeepsToItsScheduleAndCountsAStallForAllWhoWereDue) {
    FakeShop* stalled = nullptr;
    FakeShop shop(sale(1'000), [&stalled](const ShopRequest& request, ShopAnswer&) {
        if (request.number == 50) stalled->stall(400);
    });
    stalled = &shop;
    LoadOptions options = options_for(shop, 500);
    options.attempts_per_buyer = 1;
    options.connections = 1; // nobody else can go on during the stall
    options.rate = 500;
    const LoadReport report = run(options);
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.accepted, 500U);
    EXPECT_GE(report.seconds, 0.99);
    ASSERT_TRUE(report.latency);
    // 200 attempts were due in those 400 ms. A client that waits for its own answers would show
    // one slow request of 500, that is nothing at p90.
    EXPECT_GE(report.latency->max, 400.0);
    EXPECT_GE(report.latency->p90, 100.0);
}

TEST(Load, EndsWithTheDurationAndSaysWhatWasDueAndNotSent) {
    FakeShop* stalled = nullptr;
    FakeShop shop(sale(1'000), [&stalled](const ShopRequest& request, ShopAnswer&) {
        if (request.number == 10) stalled->stall(400);
    });
    stalled = &shop;
    LoadOptions options = options_for(shop, 1'000);
    options.connections = 1;
    options.rate = 1'000;
    options.duration = Duration(200);
    const LoadReport report = run(options);
    EXPECT_EQ(report.errors_total(), 0U) << to_json(report);
    EXPECT_EQ(report.attempts + report.unsent, 200U);
    EXPECT_GT(report.unsent, 0U);
    EXPECT_FALSE(report.notes.empty());
}

TEST(Load, StopsWhenItIsTold) {
    FakeShop shop(sale(10));
    LoadOptions options = options_for(shop, 1'000'000'000);
    options.rate = 100;
    std::atomic<bool> stop = false;
    LoadProgress last;
    const auto report = run_load(options, stop, [&](const LoadProgress& progress) {
        last = progress;
        if (progress.attempts >= 5) stop.store(true);
    });
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->is_stopped);
    EXPECT_EQ(report->errors_total(), 0U) << to_json(*report);
    EXPECT_GE(report->attempts, 5U);
    EXPECT_EQ(last.attempts, report->attempts);
}

TEST(Load, SaysWhatItCannotBeginWith) {
    const std::atomic<bool> stop = false;
    FakeShop shop(sale(10));
    LoadOptions options = options_for(shop);
    options.sale = "other";
    const auto no_sale = run_load(options, stop, {});
    ASSERT_FALSE(no_sale);
    EXPECT_TRUE(no_sale.error().is(Errc::not_found));

    options.sale = "Not A Slug";
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
    options = options_for(shop);
    options.buyers = 0;
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
    options = options_for(shop);
    options.rate = 0;
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
    options = options_for(shop);
    options.user_prefix = " x";
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
    options = options_for(shop);
    options.user_prefix = "x\r\nHost: y";
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
    options = options_for(shop);
    options.url = "127.0.0.1:80";
    EXPECT_TRUE(run_load(options, stop, {}).error().is(Errc::invalid));
}

} // namespace
} // namespace doorbuster
