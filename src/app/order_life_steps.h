// For the property test of orders' lives: the steps that it is made of, and what they ask of an
// engine.
#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <ostream>
#include <rapidcheck.h>
#include <string>

#include "app/engine_fixture.h"

namespace doorbuster::fixture {

// One step. What a field means depends on the step.
struct LifeStep {
    enum class Kind {
        buy,
        pay,
        cancel,
        pass_time,
        restock,
        lower,
        pause,
        resume,
        set_limit,
        close,
        rebuild,
        audit,
        settle,
        restart,
        crash,
    };
    Kind kind = Kind::buy;
    bool waits = true; // else it is still under way while the next steps begin
    int sale = 0;
    int user = 0;
    int key = 0; // 0: none
    Units units = 1;
    int pick = 0; // which order, which payment
    int ms = 0;
};

inline std::ostream& operator<<(std::ostream& out, const LifeStep& s) {
    static constexpr const char* kNames[] = {"buy",     "pay",   "cancel", "pass time", "restock",
                                             "lower",   "pause", "resume", "limit",     "close",
                                             "rebuild", "audit", "settle", "restart",   "crash"};
    return out << "{" << kNames[static_cast<int>(s.kind)] << (s.waits ? "" : " (does not wait)")
               << ", sale " << s.sale << ", user " << s.user << ", key " << s.key << ", " << s.units
               << " units, pick " << s.pick << ", " << s.ms << " ms}\n";
}

inline rc::Gen<LifeStep> any_step() {
    using Kind = LifeStep::Kind;
    const auto kind = rc::gen::weightedElement<Kind>({{30, Kind::buy},
                                                      {12, Kind::pay},
                                                      {8, Kind::cancel},
                                                      {10, Kind::pass_time},
                                                      {4, Kind::restock},
                                                      {5, Kind::lower},
                                                      {2, Kind::pause},
                                                      {3, Kind::resume},
                                                      {2, Kind::set_limit},
                                                      {1, Kind::close},
                                                      {1, Kind::rebuild},
                                                      {3, Kind::audit},
                                                      {3, Kind::settle},
                                                      {1, Kind::restart},
                                                      {3, Kind::crash}});
    return rc::gen::build<LifeStep>(
        rc::gen::set(&LifeStep::kind, kind),
        rc::gen::set(&LifeStep::waits, rc::gen::weightedElement<bool>({{3, true}, {2, false}})),
        rc::gen::set(&LifeStep::sale, rc::gen::weightedElement<int>({{4, 0}, {1, 1}})),
        rc::gen::set(&LifeStep::user, rc::gen::inRange(0, 4)),
        rc::gen::set(&LifeStep::key, rc::gen::inRange(0, 4)),
        rc::gen::set(&LifeStep::units, rc::gen::inRange<Units>(1, 4)),
        rc::gen::set(&LifeStep::pick, rc::gen::inRange(0, 60)),
        rc::gen::set(&LifeStep::ms,
                     rc::gen::element(0, 1, 500, 999, 1'000, 1'999, 2'000, 2'001, 5'000)));
}

// Tasks that own their texts.
inline Task<Step<Reservation>> buy(Engine& engine, std::size_t at, std::string sale_id,
                                   std::string user, std::string key, Units units) {
    SaleView* sale = engine.directories[at]->find(sale_id);
    PurchaseRequest request;
    request.sale = sale->terms->no;
    request.user = user;
    request.user_print = engine.prints.of(user);
    request.key = key;
    request.key_print = engine.prints.of(request.user_print, key);
    request.quantity = units;
    RateSubject subject;
    subject.user = request.user_print;
    co_return co_await engine.purchases[at]->purchase(*sale, request, subject);
}
inline Task<Step<SaleTerms>> change_stock(Engine& engine, std::string sale, Units add,
                                          std::optional<std::string> key, std::string who) {
    co_return co_await engine.sales->change_stock(sale, add, key, who);
}
inline Task<Result<SaleTerms>> edit(Engine& engine, std::string sale, SaleEdit edit,
                                    std::string who) {
    co_return co_await engine.sales->edit(sale, edit, who);
}
inline Task<Result<SaleTerms>> close(Engine& engine, std::string sale, std::string who) {
    co_return co_await engine.sales->close(sale, who);
}

// What somebody asked for, and the answer that is on its way.
struct Flight {
    LifeStep step;
    std::string who; // its name: the journal's "who" for an operator
    std::string user, key, ref;
    OrderId order;
    std::future<Step<Reservation>> bought;
    std::future<Result<Lifecycle::Change>> changed;
    std::future<Step<SaleTerms>> restocked;
    std::future<Result<SaleTerms>> edited;
    std::future<Result<std::size_t>> rebuilt;

    // What it adds to the stock, if that is what it does.
    [[nodiscard]] Units added() const {
        return step.kind == LifeStep::Kind::restock ? step.units : -step.units;
    }
    [[nodiscard]] bool is_answered() const {
        const auto is_ready = [](const auto& f) {
            return f.valid() && f.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
        };
        return is_ready(bought) || is_ready(changed) || is_ready(restocked) || is_ready(edited) ||
               is_ready(rebuilt);
    }
    void wait() const {
        const auto wait_for = [](const auto& f) {
            if (f.valid()) static_cast<void>(f.wait_for(fixture::kPatience));
        };
        wait_for(bought);
        wait_for(changed);
        wait_for(restocked);
        wait_for(edited);
        wait_for(rebuilt);
    }
};

} // namespace doorbuster::fixture
