#include "app/writer_bench.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "engine/order_writer.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {
namespace {

using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point start) {
    return std::chrono::duration<double>(Steady::now() - start).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values.empty() ? 0 : values[values.size() / 2];
}

SaleTerms terms_of(std::uint64_t number, std::uint64_t orders) {
    SaleTerms terms;
    terms.id = "bench-" + std::to_string(number);
    terms.title = "Writer benchmark";
    terms.stock = static_cast<Units>(orders);
    return terms;
}

// One round on a folder of its own.
class Round {
public:
    Round(const WriterBenchOptions& options, std::string folder)
        : options_(options), folder_(std::move(folder)) {}

    Result<WriterBenchRound> run() {
        if (auto opened = open(); !opened) return tl::make_unexpected(opened.error());
        WriterBenchRound round;
        const auto appending = Steady::now();
        append();
        round.append_seconds = seconds_since(appending);
        OrderWriter::Options writing;
        writing.batch_max = options_.batch_max;
        writing.on_fatal = [this](const Error& error) { failed(error); };
        OrderWriter writer(*log_, *store_, clock_, std::move(writing));
        const auto storing = Steady::now();
        writer.start(LogPosition(1));
        const auto stored = writer.wait_for(log_->last_enqueued(), kStoreWaitMax);
        round.store_seconds = seconds_since(storing);
        writer.stop(Duration(0));
        log_->stop();
        if (!stored) return tl::make_unexpected(stored.error());
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        if (writer.totals().orders.load() != options_.orders) {
            return fail(Errc::corrupt, "the writer stored " +
                                           std::to_string(writer.totals().orders.load()) +
                                           " orders of " + std::to_string(options_.orders));
        }
        return round;
    }

private:
    static constexpr Duration kStoreWaitMax{600'000};

    Result<void> open() {
        std::filesystem::create_directories(folder_);
        auto store = sql::SqlOrderStore::open({folder_ + "/orders.db", 1, sql::StoreMode::serve});
        if (!store) return tl::make_unexpected(store.error());
        store_ = std::move(*store);
        auto log = sqlite::SqliteOrderLog::open(
            {folder_, options_.orders + 1'000'000, "bench", false}, cores_, clock_,
            [this](const Error& error) { failed(error); });
        if (!log) return tl::make_unexpected(log.error());
        log_ = std::move(*log);
        if (auto bound = store_->bind_log(log_->id()); !bound) return bound;
        for (std::uint64_t i = 0; i < options_.sales; ++i) {
            auto made = store_->create_sale(terms_of(i, options_.orders), "bench");
            if (!made) return tl::make_unexpected(made.error());
            sales_.push_back(made->first.terms.no);
        }
        return {};
    }

    void append() {
        OrderIdSource ids(0, 1);
        LogPosition last;
        for (std::uint64_t i = 0; i < options_.orders; ++i) {
            // Users as shops have them; the epoch is that of a sale that was never rebuilt.
            const std::string user = "buyer-" + std::to_string(i * 2'654'435'761U % 4'294'967'296U);
            const SaleNo sale = sales_[i % sales_.size()];
            LogRecordView record{
                LogRecordKind::order, sale, Epoch(0), ids.make(sale, clock_.now()), 1, user, {}};
            for (auto position = log_->enqueue(record);; position = log_->enqueue(record)) {
                if (position) {
                    last = *position;
                    break;
                }
                std::this_thread::yield(); // the group is full: a commit is under way
            }
        }
        while (!log_->is_durable(last)) std::this_thread::yield();
    }

    void failed(const Error& error) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = error;
    }

    const WriterBenchOptions& options_;
    std::string folder_;
    SystemClock clock_;
    Cores cores_{1}; // never started: nobody awaits here
    std::unique_ptr<sql::SqlOrderStore> store_;
    std::unique_ptr<sqlite::SqliteOrderLog> log_;
    std::vector<SaleNo> sales_;
    std::mutex mutex_;
    std::optional<Error> failure_;
};

} // namespace

double WriterBenchReport::appended_per_second() const {
    std::vector<double> values;
    for (const auto& round : rounds) {
        values.push_back(static_cast<double>(options.orders) / round.append_seconds);
    }
    return median(std::move(values));
}

double WriterBenchReport::stored_per_second() const {
    std::vector<double> values;
    for (const auto& round : rounds) {
        values.push_back(static_cast<double>(options.orders) / round.store_seconds);
    }
    return median(std::move(values));
}

Result<WriterBenchReport> run_writer_bench(const WriterBenchOptions& options) {
    WriterBenchReport report;
    report.options = options;
    for (int i = 0; i < options.rounds; ++i) {
        Round round(options, options.folder + "/round-" + std::to_string(i));
        auto measured = round.run();
        if (!measured) return tl::make_unexpected(std::move(measured.error()));
        report.rounds.push_back(*measured);
    }
    return report;
}

} // namespace doorbuster
