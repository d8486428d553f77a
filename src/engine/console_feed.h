// ConsoleFeed: what all open consoles show. Twice a second it adds the cores' figures up, once,
// and writes one text that every viewer sends on: a hundred consoles cost one look at the figures
// and a hundred writes. It also keeps how the figures went, so that a console that opens late shows
// the whole sale; while nobody looks on, every two seconds.
//
// One per process; its figures are core 0's. Viewers live on their own cores.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/console_figures.h"
#include "engine/console_history.h"
#include "engine/order_tally.h"
#include "engine/order_writer.h"
#include "engine/purchase_service.h"
#include "engine/readiness.h"
#include "engine/sale_directory.h"
#include "ports/order_log.h"
#include "ports/order_store.h"
#include "runtime/clock.h"
#include "runtime/core.h"
#include "runtime/task.h"

namespace doorbuster {

// Complete server-sent events, shared by all who send them.
using ConsoleText = std::shared_ptr<const std::string>;

class ConsoleView;

class ConsoleFeed {
public:
    static constexpr Duration kTick{500};
    // Consoles open at once. Each costs a short write a tick; more than a company's operators have.
    static constexpr std::size_t kViewersMax = 256;
    // Ticks from one look to the next while no console is open: the histories go on.
    static constexpr int kIdleTicks = 4;
    // Sales in one text, and with a history: those that moved last. 200 histories of 17 figures and
    // ConsoleHistory's 1,262 points take 45 MB at most. The sales that are being looked at are told
    // of beyond that.
    static constexpr std::size_t kSalesMax = 200;
    // Sales that a core looks at in one go, some 100 µs; then its purchases have a turn.
    static constexpr std::size_t kSliceMax = 256;

    struct Parts { // all outlive the feed
        Cores& cores;
        const Clock& clock;
        std::vector<std::unique_ptr<SaleDirectory>>& directories; // by core
        std::vector<std::unique_ptr<PurchaseService>>& purchases; // by core
        const OrderLog& log;
        const OrderWriter* writer = nullptr; // null: other processes write
        const OrderStore& store;
        const OrderTally& tally;
        const Readiness& readiness;
        bool is_direct = false; // no log and no writer: a purchase writes its order itself
    };
    explicit ConsoleFeed(Parts parts);
    ConsoleFeed(const ConsoleFeed&) = delete;
    ConsoleFeed& operator=(const ConsoleFeed&) = delete;

    // On core 0, as long as it runs.
    Task<void> run();
    // On core 0: one look at the figures, as run() does it. One at a time.
    Task<void> tick();

    // On `core`. Null: kViewersMax are open.
    [[nodiscard]] std::unique_ptr<ConsoleView> view(std::string sale, const Executor& core);

    // Any core. What a viewer needs before the first tick: the figures of `sale` and of those that
    // moved last, the process's history and that of `sale`, if it has one.
    Task<ConsoleText> opening(std::string sale);
    // Any core. Catches up who has missed a tick: the figures of the sales that are looked at, and
    // of those that moved last.
    Task<ConsoleText> everything();

private:
    friend class ConsoleView;
    using Steady = std::chrono::steady_clock;
    using Timer =
        boost::asio::basic_waitable_timer<Steady, boost::asio::wait_traits<Steady>, Executor>;

    // A viewer's timer, on its core. Shared with the wake-ups that are on their way there; whoever
    // comes last to let go of it does so there.
    struct Bell {
        Bell(const Executor& core, std::string sale)
            : core(core), timer(core), sale(std::move(sale)) {}
        const Executor core;
        Timer timer;
        const std::string sale; // the one that is looked at, or none
    };
    // Where ticks are put up. Shared with the views: they may be destroyed with their cores, after
    // the feed.
    struct Board {
        std::mutex mutex; // guards all of it, held for a look or a copy of a pointer
        std::uint64_t ticks = 0;
        ConsoleText latest;
        std::vector<std::shared_ptr<Bell>> bells;
    };
    struct Tracked {
        SaleFigures figures;
        std::uint64_t moved_at_tick = 0;
        std::uint64_t told_at_tick = 0;
        std::optional<ConsoleHistory> history; // once it has moved
    };
    // Sales in the order of a tick, and of two with the same one the newer sale is behind.
    using ByTick = std::set<std::pair<std::uint64_t, SaleNo>>;
    struct LatencyMark {
        TimePoint at;
        LatencyCounts yes;
        LatencyCounts all;
    };
    // Of the sales from one on, at most kSliceMax, as core 0 sees them.
    struct Slice {
        std::vector<SaleNo> sales;
        std::vector<SaleFigures> figures;
    };

    // `before`: when it was looked at last; what moves now has not moved until then. True: some
    // sale moved.
    Task<bool> look_at_sales(TimePoint now, TimePoint before);
    [[nodiscard]] Slice slice_from(std::size_t from, TimePoint now) const;
    bool take(SaleNo no, SaleFigures figures, TimePoint now, TimePoint before);
    void keep_history(Tracked& sale, SaleFigures figures, TimePoint now, TimePoint before);
    [[nodiscard]] ProcessFigures look_at_process();
    void keep_history(const ProcessFigures& process, TimePoint now, TimePoint before);
    void forget_old_histories();
    [[nodiscard]] std::set<SaleNo> watched() const;
    // Those that were not told of since they moved: the watched ones, then who waits longest.
    [[nodiscard]] std::vector<SaleNo> take_news();
    [[nodiscard]] std::vector<SaleNo> most_wanted(std::optional<SaleNo> sale) const;
    [[nodiscard]] std::string figures_event(const std::vector<SaleNo>& shown,
                                            bool is_complete) const;
    [[nodiscard]] std::size_t viewers() const;
    void put_up(std::string text);

    Parts parts_;
    std::shared_ptr<Board> board_ = std::make_shared<Board>();
    // Core 0's from here on.
    TimePoint started_at_;
    std::uint64_t tick_ = 0;
    std::uint64_t quiet_ticks_ = 0; // without news
    bool was_idle_ = true;          // at the last look
    std::optional<TimePoint> looked_at_;
    std::map<SaleNo, Tracked> sales_;
    ByTick by_move_;      // all of them
    ByTick with_history_; // by their moves, too
    ByTick untold_;       // moved since they were told of; by when that was
    std::string process_; // JSON
    ConsoleHistory process_history_;
    std::deque<LatencyMark> marks_; // of the last ticks, the oldest first
    // Made at most once a tick, whoever asks.
    ConsoleText everything_;
    std::map<std::string, ConsoleText> openings_;
};

// One open console. Belongs to a core.
class ConsoleView {
public:
    ConsoleView(ConsoleFeed& feed, std::shared_ptr<ConsoleFeed::Bell> bell);
    ~ConsoleView();
    ConsoleView(const ConsoleView&) = delete;
    ConsoleView& operator=(const ConsoleView&) = delete;

    // The next text: first the opening, then every tick, or everything when one was missed, so that
    // a slow viewer is behind by one text at most. Null: the view was stopped.
    Task<ConsoleText> next();
    // next() returns null now and from now on.
    void stop();

private:
    ConsoleFeed& feed_;
    std::shared_ptr<ConsoleFeed::Board> board_; // see there
    std::shared_ptr<ConsoleFeed::Bell> bell_;
    std::uint64_t seen_ = 0;
    bool has_begun_ = false;
    bool is_stopped_ = false;
};

} // namespace doorbuster
