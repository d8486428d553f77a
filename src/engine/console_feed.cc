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
constexpr Duration kRecent{10'000};
constexpr std::size_t kMarksMax = 20;
// Texts of one tick. More are made anew: a viewer opens once.
constexpr std::size_t kOpeningsMax = 32;

// The stock, then every way in which a purchase may end, by the contract's names.
const auto& sale_columns() {
    static const auto columns = [] {
        std::array<std::string_view, kPurchaseOutcomes + 3> names;
        names[0] = "remaining";
        names[1] = "attempts";
        for (std::size_t i = 1; i < kPurchaseOutcomes; ++i) {
            names[i + 1] = to_string(static_cast<PurchaseOutcome>(i));
        }
        names[kPurchaseOutcomes + 1] = "stored";
        names[kPurchaseOutcomes + 2] = "paid";
        return names;
    }();
    return columns;
}
constexpr std::array kProcessColumns = {"p50"sv, "p99"sv, "p999"sv, "lag"sv, "written"sv};

std::vector<double> sale_point(const SaleFigures& sale) {
    std::vector<double> point;
    point.reserve(sale_columns().size());
    point.push_back(sale.is_cold ? ConsoleHistory::kUnknown : static_cast<double>(sale.remaining));
    point.push_back(static_cast<double>(sale.attempts()));
    for (std::size_t i = 1; i < kPurchaseOutcomes; ++i) {
        point.push_back(static_cast<double>(sale.outcomes[i]));
    }
    point.push_back(static_cast<double>(sale.stored()));
    point.push_back(static_cast<double>(sale.orders[static_cast<std::size_t>(OrderStatus::paid)]));
    return point;
}

void add_counts(const SaleView& view, SaleFigures& sale) {
    for (std::size_t k = 0; k < kPurchaseOutcomes; ++k) {
        sale.outcomes[k] += view.counts.of(static_cast<PurchaseOutcome>(k));
    }
    sale.admitted += view.steps.admitted();
    sale.reserved += view.steps.reserved();
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
        // poll: somebody may come to look on.
        for (int i = 0; i < kIdleTicks && (i == 0 || viewers() == 0); ++i) {
            co_await sleep_for(parts_.clock, kTick);
        }
    }
}

ConsoleFeed::Slice ConsoleFeed::slice_from(std::size_t from, TimePoint now) const {
    const SaleDirectory& directory = *parts_.directories[0];
    const std::size_t end = std::min(directory.size(), from + kSliceMax);
    Slice slice;
    slice.sales.reserve(end - from);
    slice.figures.resize(end - from);
    for (std::size_t i = from; i < end; ++i) {
        const SaleView& view = directory.at(i);
        SaleFigures& sale = slice.figures[i - from];
        slice.sales.push_back(view.terms->no);
        sale.terms = view.terms;
        sale.state = state_of(*view.terms, now);
        sale.remaining = std::max<Units>(view.remaining(), 0);
        sale.is_cold = !view.signals || view.signals->is_cold.load();
        sale.is_last_look =
            view.signals && view.signals->remaining_is == StockSignals::Remaining::was_seen;
        add_counts(view, sale);
    }
    const auto orders = parts_.tally.counts(slice.sales);
    for (std::size_t i = 0; i < orders.size(); ++i) slice.figures[i].orders = orders[i];
    return slice;
}

Task<bool> ConsoleFeed::look_at_sales(TimePoint now, TimePoint before) {
    bool has_moved = false;
    for (std::size_t from = 0; from < parts_.directories[0]->size(); from += kSliceMax) {
        Slice slice = slice_from(from, now);
        for (std::size_t i = 1; i < parts_.cores.size(); ++i) {
            SaleDirectory& directory = *parts_.directories[i];
            auto collect = [&slice, &directory] {
                for (std::size_t k = 0; k < slice.sales.size(); ++k) {
                    const SaleView* view = directory.find(slice.sales[k]);
                    if (view != nullptr) add_counts(*view, slice.figures[k]);
                }
            };
            co_await call_on(parts_.cores.at(i), collect);
        }
        for (std::size_t k = 0; k < slice.sales.size(); ++k) {
            has_moved |= take(slice.sales[k], std::move(slice.figures[k]), now, before);
        }
        forget_old_histories();
        co_await boost::asio::post(use_task); // purchases have a turn
    }
    co_return has_moved;
}

bool ConsoleFeed::take(SaleNo no, SaleFigures figures, TimePoint now, TimePoint before) {
    Tracked& sale = sales_[no];
    const bool is_new = sale.figures.terms == nullptr;
    if (!is_new && sale.figures.same_as(figures)) return false;
    by_move_.erase({sale.moved_at_tick, no});
    with_history_.erase({sale.moved_at_tick, no});
    keep_history(sale, std::move(figures), now, before);
    sale.moved_at_tick = tick_;
    by_move_.emplace(tick_, no);
    if (sale.history) with_history_.emplace(tick_, no);
    untold_.emplace(sale.told_at_tick, no);
    return true;
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
    process.is_direct = parts_.is_direct;
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
    // A yes is stored by then.
    if (process.is_direct) process.written_orders = process.yes.total();
    process.last_tick = process.all;
    if (!marks_.empty()) {
        process.last_tick = process.all.since(marks_.back().all);
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
        if (is_first) sale.history.emplace(sale_columns());
        if (is_first && sale.figures.terms) sale.history->add(before, sale_point(sale.figures));
        sale.history->stood_still_until(before);
        sale.history->add(now, sale_point(figures));
    }
    sale.figures = std::move(figures);
}

void ConsoleFeed::keep_history(const ProcessFigures& process, TimePoint now, TimePoint before) {
    const LatencyCounts& tick = process.last_tick;
    const bool is_idle = tick.total() == 0 && process.lag_records == 0;
    marks_.push_back({now, process.yes, process.all});
    while (marks_.size() > kMarksMax || marks_.front().at + kRecent <= now) marks_.pop_front();
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
    while (with_history_.size() > kSalesMax) {
        sales_.at(with_history_.begin()->second).history.reset();
        with_history_.erase(with_history_.begin());
    }
}

std::set<SaleNo> ConsoleFeed::watched() const {
    std::set<SaleNo> sales;
    const std::lock_guard lock(board_->mutex);
    for (const auto& bell : board_->bells) {
        const SaleView* view = parts_.directories[0]->find(bell->sale);
        if (view != nullptr) sales.insert(view->terms->no);
    }
    return sales;
}

std::vector<SaleNo> ConsoleFeed::take_news() {
    std::vector<SaleNo> news;
    const auto tell = [this, &news](SaleNo no) {
        Tracked& sale = sales_.at(no);
        if (untold_.erase({sale.told_at_tick, no}) == 0) return;
        sale.told_at_tick = tick_;
        news.push_back(no);
    };
    for (const SaleNo no : watched()) {
        if (sales_.contains(no)) tell(no);
    }
    while (news.size() < kSalesMax && !untold_.empty()) tell(untold_.begin()->second);
    return news;
}

std::vector<SaleNo> ConsoleFeed::most_wanted(std::optional<SaleNo> sale) const {
    std::set<SaleNo> wanted = watched();
    if (sale) wanted.insert(*sale);
    std::erase_if(wanted, [this](SaleNo no) { return !sales_.contains(no); });
    std::size_t latest = 0;
    for (auto at = by_move_.rbegin(); at != by_move_.rend() && latest < kSalesMax; ++at, ++latest) {
        wanted.insert(at->second);
    }
    return {wanted.begin(), wanted.end()};
}

std::string ConsoleFeed::figures_event(const std::vector<SaleNo>& shown, bool is_complete) const {
    std::string list = "[";
    for (const SaleNo no : shown) {
        if (list.size() > 1) list += ',';
        list += figures_json(sales_.at(no).figures);
    }
    list += ']';
    JsonObject body;
    body.field("at", looked_at_)
        .field("started_at", started_at_)
        .field("complete", is_complete)
        .field("viewers", static_cast<std::int64_t>(viewers()))
        .field("sales_known", static_cast<std::int64_t>(sales_.size()))
        .json("process", process_)
        .json("sales", list);
    return event("figures", body.take());
}

std::size_t ConsoleFeed::viewers() const {
    const std::lock_guard lock(board_->mutex);
    return board_->bells.size();
}

Task<void> ConsoleFeed::tick() {
    const TimePoint now = parts_.clock.now();
    const TimePoint before = looked_at_.value_or(now);
    ++tick_;
    const bool has_moved = co_await look_at_sales(now, before);
    // From here on nobody else has a turn: what is made from now on has all of this tick.
    const ProcessFigures process = look_at_process();
    keep_history(process, now, before);
    std::string process_now = figures_json(process);
    const bool has_news = !looked_at_ || has_moved || process_now != process_;
    process_ = std::move(process_now);
    looked_at_ = now;
    everything_.reset();
    openings_.clear();
    if (viewers() == 0) {
        untold_.clear(); // who comes is told of them in the opening
        co_return;
    }
    quiet_ticks_ = has_news ? 0 : quiet_ticks_ + 1;
    const bool is_due = has_news || !untold_.empty() || quiet_ticks_ % kQuietTicksMax == 0;
    if (is_due) put_up(figures_event(take_news(), false));
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
        const Executor core = bell->core;
        boost::asio::post(core, [bell = std::move(bell)] { bell->timer.cancel(); });
    }
}

Task<ConsoleText> ConsoleFeed::everything() {
    auto make = [this] {
        if (!looked_at_) process_ = figures_json(look_at_process());
        if (!everything_) {
            everything_ = std::make_shared<const std::string>(figures_event(most_wanted({}), true));
        }
        return everything_;
    };
    co_return co_await call_on(parts_.cores.at(0), make);
}

Task<ConsoleText> ConsoleFeed::opening(std::string sale) {
    auto make = [this, &sale]() -> ConsoleText {
        if (const auto made = openings_.find(sale); made != openings_.end()) return made->second;
        if (!looked_at_) process_ = figures_json(look_at_process());
        const SaleView* view = parts_.directories[0]->find(sale);
        std::optional<SaleNo> no;
        if (view != nullptr) no = view->terms->no;
        std::string all = figures_event(most_wanted(no), true);
        all += event("process_history", process_history_.json());
        const auto at = no ? sales_.find(*no) : sales_.end();
        if (at != sales_.end() && at->second.history) {
            std::string body = "{\"sale\":" + quoted(sale) + ",\"history\":";
            body.append(at->second.history->json()).append("}");
            all += event("sale_history", body);
        }
        auto text = std::make_shared<const std::string>(std::move(all));
        if (openings_.size() < kOpeningsMax) openings_[sale] = text;
        return text;
    };
    co_return co_await call_on(parts_.cores.at(0), make);
}

std::unique_ptr<ConsoleView> ConsoleFeed::view(std::string sale, const Executor& core) {
    auto bell = std::make_shared<Bell>(core, std::move(sale));
    {
        const std::lock_guard lock(board_->mutex);
        if (board_->bells.size() >= kViewersMax) return nullptr;
        board_->bells.push_back(bell);
    }
    return std::make_unique<ConsoleView>(*this, std::move(bell));
}

ConsoleView::ConsoleView(ConsoleFeed& feed, std::shared_ptr<ConsoleFeed::Bell> bell)
    : feed_(feed), board_(feed.board_), bell_(std::move(bell)) {}

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
            co_return co_await feed_.opening(bell_->sale);
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
