// Lane: one connection and the attempts that go over it, one after the other. Totals: what the
// lanes of one thread have counted. Both belong to one thread; only the atomics are read by others.
#pragma once

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/load/answer_check.h"
#include "app/load/answer_reader.h"
#include "app/load/connection.h"
#include "app/load/request_bytes.h"
#include "app/load/run.h"
#include "base/histogram.h"
#include "runtime/task.h"

namespace doorbuster::load {

using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor>;

struct Totals {
    Histogram latency; // nanoseconds
    Histogram accepted_latency;
    Histogram rejected_latency;
    std::uint64_t replayed = 0;
    std::uint64_t retries = 0;
    std::array<std::uint64_t, kPurchaseOutcomes> rejected{};
    Units sold_out_quantity_min = 0;    // 0: nobody was told sold out
    std::vector<std::string> order_ids; // of accepted orders, where the options ask for them
    Clock::time_point last_answer;
    Clock::time_point last_accepted; // the epoch: none was

    // For the progress while it goes on; written by the owner only.
    std::atomic<std::uint64_t> attempts = 0;
    std::atomic<std::uint64_t> accepted = 0;
    std::atomic<std::uint64_t> errors = 0;
};

class Lane {
public:
    Lane(const Executor& executor, Run& run, Totals& totals);

    // Until no attempt is left, or the run ends.
    Task<void> work();
    // Called by the thread's watch every few milliseconds: ends what has taken too long.
    void watch(Clock::time_point now);

private:
    struct Failure {
        LoadErrorKind kind;
        bool was_sent; // the server may have got the request
        std::string text;
    };

    Task<void> open_and_wait_for_the_others();
    Task<void> wait_until(Clock::time_point time);
    Task<void> back_off();
    Task<void> carry_out();
    Task<std::optional<Failure>> exchange();
    Task<std::optional<Failure>> receive();

    [[nodiscard]] bool claim();
    [[nodiscard]] Failure failure(const Connection::Code& code, LoadErrorKind kind,
                                  bool was_sent) const;
    void give_up(const Failure& failure);
    void settle();
    void enter_order(const Verdict& verdict, Clock::duration latency);
    void enter_refusal(const Verdict& verdict, Clock::duration latency);
    void complain(LoadErrorKind kind, std::string_view what);

    Run& run_;
    Totals& totals_;
    Connection connection_;
    Timer timer_;
    RequestBytes request_;
    AnswerReader reader_;
    AnswerCheck check_;
    Answer answer_;

    Attempt attempt_;
    Asked asked_;
    Clock::time_point due_;
    Clock::time_point idle_since_;
    unsigned failures_ = 0; // in a row
    bool is_waiting_ = false;
    bool has_timed_out_ = false;
    Clock::time_point deadline_ = Clock::time_point::max(); // of what is under way
};

} // namespace doorbuster::load
