#include "app/offline_books.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "adapters/sql/order_store.h"
#include "adapters/sqlite/log_file.h"
#include "app/assembly.h"
#include "app/log_tail.h"
#include "engine/audit.h"
#include "engine/order_service.h"

namespace doorbuster {
namespace {

constexpr std::size_t kPage = 1'000; // orders in memory at a time

struct OfflineBooks {
    std::unique_ptr<sql::SqlOrderStore> store;
    Books books;
    sqlite::LogSnapshot log;
};

Result<OfflineBooks> open_books(const Config& config, const std::optional<std::string>& sale) {
    const auto store_path = sqlite_path_of(config);
    if (!store_path) return tl::make_unexpected(store_path.error());
    if (!std::filesystem::exists(*store_path)) {
        return fail(Errc::not_found,
                    "there is no order store at " + *store_path + "; name its folder with --data");
    }
    // The log first: what the writer moves to the store after that is in both, and the store's
    // position says so.
    auto log = sqlite::LogSnapshot::open(config.server.data);
    if (!log) return tl::make_unexpected(std::move(log.error()));
    auto store = sql::SqlOrderStore::open({*store_path, 1, sql::StoreMode::read_only});
    if (!store) return tl::make_unexpected(std::move(store.error()));
    const auto binding = (*store)->log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    if (binding->log_id != log->id()) {
        return fail(Errc::foreign_log, "the log in " + config.server.data + " is not the store's");
    }
    auto books = (*store)->books(sale);
    if (!books && sale && books.error().is(Errc::not_found)) {
        return fail(Errc::not_found, "there is no sale '" + *sale + "' in " + config.server.data);
    }
    if (!books) return tl::make_unexpected(std::move(books.error()));
    return OfflineBooks{std::move(*store), std::move(*books), std::move(*log)};
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
    auto tail = books->log.read_from(books->books.next.at(kOnlyPartition));
    if (!tail) return tl::make_unexpected(tail.error());
    AuditTail behind{kOnlyPartition, books->books.next.at(kOnlyPartition), {}};
    for (LogRecord& record : *tail) {
        behind.entries.push_back({behind.queued_next, std::move(record)});
        behind.queued_next = behind.queued_next.next();
    }
    std::vector<AuditRow> rows;
    for (const SaleAudit& audit : judge(books->books, std::vector<AuditTail>{behind}, {})) {
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
    auto tail = LogTail::read(std::move(books->log), books->books.next.at(kOnlyPartition), no,
                              entry.barrier);
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
