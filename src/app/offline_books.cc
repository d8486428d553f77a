#include "app/offline_books.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "adapters/sql/order_store.h"
#include "app/assembly.h"
#include "app/log_tail.h"
#include "app/offline_log.h"
#include "engine/audit.h"
#include "engine/order_service.h"

namespace doorbuster {
namespace {

constexpr std::size_t kPage = 1'000; // orders in memory at a time

struct OfflineBooks {
    std::unique_ptr<sql::SqlOrderStore> store;
    std::unique_ptr<OfflineLog> log;
    std::vector<LogPosition> ends; // of the log, before the books were read
    Books books;
};

// The log first: what the writer moves to the store after that is in both, and the store's
// positions say so.
Result<OfflineBooks> open_books(const Config& config, const std::optional<std::string>& sale) {
    const auto file = sqlite_path_of(config);
    if (file && !std::filesystem::exists(*file)) {
        return fail(Errc::not_found,
                    "there is no order store at " + *file + "; name its folder with --data");
    }
    OfflineBooks opened;
    auto store = sql::SqlOrderStore::open({store_url_of(config), 1, sql::StoreMode::read_only});
    if (!store) return tl::make_unexpected(std::move(store.error()));
    opened.store = std::move(*store);
    const auto binding = opened.store->log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    if (binding->log_id.empty()) {
        return fail(Errc::not_found, "the order store knows no log yet: no server has used it");
    }
    auto log = open_offline_log(config, binding->log_id);
    if (!log) return tl::make_unexpected(std::move(log.error()));
    opened.log = std::move(*log);
    auto ends = opened.log->ends();
    if (!ends) return tl::make_unexpected(std::move(ends.error()));
    opened.ends = std::move(*ends);
    auto books = opened.store->books(sale);
    if (!books && sale && books.error().is(Errc::not_found)) {
        const std::string where = file ? config.server.data : "the order store";
        return fail(Errc::not_found, "there is no sale '" + *sale + "' in " + where);
    }
    if (!books) return tl::make_unexpected(std::move(books.error()));
    opened.books = std::move(*books);
    return opened;
}

AuditRow row_of(const SaleAudit& audit) {
    AuditRow row;
    row.sale_id = audit.sale_id;
    row.stock = audit.stock;
    row.sold = audit.sold;
    row.remaining = audit.remaining;
    for (std::uint8_t i = 1; i < kOrderStatuses; ++i) {
        row.orders[to_string(static_cast<OrderStatus>(i))] = audit.orders[i];
    }
    row.log_accepted_units = audit.log_accepted_units;
    row.inventory_remaining = audit.inventory_remaining;
    row.violations = audit.violations;
    row.balanced = audit.balanced();
    return row;
}

OrderRow row_of(const Order& order, const std::string& sale) {
    OrderRow row;
    row.order_id = order.id.text();
    row.sale_id = sale;
    row.user_id = order.user;
    row.quantity = order.quantity;
    row.status = to_string(order.status);
    row.created_at = to_rfc3339(order.id.created_at());
    if (order.expires_at) row.expires_at = to_rfc3339(*order.expires_at);
    if (order.paid_at) row.paid_at = to_rfc3339(*order.paid_at);
    row.version = order.version;
    row.payment_ref = order.payment_ref;
    return row;
}

} // namespace

Result<std::vector<AuditRow>> audit_offline(const Config& config,
                                            const std::optional<std::string>& sale) {
    auto books = open_books(config, sale);
    if (!books) return tl::make_unexpected(std::move(books.error()));
    std::vector<AuditTail> tails;
    for (std::uint32_t i = 0; i < books->ends.size(); ++i) {
        const LogPartition partition(i);
        const LogPlace from{partition, books->books.next.at(partition)};
        auto entries = books->log->read(from, books->ends[i]);
        if (!entries) return tl::make_unexpected(std::move(entries.error()));
        tails.push_back({partition, books->ends[i], std::move(*entries)});
    }
    // Once more, now that we know which orders to ask about.
    const auto known = books->store->books(sale, orders_of(tails));
    if (!known) return tl::make_unexpected(known.error());
    std::vector<AuditRow> rows;
    for (const SaleAudit& audit : judge(*known, tails, {}, books->log->writers())) {
        rows.push_back(row_of(audit));
    }
    std::ranges::sort(rows, {}, &AuditRow::sale_id); // as a server lists them
    return rows;
}

Result<void> export_offline(const Config& config, const std::string& sale, const OrderSink& sink) {
    auto books = open_books(config, sale);
    if (!books) return tl::make_unexpected(std::move(books.error()));
    const SaleBooks& entry = books->books.sales.front();
    const SaleNo no = entry.sale.terms.no;
    const LogPartition partition = entry.sale.terms.partition;
    if (partition.get() >= books->ends.size()) {
        return fail(Errc::foreign_log, "the log has no partition " +
                                           std::to_string(partition.get()) + ", where the sale is");
    }
    const LogPosition next = books->books.next.at(partition);
    auto tail = LogTail::read(std::move(books->log),
                              {{partition, next}, books->ends[partition.get()], no, entry.barrier});
    if (!tail) return tl::make_unexpected(std::move(tail.error()));
    std::optional<OrderId> after;
    for (;;) {
        const auto page = books->store->list_orders(no, {}, after, kPage);
        if (!page) return tl::make_unexpected(page.error());
        for (const Order& order : page->orders) {
            tail->leave_out(order.id); // the writer may have moved it since: once is enough
            if (auto sent = sink(row_of(order, sale)); !sent) return sent;
        }
        if (!page->next) break;
        after = page->next;
    }
    return tail->give([&sink, &sale](LogRecord&& record) {
        return sink(row_of(queued_order(std::move(record)), sale));
    });
}

} // namespace doorbuster
