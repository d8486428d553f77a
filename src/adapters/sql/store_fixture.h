// For the order store's tests: scratch stores in every database, sales and log records.
#pragma once

#include <array>
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <utility>
#include <vector>

#include "adapters/sql/dialect.h"
#include "adapters/sql/order_store.h"

namespace doorbuster::sql::fixture {

inline constexpr TimePoint kNow{Duration(1'764'234'000'000)};

// Where the tests' server is: set by ./test, see tools/services. Null: there is none.
[[nodiscard]] const char* server_of(Dialect dialect);
[[nodiscard]] std::string name_of(Dialect dialect);

// Room for a store that nobody else uses, and that goes away: a folder, or a schema or database on
// the tests' server. The definitions are in scratch_store_test.cc, away from SOCI's headers.
class ScratchStore {
public:
    explicit ScratchStore(Dialect dialect = Dialect::sqlite);
    ~ScratchStore();
    ScratchStore(const ScratchStore&) = delete;
    ScratchStore& operator=(const ScratchStore&) = delete;

    [[nodiscard]] Dialect dialect() const { return dialect_; }
    [[nodiscard]] const std::string& url() const { return url_; }
    // Of SQLite's file.
    [[nodiscard]] std::string path() const { return folder_ + "/orders.db"; }

    [[nodiscard]] std::unique_ptr<SqlOrderStore> open(OrderStoreOptions options) const;
    [[nodiscard]] std::unique_ptr<SqlOrderStore> open(StoreMode mode = StoreMode::serve) const;
    // A store that takes its orders from a log already.
    [[nodiscard]] std::unique_ptr<SqlOrderStore> open_bound(OrderStoreOptions options = {}) const;

    // Behind the store's back, on a connection of its own.
    void run_sql(const std::string& sql) const;
    [[nodiscard]] std::int64_t number(const std::string& sql) const;
    // Takes all rows out: faster than new tables.
    void clear() const;

private:
    void run_on_server(const std::string& sql) const;

    Dialect dialect_;
    std::string name_, folder_, server_, url_;
};

// A test that runs in every database. Without a server it is skipped, in CI it fails.
class StoreTest : public testing::TestWithParam<Dialect> {
protected:
    void SetUp() override {
        if (GetParam() == Dialect::sqlite || server_of(GetParam()) != nullptr) return;
        const char* ci = std::getenv("CI");
        if (ci != nullptr && std::string(ci) == "true") FAIL() << "there is no server for it";
        GTEST_SKIP() << "there is no server for it: see tools/services";
    }
};

inline constexpr std::array kAllDialects = {Dialect::sqlite, Dialect::postgresql, Dialect::mysql};
inline constexpr std::array kServers = {Dialect::postgresql, Dialect::mysql};
// For INSTANTIATE_TEST_SUITE_P.
inline std::string suffix_of(const testing::TestParamInfo<Dialect>& info) {
    return name_of(info.param);
}

// Looks until the condition holds, for 15 s at most; the last look. Every 150 ms, because InnoDB
// shows the same transactions again to whoever asks within 100.
template <class F> bool eventually(F condition) {
    constexpr int kLooks = 100;
    constexpr int kLookEveryMs = 150;
    for (int i = 0; i < kLooks; ++i) {
        if (condition()) return true;
        ::poll(nullptr, 0, kLookEveryMs);
    }
    return condition();
}

inline SaleTerms terms(const std::string& id, Units stock, Units limit = 1'000) {
    SaleTerms terms;
    terms.id = id;
    terms.title = "Title of " + id;
    terms.stock = stock;
    terms.per_user_limit = limit;
    terms.starts_at = kNow;
    return terms;
}

inline SaleNo add_sale(SqlOrderStore& store, const std::string& id, Units stock,
                       Units limit = 1'000) {
    const auto made = store.create_sale(terms(id, stock, limit), id, "tester");
    EXPECT_TRUE(made.has_value());
    return made ? made->first.terms.no : SaleNo(0);
}

// The n-th order of a sale; a sale that was never rebuilt is in epoch 0.
inline LogRecord order(SaleNo sale, std::uint64_t n, Units quantity = 1, std::uint64_t epoch = 0) {
    LogRecord record;
    record.kind = LogRecordKind::order;
    record.sale = sale;
    record.epoch = Epoch(epoch);
    record.order = OrderId(sale, kNow + Duration(n), 0, n);
    record.quantity = quantity;
    record.user = "user" + std::to_string(n % 10);
    if (n % 2 == 0) record.key = "key" + std::to_string(n);
    return record;
}

inline LogRecord barrier(SaleNo sale, std::uint64_t epoch) {
    LogRecord record;
    record.kind = LogRecordKind::barrier;
    record.sale = sale;
    record.epoch = Epoch(epoch);
    return record;
}

// Applies records where the store stands.
inline Result<ApplyReport> apply_next(SqlOrderStore& store, const std::vector<LogRecord>& records) {
    const auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    return store.apply(binding->next.at(kOnlyPartition),
                       binding->next.at(kOnlyPartition).plus(records.size()), records,
                       StockGuard::version_and_stock);
}

inline SaleBooks books_of(SqlOrderStore& store, const std::string& sale) {
    auto books = store.books(sale);
    EXPECT_TRUE(books.has_value() && books->sales.size() == 1);
    return books && !books->sales.empty() ? std::move(books->sales.front()) : SaleBooks();
}

inline std::optional<OrderStatus> status_of(SqlOrderStore& store, const OrderId& id) {
    const auto order = store.find_order(id);
    if (!order) return std::nullopt;
    return order->status;
}

// What read_snapshot() told.
struct Snapshot final : SaleSnapshotSink {
    struct Line {
        OrderId id;
        std::string user;
        std::string key;
        Units quantity = 0;
        OrderStatus status = OrderStatus::queued;

        friend bool operator==(const Line&, const Line&) = default;
    };
    void sale(const StoredSale& sale, Units dead_letter_units, Units units_back) override {
        sales.push_back(sale);
        dead_units.push_back(dead_letter_units);
        given_back.push_back(units_back);
        lines.emplace_back();
    }
    void order(const OrderId& id, const std::string& user, const std::string& key, Units quantity,
               OrderStatus status) override {
        lines.back().push_back({id, user, key, quantity, status});
    }
    void dead_letter(const OrderId& id, const std::string& user, const std::string& key,
                     Units quantity) override {
        letters.push_back({id, user, key, quantity, OrderStatus::queued});
    }

    std::vector<StoredSale> sales;
    std::vector<Units> dead_units;
    std::vector<Units> given_back;
    std::vector<std::vector<Line>> lines; // by sale
    std::vector<Line> letters;
};

} // namespace doorbuster::sql::fixture
