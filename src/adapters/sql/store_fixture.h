// For the order store's tests: a scratch file, sales and log records.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/sql/order_store.h"

namespace doorbuster::sql::fixture {

inline constexpr TimePoint kNow{Duration(1'764'234'000'000)};

// A store's file in a folder that goes away.
class ScratchFile {
public:
    ScratchFile() {
        std::string name = (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        folder_ = name;
    }
    ~ScratchFile() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    [[nodiscard]] std::string path() const { return folder_ + "/orders.db"; }
    [[nodiscard]] std::unique_ptr<SqlOrderStore> open(StoreMode mode = StoreMode::serve) const {
        auto store = SqlOrderStore::open({path(), 4, mode});
        if (!store) {
            ADD_FAILURE() << store.error().message();
            std::abort();
        }
        if (mode == StoreMode::serve) {
            EXPECT_TRUE((*store)->adopt().has_value());
        }
        return std::move(*store);
    }
    // A store that takes its orders from a log already.
    [[nodiscard]] std::unique_ptr<SqlOrderStore> open_bound() const {
        auto store = open();
        EXPECT_TRUE(store->bind_log("log-1").has_value());
        return store;
    }

private:
    std::string folder_;
};

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
