#include "engine/console_feed.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/system/error_code.hpp>
#include <utility>

#include "domain/json_text.h"
#include "runtime/sleep.h"

namespace doorbuster {
namespace {

using namespace std::string_view_literals;

// Without news a viewer hears this often that the server is there.
constexpr std::uint64_t kQuietTicksMax = 4;
// "Now" is the last ten seconds: enough purchases for a 99.9th percentile, in a rush.
constexpr std::size_t kMarksMax = 20;

constexpr std::array kSaleColumns = {"remaining"sv,     "attempts"sv,     "accepted"sv,
                                     "sold_out"sv,      "rate_limited"sv, "overloaded"sv,
                                     "limit_reached"sv, "stored"sv,       "paid"sv};
constexpr std::array kProcessColumns = {"p50"sv, "p99"sv, "p999"sv, "lag"sv, "written"sv};

double of(const SaleFigures& sale, PurchaseOutcome outcome) {
    return static_cast<double>(sale.outcomes[static_cast<std::size_t>(outcome)]);
}

std::vector<double> sale_point(const SaleFigures& sale) {
    return {static_cast<double>(sale.remaining),
            static_cast<double>(sale.attempts()),
            of(sale, PurchaseOutcome::accepted),
            of(sale, PurchaseOutcome::sold_out),
            of(sale, PurchaseOutcome::rate_limited),
            of(sale, PurchaseOutcome::overloaded) + of(sale, PurchaseOutcome::unavailable),
            of(sale, PurchaseOutcome::limit_reached),
            static_cast<double>(sale.stored()),
            static_cast<double>(sale.orders[static_cast<std::size_t>(OrderStatus::paid)])};
}

std::string event(std::string_view name, std::string_view json) {
    std::string text = "event: ";
    text.append(name).append("\ndata: ").append(json).append("\n\n");
    return text;
}

} // namespace

ConsoleFeed::ConsoleFeed(Parts parts)
    : parts_(parts), started_at_(parts.clock.now()), process_history_(kProcessColumns) {}

Task<void> ConsoleFeed::run() {
    while (true) {
        co_await tick();
        co_await sleep_for(parts_.clock, kTick);
    }
}

Task<std::map<SaleNo, SaleFigures>> ConsoleFeed::look_at_sales() {
    std::map<SaleNo, SaleFigures> sales;
    const TimePoint now = parts_.clock.now();
    for (std::size_t i = 0; i < parts_.cores.size(); ++i) {
        const SaleDirectory& directory = *parts_.directories[i];
        auto collect = [&sales, &directory, now] {
            directory.for_each([&](const SaleView& view) {
                SaleFigures& sale = sales[view.terms->no];
                sale.terms = view.terms;
                sale.state = state_of(*view.terms, now);
                sale.remaining = std::max<Units>(view.remaining(), 0);
                sale.is_cold = !view.signals || view.signals->is_cold.load();
                for (std::size_t k = 0; k < kPurchaseOutcomes; ++k) {
                    sale.outcomes[k] += view.counts.of(static_cast<PurchaseOutcome>(k));
                }
                sale.admitted += view.steps.admitted();
                sale.reserved += view.steps.reserved();
            });
        };
        co_await call_on(parts_.cores.at(i), collect);
    }
    for (const auto& [no, counts] : parts_.tally.counts()) {
        if (const auto at = sales.find(no); at != sales.end()) at->second.orders = counts;
    }
    co_return sales;
}

ProcessFigures ConsoleFeed::look_at_process() {
    ProcessFigures process;
    process.is_ready = parts_.readiness.has_recovered() && !parts_.readiness.is_stopping();
    for (const Readiness::Backend& backend : parts_.readiness.backends()) {
        process.backends.emplace_back(backend.name, backend.state());
        process.is_ready = process.is_ready && process.backends.back().second == "up";
    }
    process.lag_records = parts_.log.lag_records();
    if (parts_.writer != nullptr) {
        process.has_writer = true;
        process.written_orders = parts_.writer->totals().orders.load();
        process.store_conflicts = parts_.writer->totals().conflicts.load();
    }
    const auto connections = parts_.store.connections();
    process.connections_in_use = connections.in_use;
    process.connections_idle = connections.idle;
    for (const auto& service : parts_.purchases) {
        for (std::size_t k = 1; k < kPurchaseOutcomes; ++k) {
            process.all.add(service->counters().duration[k]);
        }
        process.yes.add(
            service->counters().duration[static_cast<std::size_t>(PurchaseOutcome::accepted)]);
    }
    if (!marks_.empty()) {
        process.recent_yes = process.yes.since(marks_.front().yes);
        process.recent_all = process.all.since(marks_.front().all);
    }
    return process;
}

void ConsoleFeed::keep_history(Tracked& sale, SaleFigures figures, TimePoint now,
                               TimePoint before) {
    const bool has_moved = figures.attempts() > 0 || figures.stored() > 0;
    if (has_moved) {
        const bool is_first = !sale.history;
        if (is_first) sale.history.emplace(kSaleColumns);
        if (is_first && sale.figures.terms) sale.history->add(before, sale_point(sale.figures));
        sale.history->stood_still_until(before);
        sale.history->add(now, sale_point(figures));
    }
    sale.figures = std::move(figures);
    sale.moved_at_tick = tick_;
}

void ConsoleFeed::keep_history(const ProcessFigures& process, TimePoint now, TimePoint before) {
    LatencyCounts tick = process.all;
    if (!marks_.empty()) tick = process.all.since(marks_.back().all);
    const bool is_idle = tick.total() == 0 && process.lag_records == 0;
    marks_.push_back({process.yes, process.all});
    if (marks_.size() > kMarksMax) marks_.pop_front();
    // One point of rest behind the last busy one, then none until it goes on.
    const bool was_idle = std::exchange(was_idle_, is_idle);
    if (is_idle && was_idle) return;
    if (was_idle) process_history_.stood_still_until(before);
    process_history_.add(
        now, {tick.percentile_ms(0.5).value_or(0), tick.percentile_ms(0.99).value_or(0),
              tick.percentile_ms(0.999).value_or(0), static_cast<double>(process.lag_records),
              static_cast<double>(process.written_orders)});
}

void ConsoleFeed::forget_old_histories() {
    std::vector<std::pair<std::uint64_t, SaleNo>> with_history;
    for (const auto& [no, sale] : sales_) {
        if (sale.history) with_history.emplace_back(sale.moved_at_tick, no);
    }
    if (with_history.size() <= kSalesMax) return;
    std::ranges::sort(with_history);
    for (std::size_t i = 0; i + kSalesMax < with_history.size(); ++i) {
        sales_.at(with_history[i].second).history.reset();
    }
}

std::string ConsoleFeed::figures_event(bool is_complete) const {
    std::vector<const Tracked*> shown;
    for (const auto& [no, sale] : sales_) {
        if (is_complete || sale.moved_at_tick == tick_) shown.push_back(&sale);
    }
    if (shown.size() > kSalesMax) {
        std::ranges::stable_sort(shown, std::ranges::greater{}, &Tracked::moved_at_tick);
        shown.resize(kSalesMax);
    }
    std::string list = "[";
    for (const Tracked* sale : shown) {
        if (list.size() > 1) list += ',';
        list += figures_json(sale->figures);
    }
    list += ']';
    std::size_t viewers = 0;
    {
        const std::lock_guard lock(board_->mutex);
        viewers = board_->bells.size();
    }
    JsonObject body;
    body.field("at", looked_at_)
        .field("started_at", started_at_)
        .field("complete", is_complete)
        .field("viewers", static_cast<std::int64_t>(viewers))
        .field("sales_known", static_cast<std::int64_t>(sales_.size()))
        .json("process", process_)
        .json("sales", list);
    return event("figures", body.take());
}

Task<void> ConsoleFeed::tick() {
    auto sales = co_await look_at_sales();
    const TimePoint now = parts_.clock.now();
    const TimePoint before = looked_at_.value_or(now);
    ++tick_;
    everything_.reset();
    openings_.clear();
    bool has_news = !looked_at_;
    for (auto& [no, figures] : sales) {
        Tracked& sale = sales_[no];
        const bool is_new = sale.figures.terms == nullptr;
        if (!is_new && sale.figures.same_as(figures)) continue;
        has_news = true;
        keep_history(sale, std::move(figures), now, before);
    }
    forget_old_histories();
    const ProcessFigures process = look_at_process();
    keep_history(process, now, before);
    std::string process_now = figures_json(process);
    has_news = has_news || process_now != process_;
    process_ = std::move(process_now);
    looked_at_ = now;
    quiet_ticks_ = has_news ? 0 : quiet_ticks_ + 1;
    if (has_news || quiet_ticks_ % kQuietTicksMax == 0) put_up(figures_event(false));
}

void ConsoleFeed::put_up(std::string text) {
    std::vector<std::shared_ptr<Bell>> bells;
    {
        const std::lock_guard lock(board_->mutex);
        ++board_->ticks;
        board_->latest = std::make_shared<const std::string>(std::move(text));
        bells = board_->bells;
    }
    for (auto& bell : bells) {
        boost::asio::post(bell->core, [bell] { bell->timer.cancel(); });
    }
}

Task<ConsoleText> ConsoleFeed::everything() {
    auto make = [this] {
        if (!looked_at_) process_ = figures_json(look_at_process());
        if (!everything_) {
            everything_ = std::make_shared<const std::string>(figures_event(true));
        }
        return everything_;
    };
    co_return co_await call_on(parts_.cores.at(0), make);
}

Task<ConsoleText> ConsoleFeed::opening(std::string sale) {
    auto make = [this, &sale] {
        ConsoleText& text = openings_[sale];
        if (text) return text;
        if (!looked_at_) process_ = figures_json(look_at_process());
        std::string all = everything_ ? *everything_ : figures_event(true);
        all += event("process_history", process_history_.json());
        const auto at = std::ranges::find_if(sales_, [&sale](const auto& tracked) {
            return tracked.second.figures.terms->id == sale;
        });
        if (at != sales_.end() && at->second.history) {
            std::string body = "{\"sale\":" + quoted(sale) + ",\"history\":";
            body.append(at->second.history->json()).append("}");
            all += event("sale_history", body);
        }
        text = std::make_shared<const std::string>(std::move(all));
        return text;
    };
    co_return co_await call_on(parts_.cores.at(0), make);
}

std::unique_ptr<ConsoleView> ConsoleFeed::view(std::string sale, const Executor& core) {
    auto bell = std::make_shared<Bell>(core);
    {
        const std::lock_guard lock(board_->mutex);
        if (board_->bells.size() >= kViewersMax) return nullptr;
        board_->bells.push_back(bell);
    }
    return std::make_unique<ConsoleView>(*this, std::move(sale), std::move(bell));
}

ConsoleView::ConsoleView(ConsoleFeed& feed, std::string sale,
                         std::shared_ptr<ConsoleFeed::Bell> bell)
    : feed_(feed), board_(feed.board_), sale_(std::move(sale)), bell_(std::move(bell)) {}

ConsoleView::~ConsoleView() {
    const std::lock_guard lock(board_->mutex);
    std::erase(board_->bells, bell_);
}

Task<ConsoleText> ConsoleView::next() {
    while (!is_stopped_) {
        ConsoleText latest;
        std::uint64_t ticks = 0;
        {
            const std::lock_guard lock(board_->mutex);
            latest = board_->latest;
            ticks = board_->ticks;
        }
        if (!std::exchange(has_begun_, true)) {
            seen_ = ticks;
            co_return co_await feed_.opening(sale_);
        }
        if (ticks == seen_ + 1) {
            seen_ = ticks;
            co_return latest;
        }
        if (ticks > seen_) {
            seen_ = ticks;
            co_return co_await feed_.everything();
        }
        // At every tick the bell ends the wait; the time only bounds it.
        boost::system::error_code ignored;
        bell_->timer.expires_after(ConsoleFeed::kTick);
        co_await bell_->timer.async_wait(boost::asio::redirect_error(use_task, ignored));
    }
    co_return nullptr;
}

void ConsoleView::stop() {
    is_stopped_ = true;
    bell_->timer.cancel();
}

} // namespace doorbuster
