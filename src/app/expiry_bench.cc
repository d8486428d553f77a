#include "app/expiry_bench.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "adapters/sql/order_store.h"
#include "adapters/sqlite/order_log.h"
#include "app/expiry_trickle.h"
#include "app/expiry_watch.h"
#include "engine/lifecycle.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/sale_directory.h"
#include "runtime/clock.h"
#include "runtime/core.h"

namespace doorbuster {
namespace {

using Steady = std::chrono::steady_clock;
using During = ExpiryTrickle::During;

constexpr std::size_t kCores = 2; // as small as a server's machine is
constexpr std::uint64_t kSeed = 0x9e3779b97f4a7c15;
constexpr std::size_t kInFlightMax = 100'000; // the trickle shall be slow rather than refused
constexpr Duration kTogetherTimeout = std::chrono::minutes(15);
constexpr Duration kSinglesTimeout{1'000}; // the shortest that a sale can have
constexpr Duration kSinglesGap{20};        // more than one expiry takes, so that they stay single
constexpr Duration kOtherTimeout = std::chrono::hours(1);
// The lifecycle looks at what is due once a second, and knows from then on when to wake.
constexpr Duration kLookTime{1'200};
constexpr Duration kWarmUp{500};
constexpr Duration kPollEvery{2};
constexpr Duration kTellEvery{200};
constexpr std::chrono::minutes kStallMax{2}; // without one more order
constexpr std::uint64_t kFillTurn = 256;     // reservations in one turn of a core
constexpr std::size_t kPendingMax = 100;     // give-back rows in one look

// The shop's time: stands still while orders are made, so that all are due at once, and then runs
// from wherever it is told to. Any thread.
class HeldClock final : public Clock {
public:
    HeldClock() : held_ms_(system_.now().time_since_epoch().count()) {}

    [[nodiscard]] TimePoint now() const override {
        const std::int64_t held_ms = held_ms_.load();
        if (held_ms > 0) return TimePoint(Duration(held_ms));
        return TimePoint(Duration(steady_ns() / 1'000'000 + offset_ms_.load()));
    }
    [[nodiscard]] std::int64_t steady_ns() const override { return system_.steady_ns(); }

    void run_from(TimePoint start) {
        offset_ms_ = start.time_since_epoch().count() - steady_ns() / 1'000'000;
        held_ms_ = 0;
    }
    // When it will be or was `time`, once it runs.
    [[nodiscard]] std::int64_t steady_ns_of(TimePoint time) const {
        return (time.time_since_epoch().count() - offset_ms_.load()) * 1'000'000;
    }

private:
    SystemClock system_;
    std::atomic<std::int64_t> offset_ms_{0};
    std::atomic<std::int64_t> held_ms_; // 0: runs
};

double seconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

Error error_of(const Stop& stop) {
    if (const auto* error = std::get_if<Error>(&stop)) return *error;
    return {make_error_code(Errc::unavailable),
            std::string("a purchase was refused: ") + to_string(std::get<Refusal>(stop).reason)};
}

class Bench {
public:
    Bench(const ExpiryBenchOptions& options, const ExpiryBenchSink& progress)
        : options_(options), progress_(progress), inventory_(cores_, clock_), limiter_({}, clock_) {
        report_.options = options;
        report_.head = result_head(options.version, options.command);
    }
    ~Bench() { stop(); }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    Result<ExpiryBenchReport> run() {
        for (auto step : {&Bench::open, &Bench::fill, &Bench::expire_together,
                          &Bench::expire_one_by_one, &Bench::check_books}) {
            if (auto done = (this->*step)(); !done) return tl::make_unexpected(done.error());
        }
        if (!trickle_->stop()) return fail(Errc::timeout, "purchases do not end");
        stop();
        summarise();
        return report_;
    }

private:
    struct Sale {
        SaleTerms terms;
        SaleView* view = nullptr; // core 0's
    };

    Result<void> open() {
        store_path_ = options_.folder + "/orders.db";
        sql::OrderStoreOptions stored;
        stored.url = store_path_;
        stored.clock = &clock_;
        stored.with_events = options_.with_events;
        auto store = sql::SqlOrderStore::open(stored);
        if (!store) return tl::make_unexpected(store.error());
        store_ = std::move(*store);
        sqlite::OrderLogOptions logged;
        logged.folder = options_.folder;
        logged.lag_max = options_.orders + 1'000'000;
        logged.new_log_id = "bench";
        auto log = sqlite::SqliteOrderLog::open(logged, cores_, system_clock_,
                                                [this](const Error& error) { failed(error); });
        if (!log) return tl::make_unexpected(log.error());
        log_ = std::move(*log);
        if (auto bound = store_->bind_log(log_->id()); !bound) return bound;
        build();
        cores_.start();
        is_running_ = true;
        writer_->start(LogPosition(1));
        lifecycle_->start();
        lifecycle_->open();
        // In this order: the sale that expires and the one that is bought from meanwhile share a
        // core, and whoever buys comes from the other one.
        for (auto [sale, id, units, timeout] :
             {std::tuple(&together_, "together", options_.orders, kTogetherTimeout),
              std::tuple(&singles_, "one-by-one", options_.singles, kSinglesTimeout),
              std::tuple(&other_, "other", std::uint64_t{kStockMax}, kOtherTimeout)}) {
            if (auto opened = open_sale(*sale, id, units, timeout); !opened) return opened;
        }
        together_watch_.sale = together_.terms.no;
        singles_watch_.sale = singles_.terms.no;
        singles_watch_.keeps_orders = true;
        return {};
    }

    void build() {
        OrderWriter::Options writing;
        writing.on_fatal = [this](const Error& error) { failed(error); };
        writing.tally = &tally_;
        writer_ = std::make_unique<OrderWriter>(*log_, *store_, system_clock_, std::move(writing));
        const std::vector<ExpiryWatch*> watches{&together_watch_, &singles_watch_};
        watched_store_.emplace(*store_, clock_, watches);
        watched_inventory_.emplace(inventory_, *watched_store_, clock_, watches);
        Lifecycle::Options living;
        living.on_fatal = [this](const Error& error) { failed(error); };
        living.tally = &tally_;
        lifecycle_ = std::make_unique<Lifecycle>(cores_, *watched_store_, *watched_inventory_,
                                                 clock_, std::move(living));
        service_.emplace(PurchaseService::Parts{clock_, inventory_, *log_, limiter_},
                         OrderIdSource(0, kSeed), kInFlightMax);
    }

    // A new sale needs no rebuild: nothing was ever decided about it.
    Result<void> open_sale(Sale& sale, const char* id, std::uint64_t units, Duration timeout) {
        SaleTerms terms;
        terms.id = id;
        terms.title = "Expiry benchmark";
        terms.stock = static_cast<Units>(units);
        terms.starts_at = clock_.now();
        terms.payment_timeout = timeout;
        auto made = store_->create_sale(terms, "bench", "bench");
        if (!made) return tl::make_unexpected(made.error());
        sale.terms = made->first.terms;
        SaleImage image;
        image.terms = sale.terms;
        image.epoch = made->first.epoch;
        auto signals = run_on(cores_.at(0), inventory_.install(std::move(image)));
        if (!signals) return tl::make_unexpected(signals.error());
        directory_.set_terms(std::make_shared<const SaleTerms>(sale.terms));
        directory_.set_signals(sale.terms.no, *signals);
        sale.view = directory_.find(sale.terms.no);
        return {};
    }

    // Every order through the inventory and the log into the store, while the clock stands still.
    Result<void> fill() {
        const std::int64_t start_ns = clock_.steady_ns();
        Core& owner = cores_.owner_of(together_.terms.no.get());
        auto filled =
            boost::asio::co_spawn(owner.executor(), fill_on_core(), boost::asio::use_future);
        const auto stored = [this] { return writer_->totals().orders.load(); };
        if (auto done = wait("storing orders", options_.orders, start_ns, stored); !done) {
            return done;
        }
        return filled.get();
    }

    Task<Result<void>> fill_on_core() {
        OrderIdSource ids(1, kSeed);
        for (std::uint64_t i = 0; i < options_.orders;) {
            const std::string user = "buyer-" + std::to_string(i * 2'654'435'761U % 4'294'967'296U);
            PurchaseRequest request;
            request.sale = together_.terms.no;
            request.order_id = ids.make(request.sale, clock_.now());
            request.user = user;
            request.user_print = prints_.of(user);
            auto held = co_await inventory_.reserve(request, *log_);
            if (held && ++i % kFillTurn != 0) continue;
            if (held) { // what the log wakes may have its turn
                co_await boost::asio::post(use_task);
                continue;
            }
            const auto* refusal = std::get_if<Refusal>(&held.error());
            if (refusal == nullptr || refusal->reason != PurchaseOutcome::overloaded) {
                Error error = error_of(held.error());
                failed(error);
                co_return tl::make_unexpected(std::move(error));
            }
            // The group is full: a commit is under way.
            const auto durable = co_await log_->durable(log_->last_enqueued(kOnlyPartition));
            if (!durable) co_return tl::make_unexpected(error_of(durable.error()));
        }
        co_return Result<void>();
    }

    Result<void> expire_together() {
        const auto page = store_->list_orders(together_.terms.no, {}, std::nullopt, 1);
        if (!page) return tl::make_unexpected(page.error());
        if (page->orders.empty() || !page->orders.front().expires_at) {
            return fail(Errc::corrupt, "the orders have no time to be paid by");
        }
        const TimePoint due = *page->orders.front().expires_at;
        const auto alone = Duration(std::llround(options_.alone_seconds * 1e3));
        const Duration lead = std::max(kLookTime, kWarmUp + alone);
        clock_.run_from(due - lead);
        const std::int64_t due_ns = clock_.steady_ns_of(due);
        together_watch_.due_ns = due_ns;
        lifecycle_->look_again();
        trickle_.emplace(
            ExpiryTrickle::Parts{cores_.at(0), clock_, prints_, *service_, *other_.view},
            options_.purchases_per_second);
        trickle_->start();
        const std::int64_t start_ns = clock_.steady_ns();
        if (auto done = wait_until(due_ns - 1'000'000 * alone.count()); !done) return done;
        begin(During::alone, report_.alone);
        if (auto done = wait_until(due_ns); !done) return done;
        begin(During::together, report_.while_together);
        const auto sellable = [this] { return together_watch_.sellable.load(); };
        auto done = wait("expiring together", options_.orders, start_ns, sellable);
        begin(During::between, between_);
        if (!done) return done;
        return come_to_rest(due_ns);
    }

    // Until every row that was given back is ticked off.
    Result<void> come_to_rest(std::int64_t due_ns) {
        for (const auto until = Steady::now() + kStallMax; Steady::now() < until; poll()) {
            const auto pending = store_->pending_give_backs(std::nullopt, kPendingMax);
            if (!pending) return tl::make_unexpected(pending.error());
            if (!pending->empty()) continue;
            report_.at_rest_seconds = seconds(clock_.steady_ns() - due_ns);
            return look_for_failure();
        }
        return fail(Errc::timeout, "what was given back is not ticked off");
    }

    // Bought at intervals, so that each is due alone.
    Result<void> expire_one_by_one() {
        const std::int64_t start_ns = clock_.steady_ns();
        begin(During::singles, report_.while_singles);
        for (std::uint64_t i = 0; i < options_.singles; ++i) {
            const std::int64_t at_ns =
                start_ns + static_cast<std::int64_t>(i) * 1'000'000 * kSinglesGap.count();
            if (auto done = wait_until(at_ns); !done) return done;
            auto bought = run_on(cores_.at(0), buy_single("single-" + std::to_string(i)));
            if (!bought) return tl::make_unexpected(error_of(bought.error()));
        }
        const auto sellable = [this] { return singles_watch_.sellable.load(); };
        auto done = wait("expiring one by one", options_.singles, start_ns, sellable);
        begin(During::between, between_);
        return done;
    }

    Task<Step<Reservation>> buy_single(std::string user) {
        PurchaseRequest request;
        request.sale = singles_.terms.no;
        request.user = user;
        request.user_print = prints_.of(user);
        RateSubject subject;
        subject.user = request.user_print;
        co_return co_await service_->purchase(*singles_.view, request, subject);
    }

    // Every unit is for sale again, in the store and in the inventory.
    Result<void> check_books() {
        for (const Sale* sale : {&together_, &singles_}) {
            const auto count = run_on(cores_.at(0), inventory_.count(sale->terms.no, *log_));
            if (!count) return tl::make_unexpected(count.error());
            const auto books = store_->books(sale->terms.id);
            if (!books) return tl::make_unexpected(books.error());
            const SaleBooks& stored = books->sales.front();
            const auto expired = stored.orders[static_cast<std::size_t>(OrderStatus::expired)];
            if (count->remaining != sale->terms.stock || stored.sale.sold != 0 ||
                expired != sale->terms.stock) {
                return fail(Errc::corrupt,
                            fmt::format("sale {}: of {} orders {} expired, the inventory has {} "
                                        "units for sale and the store sold {}",
                                        sale->terms.id, sale->terms.stock, expired,
                                        count->remaining, stored.sale.sold));
            }
        }
        for (const ExpiryWatch::Sellable& each : singles_watch_.orders) {
            const auto order = store_->find_order(each.order);
            if (!order) return tl::make_unexpected(order.error());
            const std::int64_t late_ns = each.at_ns - clock_.steady_ns_of(*order->expires_at);
            singles_watch_.due_to_sellable_ns.record(
                static_cast<std::uint64_t>(std::max<std::int64_t>(late_ns, 0)));
        }
        return look_for_failure();
    }

    void summarise() {
        for (auto [watch, orders] : {std::pair(&together_watch_, &report_.together),
                                     std::pair(&singles_watch_, &report_.singles)}) {
            orders->decided_to_sellable = summary_of(watch->decided_to_sellable_ns);
            orders->due_to_sellable = summary_of(watch->due_to_sellable_ns);
            orders->transaction = summary_of(watch->transaction_ns);
        }
        report_.together_seconds = seconds(together_watch_.last_ns - together_watch_.due_ns);
        report_.tick_off = summary_of(watched_store_->tick_off_ns());
        for (auto [during, bought] : {std::pair(During::alone, &report_.alone),
                                      std::pair(During::together, &report_.while_together),
                                      std::pair(During::singles, &report_.while_singles)}) {
            bought->latency = summary_of(trickle_->of(during).latency_ns);
            bought->refused = trickle_->of(during).refused;
        }
    }

    void stop() {
        if (!is_running_) return;
        is_running_ = false;
        if (trickle_) static_cast<void>(trickle_->stop());
        lifecycle_->stop();
        writer_->stop(Duration(0));
        log_->stop();
        cores_.stop();
    }

    // The purchases from now on are those of `bought`.
    void begin(During during, ExpiryBenchPurchases& bought) {
        const std::int64_t now_ns = clock_.steady_ns();
        if (current_ != nullptr) current_->seconds = seconds(now_ns - current_since_ns_);
        current_ = &bought;
        current_since_ns_ = now_ns;
        trickle_->phase(during);
    }

    // Looks at what is going on, then pauses.
    void poll() {
        if (current_ != nullptr) {
            current_->lag_records_max = std::max(current_->lag_records_max, log_->lag_records());
        }
        std::error_code ignored;
        const auto wal = std::filesystem::file_size(store_path_ + "-wal", ignored);
        if (!ignored && current_ != nullptr) {
            report_.store_wal_bytes_max = std::max<std::uint64_t>(report_.store_wal_bytes_max, wal);
        }
        std::this_thread::sleep_for(kPollEvery);
    }

    Result<void> wait_until(std::int64_t at_ns) {
        while (clock_.steady_ns() < at_ns) {
            if (auto healthy = look_for_failure(); !healthy) return healthy;
            poll();
        }
        return {};
    }

    // Until `done()` says `of`.
    template <class F>
    Result<void> wait(const char* step, std::uint64_t of, std::int64_t since_ns, F done) {
        std::uint64_t before = 0;
        Steady::time_point moved = Steady::now();
        Steady::time_point told = moved;
        for (std::uint64_t now = done(); now < of; now = done()) {
            if (auto healthy = look_for_failure(); !healthy) return healthy;
            if (now != before) moved = Steady::now();
            before = now;
            if (Steady::now() - moved > kStallMax) {
                return fail(Errc::timeout, fmt::format("{}: {} of {}", step, now, of));
            }
            if (progress_ && Steady::now() - told >= kTellEvery) {
                told = Steady::now();
                progress_({step, now, of, seconds(clock_.steady_ns() - since_ns)});
            }
            poll();
        }
        return {};
    }

    template <class T> static T run_on(Core& core, Task<T> task) {
        return boost::asio::co_spawn(core.executor(), std::move(task), boost::asio::use_future)
            .get();
    }

    void failed(const Error& error) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = error;
    }
    Result<void> look_for_failure() {
        const std::lock_guard lock(mutex_);
        if (failure_) return tl::make_unexpected(*failure_);
        return {};
    }

    const ExpiryBenchOptions& options_;
    const ExpiryBenchSink& progress_;
    ExpiryBenchReport report_;
    std::string store_path_;
    SystemClock system_clock_; // the log's and the writer's
    HeldClock clock_;
    Fingerprinter prints_{kSeed, ~kSeed};
    OrderTally tally_;
    ExpiryWatch together_watch_;
    ExpiryWatch singles_watch_;
    Cores cores_{kCores};
    std::unique_ptr<sql::SqlOrderStore> store_;
    std::unique_ptr<sqlite::SqliteOrderLog> log_;
    memory::MemoryInventory inventory_;
    memory::MemoryRateLimiter limiter_;
    SaleDirectory directory_; // core 0's, filled before it is used
    Sale together_;
    Sale singles_;
    Sale other_;
    std::unique_ptr<OrderWriter> writer_;
    std::optional<WatchedStore> watched_store_;
    std::optional<WatchedInventory> watched_inventory_;
    std::unique_ptr<Lifecycle> lifecycle_;
    std::optional<PurchaseService> service_;
    std::optional<ExpiryTrickle> trickle_;
    ExpiryBenchPurchases between_; // not reported
    ExpiryBenchPurchases* current_ = nullptr;
    std::int64_t current_since_ns_ = 0;
    bool is_running_ = false;
    std::mutex mutex_;
    std::optional<Error> failure_;
};

} // namespace

Result<ExpiryBenchReport> run_expiry_bench(const ExpiryBenchOptions& options,
                                           const ExpiryBenchSink& progress) {
    Bench bench(options, progress);
    return bench.run();
}

} // namespace doorbuster
