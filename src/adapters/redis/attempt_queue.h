// AttemptQueue: one core's attempts to buy, on their way to Redis in batches, one script call a
// batch and sale. What arrives while the calls under way are being answered shares the next one.
//
// Belongs to one core: everything is called there. It outlives the core's loop, or at least nothing
// of it is awaited when it goes away. An attempt is answered once it was decided, or by its
// deadline; what Redis may have decided without our hearing of it is asked again, which changes
// nothing (design.md section 4, rule 8).
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/commands.h"
#include "adapters/redis/inventory_scripts.h"
#include "adapters/redis/inventory_wire.h"
#include "adapters/redis/sale_keys.h"
#include "adapters/redis/signal_board.h"
#include "runtime/clock.h"
#include "runtime/resume.h"

namespace doorbuster::redis {

struct AttemptAnswer {
    enum class How : std::uint8_t {
        decided,
        cold,     // not decided: the sale is cold
        crowded,  // not decided: too much waits for Redis
        not_sent, // not decided: Redis is away
        unknown,  // it may have been decided
    };
    How how = How::not_sent;
    SaleStatus status = {};                     // of decided
    Decision decision = Decision::pending_full; // of decided
    std::string detail = {};                    // of decided: what stands behind the decision
};

// What happened so far, for metrics and tests.
struct AttemptCounts {
    std::uint64_t attempts = 0; // that were sent, each time
    std::uint64_t calls = 0;
    std::uint64_t asked_again = 0;
};

class AttemptQueue {
public:
    struct Parts {
        Executor executor; // the core's
        Commands& commands;
        const Clock& clock;
        const InventoryScripts& scripts;
        SignalBoard& board;
        std::function<void(const std::string&)> tell; // for operators: what Redis does not like
    };
    struct Limits {
        std::string prefix;          // of the keys' names
        std::size_t waiting_max = 0; // attempts, see InventoryOptions
        std::size_t batch_max = 0;
        std::size_t calls_max = 0;
        std::size_t pending_max = 0;
    };
    AttemptQueue(Parts parts, Limits limits);
    AttemptQueue(const AttemptQueue&) = delete;
    AttemptQueue& operator=(const AttemptQueue&) = delete;

    // `attempt` as inventory_wire.h makes it.
    Task<AttemptAnswer> ask(SaleNo sale, std::string attempt);
    // The order is not pending any more: Redis hears of it soon, or never.
    void settle(SaleNo sale, const OrderId& order);
    [[nodiscard]] const AttemptCounts& counts() const { return counts_; }

private:
    struct Waiting {
        std::string attempt;
        std::int64_t deadline_ns = 0; // by the clock's steady time
        bool may_be_decided = false;  // it was sent, and no answer came
        Resume<AttemptAnswer> resume;
    };
    // One sale's.
    struct Lane {
        Lane(std::string_view prefix, SaleNo no) : sale(no), keys(prefix, no) {}

        SaleNo sale;
        SaleKeys keys;
        std::deque<Waiting> waiting;
        std::vector<OrderId> seen; // to be settled
        std::size_t calls = 0;     // under way
        bool is_starting = false;  // a call that has not taken its batch yet
        bool settles_soon = false; // a timer runs
        bool settles_now = false;  // do not wait for an attempt to ride with
    };
    struct Batch {
        std::vector<Waiting> attempts;
        std::vector<OrderId> seen;
        SignalBoard::Shows asked = 0;
    };

    [[nodiscard]] Lane& lane_of(SaleNo sale);
    static bool has_work(const Lane& lane);
    void start(Lane& lane);
    Task<void> serve(Lane& lane);
    [[nodiscard]] Batch take(Lane& lane);
    Task<Result<Reply>> send(const Lane& lane, const Batch& batch);
    // Answers whom it can. True: some will be asked again, in a moment.
    bool conclude(Lane& lane, Batch batch, const Result<Reply>& reply);
    void answer(std::vector<Waiting> attempts, const SaleStatus& status, const Reply& reply);
    // Those who may have been decided, in time. True: there are some.
    bool ask_again(Lane& lane, std::vector<Waiting> attempts, bool may_be_decided);
    void settle_soon(Lane& lane, Duration wait);
    Task<void> settle_later(Lane& lane, Duration wait);
    void tell(const std::string& text);

    Parts parts_;
    Limits limits_;
    std::string channel_;
    std::string pending_max_;
    boost::unordered_flat_map<SaleNo, std::unique_ptr<Lane>, std::hash<SaleNo>> lanes_;
    std::size_t waiting_ = 0; // attempts of all sales, until they are answered
    std::string told_;        // an operator hears of a trouble once
    AttemptCounts counts_;
};

} // namespace doorbuster::redis
