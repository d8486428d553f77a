// For tests: one process's engine in this process, wired as assembly.cc does it, on the real log,
// store and inventory in a folder of the test's. The next one on the same folder is a restart; one
// on a copy of the folder, taken while this one works, is what a crash leaves. It gives nothing up
// because the machine is slow. Used by one thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "engine/audit.h"
#include "engine/lifecycle.h"
#include "engine/order_service.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/rebuild.h"
#include "engine/sale_service.h"
#include "runtime/task_fixture.h"

namespace doorbuster::fixture {

// What a test cannot go on without.
template <class T> T need(Result<T> result, const char* what) {
    if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// The files as a crash at this moment would leave them: what was answered before is in them. Each
// file is older than the one that it may not be ahead of: the mark and the store than the log.
inline void copy_data(const std::string& from, const std::string& to) {
    for (const char* name : {"log.mark", "orders.db", "orders.db-wal", "log.db", "log.db-wal"}) {
        const std::string file = from + "/" + name;
        if (std::filesystem::exists(file)) std::filesystem::copy_file(file, to + "/" + name);
    }
}

// Stands still until it is told otherwise. What an engine does every second of the steady clock can
// be had without a second passing in the shop.
class ShopClock final : public Clock {
public:
    explicit ShopClock(TimePoint start) : shop_(start) {}

    [[nodiscard]] TimePoint now() const override { return shop_.now(); }
    [[nodiscard]] std::int64_t steady_ns() const override { return shop_.steady_ns() + skipped_; }
    void advance(Duration by) { shop_.advance(by); }
    void skip_a_second() { skipped_ += 1'000'000'000; }

private:
    ManualClock shop_;
    std::atomic<std::int64_t> skipped_{0};
};

class Engine {
public:
    static constexpr std::size_t kCores = 2;
    static constexpr Duration kLong{60'000};

    // `seed`: of what a process draws at random, another for each. The clock is the sales' and the
    // store's; the log waits by the system's.
    Engine(const std::string& folder, std::shared_ptr<ShopClock> time, std::uint64_t seed)
        : shared_clock(std::move(time)),
          clock(*shared_clock),
          prints(seed, ~seed),
          inventory(cores, clock),
          limiter({}, clock) {
        sql::OrderStoreOptions stored;
        stored.url = folder + "/orders.db";
        stored.clock = &clock;
        stored.with_events = true;
        store = need(sql::SqlOrderStore::open(stored), "opening the store");
        auto binding = need(store->log_binding(), "reading the log's name");
        sqlite::OrderLogOptions logged;
        logged.folder = folder;
        logged.lag_max = 100'000;
        logged.durable_wait = kLong;
        logged.new_log_id = "log-1";
        logged.is_expected = !binding.log_id.empty();
        log = need(sqlite::SqliteOrderLog::open(logged, cores, wall_clock, fatal()), "opening");
        if (binding.log_id.empty()) need(store->bind_log(log->id()), "naming the log");
        log->stored(binding.next.at(kOnlyPartition));
        need(store->adopt(), "adopting the store");
        need(log->adopt(), "adopting the log");
        build(seed);
        cores.start();
        writer->start(binding.next.at(kOnlyPartition));
        lifecycle->start();
        lifecycle->open();
    }
    // Whoever still waits for an answer must have had it.
    ~Engine() {
        lifecycle->stop();
        writer->stop(kLong);
        log->stop();
        blocking.stop();
        cores.stop();
    }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Rebuilds every sale, as at a start.
    void recover() { need(run_on(cores.at(0), rebuild->run()), "rebuilding"); }

    [[nodiscard]] std::vector<SaleAudit> audit() {
        const std::optional<std::string> every_sale;
        return need(run_on(cores.at(0), auditor->run(every_sale)), "the audit");
    }

    // Until the store has what the log has, nothing due is left, and everything that was given back
    // is for sale again. False: it does not come to rest.
    [[nodiscard]] bool settle() {
        if (!writer->wait_for(log->last_enqueued(kOnlyPartition), kLong)) return false;
        const auto until = std::chrono::steady_clock::now() + kPatience;
        while (std::chrono::steady_clock::now() < until) {
            if (is_at_rest(clock.now())) return true;
            clock.skip_a_second();
            lifecycle->look_again();
            std::this_thread::sleep_for(std::chrono::milliseconds(1)); // poll: is_at_rest
        }
        return false;
    }

    [[nodiscard]] std::vector<Order> orders_of(SaleNo sale) {
        std::vector<Order> all;
        std::optional<OrderId> after;
        do {
            auto page = need(store->list_orders(sale, {}, after, 1'000), "listing orders");
            all.insert(all.end(), page.orders.begin(), page.orders.end());
            after = page.next;
        } while (after);
        return all;
    }

    std::shared_ptr<ShopClock> shared_clock; // engines that end outlive their test
    ShopClock& clock;
    SystemClock wall_clock;
    std::atomic<bool> is_broken{false}; // a thread met a fatal error
    OrderTally tally;
    Fingerprinter prints;
    Cores cores{kCores};
    std::unique_ptr<sql::SqlOrderStore> store;
    std::unique_ptr<sqlite::SqliteOrderLog> log;
    BlockingPool blocking{2, 1'000};
    memory::MemoryInventory inventory;
    memory::MemoryRateLimiter limiter;
    std::vector<std::unique_ptr<SaleDirectory>> directories; // by core, as the next
    std::vector<std::unique_ptr<PurchaseService>> purchases;
    std::unique_ptr<OrderWriter> writer;
    std::unique_ptr<Lifecycle> lifecycle;
    std::unique_ptr<Rebuild> rebuild;
    std::unique_ptr<SaleService> sales;
    std::unique_ptr<OrderService> orders;
    std::unique_ptr<LogBooks> log_books;
    std::unique_ptr<Auditor> auditor;

private:
    [[nodiscard]] std::function<void(const Error&)> fatal() {
        return [this](const Error& error) {
            is_broken = true;
            fprintf(stderr, "fatal: %s\n", error.message().c_str());
        };
    }
    void build(std::uint64_t seed) {
        OrderWriter::Options writing;
        writing.on_fatal = fatal();
        writing.tally = &tally;
        writer = std::make_unique<OrderWriter>(*log, *store, wall_clock, std::move(writing));
        Lifecycle::Options living;
        living.on_fatal = fatal();
        living.tally = &tally;
        living.answer_wait = living.release_wait = kLong;
        lifecycle = std::make_unique<Lifecycle>(cores, *store, inventory, clock, std::move(living));
        const PurchaseService::Parts buying{clock, inventory, *log, limiter};
        for (std::uint16_t i = 0; i < kCores; ++i) {
            directories.push_back(std::make_unique<SaleDirectory>());
            const OrderIdSource ids(i, seed << 32);
            purchases.push_back(std::make_unique<PurchaseService>(buying, ids, 1'000));
        }
        rebuild = std::make_unique<Rebuild>(Rebuild::Parts{
            cores, clock, blocking, *store, *log, *writer, inventory, tally, prints, directories});
        sales = std::make_unique<SaleService>(SaleService::Parts{
            clock, *rebuild, *store, *log, *writer, inventory, blocking, seed << 32});
        orders = std::make_unique<OrderService>(*store, *log, *writer, *lifecycle, blocking);
        log_books = std::make_unique<ReaderBooks>(*log);
        auditor = std::make_unique<Auditor>(cores, *store, *log, *log_books, inventory, blocking);
    }
    [[nodiscard]] bool is_at_rest(TimePoint now) {
        if (!need(store->pending_give_backs(std::nullopt, 100), "give-backs").empty()) return false;
        for (const StoredSale& sale : need(store->list_sales("", 100), "listing sales")) {
            for (const Order& order : orders_of(sale.terms.no)) {
                if (is_payment_due(order) && *order.expires_at <= now) return false;
            }
        }
        // Once more: the last order may have expired between the two looks.
        return need(store->pending_give_backs(std::nullopt, 100), "give-backs").empty();
    }
};

} // namespace doorbuster::fixture
