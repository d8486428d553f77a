#include "app/load/load.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <condition_variable>
#include <deque>
#include <exception>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <sys/resource.h>
#include <thread>

#include "app/load/lane.h"
#include "app/load/run.h"
#include "app/load/sale_facts.h"

namespace doorbuster {
namespace {

using namespace std::chrono_literals;
using load::Clock;
using load::Run;

// How far a deadline may be overrun, and how soon a stop is seen.
constexpr auto kWatchEvery = 20ms;
constexpr auto kProgressEvery = 100ms;
// A server from which only failures come for this long (or for a time-out, if that is longer) is
// gone; to go on would take hours for nothing.
constexpr auto kGiveUpAfter = 10s;
// After the run the sale's own figures may lag a moment, and a restarted server needs its time.
constexpr auto kClosingLag = 2s;
constexpr auto kClosingTry = 15s;
constexpr auto kClosingPoll = 100ms;
constexpr rlim_t kOtherFiles = 64; // what a process has open beside the connections
// Orders that one thread can bring in a second, for the size of maps.
constexpr double kOrdersPerSecond = 100'000;

std::string_view why_invalid(const LoadOptions& o) {
    const std::string last_user = o.user_prefix + std::string(load::buyer_digits(o.buyers), '9');
    if (!is_sale_id(o.sale)) return "the sale's id is not a slug [a-z0-9][a-z0-9-]{0,62}";
    if (o.buyers == 0 || o.buyers > kLoadBuyersMax) return "buyers are 1 to 10^12";
    if (o.attempts_per_buyer == 0 || o.attempts_per_buyer > kLoadAttemptsPerBuyerMax) {
        return "attempts per buyer are 1 to 1,000,000";
    }
    if (o.connections == 0 || o.connections > kLoadConnectionsMax) {
        return "connections are 1 to 20,000";
    }
    if (o.threads == 0 || o.threads > kLoadThreadsMax) return "threads are 1 to 64";
    if (o.rate && !(*o.rate > 0 && *o.rate <= 1e7)) return "the rate is above 0 and at most 10^7";
    if (o.duration && o.duration->count() <= 0) return "the duration is above 0";
    if (o.timeout.count() <= 0) return "the timeout is above 0";
    if (o.quantity_min < 1 || o.quantity_max > kQuantityMax || o.quantity_min > o.quantity_max) {
        return "the quantity is 1 to 1,000,000, or a range of that";
    }
    if (!is_user_id(last_user)) return "the user prefix does not make good user ids";
    return {};
}

Result<void> allow_files(std::uint64_t connections) {
    rlimit limit{};
    const rlim_t wanted = connections + kOtherFiles;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return {};
    limit.rlim_cur = std::min(wanted, limit.rlim_max);
    if (limit.rlim_cur < wanted || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return fail(Errc::invalid,
                    fmt::format("{} connections need more open files than the limit of {} (ulimit "
                                "-n); use fewer, or raise it",
                                connections, limit.rlim_max));
    }
    return {};
}

ServerOptions server_of(const LoadOptions& options) {
    ServerOptions out;
    out.url = options.url;
    out.insecure = options.insecure;
    out.ca_file = options.ca_file;
    out.timeout = options.timeout;
    return out;
}

// One thread and its lanes. Made and joined by the thread that calls run_load.
class Worker {
public:
    Worker(Run& run, std::size_t lanes) : context_(1), watch_timer_(context_.get_executor()) {
        for (std::size_t i = 0; i < lanes; ++i) {
            lanes_.emplace_back(context_.get_executor(), run, totals_);
        }
    }

    void work() {
        running_ = lanes_.size();
        for (load::Lane& lane : lanes_) {
            boost::asio::co_spawn(context_, lane.work(), [this](const std::exception_ptr& error) {
                if (error) std::rethrow_exception(error); // ends the process: a bug, or no memory
                if (--running_ == 0) watch_timer_.cancel();
            });
        }
        boost::asio::co_spawn(context_, watch(), [](const std::exception_ptr& error) {
            if (error) std::rethrow_exception(error);
        });
        context_.run();
    }

    [[nodiscard]] const load::Totals& totals() const { return totals_; }

private:
    Task<void> watch() {
        while (running_ > 0) {
            const Clock::time_point now = Clock::now();
            for (load::Lane& lane : lanes_) lane.watch(now);
            watch_timer_.expires_at(now + kWatchEvery);
            boost::system::error_code ended_early;
            co_await watch_timer_.async_wait(boost::asio::redirect_error(use_task, ended_early));
        }
    }

    boost::asio::io_context context_;
    load::Timer watch_timer_;
    load::Totals totals_;
    std::deque<load::Lane> lanes_; // at fixed addresses
    std::size_t running_ = 0;
};

// Starts the workers, waits for them, and says meanwhile how far they are.
class Crew {
public:
    explicit Crew(Run& run) : run_(run) {
        const std::uint64_t threads = std::min(run.options.threads, run.options.connections);
        for (std::uint64_t i = 0; i < threads; ++i) {
            const std::uint64_t lanes = (run.options.connections + i) / threads;
            workers_.push_back(std::make_unique<Worker>(run, lanes));
        }
    }

    void work(const ProgressSink& progress) {
        std::vector<std::jthread> threads;
        threads.reserve(workers_.size());
        running_ = workers_.size();
        for (const auto& worker : workers_) {
            threads.emplace_back([this, &worker] {
                worker->work();
                const std::scoped_lock lock(mutex_);
                if (--running_ == 0) ended_.notify_all();
            });
        }
        std::unique_lock lock(mutex_);
        while (!ended_.wait_for(lock, kProgressEvery, [this] { return running_ == 0; })) {
            lock.unlock();
            give_up_on_silence();
            if (progress) progress(progress_now());
            lock.lock();
        }
        lock.unlock();
        if (progress) progress(progress_now());
    }

    [[nodiscard]] const std::vector<std::unique_ptr<Worker>>& workers() const { return workers_; }

private:
    void give_up_on_silence() {
        const std::int64_t since = run_.failing_since_ns.load();
        if (since == 0) return;
        const Clock::duration silence = Clock::now().time_since_epoch() - Clock::duration(since);
        if (silence > std::max<Clock::duration>(kGiveUpAfter, run_.options.timeout)) {
            run_.has_given_up.store(true);
        }
    }

    [[nodiscard]] LoadProgress progress_now() const {
        LoadProgress out;
        for (const auto& worker : workers_) {
            const load::Totals& totals = worker->totals();
            out.attempts += totals.attempts.load(std::memory_order_relaxed);
            out.accepted += totals.accepted.load(std::memory_order_relaxed);
            out.errors += totals.errors.load(std::memory_order_relaxed);
        }
        out.share_done = static_cast<double>(out.attempts) / static_cast<double>(run_.plan.size());
        if (!run_.has_begun.load()) return out;
        const Clock::duration passed = Clock::now() - run_.schedule.start();
        out.seconds = std::chrono::duration<double>(passed).count();
        if (run_.options.duration) {
            const double whole = std::chrono::duration<double>(*run_.options.duration).count();
            out.share_done = std::max(out.share_done, std::min(out.seconds / whole, 1.0));
        }
        return out;
    }

    Run& run_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::mutex mutex_;
    std::condition_variable ended_;
    std::size_t running_ = 0; // guarded by mutex_
};

std::uint64_t orders_expected(const LoadOptions& options, const load::SaleFacts& sale) {
    std::uint64_t orders = options.buyers * options.attempts_per_buyer;
    orders = std::min(orders, static_cast<std::uint64_t>(sale.remaining / options.quantity_min));
    if (options.duration) {
        const double seconds = std::chrono::duration<double>(*options.duration).count();
        const double most = seconds * std::min(options.rate.value_or(1e12), kOrdersPerSecond) *
                            static_cast<double>(options.threads);
        orders = std::min(orders, static_cast<std::uint64_t>(most));
    }
    return orders;
}

// The sale's own figures must agree with what the buyers were told. They get a moment to. Returns
// how many units more than ours the sale has sold meanwhile.
Units close_books(Run& run, load::Books::End end) {
    const Clock::time_point begun = Clock::now();
    for (;;) {
        const auto sale = load::read_sale(server_of(run.options), run.options.sale);
        const Clock::duration waited = Clock::now() - begun;
        std::vector<std::string> complaints;
        if (sale) {
            end.sale = *sale;
            complaints = run.books.close(end);
            if (complaints.empty()) return sale->sold() - run.sale.sold() - run.books.units();
        }
        if (sale ? waited < kClosingLag : waited < kClosingTry && !run.is_ending()) {
            std::this_thread::sleep_for(kClosingPoll);
            continue;
        }
        if (!sale) {
            complaints.push_back("the sale cannot be read after the run: " +
                                 sale.error().message());
        }
        for (const std::string& complaint : complaints) {
            run.complaints.add(LoadErrorKind::books, "", complaint);
        }
        return 0;
    }
}

LoadReport make_report(Run& run, const Crew& crew) {
    LoadReport report;
    auto latency = std::make_unique<Histogram>();
    auto accepted_latency = std::make_unique<Histogram>();
    auto rejected_latency = std::make_unique<Histogram>();
    Clock::time_point last = run.schedule.start();
    Clock::time_point last_accepted = last;
    load::Books::End end;
    for (const auto& worker : crew.workers()) {
        const load::Totals& totals = worker->totals();
        report.attempts += totals.attempts.load();
        report.accepted += totals.accepted.load();
        report.replayed += totals.replayed;
        report.retries += totals.retries;
        for (std::size_t i = 0; i < report.rejected.size(); ++i) {
            report.rejected[i] += totals.rejected[i];
        }
        latency->merge(totals.latency);
        accepted_latency->merge(totals.accepted_latency);
        rejected_latency->merge(totals.rejected_latency);
        report.order_ids.insert(report.order_ids.end(), totals.order_ids.begin(),
                                totals.order_ids.end());
        last = std::max(last, totals.last_answer);
        last_accepted = std::max(last_accepted, totals.last_accepted);
        if (totals.sold_out_quantity_min > 0) {
            const Units smallest = totals.sold_out_quantity_min;
            end.sold_out_quantity_min = end.sold_out_quantity_min == 0
                                            ? smallest
                                            : std::min(end.sold_out_quantity_min, smallest);
        }
    }
    report.accepted_units = run.books.units();
    report.seconds = std::chrono::duration<double>(last - run.schedule.start()).count();
    report.began = run.schedule.start();
    report.seconds_to_last_accepted =
        std::chrono::duration<double>(last_accepted - run.schedule.start()).count();
    report.latency = latency_of(*latency);
    report.accepted_latency = latency_of(*accepted_latency);
    report.rejected_latency = latency_of(*rejected_latency);
    report.accepted_curve = curve_of(*accepted_latency);
    report.rejected_curve = curve_of(*rejected_latency);
    report.is_stopped = run.is_ending();
    if (run.schedule.is_open_loop() && !report.is_stopped) {
        report.unsent = run.schedule.due_count(run.plan.size()) - report.attempts;
    }
    if (report.unsent > 0) report.notes.push_back(unsent_note(report.unsent));
    if (run.has_given_up.load()) {
        report.notes.emplace_back("given up: nothing but failures came from the server for 10 s, "
                                  "or for --timeout if that is "
                                  "longer");
    }
    const auto refused = [&](PurchaseOutcome outcome) {
        return report.rejected[static_cast<std::size_t>(outcome)];
    };
    if (const std::uint64_t other = refused(PurchaseOutcome::idempotency_mismatch); other > 0) {
        report.notes.push_back(fmt::format(
            "{} purchases got idempotency_mismatch: an earlier run bound these buyers' keys to "
            "other quantities. Give the same --quantity and --seed as then, or another "
            "--user-prefix for new buyers",
            other));
    }
    end.seconds = report.seconds;
    const auto& failed = run.complaints.counts();
    end.is_undisturbed = report.retries == 0 && refused(PurchaseOutcome::overloaded) == 0 &&
                         refused(PurchaseOutcome::unavailable) == 0 &&
                         std::ranges::all_of(failed, [](std::uint64_t n) { return n == 0; });
    const Units others = run.options.closes_books ? close_books(run, end) : 0;
    if (others > 0 && end.is_undisturbed && run.sale.payment_timeout_s == 0) {
        report.notes.push_back(fmt::format("the sale has sold {} units more than these buyers were "
                                           "told of: to others, or they are lost",
                                           others));
    }
    report.errors = run.complaints.counts();
    report.examples = run.complaints.examples();
    return report;
}

} // namespace

Result<LoadReport> run_load(const LoadOptions& options, const std::atomic<bool>& stop,
                            const ProgressSink& progress) {
    if (const std::string_view why = why_invalid(options); !why.empty()) {
        return fail(Errc::invalid, std::string(why));
    }
    std::vector<load::Target> targets;
    std::vector<std::string> urls = options.other_urls;
    urls.insert(urls.begin(), options.url);
    for (const std::string& url : urls) {
        auto target = load::make_target(url, {options.insecure, options.ca_file});
        if (!target) return tl::unexpected(std::move(target.error()));
        targets.push_back(std::move(*target));
    }
    if (auto allowed = allow_files(options.connections); !allowed) {
        return tl::unexpected(allowed.error());
    }
    const auto sale = load::read_sale(server_of(options), options.sale);
    if (!sale) return tl::unexpected(sale.error());

    const load::PlanShape plan{.buyers = options.buyers,
                               .attempts_per_buyer = options.attempts_per_buyer,
                               .quantity_min = options.quantity_min,
                               .quantity_max = options.quantity_max,
                               .same_quantity_per_buyer = options.keys,
                               .seed = options.seed};
    const load::RequestShape request{.authority = targets[0].url.authority(),
                                     .path = targets[0].url.prefix + "/v1/sales/" + options.sale +
                                             "/purchases",
                                     .user_prefix = options.user_prefix,
                                     .buyers = options.buyers,
                                     .quantity_max = options.quantity_max,
                                     .keys = options.keys};
    const load::BooksShape books{
        .sale = *sale, .keys = options.keys, .orders_expected = orders_expected(options, *sale)};
    Run run{.options = options,
            .targets = targets,
            .stop = stop,
            .sale = *sale,
            .plan = load::AttemptPlan(plan),
            .request = request,
            .books = load::Books(books),
            .complaints = {},
            .connecting = options.connections,
            .schedule = load::Schedule(options)};
    Crew crew(run);
    crew.work(progress);
    if (options.when_answered) options.when_answered();
    LoadReport report = make_report(run, crew);
    if (report.replayed > 0 && sale->sold() > 0) {
        report.notes.emplace_back("the sale had orders before this run: replays may be of orders "
                                  "that an earlier run with this --user-prefix made");
    }
    return report;
}

} // namespace doorbuster
