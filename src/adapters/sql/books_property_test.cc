// The store against a model: random logs with duplicates, barriers and orders of closed epochs,
// applied in random batches by two writers of which each may be late, with restarts, restocks and
// new epochs between. RapidCheck prints the seed; RC_PARAMS="seed=N" repeats a run.
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <map>
#include <rapidcheck.h>
#include <set>

#include "adapters/sql/store_fixture.h"
#include "engine/audit.h"

namespace doorbuster::sql {
namespace {

using fixture::barrier;
using fixture::order;
using fixture::ScratchStore;
using fixture::Snapshot;

constexpr std::size_t kSales = 3;
const SaleNo kUnknownSale{99};

// What the store must be like, in the words of the port's comments.
struct Model {
    struct Sale {
        Units stock = 0;
        Units sold = 0;
        std::uint64_t epoch = 0;
        std::uint64_t barrier = 0;
        std::int64_t accepted_orders = 0;
        Units accepted_units = 0;
        std::int64_t refused = 0;
        std::int64_t voided = 0;
    };
    std::map<SaleNo, Sale> sales;
    std::map<OrderId, OrderStatus> orders;
    std::map<OrderId, LogRecord> records; // of the stored orders
    std::set<OrderId> dead;
    LogPosition next{1};

    ApplyReport apply(const std::vector<LogRecord>& batch) {
        ApplyReport report;
        next = next.plus(batch.size());
        for (const LogRecord& record : batch) apply(record, report);
        return report;
    }

private:
    void apply(const LogRecord& record, ApplyReport& report) {
        const auto at = sales.find(record.sale);
        if (record.kind == LogRecordKind::barrier) {
            if (at != sales.end()) {
                at->second.barrier = std::max(at->second.barrier, record.epoch.get());
            }
            return;
        }
        if (at == sales.end()) {
            ++(dead.insert(record.order).second ? report.dead_letters : report.duplicates);
            return;
        }
        Sale& sale = at->second;
        if (record.epoch.get() != sale.barrier) {
            ++report.voided;
            ++sale.voided;
        } else if (orders.contains(record.order)) {
            ++report.duplicates;
        } else {
            const bool fits = sale.sold + record.quantity <= sale.stock;
            orders[record.order] = fits ? OrderStatus::confirmed : OrderStatus::refused;
            records[record.order] = record;
            ++sale.accepted_orders;
            sale.accepted_units += record.quantity;
            if (fits) sale.sold += record.quantity;
            ++(fits ? report.confirmed : report.refused);
            if (!fits) ++sale.refused;
        }
    }
};

class StoreRun {
public:
    explicit StoreRun(const ScratchStore& file) : file_(file) {
        file_.clear();
        writers_[0] = {file_.open_bound(), LogPosition(1)};
        for (std::size_t i = 0; i < kSales; ++i) {
            const Units stock = *rc::gen::inRange<Units>(0, 60);
            const std::string name = "s" + std::to_string(i);
            const SaleNo no = fixture::add_sale(store(), name, stock);
            names_[no] = name;
            model_.sales[no].stock = stock;
        }
        writers_[1] = {file_.open(), LogPosition(1)};
    }

    void step() {
        switch (*rc::gen::weightedElement<int>({{8, 0}, {8, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 5}})) {
        case 0: return extend_log();
        case 1: return apply_some(writers_[*rc::gen::inRange<std::size_t>(0, 2)]);
        case 2: return restock();
        case 3: return open_epoch();
        case 4: return reopen();
        default: return apply_old();
        }
    }

    // All that is left, by whoever knows where the store is.
    void finish() {
        while (model_.next.get() <= log_.size()) {
            writers_[0].next = model_.next;
            apply_some(writers_[0]);
        }
        check_books();
        check_orders();
    }

private:
    struct Writer {
        std::unique_ptr<SqlOrderStore> store;
        LogPosition next{1}; // where it believes the store to be
    };

    [[nodiscard]] SqlOrderStore& store() { return *writers_[0].store; }
    [[nodiscard]] SaleNo any_sale() const {
        const auto at = *rc::gen::inRange<std::size_t>(0, kSales);
        return std::next(model_.sales.begin(), static_cast<std::ptrdiff_t>(at))->first;
    }

    [[nodiscard]] SaleNo sale_named(const std::string& name) const {
        const auto at =
            std::ranges::find(names_, name, &std::pair<const SaleNo, std::string>::second);
        return at->first;
    }

    void extend_log() {
        const int count = *rc::gen::inRange(1, 12);
        for (int i = 0; i < count; ++i) {
            const int what = *rc::gen::inRange(0, 20);
            if (what == 0) {
                log_.push_back(order(kUnknownSale, ++made_));
            } else if (what < 4 && !log_.empty()) {
                log_.push_back(log_[*rc::gen::inRange<std::size_t>(0, log_.size())]);
            } else {
                const SaleNo sale = any_sale();
                const std::uint64_t epoch = model_.sales[sale].epoch;
                const bool is_late = what == 4 && epoch > 0;
                log_.push_back(order(sale, ++made_, *rc::gen::inRange<Units>(1, 4),
                                     is_late ? epoch - 1 : epoch));
            }
        }
    }

    [[nodiscard]] std::vector<LogRecord> records(LogPosition from, std::size_t count) const {
        std::vector<LogRecord> batch;
        for (std::size_t at = from.get() - 1; at < log_.size() && batch.size() < count; ++at) {
            batch.push_back(log_[at]);
        }
        return batch;
    }

    void apply_some(Writer& writer) {
        const auto batch = records(writer.next, *rc::gen::inRange<std::size_t>(1, 40));
        if (batch.empty()) return;
        const LogPosition next = writer.next.plus(batch.size());
        const auto report =
            writer.store->apply(writer.next, next, batch, StockGuard::version_and_stock);
        if (writer.next != model_.next) {
            RC_ASSERT(!report.has_value());
            RC_ASSERT(report.error().is(Errc::fenced));
            // It finds out where the store is, or goes on being late.
            if (*rc::gen::arbitrary<bool>())
                writer.next = writer.store->log_binding()->next.at(kOnlyPartition);
        } else {
            RC_ASSERT(report.has_value());
            const ApplyReport expected = model_.apply(batch);
            RC_ASSERT(report->confirmed == expected.confirmed);
            RC_ASSERT(report->refused == expected.refused);
            RC_ASSERT(report->duplicates == expected.duplicates);
            RC_ASSERT(report->voided == expected.voided);
            RC_ASSERT(report->dead_letters == expected.dead_letters);
            writer.next = next;
        }
        check_books();
    }

    // A batch from somewhere in the past.
    void apply_old() {
        if (model_.next == LogPosition(1)) return;
        const LogPosition from{*rc::gen::inRange<std::uint64_t>(1, model_.next.get())};
        const auto batch = records(from, 10);
        const auto report = writers_[1].store->apply(from, from.plus(batch.size()), batch,
                                                     StockGuard::version_and_stock);
        RC_ASSERT(!report.has_value());
        RC_ASSERT(report.error().is(Errc::fenced));
        check_books();
    }

    void restock() {
        const SaleNo sale = any_sale();
        const Units add = *rc::gen::inRange<Units>(1, 20);
        const auto raise = [add](StoredSale& stored) -> Result<void> {
            stored.terms.stock += add;
            return {};
        };
        RC_ASSERT(writers_[1]
                      .store->change_sale(names_.at(sale), raise, {}, {"tester", "restocked"})
                      .has_value());
        model_.sales[sale].stock += add;
    }

    void open_epoch() {
        const std::array<SaleNo, 1> sale = {any_sale()};
        const auto opened = store().next_epochs(sale);
        RC_ASSERT(opened.has_value());
        const std::uint64_t epoch = ++model_.sales[sale[0]].epoch;
        RC_ASSERT(opened->front().epoch == Epoch(epoch));
        log_.push_back(barrier(sale[0], epoch));
    }

    void reopen() {
        writers_[0].store.reset();
        writers_[0] = {file_.open(), LogPosition(1)};
        writers_[0].next = store().log_binding()->next.at(kOnlyPartition);
        RC_ASSERT(writers_[0].next == model_.next);
    }

    void check_books() {
        const auto books = store().books({});
        RC_ASSERT(books.has_value());
        RC_ASSERT(books->next.at(kOnlyPartition) == model_.next);
        RC_ASSERT(books->sales.size() == kSales);
        for (const SaleBooks& row : books->sales) {
            const Model::Sale& sale = model_.sales.at(row.sale.terms.no);
            RC_ASSERT(row.sale.terms.stock == sale.stock);
            RC_ASSERT(row.sale.sold == sale.sold);
            RC_ASSERT(row.sale.epoch == Epoch(sale.epoch));
            RC_ASSERT(row.barrier == Epoch(sale.barrier));
            RC_ASSERT(row.log_accepted_orders == sale.accepted_orders);
            RC_ASSERT(row.log_accepted_units == sale.accepted_units);
            RC_ASSERT(row.voided_orders == sale.voided);
        }
        // The log had more than there is, or orders of a closed epoch, which the one writing
        // process never enqueues: then the audit says so, and nothing else.
        for (const SaleAudit& row : judge(*books, {}, {})) {
            const Model::Sale& sale = model_.sales.at(sale_named(row.sale_id));
            const std::size_t told = (sale.refused > 0 ? 1U : 0U) + (sale.voided > 0 ? 1U : 0U);
            RC_ASSERT(row.violations.size() == told);
            RC_ASSERT(row.sold <= row.stock);
        }
    }

    void check_orders() {
        Snapshot snapshot;
        RC_ASSERT(store().read_snapshot({}, fixture::kNow, snapshot).has_value());
        std::vector<Snapshot::Line> stored;
        for (const auto& lines : snapshot.lines) {
            stored.insert(stored.end(), lines.begin(), lines.end());
        }
        std::vector<Snapshot::Line> expected; // a sale's orders lie together: in order of ids
        for (const auto& [id, record] : model_.records) {
            expected.push_back(
                {id, record.user, record.key, record.quantity, model_.orders.at(id)});
        }
        RC_ASSERT(stored == expected);
    }

    const ScratchStore& file_;
    std::array<Writer, 2> writers_;
    Model model_;
    std::map<SaleNo, std::string> names_;
    std::vector<LogRecord> log_;
    std::uint64_t made_ = 0;
};

class BooksTest : public fixture::StoreTest {};
INSTANTIATE_TEST_SUITE_P(In, BooksTest, testing::ValuesIn(fixture::kAllDialects),
                         fixture::suffix_of);

TEST_P(BooksTest, BalanceWhateverIsAppliedInWhateverOrder) {
    const ScratchStore file(GetParam());
    static_cast<void>(file.open());
    const bool holds = rc::check("the store is what the model says", [&file] {
        StoreRun run(file);
        const int steps = *rc::gen::inRange(1, 40);
        for (int i = 0; i < steps; ++i) run.step();
        run.finish();
    });
    EXPECT_TRUE(holds);
}

} // namespace
} // namespace doorbuster::sql
