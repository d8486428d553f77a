// One incarnation of a process in the simulation: its core, its time, and what is going to happen
// in it. While it is paused nothing of that happens; when it dies, nothing of it ever does.
#pragma once

#include <boost/asio/post.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "runtime/blocking_pool.h"
#include "runtime/core.h"
#include "runtime/virtual_time.h"

namespace doorbuster::model {

class Life final : public std::enable_shared_from_this<Life>,
                   public Clock,
                   public Alarms,
                   public BlockingPool::Runner {
public:
    using Wait = std::chrono::nanoseconds;

    explicit Life(fixture::VirtualTime& time) : time_(time) {}

    // Done in this process, when so much time has passed and it is not paused.
    void in(Wait wait, std::function<void()> what) {
        const std::uint64_t number = next_++;
        events_.emplace(number, std::move(what));
        if (is_over_) return; // until drop()
        time_.in(wait, [self = shared_from_this(), number] { self->due(number); });
    }
    void every(Wait wait, const std::function<void()>& what) {
        in(wait, [this, wait, what] {
            what();
            every(wait, what);
        });
    }
    // Lets the core do what it can.
    void turn() { core().context().poll(); }
    [[nodiscard]] Core& core() { return cores_.at(0); }
    [[nodiscard]] Cores& cores() { return cores_; }

    void pause() { is_paused_ = true; }
    void go_on() {
        is_paused_ = false;
        for (const std::uint64_t number : std::exchange(late_, {})) due(number);
    }
    [[nodiscard]] bool is_paused() const { return is_paused_; }

    // It dies: from here on its clock says that every deadline is over, and what was going to
    // happen does not.
    void end() { is_over_ = true; }
    [[nodiscard]] bool is_over() const { return is_over_; }
    // What waits in this process for somebody outside, who has it weakly: it goes with the process.
    void keep(std::shared_ptr<void> waiting) { kept_.insert(std::move(waiting)); }
    void forget(const std::shared_ptr<void>& waiting) { kept_.erase(waiting); }
    // False: there was nothing to drop.
    bool drop() {
        const auto events = std::exchange(events_, {});
        const auto kept = std::exchange(kept_, {});
        return !events.empty() || !kept.empty();
    }

    [[nodiscard]] TimePoint now() const override { return time_.now(); }
    [[nodiscard]] std::int64_t steady_ns() const override {
        constexpr std::int64_t kDay = 86'400'000'000'000;
        return time_.steady_ns() + (is_over_ ? kDay : 0);
    }
    [[nodiscard]] Alarms* alarms() const override { return const_cast<Life*>(this); }
    void wake_in(Duration time, Resume<bool> wake) override {
        in(time, [wake = std::make_shared<Resume<bool>>(std::move(wake))] { (*wake)(true); });
    }
    // Blocking calls: they take a moment.
    void run(std::function<void()> call) override { in(call_takes, std::move(call)); }

    Wait call_takes{1'000'000};

private:
    void due(std::uint64_t number) {
        if (is_paused_) {
            late_.push_back(number);
            return;
        }
        auto event = events_.extract(number);
        if (event.empty()) return; // it died
        boost::asio::post(core().executor(), std::move(event.mapped()));
        turn();
    }

    fixture::VirtualTime& time_;
    Cores cores_{1}; // never started
    std::map<std::uint64_t, std::function<void()>> events_;
    std::set<std::shared_ptr<void>> kept_;
    std::vector<std::uint64_t> late_;
    std::uint64_t next_ = 0;
    bool is_paused_ = false;
    bool is_over_ = false;
};

} // namespace doorbuster::model
