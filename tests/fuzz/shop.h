// A whole server without its sockets, disks and clock, wired as app/assembly.cc does it. The
// threads, the log and the store live as long as the process; everything that decides is built anew
// for each input, so that an input always meets the same shop. The fuzzer's thread is its one core.
#pragma once

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/http/api.h"
#include "adapters/memory/inventory.h"
#include "adapters/memory/rate_limiter.h"
#include "engine/audit.h"
#include "engine/lifecycle.h"
#include "engine/order_service.h"
#include "engine/order_writer.h"
#include "engine/rebuild.h"
#include "engine/sale_service.h"
#include "ports/fake_order_log.h"
#include "ports/fake_order_store.h"
#include "require.h"

namespace doorbuster::fuzz {

using fixture::FakeOrderLog;
using fixture::FakeOrderStore;

inline constexpr const char* kAdminToken = "fuzz-admin";
inline constexpr std::chrono::seconds kStoreWaitMax{
    60}; // a store in memory that needs longer hangs

// What outlives an input.
struct Backends {
    Backends() {
        OrderWriter::Options options;
        options.on_fatal = [](const Error& error) {
            require(false, "the order writer goes on", error.message());
        };
        writer = std::make_unique<OrderWriter>(log, store, wall_clock, std::move(options));
        require(store.bind_log(log.id()).has_value(), "the store takes the log");
        log.forget_what_is_stored(); // millions of inputs
        writer->start(LogPosition(1));
    }
    // Leaves nothing of the last input behind.
    void clear() {
        heal_log();
        store.clear(); // the writer is idle: the last input closed its books
    }

    void heal_log() {
        log.set_room(UINT64_MAX);
        log.set_durability(FakeOrderLog::Durability::at_once);
        log.make_durable();
    }

    SystemClock wall_clock; // for the writer's own statistics
    FakeOrderLog log;
    FakeOrderStore store;
    std::unique_ptr<OrderWriter> writer;
    BlockingPool blocking{1, 1000};
    Cores cores{1}; // never started: run() below is its thread
};

// Bits of an input's options.
enum ShopOption : unsigned {
    kWithLimits = 1,
    kLogIsNearlyFull = 2,
    kLogIsStuck = 4,
    kWithAdminToken = 8,
    kInSmallPieces = 16, // for the driver
    kTimePasses = 32,    // for the driver
    kLimitsSay503 = 64,
    kWithTokens = 128,
};

// The token is the name.
class TrustingVerifier final : public TokenVerifier {
public:
    Result<std::string> verify(std::string_view token, TimePoint) override {
        if (token == kAdminToken) return fail(Errc::invalid, "not a buyer's token");
        return std::string(token);
    }
};

class Shop {
public:
    Shop(Backends& backends, unsigned options)
        : backends_(backends),
          inventory_(backends.cores, clock_),
          limiter_(limits_of(options), clock_),
          rebuild_({backends.cores, clock_, backends.blocking, backends.store, backends.log,
                    *backends.writer, inventory_, tally_, fingerprints_, directories_}),
          sales_({clock_, rebuild_, backends.store, backends.log, *backends.writer, inventory_,
                  backends.blocking, 1}),
          lifecycle_(backends.cores, backends.store, inventory_, clock_, living()),
          orders_(backends.store, backends.log, *backends.writer, lifecycle_, backends.blocking),
          auditor_(backends.cores, backends.store, backends.log, books_, inventory_,
                   backends.blocking),
          purchases_({clock_, inventory_, backends.log, limiter_}, OrderIdSource(0, 1), 100) {
        backends_.clear();
        backends_.store.set_clock(&clock_);
        directories_.push_back(std::make_unique<SaleDirectory>());
        http::Identity::Options who;
        if ((options & kWithAdminToken) != 0) who.admin_token = kAdminToken;
        if ((options & kWithTokens) != 0) who.verifier = std::make_unique<TrustingVerifier>();
        http::Api::Options answers;
        answers.openapi = "openapi: 3.1.0\n";
        if ((options & kLimitsSay503) != 0) answers.rate_limited_status = 503;
        api_.emplace(http::Api::Parts{clock_, fingerprints_, *directories_[0], purchases_, sales_,
                                      orders_, feed_, auditor_, readiness_,
                                      []() -> Task<std::string> { co_return "metrics\n"; },
                                      proxies_},
                     http::Identity(std::move(who)), answers);
        open_sales();
        lifecycle_.start();
        lifecycle_.open();
        if ((options & kLogIsNearlyFull) != 0) {
            backends_.log.set_room(2, FakeOrderLog::Room::for_all_but_barriers);
        }
        if ((options & kLogIsStuck) != 0) {
            backends_.log.set_durability(FakeOrderLog::Durability::untold);
        }
    }
    ~Shop() {
        // The lifecycle may wait for the core, which is us.
        std::atomic<bool> is_over{false};
        std::thread end([this, &is_over] {
            lifecycle_.stop();
            is_over = true;
        });
        while (!is_over) backends_.cores.at(0).context().run_one_for(std::chrono::milliseconds(1));
        end.join();
        backends_.store.set_clock(nullptr);
    }
    Shop(const Shop&) = delete;
    Shop& operator=(const Shop&) = delete;

    [[nodiscard]] http::Response answer(const http::Request& request) {
        if (auto response = api_->answer_now(request)) return std::move(*response);
        return run(api_->answer(request));
    }
    [[nodiscard]] http::Response protocol_error(const http::ParseFailure& failure) {
        return api_->protocol_error(failure);
    }
    void pass_time(Duration by) {
        clock_.advance(by);
        lifecycle_.look_again();
    }

    // Heals the log, waits until the store has everything, and lets the audit judge. Reads as
    // Auditor does, but for the hops to another thread: nothing else moves here.
    [[nodiscard]] std::vector<SaleAudit> close_the_books() {
        backends_.heal_log();
        const LogPosition last = backends_.log.last_enqueued(kOnlyPartition);
        if (last.get() > 0) {
            require(backends_.writer->wait_for(last, kStoreWaitMax).has_value(),
                    "the writer keeps up");
        }
        // What was given back is for sale again within a second.
        const auto until = std::chrono::steady_clock::now() + kStoreWaitMax;
        while (!backends_.store.pending_give_backs(std::nullopt, 1)->empty()) {
            require(std::chrono::steady_clock::now() < until, "what is given back is released");
            pass_time(std::chrono::seconds(1));
            backends_.cores.at(0).context().run_one_for(std::chrono::milliseconds(1));
        }
        const auto books = backends_.store.books({});
        require(books.has_value() && books->next.at(kOnlyPartition) == last.next(),
                "the store is at the log's end");
        std::map<SaleNo, InventoryCount> inventory;
        for (const SaleBooks& sale : books->sales) {
            const SaleNo no = sale.sale.terms.no;
            const auto count = run(inventory_.count(no, backends_.log));
            if (count) inventory[no] = *count;
        }
        return judge(*books, {}, inventory);
    }
    [[nodiscard]] FakeOrderStore& store() { return backends_.store; }

private:
    [[nodiscard]] static Lifecycle::Options living() {
        Lifecycle::Options options;
        options.on_fatal = [](const Error& error) {
            require(false, "the lifecycle goes on", error.message());
        };
        return options;
    }
    [[nodiscard]] static memory::RateLimits limits_of(unsigned options) {
        memory::RateLimits limits;
        limits.entries_max = 1000;
        if ((options & kWithLimits) == 0) return limits;
        limits.system = {100, 5};
        limits.user = {1, 3};
        limits.address = {1, 4};
        return limits;
    }

    // The core's thread until the task is done; meanwhile others may post to it.
    template <class T> T run(Task<T> task) {
        std::optional<T> result;
        bool is_done = false;
        auto body = [&]() -> Task<void> { result = co_await std::move(task); };
        boost::asio::co_spawn(backends_.cores.at(0).executor(), body,
                              [&](std::exception_ptr failure) {
                                  if (failure) std::rethrow_exception(failure);
                                  is_done = true;
                              });
        while (!is_done) backends_.cores.at(0).context().run_one();
        return std::move(*result);
    }

    void add_sale(const char* id, Units stock, Units limit, Duration starts_in,
                  std::optional<Duration> ends_in, bool is_paused,
                  Duration payment_timeout = Duration(0)) {
        SaleTerms terms;
        terms.id = id;
        terms.title = "Fuzz";
        terms.stock = stock;
        terms.per_user_limit = limit;
        terms.starts_at = clock_.now() + starts_in;
        if (ends_in) terms.ends_at = clock_.now() + *ends_in;
        terms.paused = is_paused;
        terms.payment_timeout = payment_timeout;
        SaleImage image;
        image.terms = backends_.store.add_open_sale(terms).terms;
        image.epoch = Epoch(1);
        const auto shown = std::make_shared<const SaleTerms>(image.terms);
        const auto signals = run(inventory_.install(std::move(image)));
        require(signals.has_value(), "the inventory takes a sale");
        directories_[0]->set_terms(shown);
        directories_[0]->set_signals(shown->no, *signals);
    }
    void open_sales() {
        using namespace std::chrono_literals;
        add_sale("s", 3, 2, 0ms, {}, false);
        add_sale("many", 1000, 100, 0ms, {}, false);
        add_sale("soon", 5, 5, 3h, {}, false);
        add_sale("old", 5, 5, -2h, -1h, false);
        add_sale("p", 5, 5, 0ms, {}, true);
        add_sale("due", 3, 2, 0ms, {}, false, 90s);
        readiness_.set_recovered();
    }

    Backends& backends_;
    ManualClock clock_{TimePoint(std::chrono::sys_days(std::chrono::year(2026) / 11 / 27))};
    Fingerprinter fingerprints_{1, 2};
    OrderTally tally_;
    http::TrustedProxies proxies_ = *http::TrustedProxies::parse({"127.0.0.0/8"});
    std::vector<std::unique_ptr<SaleDirectory>> directories_;
    memory::MemoryInventory inventory_;
    memory::MemoryRateLimiter limiter_;
    Rebuild rebuild_;
    SaleService sales_;
    Lifecycle lifecycle_;
    OrderService orders_;
    OrderFeed feed_{100};
    ReaderBooks books_{backends_.log};
    Auditor auditor_;
    PurchaseService purchases_;
    Readiness readiness_{{{"inventory", [] { return std::string("up"); }}}};
    std::optional<http::Api> api_;
};

} // namespace doorbuster::fuzz
