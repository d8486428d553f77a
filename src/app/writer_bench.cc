#include "app/writer_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "adapters/sql/order_store.h"
#include "adapters/sql/store_url.h"
#include "adapters/sqlite/order_log.h"
#include "app/table.h"
#include "domain/json_text.h"
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

std::string rate(double per_second) { return grouped(std::llround(per_second)); }

// One round on a folder of its own.
class Round {
public:
    Round(const WriterBenchOptions& options, int number, const WriterBenchSink& progress)
        : options_(options),
          number_(number),
          progress_(progress),
          folder_(fmt::format("{}/round-{}", options.folder, number)) {}

    Result<WriterBenchRound> run() {
        if (auto opened = open(); !opened) return tl::make_unexpected(opened.error());
        WriterBenchRound round;
        const auto appending = Steady::now();
        append(appending);
        round.append_seconds = seconds_since(appending);
        OrderWriter::Options writing;
        writing.batch_max = options_.batch_max;
        writing.on_fatal = [this](const Error& error) { failed(error); };
        OrderWriter writer(*log_, *store_, clock_, std::move(writing));
        const auto storing = Steady::now();
        writer.start(LogPosition(1));
        const auto stored = wait_for_store(writer, storing);
        round.store_seconds = seconds_since(storing);
        writer.stop(Duration(0));
        log_->stop();
        if (!stored) return tl::make_unexpected(stored.error());
        if (auto failure = first_failure()) return tl::make_unexpected(*failure);
        if (writer.totals().orders.load() != options_.orders) {
            return fail(Errc::corrupt, "the writer stored " +
                                           std::to_string(writer.totals().orders.load()) +
                                           " orders of " + std::to_string(options_.orders));
        }
        return round;
    }

private:
    static constexpr Duration kStallMax{600'000}; // without one more order in the store
    static constexpr Duration kProgressEvery{200};
    static constexpr std::uint64_t kLookEvery = 4'096; // orders between two looks at the clock

    void tell(std::string_view into, std::uint64_t orders, Steady::time_point since) const {
        if (!progress_) return;
        progress_({fmt::format("round {} of {}, into the {}", number_, options_.rounds, into),
                   orders, seconds_since(since)});
    }

    Result<void> wait_for_store(OrderWriter& writer, Steady::time_point since) {
        std::uint64_t orders = 0;
        for (Steady::time_point moved = since;;) {
            auto stored = writer.wait_for(log_->last_enqueued(kOnlyPartition), kProgressEvery);
            if (stored || !stored.error().is(Errc::timeout)) return stored;
            if (auto failure = first_failure()) return tl::make_unexpected(*failure);
            const std::uint64_t now = writer.totals().orders.load();
            if (now != orders) moved = Steady::now();
            if (Steady::now() - moved > kStallMax) return stored;
            orders = now;
            tell("store", orders, since);
        }
    }

    Result<void> open() {
        std::filesystem::create_directories(folder_);
        const std::string url =
            options_.store_url.empty() ? folder_ + "/orders.db" : options_.store_url;
        auto store = sql::SqlOrderStore::open({url, 1, sql::StoreMode::serve});
        if (!store) return tl::make_unexpected(store.error());
        store_ = std::move(*store);
        auto log = sqlite::SqliteOrderLog::open(
            {folder_, options_.orders + 1'000'000, "bench", false}, cores_, clock_,
            [this](const Error& error) { failed(error); });
        if (!log) return tl::make_unexpected(log.error());
        log_ = std::move(*log);
        if (auto bound = store_->bind_log(log_->id()); !bound) return bound;
        for (std::uint64_t i = 0; i < options_.sales; ++i) {
            auto made = store_->create_sale(terms_of(i, options_.orders), "bench", "bench");
            if (!made) return tl::make_unexpected(made.error());
            sales_.push_back(made->first.terms.no);
        }
        return {};
    }

    void append(Steady::time_point since) {
        OrderIdSource ids(0, 1);
        LogPosition last;
        Steady::time_point told = since;
        for (std::uint64_t i = 0; i < options_.orders; ++i) {
            if (i % kLookEvery == 0 && Steady::now() - told >= kProgressEvery) {
                told = Steady::now();
                tell("log", i, since);
            }
            // Users as shops have them; the epoch is that of a sale that was never rebuilt.
            const std::string user = "buyer-" + std::to_string(i * 2'654'435'761U % 4'294'967'296U);
            const SaleNo sale = sales_[i % sales_.size()];
            LogRecordView record{LogRecordKind::order,
                                 sale,
                                 Epoch(0),
                                 ids.make(sale, clock_.now()),
                                 1,
                                 user,
                                 {},
                                 {}};
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

    [[nodiscard]] std::optional<Error> first_failure() {
        const std::lock_guard lock(mutex_);
        return failure_;
    }

    const WriterBenchOptions& options_;
    int number_;
    const WriterBenchSink& progress_;
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

Result<WriterBenchReport> run_writer_bench(const WriterBenchOptions& options,
                                           const WriterBenchSink& progress) {
    WriterBenchReport report;
    report.options = options;
    report.store = "SQLite";
    if (!options.store_url.empty()) {
        const auto url = sql::parse_store_url(options.store_url);
        if (!url) return tl::make_unexpected(url.error());
        if (options.rounds != 1) {
            return fail(Errc::invalid, "a database that is named takes one round");
        }
        report.store = url->name;
    }
    report.head = result_head(options.version, options.command);
    for (int i = 1; i <= options.rounds; ++i) {
        Round round(options, i, progress);
        auto measured = round.run();
        if (!measured) return tl::make_unexpected(std::move(measured.error()));
        report.rounds.push_back(*measured);
    }
    return report;
}

std::string to_json(const WriterBenchReport& report) {
    std::string out = fmt::format(
        R"({{{},"store":{},"orders":{},"sales":{},"batch_max":{},"appended_per_second":{:.1f},)"
        R"("stored_per_second":{:.1f},"rounds":[)",
        head_json(report.head), doorbuster::quoted(report.store), report.options.orders,
        report.options.sales, report.options.batch_max, report.appended_per_second(),
        report.stored_per_second());
    for (const WriterBenchRound& round : report.rounds) {
        fmt::format_to(
            std::back_inserter(out), R"({}{{"append_seconds":{:.6f},"store_seconds":{:.6f}}})",
            &round == &report.rounds.front() ? "" : ",", round.append_seconds, round.store_seconds);
    }
    return out + "]}";
}

std::string to_markdown(const WriterBenchReport& report) {
    std::string out = "# Writer: orders a second from the order log into the order store\n\n";
    out += head_markdown(report.head);
    const auto orders = static_cast<double>(report.options.orders);
    fmt::format_to(
        std::back_inserter(out),
        "\n{} orders a round, {} sales, at most {} orders a transaction, into {}; nothing "
        "else goes on.\n\n"
        "| round | into the log, orders/s | into the store, orders/s |\n"
        "|---:|---:|---:|\n",
        grouped(static_cast<std::int64_t>(report.options.orders)), report.options.sales,
        grouped(static_cast<std::int64_t>(report.options.batch_max)), report.store);
    std::size_t number = 0;
    for (const WriterBenchRound& round : report.rounds) {
        fmt::format_to(std::back_inserter(out), "| {} | {} | {} |\n", ++number,
                       rate(orders / round.append_seconds), rate(orders / round.store_seconds));
    }
    fmt::format_to(std::back_inserter(out), "| median | {} | {} |\n",
                   rate(report.appended_per_second()), rate(report.stored_per_second()));
    return out;
}

std::string to_text(const WriterBenchReport& report) {
    return fmt::format("{} orders, {} sales, batches of {}, median of {} rounds\n"
                       "appended to the log   {} orders/s\n"
                       "written to the store  {} orders/s\n",
                       grouped(static_cast<std::int64_t>(report.options.orders)),
                       report.options.sales, report.options.batch_max, report.rounds.size(),
                       rate(report.appended_per_second()), rate(report.stored_per_second()));
}

} // namespace doorbuster
