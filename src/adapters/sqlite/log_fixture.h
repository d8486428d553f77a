// For the order log's tests: a folder that goes away, a log with the cores that use it, records.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <utility>
#include <vector>

#include "adapters/sqlite/log_file.h"
#include "adapters/sqlite/order_log.h"

namespace doorbuster::sqlite::fixture {

inline constexpr std::chrono::seconds kPatience{60}; // a bound for what takes milliseconds

class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

// Somebody else's connection to the log's file. Throws nothing, tells gtest.
class OtherConnection {
public:
    explicit OtherConnection(const std::string& folder) {
        EXPECT_EQ(sqlite3_open(log_path(folder).c_str(), &database_), SQLITE_OK);
    }
    ~OtherConnection() { sqlite3_close(database_); }
    OtherConnection(const OtherConnection&) = delete;
    OtherConnection& operator=(const OtherConnection&) = delete;

    void run(const std::string& sql) {
        EXPECT_EQ(sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
            << sql << ": " << sqlite3_errmsg(database_);
    }

private:
    sqlite3* database_ = nullptr;
};

inline OrderLogOptions options_for(const std::string& folder, std::uint64_t lag_max = 1'000'000) {
    return {folder, lag_max, "log-1", false};
}

// A log that is open, and two cores. Stops in the order that the server stops in.
class LiveLog {
public:
    explicit LiveLog(OrderLogOptions options) : LiveLog(std::move(options), system_clock()) {}
    LiveLog(OrderLogOptions options, const Clock& clock) {
        auto opened = SqliteOrderLog::open(std::move(options), cores_, clock, [](const Error& e) {
            ADD_FAILURE() << "the log gave up: " << e.message();
        });
        if (!opened) {
            ADD_FAILURE() << opened.error().message();
            std::abort();
        }
        log_ = std::move(*opened);
        cores_.start();
    }
    ~LiveLog() {
        log_->stop();
        cores_.stop();
    }
    LiveLog(const LiveLog&) = delete;
    LiveLog& operator=(const LiveLog&) = delete;

    [[nodiscard]] SqliteOrderLog* operator->() { return log_.get(); }
    [[nodiscard]] SqliteOrderLog& operator*() { return *log_; }
    [[nodiscard]] Cores& cores() { return cores_; }

    // Awaits durable() on a core. True: it came, and came back to that core.
    [[nodiscard]] std::future<bool> when_durable(LogPosition position, std::size_t core = 0) {
        auto done = std::make_shared<std::promise<bool>>(); // the coroutine's and ours
        auto future = done->get_future();
        auto wait = [this, position, core, done]() -> Task<void> {
            const auto durable = co_await log_->durable(position);
            done->set_value(durable.has_value() && cores_.at(core).is_here());
        };
        boost::asio::co_spawn(cores_.at(core).executor(), std::move(wait), boost::asio::detached);
        return future;
    }
    // Enqueues until the log takes it, which must be soon, as when a group is full.
    LogPosition add(const LogRecordView& record) {
        auto position = log_->enqueue(record);
        if (!position) {
            commit();
            position = log_->enqueue(record);
        }
        EXPECT_TRUE(position.has_value());
        return position.value_or(LogPosition(0));
    }
    // Everything enqueued is durable, and so the next record begins a group.
    void commit() {
        auto durable = when_durable(log_->last_enqueued(kOnlyPartition));
        ASSERT_EQ(durable.wait_for(kPatience), std::future_status::ready);
        ASSERT_TRUE(durable.get());
    }
    [[nodiscard]] std::vector<LogRecord> read_all(LogPosition from) {
        std::vector<LogRecord> records;
        while (from < log_->end()) {
            auto batch = log_->read_batch(from, 1000, Duration(0));
            if (!batch) {
                ADD_FAILURE() << batch.error().message();
                return records;
            }
            EXPECT_EQ(batch->first, from);
            EXPECT_EQ(batch->next, from.plus(batch->records.size()));
            from = batch->next;
            std::move(batch->records.begin(), batch->records.end(), std::back_inserter(records));
        }
        return records;
    }

private:
    static const Clock& system_clock() {
        static const SystemClock clock;
        return clock;
    }

    Cores cores_{2};
    std::unique_ptr<SqliteOrderLog> log_;
};

inline Error error_of_open(OrderLogOptions options) {
    Cores cores(1);
    const SystemClock clock;
    const auto opened = SqliteOrderLog::open(std::move(options), cores, clock, [](const Error&) {});
    if (!opened) return opened.error();
    ADD_FAILURE() << "it opened";
    return {};
}

// The n-th order of a sale; its texts are literals or the caller's.
inline LogRecordView order(std::uint64_t n, std::string_view user = "user",
                           std::string_view key = {}) {
    LogRecordView record;
    record.kind = LogRecordKind::order;
    record.sale = SaleNo(7);
    record.epoch = Epoch(3);
    record.order = OrderId(record.sale, TimePoint(Duration(1'000 + n)), 0, n);
    record.quantity = static_cast<Units>(n % 5 + 1);
    record.user = user;
    record.key = key;
    return record;
}

inline LogRecordView barrier(std::uint64_t epoch) {
    LogRecordView record;
    record.kind = LogRecordKind::barrier;
    record.sale = SaleNo(7);
    record.epoch = Epoch(epoch);
    return record;
}

} // namespace doorbuster::sqlite::fixture
