#include "adapters/redis/stock_counters.h"

#include <gtest/gtest.h>

#include "adapters/redis/redis_fixture.h"

namespace doorbuster::redis {
namespace {

using namespace fixture;

constexpr SaleNo kSale{7};

class StockCountersTest : public testing::Test {
protected:
    void SetUp() override {
        DB_NEED(has_redis_server(), "redis-server");
        server_.emplace();
        auto opened = Client::open(cores_.at(0), options_for(server_->url()));
        ASSERT_TRUE(opened.has_value());
        client_ = std::move(*opened);
        client_->start();
        cores_.start();
        ASSERT_TRUE(run_on(cores_.at(0), client_->wait_until_up(Duration(40'000))));
        counters_.emplace(cores_, std::vector<Client*>{client_.get()}, "test:shop");
    }
    void TearDown() override {
        cores_.stop();
        counters_.reset();
        client_.reset();
    }
    [[nodiscard]] Result<StockSighting> units() {
        return run_on(cores_.at(0), counters_->look_at_units(kSale));
    }
    [[nodiscard]] StockSighting look() {
        auto seen = units();
        EXPECT_TRUE(seen.has_value());
        EXPECT_TRUE(run_on(cores_.at(0), counters_->look_at_version(kSale, *seen)));
        return *seen;
    }
    void preheat(const StockSighting& stored) {
        ASSERT_TRUE(run_on(cores_.at(0), counters_->preheat(kSale, stored)));
    }
    [[nodiscard]] std::string get(const std::string& key) {
        return run_on(cores_.at(0), get_task(key));
    }
    Task<std::string> get_task(std::string key) {
        const std::array<std::string_view, 2> words{"GET", key};
        const auto reply = co_await client_->call(words, key, Duration(20'000));
        co_return reply ? reply->text : "!";
    }

    std::optional<Server> server_;
    Cores cores_{1};
    std::unique_ptr<Client> client_;
    std::optional<StockCounters> counters_;
};

TEST_F(StockCountersTest, KeepTheThreeKeysOfThePublishedSystem) {
    preheat({10, 3, 42});
    EXPECT_EQ(get("test:shop:stock_count_7"), "10");
    EXPECT_EQ(get("test:shop:stock_sale_7"), "3");
    EXPECT_EQ(get("test:shop:stock_version_7"), "42");
    EXPECT_EQ(look(), (StockSighting{10, 3, 42}));
}

TEST_F(StockCountersTest, AreRaisedByAThreadThatIsNoCores) {
    preheat({10, 3, 42});
    ASSERT_TRUE(counters_->raise_blocking(kSale, 2));
    EXPECT_EQ(look(), (StockSighting{10, 5, 43}));
}

// Fault 1 on a real Redis: nothing makes the three GETs one step.
TEST_F(StockCountersTest, ALookCanShowTheSoldOfBeforeWithTheVersionOfAfter) {
    preheat({10, 9, 42});
    auto torn = units();
    ASSERT_TRUE(torn.has_value());
    ASSERT_TRUE(counters_->raise_blocking(kSale, 1)); // the last unit, to somebody else
    ASSERT_TRUE(run_on(cores_.at(0), counters_->look_at_version(kSale, *torn)));
    EXPECT_EQ(*torn, (StockSighting{10, 9, 43})) << "one unit left, under a version that is good";
}

TEST_F(StockCountersTest, WithoutTheKeysNobodyIsToldAnything) {
    const auto seen = units();
    ASSERT_FALSE(seen.has_value());
    EXPECT_TRUE(seen.error().is(Errc::unavailable));
}

TEST_F(StockCountersTest, AnAwayRedisIsAnErrorWithinABoundedTime) {
    preheat({10, 3, 42});
    server_->kill();
    const auto raised = counters_->raise_blocking(kSale, 1);
    ASSERT_FALSE(raised.has_value());
}

} // namespace
} // namespace doorbuster::redis
